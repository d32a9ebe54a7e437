"""What a transport's nexthop means: a domain, a host and port, a Unix socket.

    parse_destination("[mx.a.test]:2525", 25) -> Destination("mx.a.test", 2525, literal=True)
"""

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from mailsuite.base.errors import MailError

DEFAULT_PORTS = {"smtp": 25, "smtps": 465, "submissions": 465, "submission": 587, "lmtp": 24}
_BRACKETED = re.compile(r"\[([^\]]*)\](?::(.*))?")


class NoHost(MailError):
    """There is nobody to deliver to; status begins with 4 or 5."""


@dataclass(frozen=True, slots=True)
class Destination:
    """literal: in brackets: no MX look-up. path: a Unix socket. service: the port's name, if it has one."""

    host: str
    port: int
    literal: bool = False
    path: str = ""
    service: str = ""


def parse_destination(text: str, port: int, known: Mapping[str, int] = DEFAULT_PORTS) -> Destination:
    """"host", "host:port", "[host]:port", "[192.0.2.1]", "inet:host:port", "unix:/path". Raises NoHost.

    port: where none is named. known: ports by name, before those of /etc/services.
    """
    if text.startswith("unix:"):
        return Destination("", 0, path=text[5:])
    text = text.removeprefix("inet:")
    match = _BRACKETED.fullmatch(text)
    if match is not None:
        host, service, literal = match[1], match[2], True
        if host.lower().startswith("ipv6:"):
            host = host[5:]
    else:
        host, _, service = text.partition(":")
        literal = False
    if not host:
        raise NoHost(f"null destination: \"{text}\"", status="4.3.5")
    service = service or ""
    return Destination(host, _port(service, port, text, known), literal, service="" if service.isdigit() else service)


def _port(service: str, default: int, text: str, known: Mapping[str, int]) -> int:
    if not service:
        return default
    if service.isascii() and service.isdigit() and 0 < int(service) < 65536:
        return int(service)
    try:
        return known.get(service) or socket.getservbyname(service, "tcp")
    except OSError:
        raise NoHost(f"unknown service: {service}/tcp in destination {text}", status="4.3.5") from None


def service_port(text: str, default: int, known: Mapping[str, int]) -> int:
    """smtp_tcp_port, lmtp_tcp_port."""
    try:
        return _port(text, default, text, known)
    except NoHost:
        return default
