"""Contexts from parameters: files and their errors, protocols, ciphers, SNI."""

import datetime
import ssl
import warnings
from pathlib import Path

import pytest

from certs.authority import Certificates, ensure_certificates
from mailsuite.base.errors import ConfigError
from mailsuite.config.settings import Settings
from mailsuite.net.client_tls import ClientSpec, client_context, smtp_tls
from mailsuite.net.tls import Pair, ServerSpec, ServerTls, smtpd_tls
from mailsuite.tls.ciphers import cipher_list
from mailsuite.tls.identity import read_identity, split_chain_file
from mailsuite.tls.options import Options
from mailsuite.tls.protocols import parse_least, parse_protocols

NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return ensure_certificates(tmp_path_factory.mktemp("certificates"), ["mx.example.test", "127.0.0.1"], NOW)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return ensure_certificates(tmp_path_factory.mktemp("others"), ["other.example.test"], NOW)


def pair(made: Certificates) -> Pair:
    return Pair(str(made.chain), str(made.key))


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends, in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = server.wrap_bio(to_server, to_client, server_side=True)
    there = client.wrap_bio(to_client, to_server, server_hostname=name)
    done = set()
    for _ in range(20):
        for end in (there, here):
            try:
                end.do_handshake()
                done.add(end)
            except ssl.SSLWantReadError:
                pass
        if len(done) == 2:
            return here, there
    raise AssertionError("no handshake")


def test_server_and_client_meet(certificates: Certificates) -> None:
    tls = ServerTls(ServerSpec(pairs=(pair(certificates),), protocols=parse_protocols("TLSv1.3")))
    tls.load()
    context = tls.context()
    assert context is not None and tls.failure == ""
    client = client_context(ClientSpec(verify=True, ca_file=str(certificates.authority)))
    here, there = handshake(context, client, "mx.example.test")
    assert there.version() == "TLSv1.3"
    assert here.mailsuite_server_name == "mx.example.test"      # type: ignore[attr-defined]  # for the driver


def test_sni_chooses_the_certificate(certificates: Certificates, others: Certificates) -> None:
    tls = ServerTls(ServerSpec(pairs=(pair(certificates),), names={".example.test": (pair(others),)}))
    tls.load()
    context = tls.context()
    assert context is not None
    loose = client_context(ClientSpec())
    seen = {name: handshake(context, loose, name)[1].getpeercert(binary_form=True)
            for name in ("mx.other.test", "other.example.test")}
    assert seen["mx.other.test"] != seen["other.example.test"]


def test_a_wrong_name_is_refused(certificates: Certificates) -> None:
    tls = ServerTls(ServerSpec(pairs=(pair(certificates),)))
    tls.load()
    context = tls.context()
    assert context is not None
    client = client_context(ClientSpec(verify=True, ca_file=str(certificates.authority)))
    with pytest.raises(ssl.SSLError):
        handshake(context, client, "elsewhere.test")


