"""What is believed of a server's certificates: names, digests, TLSA records, chains; noise changes nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from mailsuite.base.errors import ConfigError
from mailsuite.tls.anchors import trust_anchors
from mailsuite.tls.chain import NO_LOCAL_ISSUER, UNSPECIFIED, Authorities, Failure, check_chain, one_line
from mailsuite.tls.dane import Tlsa, anchors, is_signed_by, matches, own_match, parse_digests, usable_records
from mailsuite.tls.fingerprints import digest, fingerprint, parse_fingerprint
from mailsuite.tls.names import matching_name
from mailsuite.tls.peer import Trust, Wanted, describe, judge
from tests.support.chains import World, chain, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("chains"))


@pytest.mark.parametrize(("name", "wanted", "many", "want"), [
    ("mx.a.test", "mx.a.test", True, True), ("mx.a.test", "MX.A.test.", True, True),
    ("mx.a.test", "a.test", True, False),
    ("mx.a.test", ".a.test", True, True), ("x.mx.a.test", ".a.test", True, True), ("a.test", ".a.test", True, False),
    ("*.a.test", "mx.a.test", True, True), ("*.a.test", "x.mx.a.test", True, True),
    ("*.a.test", "x.mx.a.test", False, False), ("*.a.test", "a.test", True, False), ("*.a.test", ".a.test", True, True),
    ("*.test", "a.test", True, False), ("*", "a.test", True, False), ("m*.a.test", "mx.a.test", True, False),
    ("mx.*.test", "mx.a.test", True, False), ("*.*.test", "a.b.test", True, False), ("", "a.test", True, False),
    ("a.test", "", True, False)])
def test_names(name: str, wanted: str, many: bool, want: bool) -> None:
    """As OpenSSL's X509_check_host decides it."""
    assert bool(matching_name([name], [wanted], many_labels=many)) is want


@pytest.mark.parametrize(("text", "want"), [
    ("AA:bb", b"\xaa\xbb"), ("aabb", b"\xaa\xbb"), ("", None), ("A:B", None), ("AA:B", None), ("xx", None),
    ("AAB", None)])
def test_fingerprints(text: str, want: bytes | None) -> None:
    assert parse_fingerprint(text) == want


def test_digests() -> None:
    assert fingerprint("md5", b"") == "D4:1D:8C:D9:8F:00:B2:04:E9:80:09:98:EC:F8:42:7E"
    assert digest("SHA-256", b"x") == digest("sha256", b"x")
    for bad in ("", "sha999", "shake_128"):
        with pytest.raises(ConfigError):
            digest(bad, b"")
    assert parse_digests("sha512 sha256") == (2, 1) and parse_digests("sha256=1") == (1,) and parse_digests("") == ()
    for bad in ("md5", "sha256=2", "sha256 sha256"):
        with pytest.raises(ConfigError):
            parse_digests(bad)


def test_the_better_digest_counts_alone() -> None:
    """For each usage and selector by itself; whole certificates count beside it. Source: RFC 7671 section 9."""
    weak, strong = Tlsa(3, 1, 1, b"a" * 32), Tlsa(3, 1, 2, b"b" * 64)
    other = Tlsa(3, 0, 1, b"c" * 32)
    assert usable_records([weak, strong, other], (2, 1)).usable == (other, strong)
    assert usable_records([weak, strong, other], (1, 2)).usable == (other, weak)
    assert usable_records([weak, strong], (1,)).unusable == (strong,)
    found = usable_records([Tlsa(0, 1, 1, b"a" * 32), Tlsa(1, 0, 1, b"a" * 32), Tlsa(3, 2, 1, b"a" * 32),
                            Tlsa(3, 1, 1, b"short"), Tlsa(2, 0, 0, b"no certificate"), Tlsa(3, 1, 255, b"x")], (2, 1))
    assert (len(found.usable), len(found.unsupported), len(found.unusable)) == (0, 2, 4)


@given(usage=st.integers(0, 255), selector=st.integers(0, 255), matching=st.integers(0, 255),
       octets=st.binary(max_size=100), certificate=st.binary(max_size=100))
def test_noise_in_records_and_certificates(usage: int, selector: int, matching: int, octets: bytes,
                                           certificate: bytes) -> None:
    found = usable_records([Tlsa(usage, selector, matching, octets)], (2, 1))
    assert len(found.usable) + len(found.unusable) + len(found.unsupported) == 1
    for record in found.usable:
        assert not matches(record, certificate) or record.selector == 0
    assert own_match([certificate], found.usable) is None and anchors([certificate], found.usable) == []
    assert not is_signed_by(certificate, octets)
    assert judge([certificate], Wanted()).trust is Trust.UNTRUSTED
    assert judge([certificate], Wanted(names=("a.test",))).trust is Trust.UNTRUSTED


Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@pytest.mark.parametrize("make", [
    lambda: rsa.generate_private_key(65537, 2048), lambda: ec.generate_private_key(ec.SECP384R1()),
    ed25519.Ed25519PrivateKey.generate], ids=["rsa", "ecdsa", "ed25519"])
def test_signatures_by_a_bare_key(make: Callable[[], Key], world: World) -> None:
    key = make()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    own = world.root.certificate
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(own.public_key())
            .serial_number(1).not_valid_before(own.not_valid_before_utc).not_valid_after(own.not_valid_after_utc)
            .sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()))
    octets = made.public_bytes(Encoding.DER)
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert is_signed_by(octets, public)
    assert not is_signed_by(own.public_bytes(Encoding.DER), public)


def test_chains(world: World) -> None:
    trusted = Authorities(ca_file=str(world.authority))
    assert check_chain(chain(world.folder / "chained.pem"), trusted) is None
    missing = check_chain(chain(world.folder / "missing.pem"), trusted)
    assert missing is not None and (missing.code, missing.issuer) == (NO_LOCAL_ISSUER, "/CN=Test Middle")
    middle = world.middle.certificate.public_bytes(Encoding.DER)
    assert check_chain(chain(world.folder / "missing.pem"), trusted, more=[middle]) is None
    assert check_chain(chain(world.folder / "missing.pem"), Authorities([middle], partial=True)) is None
    assert check_chain([b"noise"], trusted) == Failure(UNSPECIFIED, "unspecified certificate verification error")
    assert judge([], Wanted()).trust is Trust.ANONYMOUS
    for path in ("/nowhere/ca.pem", str(world.folder / "../empty")):
        with pytest.raises(ConfigError):
            Authorities.of(path)


def test_descriptions_for_the_log(world: World) -> None:
    text = describe(chain(world.folder / "good.pem"), "sha1")
    assert text.startswith("subject_CN=mx.far.test, issuer_CN=Test Root, fingerprint=")
    assert ", pkey_fingerprint=" in text
    evil = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a\nb\x1b\u20ac")])
    assert one_line(evil) == "/CN=a?b??"
    assert describe([b"noise"], "md5").startswith("fingerprint=")


def test_trust_anchor_files(world: World, tmp_path: Path) -> None:
    key = world.root.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    both = tmp_path / "both.pem"
    both.write_bytes(world.authority.read_bytes() + key)
    assert [(one.usage, one.selector, one.matching) for one in trust_anchors(str(both))] == [(2, 0, 0), (2, 1, 0)]
    for content in (b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                    b"-----BEGIN PUBLIC KEY-----\n"):
        both.write_bytes(content)
        with pytest.raises(ConfigError):
            trust_anchors(str(both))
