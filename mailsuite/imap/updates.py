"""Searches whose result a client wants to be kept informed about: CONTEXT=SEARCH with UPDATE (RFC 5267).

    update = Update(b"a1", find, uid=True)      find() -> UIDs that match now, ascending
    update.without(expunged, number) -> octets  REMOVEFROM for messages that go, before their EXPUNGE
    update.news(number) -> octets               REMOVEFROM and ADDTO for what changed since

The position in ADDTO is 0: the client need not keep an order.
Limits: MAX_UPDATES a mailbox; more are refused with NOUPDATE.
"""

from collections.abc import Callable, Iterable, Sequence

from mailsuite.imap import numbers
from mailsuite.imap.fetch_items import Item
from mailsuite.imap.reply import string

MAX_UPDATES = 32
Number = Callable[[int], int | None]


class Update:
    """found: UIDs as the client knows them. items: what is fetched of new messages that match."""

    def __init__(self, tag: bytes, find: Callable[[], list[int]], *, uid: bool, found: list[int],
                 items: Sequence[Item] = ()) -> None:
        self.items = tuple(items)
        self.tag, self._find, self._uid = tag, find, uid
        self._found = set(found)

    def holds(self, uid: int) -> bool:
        return uid in self._found

    def _line(self, what: bytes, uids: Iterable[int], number: Number) -> bytes:
        shown = sorted(uids) if self._uid else sorted(each for each in map(number, uids) if each is not None)
        uid = b" UID" if self._uid else b""
        return b"* ESEARCH (TAG %b)%b %b (0 %b)\r\n" % (string(self.tag), uid, what, numbers.format_set(shown))

    def without(self, expunged: Iterable[int], number: Number) -> bytes:
        gone = self._found.intersection(expunged)
        if not gone:
            return b""
        self._found -= gone
        return self._line(b"REMOVEFROM", gone, number)

    def news(self, number: Number) -> bytes:
        now = set(self._find())
        before, self._found = self._found, now
        out = b""
        if lost := before - now:
            out += self._line(b"REMOVEFROM", lost, number)
        if new := now - before:
            out += self._line(b"ADDTO", new, number)
        return out
