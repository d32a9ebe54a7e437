"""Writing state headers and expunging in an mbox file, under its write locks.

    write_headers(mailbox, file, uids)          in place where the headers have room, else the tail is written anew
    expunge_messages(mailbox, file, uids)       what follows the first expunged message moves up, with its state headers

Both bring mailbox.spans up to date. The file never holds half a change after a crash: see file.py.
"""

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from mailsuite.store.mbox.file import BLOCK, OpenFile
from mailsuite.store.mbox.headers import compose, refit
from mailsuite.store.mbox.parse import Data, Span

if TYPE_CHECKING:
    from mailsuite.store.mbox.mailbox import MboxMailbox


def write_headers(mailbox: "MboxMailbox", file: OpenFile, uids: Collection[int]) -> None:
    """The first message gets X-IMAPbase as well."""
    first = mailbox.rows.uids[0]
    fits: list[tuple[int, bytes]] = []
    with file.data() as data:
        for uid in mailbox.rows.uids:
            if uid != first and uid not in uids:
                continue
            span = mailbox.spans[uid]
            header = data[span.header: span.body]
            new = refit(header, mailbox.wanted(uid, first=uid == first))
            if new is None:
                break
            if new != header:
                fits.append((span.header, new))
        else:
            uid = 0
        if uid:
            _write_tail(mailbox, file, data, uid, uids, frozenset())
    for offset, octets in fits:
        file.overwrite(offset, octets)
    if fits:
        file.sync()


def expunge_messages(mailbox: "MboxMailbox", file: OpenFile, gone: Collection[int]) -> None:
    if not gone:
        return
    left = [uid for uid in mailbox.rows.uids if uid not in gone]
    start = min(gone)
    if left and left[0] > mailbox.rows.uids[0]:
        start = mailbox.rows.uids[0]            # X-IMAPbase moves to another message
    with file.data() as data:
        _write_tail(mailbox, file, data, start, frozenset(left), gone)


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
