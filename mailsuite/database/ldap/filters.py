"""Search filters: RFC 4515's text to octets, and quoting of what is put into them.

    encode_filter(b"(&(mail=a@b)(!(uid=x*)))") -> BER          raises FilterError
    quote_value(b"a*(b") -> b"a\\2a\\28b"

As OpenLDAP's library, one comparison may stand without parentheses. Nesting is limited to DEPTH_LIMIT.
"""

import re

from mailsuite.database.ldap import ber

DEPTH_LIMIT = 100
_SPECIAL = re.compile(rb"[*()\\\0]")
_ITEM = re.compile(rb"\s*([^=<>~:()*\\]*?)\s*(:dn)?(:[A-Za-z0-9.-]+)?(:=|~=|>=|<=|=)", re.IGNORECASE)
_ESCAPE = re.compile(rb"\\([0-9A-Fa-f]{2})|\\([*()\\])|\\")
_SETS = {ord("&"): 0xA0, ord("|"): 0xA1}
_COMPARISONS = {b"~=": 0xA8, b">=": 0xA5, b"<=": 0xA6}


class FilterError(ValueError):
    """Not a filter."""


def quote_value(octets: bytes) -> bytes:
    """As it may stand as a value of a filter (RFC 4515 section 3)."""
    return _SPECIAL.sub(lambda match: b"\\%02x" % match[0][0], octets)


def _unquote(octets: bytes) -> bytes:
    def one(match: re.Match[bytes]) -> bytes:
        if match[1]:
            return bytes((int(match[1], 16),))
        if match[2]:
            return match[2]             # LDAP v2's form
        raise FilterError("bad escape")
    return _ESCAPE.sub(one, octets) if b"\\" in octets else octets


def encode_filter(text: bytes) -> bytes:
    """Raises FilterError."""
    text = text.strip()
    if not text.startswith(b"("):
        return _item(text)
    encoded, rest = _parenthesized(text, 0)
    if rest.strip():
        raise FilterError("text after the filter")
    return encoded


def _parenthesized(text: bytes, depth: int) -> tuple[bytes, bytes]:
    """The filter at the start of text, and what follows it."""
    if depth > DEPTH_LIMIT:
        raise FilterError("nested too deeply")
    inner = text[1:].lstrip()
    if not inner:
        raise FilterError("no end")
    if inner[0] in _SETS:
        parts, rest = [], inner[1:].lstrip()
        while rest.startswith(b"("):
            part, rest = _parenthesized(rest, depth + 1)
            parts.append(part)
            rest = rest.lstrip()
        return ber.tlv(_SETS[inner[0]], b"".join(parts)), _closed(rest)
    if inner[:1] == b"!":
        rest = inner[1:].lstrip()
        if not rest.startswith(b"("):
            raise FilterError("nothing to negate")
        part, rest = _parenthesized(rest, depth + 1)
        return ber.tlv(0xA2, part), _closed(rest.lstrip())
    if inner[:1] == b"(":
        part, rest = _parenthesized(inner, depth + 1)
        return part, _closed(rest.lstrip())
    end = inner.find(b")")
    if end < 0:
        raise FilterError("no end")
    return _item(inner[:end]), inner[end + 1:]


def _closed(rest: bytes) -> bytes:
    if not rest.startswith(b")"):
        raise FilterError("no end")
    return rest[1:]


def _item(text: bytes) -> bytes:
    """One comparison."""
    match = _ITEM.match(text)
    if match is None:
        raise FilterError("no comparison")
    name, dn, rule, operator = match.groups()
    value = text[match.end():]
    if b"(" in value or b")" in value:
        raise FilterError("bare parenthesis")
    if operator == b":=":
        return _extensible(name, dn is not None, rule, value)
    if not name or dn or rule:
        raise FilterError("no attribute")
    if operator != b"=":
        return ber.tlv(_COMPARISONS[operator], ber.octets(name) + ber.octets(_unquote(value)))
    if value == b"*":
        return ber.octets(name, 0x87)
    if b"*" in value:
        return _substrings(name, value)
    return ber.tlv(0xA3, ber.octets(name) + ber.octets(_unquote(value)))


def _extensible(name: bytes, dn: bool, rule: bytes | None, value: bytes) -> bytes:
    if not name and not rule:
        raise FilterError("neither attribute nor rule")
    return ber.tlv(0xA9, (ber.octets(rule[1:], 0x81) if rule else b"") + (ber.octets(name, 0x82) if name else b"")
                   + ber.octets(_unquote(value), 0x83) + (ber.boolean(True, 0x84) if dn else b""))


def _substrings(name: bytes, value: bytes) -> bytes:
    parts = value.split(b"*")
    pieces = []
    for place, part in enumerate(parts):
        if part:
            tag = 0x80 if place == 0 else 0x82 if place == len(parts) - 1 else 0x81
            pieces.append(ber.octets(_unquote(part), tag))
    if not pieces:
        return ber.octets(name, 0x87)
    return ber.tlv(0xA4, ber.octets(name) + ber.tlv(ber.SEQUENCE, b"".join(pieces)))
