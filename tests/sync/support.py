"""Sides for tests: stores in a folder, and a whole run in a line."""

from pathlib import Path

from mailsuite.store.api import Mailbox, MailStore
from mailsuite.store.opening import open_store
from mailsuite.store.options import StoreOptions
from mailsuite.sync.engine import Run
from mailsuite.sync.local import StoreSide
from mailsuite.sync.model import Side
from mailsuite.sync.options import Mode, Options
from mailsuite.sync.report import Report
from mailsuite.sync.state import State

MIRROR, PULL = Options(mode=Mode.MIRROR), Options(mode=Mode.MIRROR, reverse=True)
ONE_WAY, BOTH = Options(mode=Mode.ONE_WAY), Options(mode=Mode.BOTH)


def store_at(folder: Path, kind: str = "maildir", **options: object) -> MailStore:
    folder.mkdir(exist_ok=True)
    location = "maildir:~/Maildir" if kind == "maildir" else "mbox:~/mail:INBOX=~/inbox"
    return open_store("alice", home=str(folder), location=location,
                      options=StoreOptions(fsync="never", **options))       # type: ignore[arg-type]


def message(number: int, *, more: bytes = b"") -> bytes:
    return (b"Message-ID: <%d@x.test>\r\nDate: Thu, 1 Jan 2020 00:00:00 +0000\r\nSubject: %d\r\n\r\n"
            b"text %d\r\n%b" % (number, number, number, more))


def fill(mailbox: Mailbox, *numbers: int, flags: list[str] | None = None) -> None:
    append = mailbox.begin_append()
    for number in numbers:
        append.write(message(number))
        append.finish(flags or [], 1_500_000_000.0 + number)
    append.commit()


def subjects(mailbox: Mailbox) -> list[str]:
    """In the order of the UIDs."""
    mailbox.refresh()
    view = mailbox.open_view(read_only=True)
    try:
        return [mailbox.message(uid).fields(b"Subject")[0].decode().strip() for uid in view.uids]
    finally:
        view.close()


def uids(mailbox: Mailbox) -> list[int]:
    view = mailbox.open_view(read_only=True)
    view.close()
    return list(view.uids)


def side(store: MailStore) -> Side:
    return StoreSide(store, "local")


def sync(left: Side | MailStore, right: Side | MailStore, options: Options = BOTH, state: State | None = None) -> Run:
    """A run that must end without errors."""
    def as_side(one: object) -> Side:
        return one if hasattr(one, "folders") else StoreSide(one, "local")       # type: ignore[return-value,arg-type]

    run = Run(as_side(left), as_side(right), options, Report(), state, sleep=lambda pause_s: None)
    result = run.run()
    assert not result.errors and not result.refusals
    return run


def done(run: Run) -> tuple[int, int, int]:
    """Messages copied, with changed flags, removed."""
    result = run.report.result
    return result.copied, result.flags, result.removed
