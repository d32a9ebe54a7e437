"""Writing state headers and expunging in an mbox file, under its write locks.

    rewrite(mailbox, file, stale, gone)     stale: UIDs whose state the file doesn't show; gone: expunged ones

Headers are written in place where they have room; from the first one that has not, or the first expunged message on,
the file's tail is written anew. mailbox.spans is brought up to date. The file never holds half a change after a
crash: see file.py.
"""

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from mailsuite.store.mbox.file import BLOCK, OpenFile
from mailsuite.store.mbox.headers import compose, refit
from mailsuite.store.mbox.parse import Data, Span

if TYPE_CHECKING:
    from mailsuite.store.mbox.mailbox import MboxMailbox


def rewrite(mailbox: "MboxMailbox", file: OpenFile, stale: Collection[int], gone: Collection[int]) -> None:
    """Write the headers of the stale messages and of the first one, which has X-IMAPbase; leave out those in gone."""
    first = next((uid for uid in mailbox.rows.uids if uid not in gone), 0)
    fits: list[tuple[int, bytes]] = []
    data = file.data()
    start = 0
    for uid in mailbox.rows.uids:
        if uid in gone:
            start = uid
            break
        if uid != first and uid not in stale:
            continue
        span = mailbox.spans[uid]
        header = data[span.header: span.body]
        new = refit(header, mailbox.wanted(uid, first=uid == first))
        if new is None:
            start = uid
            break
        if new != header:
            fits.append((span.header, new))
    if start:
        _write_tail(mailbox, file, data, start, stale, gone)
    for offset, octets in fits:
        file.overwrite(offset, octets)
    if fits:
        file.sync()


def _write_tail(mailbox: "MboxMailbox", file: OpenFile, data: Data, start_uid: int, changed: Collection[int],
                gone: Collection[int]) -> None:
    """Write the file anew from a message on: headers of `changed` with their state, without the messages in gone."""
    offset = mailbox.spans[start_uid].start
    spans: dict[int, Span] = {}
    at = offset
    first = next((uid for uid in mailbox.rows.uids if uid not in gone), 0)

    def pieces() -> Iterator[bytes]:
        nonlocal at
        for uid in mailbox.rows.uids:
            if uid < start_uid or uid in gone:
                continue
            span = mailbox.spans[uid]
            head = data[span.start: span.header]
            header = data[span.header: span.body]
            if uid in changed or uid == first:
                wanted = mailbox.wanted(uid, first=uid == first)
                header = refit(header, wanted) or compose(header, wanted)
            yield head + header
            for begin in range(span.body, span.next, BLOCK):
                yield data[begin: min(span.next, begin + BLOCK)]
            body = at + len(head) + len(header)
            spans[uid] = Span(at, at + len(head), body, body + span.end - span.body, body + span.next - span.body)
            at = spans[uid].next

    file.replace_tail(offset, pieces())
    mailbox.spans.update(spans)
