"""Stores to test: the same user in Maildir++ and in mbox files."""

from collections.abc import Callable, Sequence
from pathlib import Path

from mailsuite.store.api import Append, Mailbox, MailStore
from mailsuite.store.opening import open_store
from mailsuite.store.options import StoreOptions

LOCATIONS = {"maildir": "maildir:~/Maildir", "fs": "maildir:~/Maildir:LAYOUT=fs", "mbox": "mbox:~/mail:INBOX=~/inbox"}
ONE = b"From: a@b.test\r\nSubject: one\r\n\r\nfirst\r\n"

OpenStore = Callable[[], MailStore]


def store_at(home: Path, kind: str, **options: object) -> MailStore:
    settings = {"fsync": "never", "host": "mx.test", **options}
    return open_store("alice", home=str(home), location=LOCATIONS[kind],
                      options=StoreOptions(**settings))     # type: ignore[arg-type]


def append(mailbox: Mailbox, *messages: bytes, flags: Sequence[str] = (), date: float | None = None) -> list[int]:
    transfer: Append = mailbox.begin_append()
    for octets in messages:
        transfer.write(octets)
        transfer.finish(flags, date)
    return transfer.commit()[1]


def numbered(count: int, start: int = 1) -> list[bytes]:
    return [b"Subject: %d\r\n\r\nbody %d\r\n" % (number, number) for number in range(start, start + count)]
