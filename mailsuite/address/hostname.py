"""Is that a host name, an address literal?

    is_hostname("mx.example.test") -> True       literal_address("[IPv6:2001:db8::1]") -> "2001:db8::1"

Underscores are let through: such names are in the DNS. Source: RFC 1123 section 2.1, RFC 5321 section 4.1.3.
"""

import re
import socket
from functools import lru_cache

from mailsuite.address.idna import to_ascii

_LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
_NAME = re.compile(rf"(?=.{{1,255}}\Z)(?:{_LABEL})(?:\.{_LABEL})*\Z", re.DOTALL)
_NUMERIC = re.compile(r"[0-9.]+\Z")


def is_hostname(name: str, *, utf8: bool = False) -> bool:
    """Whether name is made of labels and not all of digits. utf8: U-labels count, as IDNA 2008 allows them."""
    if utf8 and not name.isascii():
        try:
            name = to_ascii(name)
        except ValueError:
            return False
    return _NAME.match(name) is not None and _NUMERIC.match(name) is None


def is_ipv4(text: str) -> bool:
    """Whether text is four decimal numbers."""
    try:
        socket.inet_pton(socket.AF_INET, text)
    except (OSError, ValueError):
        return False
    return True


def is_ipv6(text: str) -> bool:
    """Whether text is an IPv6 address, without brackets and scope."""
    try:
        socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):
        return False
    return True


def literal_address(domain: str) -> str:
    """The address in "[192.0.2.1]" or "[IPv6:...]"; "" when it is no valid literal."""
    if not (domain.startswith("[") and domain.endswith("]")):
        return ""
    inside = domain[1:-1]
    if inside[:5].lower() == "ipv6:":
        return inside[5:] if is_ipv6(inside[5:]) else ""
    return inside if is_ipv4(inside) else ""


@lru_cache(1000)
def is_mail_domain(domain: str, *, utf8: bool = True) -> bool:
    """Whether mail can be addressed to it: a host name, or an address literal."""
    if domain.startswith("["):
        return bool(literal_address(domain))
    return is_hostname(domain, utf8=utf8)
