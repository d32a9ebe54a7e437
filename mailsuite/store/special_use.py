"""Special uses that clients gave to mailboxes: CREATE ... (USE (\\Archive)), RFC 6154.

    file = SpecialUses("/home/alice/Maildir/dovecot-special-use")
    file.read() -> {("Archive",): ("\\\\Archive",)};   file.give(("Archive",), ("\\\\Archive",))
    file.renamed([(("Archive",), ("Old",))]);   file.forget(("Old",))

Those of the configuration (mailbox { special_use }) are not in it. Beside the subscriptions file and shaped like it:
"V<tab>1", an empty line, then on each line the uses, separated by blanks, and the parts of the name, each behind a tab.
Changed under FILE.lock, replaced as a whole. A damaged line is passed over.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from mailsuite.base.files import write_whole
from mailsuite.store.api import MailboxInUse, NoPermission, StoreError
from mailsuite.store.locks import LockBusy, MailboxLock
from mailsuite.store.names import Parts
from mailsuite.store.subscriptions import escape, unescape

MAX_SIZE = 256 * 1024
HEADER = "V\t1\n\n"

Uses = dict[Parts, tuple[str, ...]]


class SpecialUses:
    """One user's file, which need not be there."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._known: tuple[object, Uses] = (None, {})

    def read(self) -> Uses:
        """By name. Read again only when the file is another one."""
        try:
            info = os.stat(self._path)
        except OSError:
            return {}
        stamp = (info.st_ino, info.st_size, info.st_mtime_ns)
        if self._known[0] != stamp:
            self._known = (stamp, self._read())
        return self._known[1]

    def _read(self) -> Uses:
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return {}
        with open(fd, "rb") as file:
            lines = file.read(MAX_SIZE).decode("utf-8", "surrogateescape").split("\n")
        found: Uses = {}
        for line in lines[2:]:
            uses, tab, name = line.partition("\t")
            if tab and name:
                found[tuple(unescape(part) for part in name.split("\t"))] = tuple(uses.split())
        return found

    def give(self, parts: Parts, uses: tuple[str, ...]) -> None:
        """Raises MailboxInUse, NoPermission, StoreError."""
        def change(all_uses: Uses) -> None:
            all_uses[parts] = uses

        self._change(change)

    def forget(self, parts: Parts) -> None:
        """The mailbox is gone."""
        if parts in self.read():
            self._change(lambda uses: uses.pop(parts, None))

    def renamed(self, pairs: Iterable[tuple[Parts, Parts]]) -> None:
        """old -> new name of each."""
        known = self.read()
        moved = [(old, new) for old, new in pairs if old in known]

        def change(uses: Uses) -> None:
            uses.update([(new, uses.pop(old)) for old, new in moved if old in uses])

        if moved:
            self._change(change)

    def _change(self, change: Callable[[Uses], object]) -> None:
        lock = MailboxLock(self._path, ("dotlock",), wait_s=10, delay_s=0.02, stale_s=60)
        try:
            with lock.dotlock():
                uses = dict(self._read())
                change(uses)
                lines = ["\t".join([" ".join(one), *map(escape, name)]) + "\n" for name, one in uses.items()]
                write_whole(Path(self._path), (HEADER + "".join(lines)).encode("utf-8", "surrogateescape"), mode=0o600)
        except LockBusy as error:
            raise MailboxInUse(error.detail) from error
        except PermissionError as error:
            raise NoPermission(str(error)) from error
        except OSError as error:
            raise StoreError(str(error)) from error
