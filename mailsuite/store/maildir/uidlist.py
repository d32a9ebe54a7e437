"""dovecot-uidlist, version 3: which file of a Maildir has which UID.

    uidlist = UidList(folder, fsync=True)
    uidlist.load() -> bool                      True when the file changed since; UIDs are never taken from memory alone
    with uidlist.locked():                      dovecot-uidlist.lock, which Dovecot takes as well
        uidlist.load()
        uidlist.add([(base, b"")]) -> [uid]     appended and synced
        uidlist.rewrite(keep)                   without entries of files that are gone

First line: "3 V<uidvalidity> N<next uid> G<guid>"; then "UID [Gguid Wsize Ssize ...] :base". Fields of an entry that we
don't know are kept. A damaged file is read as far as it goes; without a readable first line the UIDVALIDITY is new.
Limits: a line longer than MAX_LINE octets and a UID that is not above the one before end the reading.
"""

import os
import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from mailsuite.base.files import fsync_directory
from mailsuite.store.api import MailboxInUse
from mailsuite.store.locks import LockBusy, MailboxLock

NAME = "dovecot-uidlist"
MAX_LINE = 4096
MAX_UID = 0xFFFFFFFF
HIGHEST_NEXT = 0xFFF00000       # a list whose next UID leaves fewer than this is begun anew


class Entry(NamedTuple):
    """fields: what stands between UID and name, e.g. b"W123 G1.M2.mx"."""

    uid: int
    fields: bytes
    base: bytes

    def line(self) -> bytes:
        return b"%d %b:%b\n" % (self.uid, self.fields + b" " if self.fields else b"", self.base)

    def guid(self) -> bytes:
        """What identifies the message through copies: its G field, else its name."""
        for field in self.fields.split(b" "):
            if field.startswith(b"G"):
                return field[1:]
        return self.base

    def uidl(self) -> bytes | None:
        """What POP3 once called the message, its P field; an empty one stands for the file's name."""
        if b"P" not in self.fields:
            return None
        for field in self.fields.split(b" "):
            if field.startswith(b"P"):
                return field[1:] or self.base
        return None

    def with_uidl(self, uidl: bytes) -> "Entry":
        fields = [field for field in self.fields.split(b" ") if field and not field.startswith(b"P")]
        return self._replace(fields=b" ".join([*fields, b"P" + (uidl if uidl != self.base else b"")]))


