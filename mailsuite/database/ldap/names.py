"""Names and URLs of a directory.

    quote_name(b"a,b") -> b"a\\,b"                 a value in a distinguished name (RFC 4514)
    parse_url("ldap://h:1/dc=x?mail?sub?(uid=a)") -> Url      (RFC 4516); raises ValueError
"""

import re
from typing import NamedTuple
from urllib.parse import unquote

from mailsuite.database.ldap.messages import Scope

_SPECIAL = re.compile(rb'[\0,+"\\<>;=]')
_SCHEMES = {"ldap": 389, "ldaps": 636, "ldapi": 0}
_SCOPES = {"": Scope.BASE, "base": Scope.BASE, "one": Scope.ONE, "onelevel": Scope.ONE, "sub": Scope.SUBTREE,
           "subtree": Scope.SUBTREE}


def quote_name(octets: bytes) -> bytes:
    """A value as it may stand in a distinguished name."""
    quoted = _SPECIAL.sub(lambda match: b"\\%02X" % match[0][0], octets)
    if quoted[:1] in (b" ", b"#"):
        quoted = b"\\%02X" % quoted[0] + quoted[1:]
    if quoted[-1:] == b" ":
        quoted = quoted[:-1] + b"\\20"
    return quoted


class Url(NamedTuple):
    """scheme: ldap, ldaps, ldapi. path: of a Unix socket. attributes: empty for all."""

    scheme: str
    host: str
    port: int
    path: str
    base: str
    attributes: list[str]
    scope: Scope
    filter: str


def is_url(text: str) -> bool:
    return text.lower().startswith(("ldap://", "ldaps://", "ldapi://"))


def parse_url(text: str) -> Url:
    """Raises ValueError."""
    scheme, slashes, rest = text.partition("://")
    scheme = scheme.lower()
    if not slashes or scheme not in _SCHEMES:
        raise ValueError(f"not an LDAP URL: {text}")
    place, _, rest = rest.partition("/") if "/" in rest else (*rest.partition("?")[:1], "", "")
    fields = rest.split("?")
    fields += [""] * (4 - len(fields))
    host, port, path = unquote(place), _SCHEMES[scheme], ""
    if scheme == "ldapi":
        host, path = "", unquote(place) or "/var/run/slapd/ldapi"
    elif host.startswith("["):
        host, _, tail = host[1:].partition("]")
        port = int(tail[1:]) if tail.startswith(":") else port
    elif host.count(":") == 1:
        host, _, tail = host.partition(":")
        port = int(tail) if tail else port
    scope = fields[2].lower()
    if scope not in _SCOPES:
        raise ValueError(f"unknown scope in {text}")
    return Url(scheme, host or "localhost", port, path, unquote(fields[0]),
               [unquote(name) for name in fields[1].split(",") if name], _SCOPES[scope],
               unquote(fields[3]) or "(objectClass=*)")
