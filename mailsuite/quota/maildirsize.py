"""The file `maildirsize` in the root of a Maildir++ tree: what is used, kept up to date by appending.

    size = MaildirSize("/home/a/Maildir", Limits(octets=1 << 30), count)       count(): what the mailboxes hold
    size.usage() -> Usage                       read; counted anew when missing, damaged, too long, or other limits
    size.add(octets=-1234, messages=-1)         one line, written at once
    size.recalculate()

First line: the limits ("1073741824S,1000C"); then lines "OCTETS MESSAGES", to be added up. Dovecot and Courier write
the same file (http://www.courier-mta.org/imap/README.maildirquota.html). Over the limit, a file that is old or has
grown is counted anew before anybody is refused. Without limits there is no file. Raises OSError.
"""

import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress

from mailsuite.quota.limits import Limits
from mailsuite.store.quota import Usage

NAME = "maildirsize"
LONGEST = 5120                  # octets; a longer file is counted anew
OLD_S = 15 * 60                 # over the limit: a file of this age is not believed


class MaildirSize:
    """Of one user; the file may be changed by others at any time."""

    def __init__(self, root: str, limits: Limits, count: Callable[[], Usage]) -> None:
        self._root, self._limits, self._count = root, limits, count
        self._path = os.path.join(root, NAME)

    @property
    def _header(self) -> bytes:
        octets, messages = self._limits
        return b",".join([b"%dS" % octets] * bool(octets) + [b"%dC" % messages] * bool(messages)) + b"\n"

    def usage(self) -> Usage:
        if self._limits == Limits():
            return self._count()
        found = self._read()
        if found is None:
            return self.recalculate()
        usage, believed = found
        return usage if believed or not self._over(usage) else self.recalculate()

    def _over(self, usage: Usage) -> bool:
        octets, messages = self._limits
        return bool(octets and usage.octets > octets or messages and usage.messages > messages)

    def _read(self) -> tuple[Usage, bool] | None:
        """What the file says, and whether a full mailbox is to be believed. None: count anew."""
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        with open(fd, "rb") as file:
            octets = file.read(LONGEST + 1)
            modified = os.fstat(fd).st_mtime
        header, _, lines = octets.partition(b"\n")
        if len(octets) > LONGEST or header + b"\n" != self._header or lines[-1:] != b"\n":
            return None
        try:
            pairs = [(int(first), int(second)) for first, second in map(bytes.split, lines.splitlines())]
        except ValueError:
            return None
        usage = Usage(sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs))
        if usage.octets < 0 or usage.messages < 0:
            return None
        return usage, len(pairs) == 1 and modified > time.time() - OLD_S

    def add(self, octets: int, messages: int) -> None:
        """A file that is not there is not begun: the next look counts."""
        if self._limits == Limits():
            return
        with suppress(FileNotFoundError):
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.write(fd, b"%d %d\n" % (octets, messages))
            finally:
                os.close(fd)

    def recalculate(self) -> Usage:
        usage = self._count()
        if self._limits != Limits() and os.path.isdir(self._root):
            temp = f"{self._path}.{os.getpid()}.{secrets.token_hex(4)}"
            fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                with open(fd, "wb") as file:
                    file.write(self._header + b"%d %d\n" % usage)
                os.rename(temp, self._path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temp)
                raise
        return usage
