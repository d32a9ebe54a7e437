"""pop3_uidl_format: what UIDL shows for a message.

    Uidl("%08Xu%08Xv").render(mailbox, uids) -> [b"000000015f5e1000", ...]      raises NotAvailable
    Uidl("%08Xu%08Xv").listing(mailbox, uids) -> b"1 000000015f5e1000\\r\\n2 ..."
    renamed([b"a", b"b", b"a"]) -> [b"a", b"b", b"a-2"]                         pop3_uidl_duplicates = rename

%u UID, %v UIDVALIDITY, %g GUID, %f file name of a Maildir, %m hash of an mbox message's header; with the modifiers of
config/variables.py, e.g. %08Xu: eight hexadecimal digits.
Cost: %u and %v, with X and a width or without, are put together by one formatting for each message; anything else is
expanded as a variable.
Source: RFC 1939 section 7, UIDL: 1 to 70 octets from 0x21 to 0x7E.
"""

import re
from collections.abc import Iterable, Sequence

from mailsuite.config.variables import expand_variables
from mailsuite.pop3.listings import numbered
from mailsuite.store.api import Mailbox

_SIMPLE = re.compile(r"%(?:(%)|(?:0(\d+))?(X?)([uv]))")
_LETTER = re.compile(r"%(?:%|[-0-9.]*[LUEXRHNMDT]*([uvgfm]))")
_STORED = {"g": ("guid", "GUID"), "f": ("filename", "File name"), "m": ("header_md5", "Header MD5")}


class NotAvailable(Exception):
    """The mailbox has nothing of that kind."""

    def __init__(self, letter: str) -> None:
        super().__init__(f"{_STORED[letter][1]} not found (pop3_uidl_format=%{letter} not supported by storage?)")


class Uidl:
    """A compiled format."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._letters = [match[1] for match in _LETTER.finditer(text) if match[1]]
        self._format: str | None = None
        if "%" not in _SIMPLE.sub("", text):
            self._format = _SIMPLE.sub(_as_format, text)

    @property
    def numbers_only(self) -> bool:
        """Nothing but UIDs and UIDVALIDITY."""
        return self._format is not None

    def listing(self, mailbox: Mailbox, uids: Sequence[int]) -> bytes:
        """With numbers_only: the lines of UIDL for these messages, numbered from 1."""
        assert self._format is not None
        columns = [uids if letter == "u" else [mailbox.uid_validity] * len(uids) for letter in self._letters]
        return numbered(b"%d " + self._format.encode() + b"\r\n", [range(1, len(uids) + 1), *columns])

    def render(self, mailbox: Mailbox, uids: Sequence[int]) -> list[bytes]:
        """UIDLs in the order of uids. Raises NotAvailable."""
        columns = {letter: self._column(letter, mailbox, uids) for letter in self._letters}
        if self._format is not None:
            if not columns:
                return [self._text.encode()] * len(uids)
            rows: Iterable[tuple[object, ...]] = zip(*[columns[letter] for letter in self._letters], strict=True)
            return [(self._format % row).encode() for row in rows]
        return [expand_variables(self._text, {letter: str(column[at]) for letter, column in columns.items()}).encode(
            "utf-8", "surrogateescape") for at in range(len(uids))]

    @staticmethod
    def _column(letter: str, mailbox: Mailbox, uids: Sequence[int]) -> Sequence[object]:
        if letter == "u":
            return uids
        if letter == "v":
            return [mailbox.uid_validity] * len(uids)
        found = mailbox.identities(uids, _STORED[letter][0])
        if found is None:
            raise NotAvailable(letter)
        return found


def _as_format(match: "re.Match[str]") -> str:
    """%08Xu -> %08x"""
    if match[1]:
        return "%%"
    return f"%0{match[2]}{'x' if match[3] else 'd'}" if match[2] else f"%{'x' if match[3] else 'd'}"


def renamed(uidls: Sequence[bytes]) -> list[bytes]:
    """The second of two equal ones gets -2, the third -3."""
    counts: dict[bytes, int] = {}
    result = []
    for uidl in uidls:
        count = counts[uidl] = counts.get(uidl, 0) + 1
        result.append(uidl if count == 1 else b"%b-%d" % (uidl, count))
    return result