def test_errors_name_file_and_reason(certificates: Certificates, others: Certificates, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("")
    for made, words in [
        (Pair("/nonexistent/x"), "cannot read certificate file /nonexistent/x: No such file"),
        (Pair(str(empty)), "holds no certificate"),
        (Pair(str(certificates.chain), str(empty)), "holds no private key"),
        (Pair(str(certificates.chain), str(others.key)), "does not belong to certificate"),
    ]:
        with pytest.raises(ConfigError) as caught:
            read_identity(made.certificate, made.key)
        assert words in caught.value.public


def test_text_instead_of_a_path(certificates: Certificates) -> None:
    identity = read_identity(certificates.chain.read_text(), certificates.key.read_text())
    assert "secret" not in repr(identity).lower() or "Secret(...)" in repr(identity)


def test_chain_file(certificates: Certificates, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(certificates.key.read_bytes() + certificates.chain.read_bytes())
    assert len(split_chain_file(str(both))) == 1


def test_refresh_takes_new_files_and_keeps_old_ones_on_errors(certificates: Certificates, others: Certificates,
                                                              tmp_path: Path) -> None:
    chain, key = tmp_path / "chain", tmp_path / "key"
    chain.write_bytes(certificates.chain.read_bytes())
    key.write_bytes(certificates.key.read_bytes())
    tls = ServerTls(ServerSpec(pairs=(Pair(str(chain), str(key)),)))
    tls.load()
    before = tls.context()
    assert not tls.refresh() and tls.context() is before
    chain.write_bytes(others.chain.read_bytes())
    with pytest.raises(ConfigError):
        tls.refresh()
    assert tls.context() is before
    key.write_bytes(others.key.read_bytes())
    assert tls.refresh() and tls.context() is not before


def test_without_a_certificate_there_is_no_context() -> None:
    tls = ServerTls(smtpd_tls(Settings.of({"smtpd_tls_cert_file": "none"})))
    tls.load()
    assert tls.context() is None and tls.failure


@pytest.mark.parametrize(("text", "allowed"), [
    (">=TLSv1", ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")),
    (">=TLSv1.2, <=TLSv1.2", ("TLSv1.2",)),
    ("!SSLv2, !SSLv3, !TLSv1, !TLSv1.1", ("TLSv1.2", "TLSv1.3")),
    ("TLSv1.3", ("TLSv1.3",)),
    ("TLSv1.2 TLSv1.3", ("TLSv1.2", "TLSv1.3")),
    ("", ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")),
    ("SSLv3", ()),
    (">=0303", ("TLSv1.2", "TLSv1.3")),
])
def test_protocols(text: str, allowed: tuple[str, ...]) -> None:
    assert parse_protocols(text).allowed == allowed


def test_bad_words() -> None:
    assert parse_least("TLSv1.2").allowed == ("TLSv1.2", "TLSv1.3")
    assert cipher_list("medium", "aNULL, RC4").endswith("!aNULL:!RC4")
    for call in (lambda: parse_protocols("TLSv9"), lambda: cipher_list("huge"), lambda: cipher_list("high", "a;b")):
        with pytest.raises(ConfigError):
            call()
    assert smtp_tls(Settings.of({}), "secure").cipher_list.endswith(":!aNULL:@SECLEVEL=1")
    assert smtp_tls(Settings.of({}), "may").cipher_list.endswith(":@SECLEVEL=0")


@pytest.mark.parametrize(("version", "ciphers"), [
    (ssl.TLSVersion.TLSv1_1, "DEFAULT:@SECLEVEL=0"), (ssl.TLSVersion.TLSv1_2, "AECDH:@SECLEVEL=0"),
])
def test_old_clients_may_encrypt(certificates: Certificates, version: ssl.TLSVersion, ciphers: str) -> None:
    """As with Postfix, whose security level is 0 where TLS is better than none."""
    settings = Settings.of({"smtpd_tls_security_level": "may", "smtpd_tls_cert_file": str(certificates.chain),
                            "smtpd_tls_key_file": str(certificates.key)})
    server = ServerTls(smtpd_tls(settings))
    server.load()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.set_ciphers(ciphers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client.minimum_version = client.maximum_version = version
    context = server.context()
    assert context is not None
    assert handshake(context, client, "mx.example.test")[0].version() == version.name.replace("_", ".")


def test_client_certificates_want_one_of_the_server() -> None:
    settings = Settings.of({"smtpd_tls_security_level": "may", "smtpd_tls_ask_ccert": "yes"})
    assert smtpd_tls(settings).cipher_list.endswith(":!aNULL:@SECLEVEL=0")


def test_options_of_openssl(certificates: Certificates) -> None:
    """tls_ssl_options, tls_disable_workarounds: names as Postfix has them, and numbers."""
    options = Options.of(Settings.of({"tls_ssl_options": "no_ticket, 0x200000",
                                      "tls_disable_workarounds": "CRYPTOPRO_TLSEXT_BUG TLS_D5_BUG"}))
    server, client = server_tls(certificates, options), client_context(ClientSpec(options=options))
    for context in (server, client):
        assert context.options & ssl.OP_NO_TICKET and context.options & 0x200000
        assert not context.options & 0x80000000
    for name in ("tls_ssl_options", "tls_disable_workarounds"):
        for bad in ("NO_SUCH", "0xzz"):
            with pytest.raises(ConfigError, match=name):
                Options.of(Settings.of({name: bad}))


def server_tls(certificates: Certificates, options: Options) -> ssl.SSLContext:
    tls = ServerTls(ServerSpec(pairs=(pair(certificates),), options=options))
    tls.load()
    context = tls.context()
    assert context is not None
    return context
