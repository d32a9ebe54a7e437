"""acl_shared_dict: which users let whom see something, so that LIST need not look into everybody's mail.

    boxes = SharedBoxes("/var/mail/shared-mailboxes")
    boxes.owners("bob", {"staff"}) -> ["alice"]                         who lets bob, his groups or anyone see something
    boxes.tell("alice", {Identifier(False, Kind.USER, "bob")})          all that alice's ACLs name

The file is Dovecot's dict: a line with a key (shared/shared-boxes/user/bob/alice), a line with its value (1), changed
under FILE.lock and replaced as a whole, its mode kept.
"""

import os
import stat
import threading
from collections.abc import Collection
from pathlib import Path

from mailsuite.acl.entries import Identifier, Kind
from mailsuite.base.files import write_whole
from mailsuite.store.errors import MailboxInUse, StoreError
from mailsuite.store.locks import LockBusy, MailboxLock

PREFIX = "shared/shared-boxes/"
MAX_SIZE = 64 * 1024 * 1024     # octets of the file
_changing = threading.Lock()


class SharedBoxes:
    """All methods block. Raises StoreError, MailboxInUse."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._stamp: object = None
        self._values: dict[str, str] = {}

    def _read(self) -> dict[str, str]:
        try:
            info = os.stat(self.path)
            stamp = (info.st_ino, info.st_mtime_ns, info.st_size)
            if stamp != self._stamp:
                with open(self.path, "rb") as file:
                    lines = file.read(MAX_SIZE).decode("utf-8", "surrogateescape").split("\n")
                self._values = {_unescape(key): _unescape(value)
                                for key, value in zip(lines[::2], lines[1::2], strict=False)}
                self._stamp = stamp
        except FileNotFoundError:
            self._stamp, self._values = None, {}
        except OSError as error:
            raise StoreError(f"acl_shared_dict {self.path}: {error.strerror}") from error
        return self._values

    def owners(self, user: str, groups: Collection[str]) -> list[str]:
        """Sorted, without the user."""
        begins = [f"{PREFIX}user/{user}/", f"{PREFIX}anyone/", *(f"{PREFIX}group/{group}/" for group in groups)]
        found = {key[len(begin):] for key in self._read() for begin in begins if key.startswith(begin)}
        return sorted(found - {user})

    def tell(self, owner: str, whom: Collection[Identifier]) -> None:
        wanted = {key for key in (_key(one, owner) for one in whom) if key}
        if self._of(owner, self._read()) == wanted:
            return
        lock = MailboxLock(self.path, ("dotlock",), wait_s=30, delay_s=0.05, stale_s=60)
        try:
            with _changing, lock.dotlock():
                values = dict(self._read())
                for key in self._of(owner, values) - wanted:
                    del values[key]
                values.update(dict.fromkeys(sorted(wanted), "1"))
                self._write(values)
        except LockBusy as error:
            raise MailboxInUse(error.detail) from error
        except OSError as error:
            raise StoreError(f"acl_shared_dict {self.path}: {error.strerror}") from error

    @staticmethod
    def _of(owner: str, values: Collection[str]) -> set[str]:
        return {key for key in values if key.startswith(PREFIX) and key.endswith("/" + owner)
                and key.count("/") >= (3 if key.startswith(f"{PREFIX}anyone/") else 4)}

    def _write(self, values: dict[str, str]) -> None:
        """A new file has the rights of its folder: all who share write it."""
        try:
            mode = stat.S_IMODE(os.stat(self.path).st_mode)
        except FileNotFoundError:
            mode = stat.S_IMODE(os.stat(os.path.dirname(self.path)).st_mode) & 0o666
        text = "".join(f"{_escape(key)}\n{_escape(value)}\n" for key, value in values.items())
        write_whole(Path(self.path), text.encode("utf-8", "surrogateescape"), mode=mode)


def _key(one: Identifier, owner: str) -> str:
    """"" for an identifier that says nothing of other users."""
    match one.kind:
        case Kind.ANYONE | Kind.AUTHENTICATED:
            return f"{PREFIX}anyone/{owner}"
        case Kind.USER if one.name != owner:
            return f"{PREFIX}user/{one.name}/{owner}"
        case Kind.GROUP | Kind.GROUP_OVERRIDE:
            return f"{PREFIX}group/{one.name}/{owner}"
    return ""


_ESCAPES = (("\x01", "\x011"), ("\t", "\x01t"), ("\r", "\x01r"), ("\n", "\x01n"))


def _escape(text: str) -> str:
    for plain, escaped in _ESCAPES:
        text = text.replace(plain, escaped)
    return text


def _unescape(text: str) -> str:
    for plain, escaped in reversed(_ESCAPES):
        text = text.replace(escaped, plain)
    return text
