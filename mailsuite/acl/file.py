"""One ACL file: dovecot-acl in a mailbox's folder, or one of the administrator's.

    file = AclFile("/var/mail/public/.Board/dovecot-acl")
    file.entries() -> [Entry]                     [] without a file; read again when it has changed
    file.change(lambda entries: [...])            under FILE.lock, replaced as a whole, its mode kept

A damaged file, or one that cannot be read, gives nobody anything: StoreError, with the place in `detail`.
"""

import os
import stat
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from mailsuite.acl.entries import BadAcl, Entry, parse, text
from mailsuite.base.files import own_group, write_whole
from mailsuite.store.errors import MailboxInUse, NoPermission, StoreError
from mailsuite.store.locks import LockBusy, MailboxLock

NAME = "dovecot-acl"
MAX_SIZE = 1024 * 1024          # octets of one file

_changing = threading.Lock()    # of this process: the dotlock tells processes apart


class AclFile:
    """everywhere: of the administrator."""

    def __init__(self, path: str, *, everywhere: bool = False) -> None:
        self.path, self._everywhere = path, everywhere
        self._stamp: object = None
        self._entries: list[Entry] = []
        self._damage = ""

    @property
    def there(self) -> bool:
        return os.path.lexists(self.path)

    def entries(self) -> list[Entry]:
        """Raises StoreError."""
        try:
            info = os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            self._stamp, self._entries, self._damage = None, [], ""
            return []
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}") from error
        stamp = (info.st_ino, info.st_mtime_ns, info.st_size, info.st_ctime_ns)
        if stamp != self._stamp:
            self._read()
            self._stamp = stamp
        if self._damage:
            raise StoreError(self._damage)
        return self._entries

    def _read(self) -> None:
        self._entries, self._damage = [], ""
        try:
            with open(self.path, "rb") as file:
                octets = file.read(MAX_SIZE + 1)
            if len(octets) > MAX_SIZE:
                raise BadAcl(f"more than {MAX_SIZE} octets")
            self._entries = parse(octets.decode("utf-8", "surrogateescape"), everywhere=self._everywhere)
        except BadAcl as error:
            self._damage = f"ACL file {self.path}: {error}"
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}") from error

    def change(self, update: Callable[[Sequence[Entry]], Sequence[Entry]]) -> bool:
        """Write what update makes of the entries; False when it is the same. Raises StoreError, MailboxInUse,
        NoPermission."""
        lock = MailboxLock(self.path, ("dotlock",), wait_s=30, delay_s=0.05, stale_s=120)
        try:
            os.makedirs(os.path.dirname(self.path), 0o700, exist_ok=True)       # beside mbox files
            with _changing, lock.dotlock():
                self._stamp = object()
                old = self.entries()
                new = list(update(old))
                if new == old:
                    return False
                self._write(new)
        except LockBusy as error:
            raise MailboxInUse(error.detail) from error
        except PermissionError as error:
            raise NoPermission(f"{self.path}: {error.strerror}") from error
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}") from error
        return True

    def _write(self, entries: Sequence[Entry]) -> None:
        """A new file gets the folder's rights and, where that is ours to give, its group."""
        folder = os.stat(os.path.dirname(self.path))
        try:
            info = os.stat(self.path)
        except FileNotFoundError:
            info = folder
        gid = own_group(os.path.dirname(self.path))
        owner = (-1, gid) if gid >= 0 else None
        write_whole(Path(self.path), text(entries).encode("utf-8", "surrogateescape"),
                    mode=stat.S_IMODE(info.st_mode) & 0o666, owner=owner)
