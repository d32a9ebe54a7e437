"""What a client's certificate says, as access tables and policy services name it; restrictions on it.

    who = client_certificate(facts.tls, "sha256") -> ClientCertificate | None

    check_ccert_access type:table
    check_ccert_access { type:table, { search_order = pubkey_fingerprint, cert_fingerprint } }

A table is asked for each key in order until a result decides. Fingerprints are "AB:CD:...", by
smtpd_tls_fingerprint_digest; that of the key is over its SubjectPublicKeyInfo. Recorded from Postfix 3.7.
"""

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from mailsuite.base.dialogue import TlsInfo
from mailsuite.base.errors import ConfigError
from mailsuite.base.log import logger
from mailsuite.config.registry import split_items
from mailsuite.maps.maps import Maps
from mailsuite.smtp.policy.access import judge_as, open_table
from mailsuite.smtp.policy.judge import Judge
from mailsuite.smtp.policy.lists import restriction
from mailsuite.smtp.policy.verdict import PERMIT, Verdict
from mailsuite.smtp.syntax import printable

if TYPE_CHECKING:
    from cryptography.x509 import Name

    from mailsuite.smtp.policy.resources import Resources

log = logger("smtpd")
SEARCH_ORDER = ("cert_fingerprint", "pubkey_fingerprint")


class ClientCertificate(NamedTuple):
    """subject and issuer: common names (of the issuer, else its organisation); "" where there is none."""

    subject: str
    issuer: str
    cert_fingerprint: str
    pubkey_fingerprint: str


def client_certificate(tls: TlsInfo | None, digest: str) -> ClientCertificate | None:
    """None: there is no certificate. digest: the name of an algorithm; sha256 in place of one that is not known."""
    if tls is None or not tls.peer_certificate:
        return None
    return _read(tls.peer_certificate, digest if digest in hashlib.algorithms_available else "sha256")


@lru_cache(maxsize=256)
def _read(der: bytes, digest: str) -> ClientCertificate:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from cryptography.x509.oid import NameOID

    fingerprint = _fingerprint(der, digest)
    try:
        certificate = x509.load_der_x509_certificate(der)
        key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        subject = _first(certificate.subject, NameOID.COMMON_NAME)
        issuer = _first(certificate.issuer, NameOID.COMMON_NAME) or _first(certificate.issuer,
                                                                           NameOID.ORGANIZATION_NAME)
    except Exception as error:      # whatever an odd certificate does to the parser: it then has its fingerprint alone
        log.warning("cannot read the certificate %s of a client: %s", fingerprint, error)
        return ClientCertificate("", "", fingerprint, "")
    return ClientCertificate(subject, issuer, fingerprint, _fingerprint(key, digest))


def _first(name: "Name", oid: object) -> str:
    return next((printable(str(part.value)) for part in name if part.oid == oid), "")


def _fingerprint(octets: bytes, digest: str) -> str:
    return hashlib.new(digest, octets).digest().hex(":").upper()


def certificate_of(judge: Judge) -> ClientCertificate | None:
    """That of the client that is judged."""
    return client_certificate(judge.facts.tls, judge.resources.settings.text("smtpd_tls_fingerprint_digest"))


# --- restrictions -----------------------------------------------------------------------------------------------

@restriction("permit_tls_all_clientcerts")
async def permit_tls_all_clientcerts(judge: Judge, argument: object) -> Verdict:
    tls = judge.facts.tls
    return PERMIT if tls is not None and tls.peer_verified else None


@restriction("permit_tls_clientcerts")
async def permit_tls_clientcerts(judge: Judge, argument: object) -> Verdict:
    """The fingerprint of the certificate or of its key is in relay_clientcerts."""
    who = certificate_of(judge)
    for key in (who.cert_fingerprint, who.pubkey_fingerprint) if who is not None else ():
        if key and await judge.resources.relay_clientcerts.find(key) is not None:
            return PERMIT
    return None


class Search(NamedTuple):
    """Where and in which order check_ccert_access looks. wrong: the argument that could not be read."""

    maps: Maps | None
    order: tuple[str, ...] = SEARCH_ORDER
    wrong: str = ""


def parse_search(resources: "Resources", text: str) -> Search:
    """Never raises: what is wrong is logged, and answers 451 when it is reached."""
    if not text.startswith("{"):
        return Search(open_table(resources, text))
    try:
        table, *options = split_items(text[1:-1])
        order: tuple[str, ...] = SEARCH_ORDER
        for option in options:
            order = _order(option, text)
    except (ValueError, ConfigError) as error:
        log.warning("%s", error if str(error).startswith(("unknown", "expecting")) else
                    f"expecting \"{{ type:table, {{ search_order = name, ... }} }}\" instead of '{text}'")
        return Search(None, wrong=text)
    return Search(open_table(resources, table), order)


def _order(option: str, text: str) -> tuple[str, ...]:
    """Raises ValueError."""
    name, equals, value = option.strip("{} ").partition("=")
    if not option.startswith("{") or not equals or name.strip() != "search_order":
        raise ValueError(f"expecting \"{{ search_order = name, ... }}\" in '{text}'")
    order = tuple(value.replace(",", " ").split())
    for key in order:
        if key not in SEARCH_ORDER:
            raise ValueError(f"unknown search type '{key}' in '{text}'")
    if not order:
        raise ValueError(f"expecting names behind search_order in '{text}'")
    return order


@restriction("check_ccert_access", prepare=parse_search)
async def check_ccert_access(judge: Judge, argument: object) -> Verdict:
    assert isinstance(argument, Search)
    if argument.maps is None:
        log.warning("See earlier parsing error messages for '%s", argument.wrong)
        judge.server_error()
        return None
    who = certificate_of(judge)
    if who is None and not judge.resources.asks_certificate:
        log.warning("check_ccert_access is requested, but \"smtpd_tls_ask_ccert = no\"")
    for field in argument.order if who is not None else ():
        key = getattr(who, field)
        if key:
            assert who is not None
            verdict = await judge_as(judge, who.subject, "Client certificate", argument.maps.find_with_source(key))
            if verdict is not None:
                return verdict
    return None
