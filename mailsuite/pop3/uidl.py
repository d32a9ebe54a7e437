"""pop3_uidl_format: what UIDL shows for a message.

    Uidl("%08Xu%08Xv").render(mailbox, uids) -> [b"000000015f5e1000", ...]     None: the mailbox has no such value

%u UID, %v UIDVALIDITY, %g GUID, %f file name of a Maildir, %m hash of an mbox message's header. %08Xu: eight
hexadecimal digits.
Source: RFC 1939 section 7, UIDL: 1 to 70 octets from 0x21 to 0x7E.
"""

import re
from collections.abc import Sequence

from mailsuite.store.api import Mailbox

_PART = re.compile(r"%(?:(%)|(-?)(0?)(\d*)(X?)(?:([uvgfm])|\{(uid|uidvalidity|guid|filename|md5)\}))")
_NAMES = {"uid": "u", "uidvalidity": "v", "guid": "g", "filename": "f", "md5": "m"}
_STRINGS = {"g": "guid", "f": "filename", "m": "header_md5"}


class Uidl:
    """A compiled format."""

    def __init__(self, text: str) -> None:
        self._pieces: list[str] = []
        self._values: list[str] = []
        at = 0
        for match in _PART.finditer(text):
            self._literal(text[at:match.start()])
            at = match.end()
            if match[1]:
                self._literal("%")
                continue
            name = match[6] or _NAMES[match[7]]
            kind = "s" if name in _STRINGS else "x" if "X" in match[5] else "d"
            width = match[4]
            self._pieces.append(f"%{match[2]}{match[3] if kind != 's' else ''}{width}{kind}")
            self._values.append(name)
        self._literal(text[at:])
        self._format = "".join(self._pieces)

    def _literal(self, text: str) -> None:
        self._pieces.append(text.replace("%", "%%"))

    def render(self, mailbox: Mailbox, uids: Sequence[int]) -> list[bytes] | None:
        """UIDLs in the order of uids."""
        columns: list[Sequence[object]] = []
        for name in self._values:
            if name == "u":
                columns.append(uids)
            elif name == "v":
                columns.append([mailbox.uid_validity] * len(uids))
            else:
                named = mailbox.identities(uids, _STRINGS[name])
                if named is None:
                    return None
                columns.append(named)
        if not columns:
            return [self._format.encode()] * len(uids)
        return [(self._format % values).encode("utf-8", "surrogateescape") for values in zip(*columns, strict=True)]
