"""A worker in reserve plays a session through before anybody needs it (net/spare.py): SELECT, FETCH of a few messages.

    rehearse(folder)                a temporary folder is made in this one
    tidy(folder)                    what a rehearsal left that was killed

A process that was forked copies each page of memory when it first touches it; a first SELECT touches a thousand: the
code's objects, SQLite's tables, what the C library keeps. Copied in advance, they cost the first client nothing, and no
more memory than later. The Maildir is a temporary one; what goes wrong here is nobody's loss. Nothing is
played that would start a thread: rights are still to be dropped.
"""

import logging
import shutil
import signal
import tempfile
from pathlib import Path

from mailsuite.imap import commands
from mailsuite.imap.commands.at_hand import at_hand
from mailsuite.imap.commands.context import Context
from mailsuite.imap.commands.url_content import Asker
from mailsuite.imap.params import Params
from mailsuite.imap.session import Command
from mailsuite.imap.syntax import Argument, Atom
from mailsuite.store.api import MailStore
from mailsuite.store.opening import open_store
from mailsuite.store.options import StoreOptions

PREFIX = "rehearsal-"
MESSAGES = 5
MESSAGE = b"From: a@b.test\nTo: c@d.test\nSubject: rehearsal\nDate: Thu, 1 Jan 2026 00:00:00 +0000\n\n-\n"
_COMMANDS: tuple[tuple[str, list[Argument]], ...] = (
    ("SELECT", [Atom(b"INBOX")]), ("NOOP", []),
    ("UID FETCH", [Atom(b"1:*"), [Atom(b"UID"), Atom(b"FLAGS")]]))

log = logging.getLogger("mailsuite.dovecot.imap")


class _Mail:
    """Nobody's."""

    def __init__(self, store: MailStore) -> None:
        self.store = self.open_store = store
        self.modseqs: set[str] = set()

    def fetch_url(self, owners: object, url: bytes, wanted: object, asker: Asker, most: int) -> bytes:
        raise NotImplementedError


def rehearse(folder: str) -> None:
    """folder: where only our own rights write, as base_dir. Raises nothing. Who is told to end meanwhile ends behind
    it, so that nothing is left."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        with tempfile.TemporaryDirectory(prefix=PREFIX, dir=folder) as home:
            for name in ("cur", "new", "tmp"):
                (Path(home) / "Maildir" / name).mkdir(parents=True)
            for number in range(MESSAGES):
                (Path(home) / f"Maildir/cur/1700000000.M{number:06d}P1.rehearsal:2,").write_bytes(MESSAGE)
            store = open_store("", home=home, location="maildir:~/Maildir:INDEX=MEMORY",
                               options=StoreOptions(fsync="never"))
            try:
                _play(Context(_Mail(store), Params()))
            finally:
                store.close()
    except Exception:
        log.debug("the rehearsal ended early", exc_info=True)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def tidy(folder: str) -> None:
    """Raises nothing. None may be under way."""
    for left in Path(folder).glob(PREFIX + "*"):
        shutil.rmtree(left, ignore_errors=True)


def _play(context: Context) -> None:
    for name, arguments in _COMMANDS:
        command = Command(b"r", name, arguments, name.startswith("UID "))
        hold = at_hand(context, command)
        if hold is not None and hold.take():
            hold.release()
        b"".join(commands.run(context, command))
    context.leave()
