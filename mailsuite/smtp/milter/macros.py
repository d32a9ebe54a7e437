"""Sendmail's macros, as far as Postfix tells them.

    smtp_macros(facts, ...) -> {"{client_addr}": "192.0.2.1", ...}        what has no value is left out
    chosen(names, values, defaults) -> octets of a macro packet's pairs

See MILTER_README, "Sendmail macro emulation". Addresses are in external form, without <>.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from mailsuite.smtp.milter.syntax import string

if TYPE_CHECKING:
    from mailsuite.smtp.facts import Client, Facts

_ADDRESS = re.compile(r"<[^>]*>: ")
_REFUSAL = re.compile(r"\d{3}[ -](?:(\d\.\d{1,3}\.\d{1,3}) +)?(.*)", re.S)


def client_macros(client: "Client") -> dict[str, str]:
    """Who the client is."""
    reverse, name = client.reverse_name, client.name
    shown = f"{reverse} [{client.address}]" + ("" if name == reverse else " (may be forged)")
    return {"_": shown, "{client_addr}": client.address, "{client_name}": name, "{client_ptr}": reverse,
            "{client_port}": str(client.port), "{daemon_addr}": client.server_address,
            "{daemon_port}": str(client.server_port)}


def login_macros(method: str, name: str, sender: str) -> dict[str, str]:
    said = {"{auth_type}": method if name else "", "{auth_authen}": name, "{auth_author}": sender}
    return {key: value for key, value in said.items() if value}


def smtp_macros(facts: "Facts", connections: int) -> dict[str, str]:
    """All that is known of an SMTP connection and its transaction, resolved addresses excepted."""
    values = client_macros(facts.client)
    values["{client_connections}"] = str(connections)
    if facts.tls is not None:
        tls = facts.tls
        values |= {"{tls_version}": tls.protocol, "{cipher}": tls.cipher, "{cipher_bits}": str(tls.cipher_bits)}
        if tls.peer_certificate:
            values |= certificate_macros(tls.peer_certificate)
    values |= login_macros(facts.sasl_method, facts.sasl_username, facts.sasl_sender)
    if facts.queue_id:
        values["i"] = facts.queue_id
    return values


@lru_cache(maxsize=64)
def certificate_macros(der: bytes) -> Mapping[str, str]:
    """{cert_subject} and {cert_issuer}: the common names."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        certificate = x509.load_der_x509_certificate(der)
        pairs = (("{cert_subject}", certificate.subject), ("{cert_issuer}", certificate.issuer))
    except ValueError:
        return {}
    found = {}
    for macro, name in pairs:
        if common := name.get_attributes_for_oid(NameOID.COMMON_NAME):
            found[macro] = str(common[0].value)
    return found


def refused_macros(reply: str) -> dict[str, str]:
    """What a milter is told of a recipient that we refuse: "554 5.7.1 <a@b.test>: Relay access denied"."""
    match = _REFUSAL.match(reply)
    status, text = (match[1] or "", match[2]) if match else ("", reply)
    return {"{rcpt_mailer}": "error", "{rcpt_host}": status, "{rcpt_addr}": _ADDRESS.sub("", text, count=1)}


def chosen(names: Iterable[str], values: Mapping[str, str], defaults: Mapping[str, str]) -> bytes:
    """Pairs of those that have a value."""
    out = []
    for name in names:
        value = values.get(name, defaults.get(name))
        if value is not None:
            out.append(string(name) + string(value))
    return b"".join(out)
