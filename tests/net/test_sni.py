"""tls_server_sni_maps: which chain a client is shown, and what is wrong in tables. Recorded from Postfix 3.7."""

import base64
import datetime
import logging
import ssl
from pathlib import Path
from typing import NamedTuple

import pytest

from certs.authority import ensure_certificates
from mailsuite.base.dialogue import NameUse
from mailsuite.config.settings import Settings
from mailsuite.maps.index_file import write_index
from mailsuite.net.client_tls import ClientSpec, client_context
from mailsuite.net.sni import NamedChains, SniError, smtpd_names
from mailsuite.net.tls import Pair, ServerSpec, ServerTls
from tests.tls.test_contexts import handshake

NOW = datetime.datetime.now(datetime.UTC)


class Site(NamedTuple):
    """PEM files with key and chain; the default certificate is of its own."""

    folder: Path
    default: Pair
    a: Path
    b: Path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("sni")
    made = {name: ensure_certificates(folder / name, [f"{name}.example.test"], NOW) for name in ("default", "a", "b")}
    for name in "ab":
        (folder / f"{name}.pem").write_bytes(made[name].key.read_bytes() + made[name].chain.read_bytes())
    return Site(folder, Pair(str(made["default"].chain), str(made["default"].key)), folder / "a.pem", folder / "b.pem")


def names_of(maps: str) -> NamedChains:
    names = smtpd_names(Settings.of({"tls_server_sni_maps": maps}))
    assert names is not None
    return names


def serve(site: Site, maps: str) -> ServerTls:
    tls = ServerTls(ServerSpec(pairs=(site.default,)), names_of(maps))
    tls.load()
    return tls


def shown(tls: ServerTls, name: str) -> tuple[str, NameUse]:
    """Whose certificate a client gets, and what the driver is told."""
    context = tls.context()
    assert context is not None
    here, there = handshake(context, client_context(ClientSpec()), name)
    certificate = ssl.DER_cert_to_PEM_cert(there.getpeercert(binary_form=True) or b"")
    from cryptography import x509
    names = x509.load_pem_x509_certificate(certificate.encode()).extensions.get_extension_for_class(
        x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    return names[0].partition(".")[0], here.mailsuite_name_use      # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "expected"), [
    ("a.example.test", ("a", NameUse.MATCHED)),
    ("A.Example.Test", ("a", NameUse.MATCHED)),
    ("x.a.example.test", ("default", NameUse.UNMATCHED)),
    ("b.example.test", ("default", NameUse.UNMATCHED)),         # ".b.example.test" is for what is below it
    ("x.b.example.test", ("b", NameUse.MATCHED)),
    ("y.x.b.example.test", ("b", NameUse.MATCHED)),
    ("x_y.example.test", ("default", NameUse.UNMATCHED)),
    ("-x.b.example.test", ("default", NameUse.INVALID)),
    ("other.test", ("default", NameUse.UNMATCHED)),
])
@pytest.mark.parametrize("kind", ["inline", "texthash", "hash"])
def test_name_and_parent_domains(site: Site, kind: str, name: str, expected: tuple[str, NameUse]) -> None:
    rows = {"a.example.test": site.a, ".b.example.test": site.b}
    path = site.folder / kind
    if kind == "inline":
        spec = "inline:{" + ", ".join(f"{{{key} = {value}}}" for key, value in rows.items()) + "}"
    elif kind == "texthash":
        path.write_text("".join(f"{key} {value}\n" for key, value in rows.items()))
        spec = f"texthash:{path}"
    else:
        write_index(f"{path}.db", [(key, base64.b64encode(value.read_bytes()).decode()) for key, value in rows.items()])
        spec = f"hash:{path}"
    assert shown(serve(site, spec), name) == expected


@pytest.mark.parametrize(("content", "says"), [
    ("no certificate", "No PEM data in SNI data for x.test"),
    ("{cert}{key}", "error loading chain from SNI data for x.test: key not first"),
    ("{key}", "error loading certificate chain: key at index 1 in SNI data for x.test not followed by a certificate"),
    ("{key}{cert}{otherkey}{othercert}", "key at index {next} in SNI data for x.test has the algorithm of one"),
    ("{key}{othercert}", "does not belong to certificate"),
])
def test_a_bad_chain_fails_the_handshake(site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str,
                                         says: str) -> None:
    key, cert = _parts(site.a)
    other_key, other_cert = _parts(site.b)
    path = tmp_path / "bad.pem"
    path.write_text(content.format(key=key, cert=cert, otherkey=other_key, othercert=other_cert))
    tls = serve(site, f"inline:{{x.test={path}}}")
    with pytest.raises((ssl.SSLError, AssertionError)):
        shown(tls, "x.test")
    assert says.format(next=1 + 1 + cert.count("BEGIN")) in caplog.text
    assert "SNI data for x.test: aborting TLS handshake" in caplog.text
    assert "PRIVATE KEY" not in caplog.text
    assert shown(tls, "other.test")[0] == "default"         # the rest goes on


def _parts(path: Path) -> tuple[str, str]:
    key, end, cert = path.read_text().partition("-----END PRIVATE KEY-----\n")
    return key + end, cert


@pytest.mark.parametrize(("spec", "says"), [
    ("hash:/nowhere/sni", "open database /nowhere/sni.db"),
    ("fail:x", "x.test map lookup problem"),
    ("tcp:127.0.0.1:1", "a handshake cannot wait for it"),
])
def test_a_table_that_cannot_be_asked(site: Site, caplog: pytest.LogCaptureFixture, spec: str, says: str) -> None:
    names = names_of(spec)
    names.open()
    with pytest.raises(SniError, match="tls_server_sni_maps: x.test map lookup problem"):
        try:
            names.find("x.test")
        except SniError as error:
            logging.getLogger("mailsuite.smtpd").warning("%s", error)
            raise
    assert says in caplog.text


def test_a_table_without_postmap_f(site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_index(f"{tmp_path}/plain.db", [("x.test", "/etc/ssl/x.pem")])
    names = names_of(f"hash:{tmp_path}/plain")
    names.open()
    with pytest.raises(SniError):
        names.find("x.test")
    assert "key x.test: malformed BASE64 value: /etc/ssl/x.pem" in caplog.text


def test_what_was_opened_stays(site: Site, tmp_path: Path) -> None:
    """A server that has dropped its rights could not read new keys: the old ones hold until a reload."""
    table = tmp_path / "sni"
    table.write_text(f"x.test {site.a}\n")
    tls = serve(site, f"texthash:{table}")
    table.unlink()
    assert shown(tls, "x.test") == ("a", NameUse.MATCHED)
    table.write_text(f"x.test {site.b}\n")
    assert shown(tls, "x.test") == ("a", NameUse.MATCHED)
    tls.load()
    assert shown(tls, "x.test") == ("b", NameUse.MATCHED)


def test_no_parameter_no_tables() -> None:
    assert smtpd_names(Settings.of({})) is None
