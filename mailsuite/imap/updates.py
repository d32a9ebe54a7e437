"""Searches whose result a client wants to be kept informed about: CONTEXT=SEARCH with UPDATE (RFC 5267).

    update = Update(b"a1", find, uid=True)      find() -> UIDs that match now, ascending
    update.without(expunged, number) -> octets  REMOVEFROM for messages that go, before their EXPUNGE
    update.news(number) -> octets               REMOVEFROM and ADDTO for what changed since

The position in ADDTO is 0: the client need not keep an order. With a SORT (`OrderedUpdate`) it is where it belongs.
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


class OrderedUpdate(Update):
    """Of a SORT: every position tells where in the order something goes or comes. find() gives UIDs in order."""

    def __init__(self, tag: bytes, find: Callable[[], list[int]], *, uid: bool, found: list[int],
                 items: Sequence[Item] = ()) -> None:
        super().__init__(tag, find, uid=uid, found=found, items=items)
        self._order = list(found)

    def without(self, expunged: Iterable[int], number: Number) -> bytes:
        gone = self._found.intersection(expunged)
        self._found -= gone
        return self._taken(gone, number)

    def _taken(self, gone: Iterable[int], number: Number) -> bytes:
        wanted = set(gone)
        pairs = []
        for uid in [each for each in self._order if each in wanted]:
            pairs.append((self._order.index(uid) + 1, uid))
            self._order.remove(uid)
        return self._pairs(b"REMOVEFROM", pairs, number)

    def _pairs(self, what: bytes, pairs: Sequence[tuple[int, int]], number: Number) -> bytes:
        shown = [(at, uid if self._uid else number(uid)) for at, uid in pairs]
        text = b" ".join(b"%d %d" % (at, each) for at, each in shown if each is not None)
        uid = b" UID" if self._uid else b""
        return b"* ESEARCH (TAG %b)%b %b (%b)\r\n" % (string(self.tag), uid, what, text) if text else b""

    def news(self, number: Number) -> bytes:
        now = self._find()
        there = set(now)
        kept = [uid for uid in self._order if uid in there]
        lost = self._found - there
        if kept != [uid for uid in now if uid in self._found]:
            lost = set(self._found)                 # another order: all of it anew
        out = self._taken(lost, number)
        known = set(self._order)
        pairs = [(at, uid) for at, uid in enumerate(now, 1) if uid not in known]
        self._order, self._found = now, there
        return out + self._pairs(b"ADDTO", pairs, number)
