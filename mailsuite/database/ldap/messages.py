"""LDAP messages as octets: requests we send, replies we read (RFC 4511).

    bind_request(1, 3, b"cn=x", b"password")     search_request(2, ...)     start_tls_request(3)     unbind(4)
    parse(message) -> (id, Entry | Reference | Result)          raises BerError
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from mailsuite.database.ldap import ber
from mailsuite.database.ldap.ber import BerError, Reader

START_TLS = b"1.3.6.1.4.1.1466.20037"
_BIND, _BIND_REPLY, _UNBIND, _SEARCH, _ENTRY, _DONE, _REFERENCE = 0x60, 0x61, 0x42, 0x63, 0x64, 0x65, 0x73
_EXTENDED, _EXTENDED_REPLY = 0x77, 0x78
RESULTS = frozenset({_BIND_REPLY, _DONE, _EXTENDED_REPLY})


class Scope(IntEnum):
    BASE = 0
    ONE = 1
    SUBTREE = 2


class Entry(NamedTuple):
    """name: the entry's DN. attributes: in the order they came; a description may carry options ("cn;lang-de")."""

    name: bytes
    attributes: list[tuple[str, list[bytes]]]


class Reference(NamedTuple):
    """Where the search could be continued."""

    urls: list[str]


class Result(NamedTuple):
    """How an operation ended. code: 0 is success. text: the server's explanation. referral: URLs, for code 10."""

    kind: int
    code: int
    matched: bytes
    text: str
    referral: list[str]
    credentials: bytes


def _message(number: int, operation: bytes) -> bytes:
    return ber.tlv(ber.SEQUENCE, ber.integer(number) + operation)


def bind_request(number: int, version: int, name: bytes, password: bytes) -> bytes:
    return _message(number, ber.tlv(_BIND, ber.integer(version) + ber.octets(name) + ber.octets(password, 0x80)))


def sasl_bind_request(number: int, name: bytes, mechanism: str, credentials: bytes | None) -> bytes:
    sasl = ber.octets(mechanism.encode()) + (b"" if credentials is None else ber.octets(credentials))
    return _message(number, ber.tlv(_BIND, ber.integer(3) + ber.octets(name) + ber.tlv(0xA3, sasl)))


def search_request(number: int, base: bytes, scope: Scope, filter: bytes, attributes: Sequence[str], *,
                   dereference: int = 0, size_limit: int = 0, time_limit_s: int = 0) -> bytes:
    """filter: encoded (filters.py)."""
    names = b"".join(ber.octets(name.encode()) for name in attributes)
    return _message(number, ber.tlv(_SEARCH, ber.octets(base) + ber.integer(scope, ber.ENUMERATED)
                                    + ber.integer(dereference, ber.ENUMERATED) + ber.integer(size_limit)
                                    + ber.integer(time_limit_s) + ber.boolean(False) + filter
                                    + ber.tlv(ber.SEQUENCE, names)))


def start_tls_request(number: int) -> bytes:
    return _message(number, ber.tlv(_EXTENDED, ber.octets(START_TLS, 0x80)))


def unbind(number: int) -> bytes:
    return _message(number, ber.tlv(_UNBIND, b""))


def parse(message: bytes) -> tuple[int, Entry | Reference | Result]:
    """One whole message. Raises BerError."""
    outer = Reader(Reader(message).expect(ber.SEQUENCE))
    number = outer.integer()
    tag, content = outer.take()
    inner = Reader(content)
    if tag == _ENTRY:
        return number, _entry(inner)
    if tag == _REFERENCE:
        return number, Reference(_urls(inner))
    if tag in RESULTS:
        return number, _result(tag, inner)
    raise BerError(f"unexpected operation {tag:#x}")


def _entry(inner: Reader) -> Entry:
    name = inner.expect(ber.OCTETS)
    attributes = []
    listing = Reader(inner.expect(ber.SEQUENCE))
    while listing.more:
        one = Reader(listing.expect(ber.SEQUENCE))
        description = one.expect(ber.OCTETS).decode("utf-8", "replace")
        values, found = Reader(one.expect(ber.SET)), []
        while values.more:
            found.append(values.expect(ber.OCTETS))
        attributes.append((description, found))
    return Entry(name, attributes)


def _urls(inner: Reader) -> list[str]:
    urls = []
    while inner.more:
        urls.append(inner.expect(ber.OCTETS).decode("utf-8", "replace"))
    return urls


def _result(tag: int, inner: Reader) -> Result:
    code = inner.integer(ber.ENUMERATED)
    matched, text = inner.expect(ber.OCTETS), inner.expect(ber.OCTETS)
    referral: list[str] = []
    credentials = b""
    while inner.more:
        kind, content = inner.take()
        if kind == 0xA3:
            referral = _urls(Reader(content))
        elif kind == 0x87:
            credentials = content
    return Result(tag, code, matched, text.decode("utf-8", "replace"), referral, credentials)


TEXTS = {
    -1: "Can't contact LDAP server", -5: "Timed out", -6: "Unknown authentication method", -7: "Bad search filter",
    -2: "Local error", -3: "Encoding error", -4: "Decoding error", -11: "Connect error",
    0: "Success", 1: "Operations error", 2: "Protocol error", 3: "Time limit exceeded", 4: "Size limit exceeded",
    7: "Authentication method not supported", 8: "Strong(er) authentication required", 10: "Referral",
    11: "Administrative limit exceeded", 12: "Critical extension is unavailable", 13: "Confidentiality required",
    14: "SASL bind in progress", 16: "No such attribute", 17: "Undefined attribute type", 18: "Inappropriate matching",
    21: "Invalid syntax", 32: "No such object", 33: "Alias problem", 34: "Invalid DN syntax",
    36: "Alias dereferencing problem", 48: "Inappropriate authentication", 49: "Invalid credentials",
    50: "Insufficient access", 51: "Server is busy", 52: "Server is unavailable", 53: "Server is unwilling to perform",
    54: "Loop detected", 80: "Other (e.g., implementation specific) error"}


def text_of(code: int) -> str:
    """What OpenLDAP's library calls a result code."""
    return TEXTS.get(code, f"Unknown error {code}" if code > 0 else "Unknown API error")
