"""Sections of a message as IMAP names them: BODY[1.2.HEADER.FIELDS (Subject)].

    section = parse_section(b"1.2.MIME")        Raises PeerError for anything else
    fetch_section(message, section) -> bytes    b"" where the message has no such part

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
