"""The subscriptions file: which mailboxes a user's programs show. Shared with Dovecot.

    file = Subscriptions("/home/alice/Maildir/subscriptions", own=".")
    file.read() -> [("Work", "2024"), ("INBOX",)];  file.change(("Work",), on=True)

Version 2: "V<tab>2", an empty line, then a name on each line, its parts separated by tabs. Version 1, without the first
two lines and with the store's separator, is read too. Changed under FILE.lock, replaced as a whole.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path

from mailsuite.base.files import write_whole
from mailsuite.store.api import MailboxInUse, NoPermission, StoreError
from mailsuite.store.locks import LockBusy, MailboxLock
from mailsuite.store.names import Parts, from_disk, on_disk

MAX_SIZE = 4 * 1024 * 1024
HEADER = "V\t2\n\n"

_NOT_IN_NAMES = frozenset("\0\r\n\x7f")
_ESCAPES = {"0": "\0", "1": "\x01", "t": "\t", "r": "\r", "n": "\n"}


def unescape(text: str) -> str:
    """A part of a name out of a line."""
    if "\x01" not in text:
        return text
    first, *rest = text.split("\x01")
    return first + "".join(_ESCAPES.get(piece[:1], piece[:1]) + piece[1:] for piece in rest)


def escape(text: str) -> str:
    """A part of a name for a line."""
    for letter, octet in (("1", "\x01"), ("0", "\0"), ("t", "\t"), ("r", "\r"), ("n", "\n")):
        text = text.replace(octet, "\x01" + letter)
    return text


def _is_sane(part: str) -> bool:
    """Of a name in modified UTF-7."""
    return part.isascii() and part not in ("", ".", "..") and not _NOT_IN_NAMES.intersection(part)


class Subscriptions:
    """One user's file. utf8: names are in UTF-8 there."""

    def __init__(self, path: str, own: str, *, utf8: bool = False) -> None:
        self._path, self._own, self._utf8 = path, own, utf8

    def read(self) -> list[Parts]:
        """Without names that cannot be a mailbox's. A file that cannot be read has none."""
        try:
            return [parts for parts in self._all() if all(map(_is_sane, parts))]
        except OSError:
            return []

    def _all(self) -> list[Parts]:
        """Raises OSError."""
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return []
        with open(fd, "rb") as file:
            lines = file.read(MAX_SIZE).decode("utf-8", "surrogateescape").split("\n")
        if lines[0].startswith("V\t"):
            names = [tuple(unescape(part) for part in line.split("\t")) for line in lines[2:] if line]
        else:
            names = [tuple(line.split(self._own)) for line in lines if line]
        return list(dict.fromkeys(tuple(from_disk(part, utf8=self._utf8) for part in name) for name in names))

    def _mode(self) -> int:
        """As the file has it, or a new one gets it from its folder: the mail may be several users'."""
        for path in (self._path, os.path.dirname(self._path)):
            with suppress(OSError):
                return stat.S_IMODE(os.stat(path).st_mode) & 0o666
        return 0o600

    def change(self, parts: Parts, *, on: bool) -> None:
        """Raises MailboxInUse, NoPermission, StoreError."""
        lock = MailboxLock(self._path, ("dotlock",), wait_s=10, delay_s=0.02, stale_s=60)
        try:
            os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)
            with lock.dotlock():
                names = self._all()         # what cannot be read must not be written anew
                if (parts in names) == on:
                    return
                if on:
                    names.append(parts)
                else:
                    names.remove(parts)
                lines = ["\t".join(escape(on_disk(part, utf8=self._utf8)) for part in name) + "\n" for name in names]
                write_whole(Path(self._path), (HEADER + "".join(lines)).encode("utf-8", "surrogateescape"),
                            mode=self._mode())
        except LockBusy as error:
            raise MailboxInUse(error.detail) from error
        except PermissionError as error:
            raise NoPermission(str(error)) from error
        except OSError as error:
            raise StoreError(str(error)) from error
