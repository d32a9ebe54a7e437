"""Sizes of a maildrop's messages, and what LIST and UIDL say of all of them, remembered as long as the mailbox is open:
a client that comes every few minutes asks for all of it each time.

    known = known_of(mailbox, uids)         sizes that are not known are asked for; blocks
    known.sizes, known.total                octets as RETR sends them, in the order of uids
    known.replies[key] = octets             a listing of all, under whatever key its maker likes; `keep` bounds it
    numbered(b"%d %d\\r\\n", [numbers, sizes]) -> the lines of a listing, BLOCK of them at a time

Kept for a message: 12 octets, some 35 more with both listings. Limits: KEPT_OCTETS of one listing.
"""

from array import array
from collections.abc import Sequence
from itertools import chain
from weakref import WeakKeyDictionary

from mailsuite.store.api import Mailbox

KEPT_OCTETS = 4 * 1024 * 1024
BLOCK = 1000            # lines that are made by one operation


class Known:
    """Of the messages of these UIDs, in this order."""

    __slots__ = ("replies", "sizes", "total", "uids")

    def __init__(self, uids: "array[int]", sizes: "array[int]") -> None:
        self.uids, self.sizes, self.total = uids, sizes, sum(sizes)
        self.replies: dict[object, bytes] = {}

    def keep(self, key: object, reply: bytes) -> bytes:
        if len(reply) <= KEPT_OCTETS:
            self.replies[key] = reply
        return reply


_known: "WeakKeyDictionary[Mailbox, Known]" = WeakKeyDictionary()


def known_already(mailbox: Mailbox, uids: "array[int]") -> Known | None:
    """Without asking the mailbox for anything."""
    known = _known.get(mailbox)
    return known if known is not None and known.uids == uids else None


def known_of(mailbox: Mailbox, uids: "array[int]") -> Known:
    """uids: ascending; not changed afterwards. Raises StoreError."""
    before = _known.get(mailbox)
    if before is not None and before.uids == uids:
        return before
    if before is None:
        sizes = array("Q", [size or 0 for size in mailbox.sizes(uids)])
    elif uids[:len(before.uids)] == before.uids:        # there are only new ones
        sizes = before.sizes + array("Q", [size or 0 for size in mailbox.sizes(uids[len(before.uids):])])
    else:
        found = dict(zip(before.uids, before.sizes, strict=True))
        missing = [uid for uid in uids if uid not in found]
        found.update((uid, size or 0) for uid, size in zip(missing, mailbox.sizes(missing), strict=True))
        sizes = array("Q", [found[uid] for uid in uids])
    known = _known[mailbox] = Known(uids, sizes)
    return known


def numbered(form: bytes, columns: Sequence[Sequence[int]]) -> bytes:
    """form: of a line, with a place for a value of each column."""
    blocks = []
    for start in range(0, len(columns[0]), BLOCK):
        some = [column[start:start + BLOCK] for column in columns]
        blocks.append(form * len(some[0]) % tuple(chain.from_iterable(zip(*some, strict=True))))
    return b"".join(blocks)
