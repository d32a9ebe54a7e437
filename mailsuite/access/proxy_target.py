"""To which server a login is passed on, and how: the fields of a password database with `proxy`.

    target = target_of(success.fields, user, protocol)          raises BadTarget
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from mailsuite.base.errors import ConfigError, PermanentError
from mailsuite.base.secret import Secret
from mailsuite.config.dovecot_defaults import time_s
from mailsuite.smtp.client_sasl import MECHANISMS

PORTS = {"imap": (143, 993), "pop3": (110, 995), "sieve": (4190, 4190)}      # without and with TLS from the start


class BadTarget(PermanentError):
    """The database's fields make no sense; the text is for the log."""

    def __init__(self, detail: str) -> None:
        super().__init__("internal error", detail=detail)


@dataclass(frozen=True)
class Target:
    """host: as the database names it, address: to connect to. tls: from the first octet; starttls: later.

    any_certificate: of the server. mechanism: of SASL; "": the protocol's own command. master: who logs in as user.
    """

    host: str
    address: str
    port: int
    user: str
    password: Secret
    tls: bool = False
    starttls: bool = False
    any_certificate: bool = False
    mechanism: str = ""
    master: str = ""
    timeout_s: float = 0.0
    step_by_step: bool = False       # proxy_nopipelining
    untrusted: bool = False          # proxy_not_trusted: the server shall not hear of the client
    source_address: str = ""
    forward: tuple[tuple[str, str], ...] = ()


def target_of(fields: Mapping[str, str], user: str, protocol: str) -> Target:
    """Raises BadTarget."""
    if "pass" not in fields:
        raise BadTarget("password not given")
    host = fields.get("host", "")
    if not host:
        raise BadTarget("host not given")
    address = fields.get("hostip") or host
    try:
        address = str(ipaddress.ip_address(address))
    except ValueError:
        raise BadTarget(f"Invalid hostip {address}") from None
    mechanism = fields.get("proxy_mech", "PLAIN" if fields.get("master") else "")
    if mechanism and mechanism.upper() not in MECHANISMS:
        raise BadTarget(f"Unsupported SASL mechanism {mechanism}")
    starttls = "starttls" in fields
    tls = "ssl" in fields and not starttls
    return Target(
        host=host, address=address, port=_port(fields, PORTS[protocol][1 if "ssl" in fields else 0]),
        user=fields.get("destuser") or user, password=Secret(fields["pass"].encode("utf-8", "surrogateescape")),
        tls=tls, starttls=starttls, any_certificate="any-cert" in (fields.get("ssl"), fields.get("starttls")),
        mechanism=mechanism.upper(), master=fields.get("master", ""), timeout_s=_timeout(fields),
        step_by_step="proxy_nopipelining" in fields, untrusted="proxy_not_trusted" in fields,
        source_address=fields.get("source_ip", ""),
        forward=tuple((name.removeprefix("forward_"), value) for name, value in fields.items()
                      if name.startswith("forward_")))


def _port(fields: Mapping[str, str], default: int) -> int:
    text = fields.get("port", "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:6]) < 65536:
        raise BadTarget(f"Auth service returned invalid port number: {text}")
    return int(text)


def _timeout(fields: Mapping[str, str]) -> float:
    text = fields.get("proxy_timeout", "")
    if not text or text.isdigit():              # a plain number is seconds
        return float(text or 0)
    try:
        return time_s(text)
    except ConfigError:
        raise BadTarget(f"invalid proxy_timeout value '{text}'") from None
