"""Certificates of dovecot.conf by address and by name, and what is wrong with them."""

import datetime
import logging
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from certs.authority import Certificates, ensure_certificates
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.net.dovecot_tls import DovecotTls, certificate_errors, not_obeyed

log = logging.getLogger("test")
NAMES = ("plain", "named", "wild", "address")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Certificates]:
    now = datetime.datetime.now(datetime.UTC)
    return {name: ensure_certificates(tmp_path_factory.mktemp(name), [f"{name}.test"], now) for name in NAMES}


def pair(certificates: Certificates) -> str:
    return f"ssl_cert = <{certificates.chain}\nssl_key = <{certificates.key}\n"


def settings(made: dict[str, Certificates]) -> DovecotSettings:
    return DovecotSettings.of(
        pair(made["plain"]) + "local_name named.test {\n" + pair(made["named"]) + "}\n"
        "local_name \"*.wild.test other.test\" {\n" + pair(made["wild"]) + "}\n"
        "local 192.0.2.7 {\n" + pair(made["address"]) + "}\n"
        "remote 198.51.100.0/24 {\n  ssl = no\n}\n")


def shown(context: ssl.SSLContext | None, name: str | None) -> bytes:
    """The certificate that a client sees who asks for a name."""
    assert context is not None
    client = ssl.create_default_context()
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname=name)
    two = context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(6):
        for side in (one, two):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
    return one.getpeercert(binary_form=True) or b""


def der(certificates: Certificates) -> bytes:
    text = Path(certificates.chain).read_text()
    return ssl.PEM_cert_to_DER_cert(text[: text.index("-----END CERTIFICATE-----") + 25] + "\n")


@pytest.mark.parametrize(("address", "name", "want"), [
    ("192.0.2.1", None, "plain"),
    ("192.0.2.1", "named.test", "named"),
    ("192.0.2.1", "NAMED.test", "named"),
    ("192.0.2.1", "a.wild.test", "wild"),
    ("192.0.2.1", "other.test", "wild"),
    ("192.0.2.1", "a.b.wild.test", "plain"),        # as in a certificate, * is one label
    ("192.0.2.1", "wild.test", "plain"),
    ("192.0.2.1", "unknown.test", "plain"),
    ("192.0.2.7", None, "address"),
    ("192.0.2.7", "named.test", "named"),
])
def test_who_sees_which(made: dict[str, Certificates], address: str, name: str | None, want: str) -> None:
    conf = settings(made)
    tls = DovecotTls(conf, log)
    tls.load()
    assert shown(tls.context(conf.for_connection(local_ip=address)), name) == der(made[want])


def test_a_network_without_tls(made: dict[str, Certificates]) -> None:
    conf = settings(made)
    tls = DovecotTls(conf, log)
    assert tls.context(conf.for_connection(local_ip="192.0.2.1", remote_ip="198.51.100.9")) is None
    assert tls.context(conf.for_connection(local_ip="192.0.2.1", remote_ip="203.0.113.9")) is not None


def test_files_are_not_needed_after_load(made: dict[str, Certificates], tmp_path: Path) -> None:
    names = {}
    for name in ("plain", "named"):
        names[name] = tmp_path / name
        names[name].write_bytes(Path(made[name].chain).read_bytes() + Path(made[name].key).read_bytes())
    conf = DovecotSettings.of(f"ssl_cert = <{names['plain']}\nssl_key = <{names['plain']}\n"
                              f"local_name named.test {{\nssl_cert = <{names['named']}\n"
                              f"ssl_key = <{names['named']}\n}}\n")
    tls = DovecotTls(conf.for_protocol("imap"), log)
    tls.load()
    for path in names.values():
        path.unlink()
    assert shown(tls.context(conf.for_protocol("imap")), "named.test") == der(made["named"])


def test_a_key_with_a_password(made: dict[str, Certificates], tmp_path: Path) -> None:
    key = load_pem_private_key(Path(made["plain"].key).read_bytes(), None)
    (tmp_path / "key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pw")))
    text = f"ssl_cert = <{made['plain'].chain}\nssl_key = <{tmp_path / 'key'}\n"
    tls = DovecotTls(conf := DovecotSettings.of(text + "ssl_key_password = pw\n"), log)
    tls.load()
    assert shown(tls.context(conf), None) == der(made["plain"])
    (error,) = certificate_errors(DovecotSettings.of(text + "ssl_key_password = no\n"))
    assert "the password does not fit" in error.public and f"ssl_key = <{tmp_path / 'key'}" in error.public
    assert "encrypted" in certificate_errors(DovecotSettings.of(text))[0].public


def test_a_broken_name_is_told_and_does_not_harm_the_others(made: dict[str, Certificates],
                                                           caplog: pytest.LogCaptureFixture) -> None:
    conf = DovecotSettings.of(pair(made["plain"]) + "local_name named.test {\n"
                              f"ssl_cert = <{made['named'].chain}\nssl_key = <{made['wild'].key}\n}}\n")
    assert "does not belong to certificate" in certificate_errors(conf)[0].public
    tls = DovecotTls(conf, log)
    tls.load()
    assert shown(tls.context(conf), None) == der(made["plain"])
    with pytest.raises(ssl.SSLError):
        shown(tls.context(conf), "named.test")
    assert "does not belong to certificate" in caplog.text


def test_a_file_that_is_not_there() -> None:
    conf = DovecotSettings.of("ssl_cert = </nowhere/a\nssl_key = </nowhere/b\n")
    assert len(certificate_errors(conf)) == 2
    tls = DovecotTls(conf, log)
    tls.load()
    assert tls.context(conf) is None


def test_what_cannot_be_obeyed_is_told() -> None:
    conf = DovecotSettings.of("ssl_curve_list = X25519:P-256\nssl_cipher_suites = TLS_AES_128_GCM_SHA256\n")
    assert len(not_obeyed(conf)) == 2
    assert not not_obeyed(DovecotSettings.of("ssl_curve_list = prime256v1\n"))
