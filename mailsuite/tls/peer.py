"""What is to be believed of the other side of a TLS connection.

    verdict = judge(chain, Wanted(names=("mx.example.org",), authorities=authorities))
    verdict.trust         ANONYMOUS, UNTRUSTED, TRUSTED or VERIFIED, the words of Postfix's log
    verdict.failure       why it is not VERIFIED where that was asked for

Asked for is one of: records (DANE, trust anchor files), fingerprints, names, or nothing: then only the trust is told.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from mailsuite.tls.chain import (
    NO_TLSA_MATCH,
    TIMES,
    UNSPECIFIED,
    WRONG_NAME,
    Authorities,
    Failure,
    check_chain,
)
from mailsuite.tls.dane import Tlsa, anchors, key_octets, own_match
from mailsuite.tls.fingerprints import digest, fingerprint
from mailsuite.tls.names import certificate_names, matching_name


class Trust(Enum):
    ANONYMOUS = "Anonymous"     # no certificate
    UNTRUSTED = "Untrusted"
    TRUSTED = "Trusted"         # good, but nothing was asked of it
    VERIFIED = "Verified"


@dataclass(frozen=True)
class Wanted:
    """names: as tls/names.py compares them. fingerprints: octets of digests of certificate or key.

    records: TLSA records; by_records, by_digest: they decide, also when none is left that is usable.
    """

    names: tuple[str, ...] = ()
    many_labels: bool = True
    depth: int = 9
    authorities: Authorities | None = None
    records: tuple[Tlsa, ...] = ()
    by_records: bool = False
    fingerprints: tuple[bytes, ...] = ()
    by_digest: bool = False
    algorithm: str = "sha256"


@dataclass(frozen=True)
class Verdict:
    """name: the certificate's name that fitted; record: the TLSA record that did."""

    trust: Trust
    failure: Failure | None = None
    name: str = ""
    record: Tlsa | None = None
    details: dict[str, str] = field(default_factory=dict)


def judge(chain: Sequence[bytes], wanted: Wanted) -> Verdict:
    """chain: DER, the server's own certificate first. Raises ConfigError: an unknown digest."""
    if not chain:
        return Verdict(Trust.ANONYMOUS)
    if wanted.by_digest:
        return _by_digest(chain, wanted)
    if wanted.by_records:
        return _by_records(chain, wanted)
    failure = check_chain(chain, wanted.authorities or Authorities(), depth=wanted.depth)
    if not wanted.names:
        return Verdict(Trust.UNTRUSTED if failure else Trust.TRUSTED, failure)
    return _with_name(chain, wanted, failure)


def _with_name(chain: Sequence[bytes], wanted: Wanted, failure: Failure | None) -> Verdict:
    """OpenSSL looks at the chain first, then at the name, then at the dates."""
    name = matching_name(_names(chain), wanted.names, many_labels=wanted.many_labels)
    if not name and (failure is None or failure.code in TIMES):
        failure = Failure(WRONG_NAME, "hostname mismatch")
    return Verdict(Trust.UNTRUSTED if failure else Trust.VERIFIED, failure, name)


def _by_digest(chain: Sequence[bytes], wanted: Wanted) -> Verdict:
    try:
        own = {digest(wanted.algorithm, chain[0]), digest(wanted.algorithm, key_octets(chain[0]))}
    except ValueError:
        own = {digest(wanted.algorithm, chain[0])}
    if own & set(wanted.fingerprints):
        return Verdict(Trust.VERIFIED)
    if not wanted.fingerprints:
        return Verdict(Trust.UNTRUSTED, Failure(UNSPECIFIED, "unspecified certificate verification error"))
    return Verdict(Trust.UNTRUSTED, Failure(NO_TLSA_MATCH, "no matching DANE TLSA records"))


def _by_records(chain: Sequence[bytes], wanted: Wanted) -> Verdict:
    if not wanted.records:
        return Verdict(Trust.UNTRUSTED, Failure(UNSPECIFIED, "unspecified certificate verification error"))
    own = own_match(chain, wanted.records)
    if own is not None:         # neither name nor dates count: RFC 7672 section 3.1.1
        return Verdict(Trust.VERIFIED, record=own)
    found = anchors(chain, wanted.records)
    if not found:
        return Verdict(Trust.UNTRUSTED, Failure(NO_TLSA_MATCH, "no matching DANE TLSA records"))
    verdict = Verdict(Trust.UNTRUSTED)
    for anchor in found:
        failure = check_chain(chain, Authorities([anchor.certificate], partial=True), depth=wanted.depth,
                              more=() if anchor.sent else [anchor.certificate])
        verdict = _with_name(chain, wanted, failure)
        if verdict.trust is Trust.VERIFIED:
            return Verdict(Trust.VERIFIED, None, verdict.name, anchor.record)
    return verdict


def _names(chain: Sequence[bytes]) -> tuple[str, ...]:
    from cryptography import x509

    try:
        return certificate_names(x509.load_der_x509_certificate(chain[0]))
    except ValueError:
        return ()


def describe(chain: Sequence[bytes], algorithm: str) -> str:
    """"subject_CN=..., issuer_CN=..., fingerprint=..., pkey_fingerprint=..." as Postfix logs it. Raises ConfigError."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    def common(name: x509.Name) -> str:
        found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
        text = str(found[0].value) if found else ""
        return "".join(char if " " <= char <= "~" else "?" for char in text)[:256]

    try:
        own = x509.load_der_x509_certificate(chain[0])
        key = fingerprint(algorithm, key_octets(chain[0]))
    except ValueError:
        return f"fingerprint={fingerprint(algorithm, chain[0])}"
    return (f"subject_CN={common(own.subject)}, issuer_CN={common(own.issuer)}, "
            f"fingerprint={fingerprint(algorithm, chain[0])}, pkey_fingerprint={key}")
