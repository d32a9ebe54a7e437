"""Sections of a message as IMAP names them: BODY[1.2.HEADER.FIELDS (Subject)].

    section = parse_section(b"1.2.MIME")        Raises PeerError for anything else
    fetch_section(message, section) -> bytes    b"" where the message has no such part
    stored_section(message, section) -> bytes   the same with NULs, for BINARY

RFC 3501 section 6.4.5. The text of FIELDS may hold quoted strings: HEADER.FIELDS ("SUBJECT" From).
Limits: MAX_DEPTH numbers, MAX_FIELDS names.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from mailsuite.base.errors import PeerError
from mailsuite.message.header import pick_fields

if TYPE_CHECKING:
    from mailsuite.message.message import Message
    from mailsuite.message.mime import Part

MAX_DEPTH = 100
MAX_FIELDS = 1000


class Kind(Enum):
    """What of the part is meant."""

    ALL = auto()
    HEADER = auto()
    TEXT = auto()
    MIME = auto()
    FIELDS = auto()
    FIELDS_NOT = auto()


@dataclass(frozen=True)
class Section:
    """path: part numbers, () for the message itself. names: of FIELDS and FIELDS_NOT, in lower case."""

    path: tuple[int, ...] = ()
    kind: Kind = Kind.ALL
    names: tuple[bytes, ...] = ()


_PATH = re.compile(rb"((?:\d{1,9}\.)*\d{1,9})(?:\.|$)")
_NAMES = re.compile(rb'[ ]*(?:"((?:[^"\\\r\n]|\\["\\])*)"|([^\s()"\\{]+))', re.S)
_KINDS = {b"": Kind.ALL, b"HEADER": Kind.HEADER, b"TEXT": Kind.TEXT, b"MIME": Kind.MIME}


def parse_section(text: bytes) -> Section:
    """text: what stands between [ and ], e.g. b"1.2.HEADER.FIELDS (Subject)". Raises PeerError."""
    path: tuple[int, ...] = ()
    rest = text
    match = _PATH.match(text)
    if match is not None:
        path, rest = tuple(int(number) for number in match[1].split(b".")), text[match.end():]
        if not rest and text.endswith(b".") or len(path) > MAX_DEPTH:
            raise PeerError("Invalid BODY[..] section")
    kind = _KINDS.get(rest.upper())
    if kind is not None and not (kind is Kind.MIME and not path):
        return Section(path, kind)
    for prefix, kind in ((b"HEADER.FIELDS.NOT ", Kind.FIELDS_NOT), (b"HEADER.FIELDS ", Kind.FIELDS)):
        if rest.upper().startswith(prefix):
            return Section(path, kind, _names(rest[len(prefix):]))
    raise PeerError("Invalid BODY[..] section")


def _names(text: bytes) -> tuple[bytes, ...]:
    text = text.strip(b" ")
    if not (text.startswith(b"(") and text.endswith(b")")):
        raise PeerError("Invalid BODY[..] section")
    names: list[bytes] = []
    at, end = 1, len(text) - 1
    while at < end and len(names) < MAX_FIELDS:
        match = _NAMES.match(text, at, end)
        if match is None:
            break
        names.append((match[1] if match[1] is not None else match[2]).lower())
        at = match.end()
    if not names or text[at:end].strip(b" "):
        raise PeerError("Invalid BODY[..] section")
    return tuple(names)


def fetch_section(message: "Message", section: Section) -> bytes:
    """The octets of a section in wire form; b"" for a part that is not there."""
    return _section(message, message.octets, section)


def stored_section(message: "Message", section: Section) -> bytes:
    """As fetch_section, with the NULs of the message."""
    return _section(message, message.crlf, section)


def _section(message: "Message", octets: bytes, section: Section) -> bytes:
    if not section.path:
        return _of_whole(message, octets, section)
    from mailsuite.message.mime import part_at
    part = part_at(message.structure, section.path)
    return b"" if part is None else _of_part(octets, part, section)


def _of_whole(message: "Message", octets: bytes, section: Section) -> bytes:
    if section.kind is Kind.ALL:
        return octets
    if section.kind is Kind.TEXT:
        return octets[message.header_size:]
    if section.kind is Kind.HEADER:
        return message.header
    return pick_fields(message.header, frozenset(section.names), negate=section.kind is Kind.FIELDS_NOT,
                       end=section.kind is Kind.FIELDS)


def _of_part(octets: bytes, part: "Part", section: Section) -> bytes:
    if section.kind is Kind.ALL:
        return octets[part.body_start: part.end]
    if section.kind is Kind.MIME:
        return octets[part.header_start: part.header_end]
    if not part.is_message:         # only a message/rfc822 part has a header and a text of its own
        return b""
    inner = part.children[0]
    if section.kind is Kind.TEXT:
        return octets[inner.body_start: inner.end]
    header = octets[inner.header_start: inner.header_end]
    if section.kind is Kind.HEADER:
        return header
    return pick_fields(header, frozenset(section.names), negate=section.kind is Kind.FIELDS_NOT)
