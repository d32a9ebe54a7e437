"""Which messages hold a text: from what was found before, from the full text, and by reading the rest.

    found = Texts(selected, stop).holding("NEEDLE", uids, headers=True)      needle: folded

The full text answers for messages whose words it knows; where the needle has white space in it, it only tells which
messages need not be read. All others are read. The answer is the same either way. What was found is remembered for
the next search of the same text, as clients repeat and refine them; messages never change.
"""

from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence

from mailsuite.base.errors import TemporaryError
from mailsuite.fulltext.mailbox import MailboxText
from mailsuite.fulltext.segment import encoded
from mailsuite.imap.facts import facts_of
from mailsuite.imap.search_words import SLICE, looked_at
from mailsuite.imap.sieve import Sieve
from mailsuite.imap.text import texts_of
from mailsuite.imap.view import Selected
from mailsuite.message.message import Message

REMEMBERED = 8          # searches of a mailbox
REMEMBERED_UIDS = 1 << 20       # of a search; larger ones are not remembered
FEW = 32                # messages that are read without the full text being made complete for them


class Stopped(TemporaryError):
    """The client went away during a search."""

    def __init__(self) -> None:
        super().__init__("Search ended", status="4.3.0", detail="the client disconnected")


class Remembered:
    """Of the last searches in a mailbox, which messages were asked for, and which of them held the text."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, bool], tuple[array[int], array[int]]] = OrderedDict()

    def clear(self) -> None:
        self._known.clear()

    def get(self, text: str, headers: bool) -> tuple["array[int]", "array[int]"]:
        return self._known.get((text, headers)) or (array("I"), array("I"))

    def put(self, text: str, headers: bool, asked: "array[int]", found: "array[int]") -> None:
        if len(asked) > REMEMBERED_UIDS or len(text) > 1000:
            return
        self._known[text, headers] = asked, found
        self._known.move_to_end((text, headers))
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)


class Texts:
    """One search's looks into texts. stop: asked often; True ends the search by raising Stopped."""

    def __init__(self, selected: Selected, stop: Callable[[], bool] = lambda: False) -> None:
        self._selected, self._mailbox, self._stop = selected, selected.mailbox, stop

    def holding(self, text: str, uids: Sequence[int], *, headers: bool) -> set[int]:
        """Those of uids that hold the text (folded, not empty). Raises Stopped, StoreError."""
        remembered: Remembered = facts_of(self._mailbox).note("texts", Remembered)
        asked, before = remembered.get(text, headers)
        found, new = set(before).intersection(uids), list(uids)
        if asked:
            there = set(asked)
            new = [uid for uid in uids if uid not in there]
        if new:
            fresh = self._find(text, new, headers=headers)
            found |= fresh
            remembered.put(text, headers, asked + array("I", new), before + array("I", fresh))
        return found

    def _find(self, text: str, uids: list[int], *, headers: bool) -> set[int]:
        fulltext = self._mailbox.fulltext
        if fulltext is None:
            return self._read(text, uids, headers=headers)
        if fulltext.options.enforced:
            self._complete()
        pieces, found = text.split(), set[int]()
        kept, hits = fulltext.find(list(map(encoded, pieces)), headers=headers) if pieces else (set[int](), set[int]())
        unknown = [uid for uid in uids if uid not in kept]
        if pieces == [text]:
            found, unread = hits.intersection(uids), unknown
        else:
            unread = [uid for uid in uids if uid in hits or uid not in kept]
        found |= self._read(text, unread, headers=headers)
        self._have_completed(fulltext, unknown)         # not before: it would take the processor from this search
        return found

    def _have_completed(self, fulltext: MailboxText, unknown: Sequence[int]) -> None:
        """The next search should not have to read so many messages."""
        if len(unknown) >= FEW and len(self._selected.view.uids) >= fulltext.options.least_messages:
            left_out = fulltext.left_out
            if sum(1 for uid in unknown if uid not in left_out) >= FEW and not fulltext.is_full:
                fulltext.want()

    def _complete(self) -> None:
        """fts_enforced: first look at what is not known."""
        for _ in looked_at(self._mailbox):
            if self._stop():
                raise Stopped

    def _read(self, text: str, uids: Sequence[int], *, headers: bool) -> set[int]:
        found, sieve, at = set[int](), Sieve(text), 0
        while at < len(uids):
            self._selected.progress = b"%d" % at, b"%d" % len(uids)
            some = self._mailbox.read_some(uids[at: at + SLICE])
            if self._stop():
                raise Stopped
            for uid, stored in zip(uids[at:], some, strict=False):
                if stored is not None and sieve.passes(stored) and any(
                        text in each for each in texts_of(Message.from_stored(stored), headers=headers)):
                    found.add(uid)
            at += len(some)
        self._selected.progress = None
        return found
