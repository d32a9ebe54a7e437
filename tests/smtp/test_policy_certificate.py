"""Client certificates in restrictions and policy requests, as recorded from Postfix 3.7."""

import asyncio
import datetime
import hashlib
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from mailsuite.base.dialogue import TlsInfo
from mailsuite.config.settings import Settings
from mailsuite.rewrite.rewriter import Rewriter
from mailsuite.smtp.facts import Client, Facts
from mailsuite.smtp.policy.certificate import client_certificate
from mailsuite.smtp.policy.delegation import Service, request
from mailsuite.smtp.policy.policy import Policy
from mailsuite.smtp.reply import unescape
from tests.support.dns_zone import ZoneResolver

BASE = {"compatibility_level": "3.6", "myhostname": "mx.example.test", "mydestination": "example.test",
        "mynetworks": "127.0.0.0/8", "local_recipient_maps": ""}


class Made(NamedTuple):
    der: bytes
    cert: str
    pubkey: str


@pytest.fixture(scope="module")
def made() -> Made:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Org"),
                                 x509.NameAttribute(NameOID.COMMON_NAME, "client one")]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "The CA=1")]))
        .public_key(key.public_key()).serial_number(7).not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256()))
    der = certificate.public_bytes(Encoding.DER)
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Made(der, _digest(der), _digest(spki))


def _digest(octets: bytes) -> str:
    return hashlib.sha256(octets).digest().hex(":").upper()


def facts(der: bytes = b"", *, verified: bool = True, **said: object) -> Facts:
    given = Facts(Client("192.0.2.9", 1234, name="c.test"), where="RCPT", protocol="ESMTP", helo="h.test",
                  sender="a@b.test")
    given.tls = TlsInfo("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256, 256, peer_certificate=der,
                        peer_verified=verified and bool(der))
    given.recipient = "x@example.test"
    for name, value in said.items():
        setattr(given, name, value)
    return given


def reply(restrictions: str, given: Facts, zone: dict[str, list[str]] | None = None, **values: str) -> str:
    settings = Settings.of({**BASE, "smtpd_recipient_restrictions": restrictions, **values})
    refusal = asyncio.run(Policy(settings, Rewriter(settings), ZoneResolver(zone or {})).rcpt(given))
    return refusal.reply if refusal else ""


CERT_NO = "554 5.7.1 <client one>: Client certificate rejected: by cert"
KEY_NO = "554 5.7.1 <client one>: Client certificate rejected: by key"


@pytest.mark.parametrize(("argument", "rows", "want"), [
    ("{table}", "{cert} REJECT by cert\n{pubkey} REJECT by key\n", CERT_NO),
    ("{table}", "{pubkey} REJECT by key\n", KEY_NO),
    ("{table}", "other REJECT no\n", ""),
    ("{{ {table}, {{ search_order = pubkey_fingerprint, cert_fingerprint }} }}",
     "{cert} REJECT by cert\n{pubkey} REJECT by key\n", KEY_NO),
    ("{{ {table} {{ search_order = pubkey_fingerprint cert_fingerprint }} }}",
     "{cert} REJECT by cert\n{pubkey} WARN me\n", CERT_NO),     # a result that decides nothing: the next key
    ("{{ {table}, {{ search_order = cert_fingerprint }} }}", "{pubkey} REJECT by key\n", ""),
    ("{{ {table} }}", "{pubkey} REJECT by key\n", KEY_NO),
    ("{{ {table}, {{ search_order = subject }} }}", "x REJECT\n", "451 4.3.5 Server configuration error"),
    ("{{ {table}, {{ order = x }} }}", "x REJECT\n", "451 4.3.5 Server configuration error"),
    ("{{ }}", "x REJECT\n", "451 4.3.5 Server configuration error"),
])
def test_check_ccert_access(made: Made, tmp_path: Path, argument: str, rows: str, want: str) -> None:
    table = tmp_path / "certs"
    table.write_text(rows.format(cert=made.cert, pubkey=made.pubkey))
    restrictions = f"check_ccert_access {argument.format(table=f'texthash:{table}')}"
    assert reply(restrictions, facts(made.der)) == want
    if not want.startswith("451"):
        assert reply(restrictions, facts()) == ""


@pytest.mark.parametrize("field", ["cert", "pubkey"])
def test_permit_tls_clientcerts_knows_both_fingerprints(made: Made, tmp_path: Path, field: str) -> None:
    table = tmp_path / "relay"
    table.write_text(f"{getattr(made, field)} host\n")
    values = {"relay_clientcerts": f"texthash:{table}"}
    for der, permitted in ((made.der, True), (b"", False)):
        answer = reply("permit_tls_clientcerts, reject", facts(der), **values)
        assert (answer == "") is permitted


def test_policy_request_tells_the_certificate(made: Made) -> None:
    text = request(facts(made.der, stress=True)).decode()
    assert "\nccert_subject=client+20one\nccert_issuer=The+20CA+3D1\n" in text
    assert f"\nccert_fingerprint={made.cert}\nccert_pubkey_fingerprint={made.pubkey}\n" in text
    assert "\nstress=yes\n" in text
    text = request(facts(made.der, verified=False)).decode()      # names are only told where an authority vouches
    assert f"\nccert_subject=\nccert_issuer=\nccert_fingerprint={made.cert}\n" in text
    assert "\nccert_subject=\nccert_issuer=\nccert_fingerprint=\n" in request(facts()).decode()


def test_a_certificate_that_cannot_be_read_has_its_fingerprint() -> None:
    who = client_certificate(TlsInfo(peer_certificate=b"nonsense"), "no-such-digest")
    assert who == ("", "", _digest(b"nonsense"), "")


def test_expansion_filter_of_block_list_replies() -> None:
    zone = {"9.2.0.192.bl.test": ["A 127.0.0.2", 'TXT see "x" {1}\tö']}
    given = facts(b"", helo="h\x01.test")
    values = {"default_rbl_reply": "$rbl_code $helo_name is bad",
              "smtpd_expansion_filter": r"abcdefghijklmnopqrstuvwxyz.54"}
    assert reply("reject_rbl_client bl.test", given, zone, **values) == "554 5.7.1 h_.test is bad"


async def _connections(request_limit: int, requests: int) -> int:
    """How many connections a policy service sees."""
    seen = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        try:
            while await reader.readuntil(b"\n\n"):
                writer.write(b"action=DUNNO\n\n")
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    service = Service(f"inet:127.0.0.1:{port}", timeout_s=10, request_limit=request_limit)
    for _ in range(requests):
        assert await service.ask(b"request=smtpd_access_policy\n\n") == "DUNNO"
    service.close()
    server.close()
    await server.wait_closed()
    return seen


@pytest.mark.parametrize(("limit", "connections"), [(0, 1), (2, 3), (1, 5)])
def test_request_limit_of_a_policy_connection(limit: int, connections: int) -> None:
    assert asyncio.run(_connections(limit, 5)) == connections


@pytest.mark.parametrize(("text", "want"), [(r"\t\40!", "\t !"), (r"[\\]", "[\\]"), (r"a\101\n", "aA\n"), ("\\", "\\")])
def test_unescape(text: str, want: str) -> None:
    assert unescape(text) == want
