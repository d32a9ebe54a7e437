"""Writing state headers and expunging in an mbox file, under its write locks.

    rewrite(mailbox, file, stale, gone)     stale: UIDs whose state the file doesn't show; gone: expunged ones

Headers are written in place where they have room; from the first one that has not, or the first expunged message on,
the file's tail is written anew. mailbox.spans is brought up to date. The file never holds half a change after a
crash: see file.py.

UIDVALIDITY, last UID and keywords stand in X-IMAPbase of the first message, or in X-IMAP of a pseudo message before
it. A file whose last message goes gets such a one, as Dovecot does; it stays when mail comes again.
"""

import time
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from mailsuite.store.mbox.file import BLOCK, OpenFile
from mailsuite.store.mbox.headers import compose, compose_pseudo, pseudo_message, refit, refit_pseudo
from mailsuite.store.mbox.parse import Data, Span, scan

if TYPE_CHECKING:
    from mailsuite.store.mbox.mailbox import MboxMailbox


def rewrite(mailbox: "MboxMailbox", file: OpenFile, stale: Collection[int], gone: Collection[int]) -> None:
    """Write the headers of the stale messages and of the one that has X-IMAPbase; leave out those in gone."""
    data = file.data()
    if all(uid in gone for uid in mailbox.rows.uids) and mailbox.pseudo is None:
        octets = pseudo_message(mailbox.sender.rpartition("@")[2], time.time(), mailbox.base_text())
        file.replace_tail(0, iter([octets]))
        mailbox.pseudo = next(scan(octets))[0]
        return
    first = base_holder(mailbox, gone)
    fits: list[tuple[int, bytes]] = []
    start = 0
    if mailbox.pseudo is not None:
        header = data[mailbox.pseudo.header: mailbox.pseudo.body]
        new = refit_pseudo(header, mailbox.base_text())
        if new is None:
            _write_tail(mailbox, file, data, 0, stale, gone)
            return
        if new != header:
            fits.append((mailbox.pseudo.header, new))
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


def base_holder(mailbox: "MboxMailbox", gone: Collection[int]) -> int:
    """The UID of the message whose header has X-IMAPbase; 0: the pseudo message has it, or there is no message."""
    if mailbox.pseudo is not None:
        return 0
    return next((uid for uid in mailbox.rows.uids if uid not in gone), 0)


def _write_tail(mailbox: "MboxMailbox", file: OpenFile, data: Data, start_uid: int, changed: Collection[int],
                gone: Collection[int]) -> None:
    """Write the file anew from a message on: headers of `changed` with their state, without the messages in gone.

    start_uid 0: from the pseudo message on.
    """
    offset = mailbox.spans[start_uid].start if start_uid else 0
    spans: dict[int, Span] = {}
    at = offset
    first = base_holder(mailbox, gone)
    pseudo = mailbox.pseudo

    def pieces() -> Iterator[bytes]:
        nonlocal at, pseudo
        if not start_uid and pseudo is not None:
            octets = data[: pseudo.header] + compose_pseudo(data[pseudo.header: pseudo.body], mailbox.base_text()) \
                + data[pseudo.body: pseudo.next]
            pseudo = next(scan(octets))[0]
            at = len(octets)
            yield octets
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
    mailbox.pseudo = pseudo