class UidList:
    """entries: by base. Whoever changes them holds locked() and has called load() since."""

    def __init__(self, folder: str, *, fsync: bool = True, mode: int = 0o600, wait_s: float = 120) -> None:
        self.folder, self._path, self._fsync, self._mode = folder, os.path.join(folder, NAME), fsync, mode
        self._lock = MailboxLock(self._path, ("dotlock",), wait_s=wait_s, delay_s=0.02, stale_s=120)
        self._held = 0
        self._stamp: tuple[int, int, int] | None = None
        self.uid_validity, self.next_uid, self.guid = 0, 1, ""
        self.entries: dict[bytes, Entry] = {}
        self.damaged = False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Raises MailboxInUse, OSError (a folder that can't be written to)."""
        if self._held:
            yield
            return
        try:
            with self._lock.dotlock():
                self._held = 1
                try:
                    yield
                finally:
                    self._held = 0
        except LockBusy as error:
            raise MailboxInUse(error.detail) from error

    def load(self) -> bool:
        """Read the file when it is another or longer than last time."""
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            changed = self._stamp is not None or bool(self.entries)
            self._stamp, self.entries, self.uid_validity, self.next_uid = None, {}, 0, 1
            return changed
        with open(fd, "rb") as file:
            info = os.fstat(fd)
            stamp = (info.st_ino, info.st_size, info.st_mtime_ns)
            if stamp == self._stamp:
                return False
            self._parse(file.read())
            self._stamp = stamp
        return True

    def _parse(self, content: bytes) -> None:
        lines = content.split(b"\n")
        if lines and lines[-1]:
            self.damaged = True         # a line that was cut off by a crash
        lines.pop()
        self.entries = {}
        self.uid_validity, self.next_uid, self.guid = 0, 1, ""
        if not lines or not self._parse_header(lines[0]):
            self.damaged = True
            return
        last = 0
        entries = {}
        for line in lines[1:]:
            head, colon, base = line.partition(b" :")         # a field may have a colon
            number, _, fields = head.partition(b" ")
            if not colon or not number.isdigit() or len(line) > MAX_LINE or not last < int(number) < MAX_UID:
                self.damaged = True
                break
            last = int(number)
            entries[base] = Entry(last, fields.rstrip(b" "), base)
        self.entries = entries
        self.next_uid = max(self.next_uid, last + 1)
        if self.next_uid > HIGHEST_NEXT:        # no UIDs are left, or so it says: all anew
            self.entries, self.uid_validity, self.next_uid, self.guid, self.damaged = {}, 0, 1, "", True

    def _parse_header(self, line: bytes) -> bool:
        version, *fields = line.split(b" ")
        if version == b"1" and len(fields) >= 2:        # "1 uidvalidity nextuid", Dovecot before 1.1
            fields = [b"V" + fields[0], b"N" + fields[1]]
        elif version != b"3":
            return False
        for field in fields:
            value = field[1:]
            if field[:1] in b"VN" and value.isdigit() and int(value) <= MAX_UID:
                if field[:1] == b"V":
                    self.uid_validity = int(value)
                else:
                    self.next_uid = int(value)
            elif field[:1] == b"G":
                self.guid = value.decode("ascii", "replace")
        return self.uid_validity > 0

    def begin(self, uid_validity: int) -> None:
        """A list for a mailbox that has none (lock held)."""
        self.uid_validity, self.next_uid = uid_validity, max(1, self.next_uid)
        self.guid = self.guid or secrets.token_hex(16)
        self.rewrite(self.entries)

    def add(self, files: Sequence[tuple[bytes, bytes]], wanted: Sequence[int] = ()) -> list[int]:
        """Give UIDs to files, (base, fields) each, in this order; on disk on return. wanted: see scan.assign_new."""
        new: list[Entry] = []
        uid = self.next_uid
        for number, (base, fields) in enumerate(files):
            uid = max(uid, wanted[number] if wanted else 0)
            new.append(Entry(uid, fields, base))
            uid += 1
        replaces = any(entry.base in self.entries for entry in new)
        for entry in new:
            self.entries.pop(entry.base, None)
            self.entries[entry.base] = entry
        self.next_uid = uid
        if replaces or self.damaged or self._stamp is None:
            self.rewrite(self.entries)
        elif new:
            self._append(b"".join([entry.line() for entry in new]))
        return [entry.uid for entry in new]

    def _append(self, lines: bytes) -> None:
        """Put lines at the end, durable; or none of them. Raises OSError: the next load reads the file anew."""
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            self._stamp = None
            try:
                view = memoryview(lines)
                while view:
                    view = view[os.write(fd, view):]
                if self._fsync:
                    os.fdatasync(fd)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(fd, size)
                raise
            self._note(fd)
        finally:
            os.close(fd)

    def _note(self, fd: int) -> None:
        info = os.fstat(fd)
        self._stamp = (info.st_ino, info.st_size, info.st_mtime_ns)

    def rewrite(self, keep: Collection[bytes]) -> None:
        """Write the list anew with the entries of these bases (lock held)."""
        self.entries = {base: entry for base, entry in self.entries.items() if base in keep}
        head = b"3 V%d N%d G%b\n" % (self.uid_validity, self.next_uid, self.guid.encode())
        temp = self._path + ".tmp"
        with suppress(FileNotFoundError):
            os.unlink(temp)
        fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, self._mode)
        with open(fd, "wb") as file:
            os.fchmod(fd, self._mode)
            file.write(head + b"".join([entry.line() for entry in self.entries.values()]))
            file.flush()
            if self._fsync:
                os.fdatasync(fd)
            os.rename(temp, self._path)
            self._note(fd)
        self.damaged = False
        if self._fsync:
            fsync_directory(self.folder)

    def save_uidls(self, uidls: "dict[bytes, bytes]") -> None:
        """P fields for these bases (lock held, loaded since)."""
        for base, uidl in uidls.items():
            entry = self.entries.get(base)
            if entry is not None and len(uidl) < MAX_LINE // 2:
                self.entries[base] = entry.with_uidl(uidl)
        self.rewrite(self.entries)

    def changed(self) -> bool:
        """Has somebody else written the file?"""
        try:
            info = os.stat(self._path)
        except OSError:
            return self._stamp is not None
        return (info.st_ino, info.st_size, info.st_mtime_ns) != self._stamp
