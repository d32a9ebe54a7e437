"""Addresses as text: splitting and quoting.

    split_domain("a@b@c.test") -> ("a@b", "c.test")         quote_local("odd name@d") -> '"odd name"@d'
    split_extension("user+ext", "+") -> ("user", "+ext")    unquote_local('"odd name"@d') -> "odd name@d"

The local part keeps its case; a domain has none. Source: RFC 5321 sections 4.1.2 and 4.5.3.1, RFC 6531 section 3.3.
"""

import re
from functools import lru_cache

# Atoms of RFC 5322 with the octets of SMTPUTF8; dots may stand anywhere: such addresses exist, and are let through.
_PLAIN_LOCAL = re.compile(r"[^\x00-\x20\x7f()<>@,;:\\\".\[\]]+(?:\.[^\x00-\x20\x7f()<>@,;:\\\".\[\]]+)*")
_TO_ESCAPE = re.compile(r"[\\\"\r]")


def split_domain(address: str) -> tuple[str, str]:
    """Local part and domain, split at the last "@"; the domain is "" when there is none."""
    local, at, domain = address.rpartition("@")
    return (local, domain) if at else (address, "")


def split_extension(local: str, delimiters: str, *, lists: bool = True) -> tuple[str, str]:
    """Split a local part at the first of the delimiter characters: "user+ext" -> ("user", "+ext").

    Reserved names are not split: mailer-daemon, double-bounce, and owner-list and list-request when "-" is a delimiter
    (lists: unless owner_request_special says no).
    Source: postconf(5), recipient_delimiter.
    """
    if not delimiters:
        return local, ""
    position = next((place for place, char in enumerate(local) if char in delimiters), 0)
    lower = local.lower()
    if lower in ("mailer-daemon", "double-bounce"):
        return local, ""
    if lists and "-" in delimiters and (lower.startswith("owner-") or lower.endswith("-request")):
        return local, ""
    if position == 0:
        return local, ""
    return local[:position], local[position:]


@lru_cache(maxsize=4096)
def quote_local(address: str) -> str:
    """Internal to external form: put the local part in quotes where RFC 5321 asks for it. "" stays ""."""
    local, at, domain = address.rpartition("@")
    if not at:
        local, domain = address, ""
    if not address or _PLAIN_LOCAL.fullmatch(local):
        return address
    return '"' + _TO_ESCAPE.sub(r"\\\g<0>", local) + '"' + at + domain


def unquote_local(address: str) -> str:
    """External to internal form: take quotes and backslashes out of the local part."""
    if '"' not in address and "\\" not in address:
        return address
    local, end = _unquote(address, address.rfind("@") if not address.endswith('"') else len(address))
    return local + address[end:]


def _unquote(address: str, end: int) -> tuple[str, int]:
    """The unquoted text up to the "@" that ends the local part, and that position."""
    out: list[str] = []
    quoted, position = False, 0
    while position < len(address):
        char = address[position]
        if char == '"':
            quoted = not quoted
        elif char == "\\" and position + 1 < len(address):
            position += 1
            out.append(address[position])
        elif char == "@" and not quoted and position >= end:
            break
        else:
            out.append(char)
        position += 1
    return "".join(out), position
