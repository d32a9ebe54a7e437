"""dovecot-uidlist, version 3: which file of a Maildir has which UID.

    uidlist = UidList(folder, fsync=True)
    uidlist.load() -> bool                      True when the file changed since; UIDs are never taken from memory alone
    uidlist.uids[base]; uidlist.entry(base) -> Entry | None
    with uidlist.locked():                      dovecot-uidlist.lock, which Dovecot takes as well
        uidlist.load()
        uidlist.add([(base, b"")]) -> [uid]     appended and synced
        uidlist.rewrite(keep)                   without entries of files that are gone

First line: "3 V<uidvalidity> N<next uid> G<guid>"; then "UID [Gguid Wsize Ssize ...] :base". Fields of an entry that we
don't know are kept. A damaged file is read as far as it goes; without a readable first line the UIDVALIDITY is new.
A usual file is taken apart by one regular expression, one that is odd somewhere line by line.
Limits: a line longer than MAX_LINE octets and a UID that is not above the one before end the reading.
"""

import errno
import operator
import os
import re
import secrets
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, islice
from typing import NamedTuple

from mailsuite.base.files import fsync_directory, give_group
from mailsuite.store.api import MailboxInUse
from mailsuite.store.locks import LockBusy, MailboxLock

NAME = "dovecot-uidlist"
MAX_LINE = 4096
MAX_UID = 0xFFFFFFFF
HIGHEST_NEXT = 0xFFF00000       # a list whose next UID leaves fewer than this is begun anew
# Why a uidlist cannot be written: it belongs to somebody else, or there is no room.
UNWRITABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT})

_LINE = re.compile(rb"\n(\d{1,10})((?: [^\n]*?)??) :([^\n]*)(?=\n)")        # a field may have a colon


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
    """uids: by base, ascending. fields: of those bases that have some. Who changes them holds locked() and has called
    load() since."""

    def __init__(self, folder: str, *, fsync: bool = True, mode: int = 0o600, gid: int = -1,
                 wait_s: float = 120) -> None:
        """gid: the file's group, -1: the one it gets."""
        self._gid = gid
        self.folder, self._path, self._fsync, self._mode = folder, os.path.join(folder, NAME), fsync, mode
        self._lock = MailboxLock(self._path, ("dotlock",), wait_s=wait_s, delay_s=0.02, stale_s=120)
        self._held = 0
        self._stamp: tuple[int, int, int] | None = None
        self._begun = False             # by begin(): it is not on disk yet
        self.uid_validity, self.next_uid, self.guid = 0, 1, ""
        self._uids: dict[bytes, int] | None = {}        # None: as the file has it, and nobody has asked
        self.fields: dict[bytes, bytes] = {}
        self.damaged = self._new_name = False           # _new_name: the folder's entry is not on disk yet

    @property
    def uids(self) -> dict[bytes, int]:
        if self._uids is None:
            # What somebody has written since may be read as well; that it is another file is told by the next load().
            with suppress(FileNotFoundError), open(self._path, "rb", opener=_opener) as file:
                identity = self.uid_validity, self.next_uid, self.guid
                self._parse(file.read())
                self.uid_validity, self.next_uid, self.guid = identity
        if self._uids is None:
            self._uids = {}
        return self._uids

    @uids.setter
    def uids(self, uids: dict[bytes, int]) -> None:
        self._uids = uids

    def let_go(self) -> None:
        """Give the memory back until somebody asks."""
        if self._stamp is not None and not self._begun:
            self._uids = None

    def entry(self, base: bytes) -> Entry | None:
        uid = self.uids.get(base)
        return None if uid is None else Entry(uid, self.fields.get(base, b""), base)

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
            fd = _opener(self._path)
        except FileNotFoundError:
            if self._begun:
                return False
            changed = self._stamp is not None or bool(self._uids)
            self._stamp, self.uids, self.fields, self.uid_validity, self.next_uid = None, {}, {}, 0, 1
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
        head, _, _ = content.partition(b"\n")
        self.uids, self.fields = {}, {}
        self.uid_validity, self.next_uid, self.guid = 0, 1, ""
        if not content.endswith(b"\n"):
            self.damaged = bool(content) or self.damaged        # a line that was cut off by a crash
        if len(head) == len(content) or not self._parse_header(head):
            self.damaged = True
            return
        if not self._parse_all(content, len(head)):
            self._parse_lines(content[len(head) + 1:].split(b"\n")[:-1])
        self.next_uid = max(self.next_uid, next(reversed(self.uids.values()), 0) + 1)
        if self.next_uid > HIGHEST_NEXT:        # no UIDs are left, or so it says: all anew
            self.uids, self.fields, self.uid_validity, self.next_uid, self.guid = {}, {}, 0, 1, ""
            self.damaged = True

    def _parse_all(self, content: bytes, start: int) -> bool:
        """All lines from the line end at start on; False when something is odd with one of them."""
        found = _LINE.findall(content, start)
        numbers, fields, bases = zip(*found, strict=True) if found else ((), (), ())
        uids = list(map(int, numbers))
        if len(found) != content.count(b"\n", start) - 1 or (uids and not 0 < uids[0] <= uids[-1] < MAX_UID) or not all(
                map(operator.lt, uids, islice(uids, 1, None))) or max(map(len, bases), default=0) > MAX_LINE // 2:
            return False
        self.uids = dict(zip(bases, uids, strict=True))
        if any(fields):
            if max(map(len, fields)) > MAX_LINE // 3:
                return False
            self.fields = {base: text for base, each in zip(bases, fields, strict=True) if (text := each.strip(b" "))}
        return len(self.uids) == len(uids)

    def _parse_lines(self, lines: Sequence[bytes]) -> None:
        """One by one, up to the first that cannot be."""
        last = 0
        self.uids, self.fields = {}, {}
        for line in lines:
            head, colon, base = line.partition(b" :")
            number, _, fields = head.partition(b" ")
            if not colon or not number.isdigit() or len(line) > MAX_LINE or not last < int(number) < MAX_UID:
                self.damaged = True
                break
            last = int(number)
            self._put(Entry(last, fields.strip(b" "), base))

    def _put(self, entry: Entry) -> None:
        """At the end, also when the base was there."""
        self.uids.pop(entry.base, None)
        self.uids[entry.base] = entry.uid
        self.fields.pop(entry.base, None)
        if entry.fields:
            self.fields[entry.base] = entry.fields

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
        """A list for a mailbox that has none. It is written with the first UIDs, or by settle(), in any case before the
        lock is given back.

        It is not synced: the head says which UID comes next. Whatever part of such a list a crash leaves, no UID is
        given twice: what is not listed gets a higher one, and without a head the UIDVALIDITY is another. So ten
        thousand folders are seen for the first time in seconds."""
        self.uid_validity, self.next_uid = uid_validity, max(1, self.next_uid)
        self.guid, self._begun = self.guid or secrets.token_hex(16), True

    def settle(self) -> None:
        """Write a list that was begun, if there were no UIDs to be given."""
        if self._begun:
            self.rewrite(self.uids, sync=False)

    def add(self, files: Sequence[tuple[bytes, bytes]], wanted: Sequence[int] = ()) -> list[int]:
        """Give UIDs to files, (base, fields) each, in this order; on disk on return. wanted: see scan.assign_new."""
        if not any(wanted) and not any(fields for _, fields in files):
            return list(self.add_plain([base for base, _ in files]))
        new: list[Entry] = []
        uid = self.next_uid
        for number, (base, fields) in enumerate(files):
            uid = max(uid, wanted[number] if wanted else 0)
            new.append(Entry(uid, fields, base))
            uid += 1
        self.next_uid = uid
        replaces = any(entry.base in self.uids for entry in new)
        for entry in new:
            self._put(entry)
        self._write([b"".join([entry.line() for entry in new])], replaces)
        return [entry.uid for entry in new]

    def add_plain(self, bases: Sequence[bytes]) -> Sequence[int]:
        """As add, without fields: for many."""
        uids = range(self.next_uid, self.next_uid + len(bases))
        if self._begun and not self.uids:
            self.next_uid += len(bases)
            try:
                self._replace(_plain_blocks(uids, bases), sync=False)
            except OSError:
                self.next_uid = uids.start
                raise
            self.let_go()
            return uids
        first = self.next_uid == 1 and not self.uids
        replaces = not first and not self.uids.keys().isdisjoint(bases)
        if replaces:
            for base in bases:
                self.uids.pop(base, None)
                self.fields.pop(base, None)
        if not first or self.damaged or self._stamp is None:
            self.uids.update(zip(bases, uids, strict=True))
        self.next_uid += len(bases)
        self._write(_plain_blocks(uids, bases), replaces)
        if first:
            self.let_go()
        return uids

    def _write(self, blocks: Iterable[bytes], replaces: bool) -> None:
        """Entries that were put are on disk on return. blocks: their lines."""
        if replaces or self.damaged or self._begun or self._stamp is None:
            self.rewrite(self.uids)
        else:
            self._append(blocks)

    def _append(self, blocks: Iterable[bytes]) -> None:
        """Put lines at the end, durable; or none of them. Raises OSError: the next load reads the file anew."""
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            self._stamp = None
            try:
                for block in blocks:
                    view = memoryview(block)
                    while view:
                        view = view[os.write(fd, view):]
                if self._fsync:
                    os.fdatasync(fd)
                    if self._new_name:
                        fsync_directory(self.folder)
                        self._new_name = False
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

    def rewrite(self, keep: Collection[bytes], *, sync: bool = True) -> None:
        """Write the list anew with the entries of these bases (lock held)."""
        if keep is not self.uids:
            self.uids = {base: uid for base, uid in self.uids.items() if base in keep}
            self.fields = {base: fields for base, fields in self.fields.items() if base in keep}
        self._replace(self._blocks(), sync=sync)

    def _replace(self, blocks: Iterable[bytes], *, sync: bool) -> None:
        """Write the list anew, with the entries in these blocks."""
        head = b"3 V%d N%d G%b\n" % (self.uid_validity, self.next_uid, self.guid.encode())
        temp = self._path + ".tmp"
        with suppress(FileNotFoundError):
            os.unlink(temp)
        fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, self._mode)
        with open(fd, "wb") as file:
            os.fchmod(fd, self._mode)
            give_group(fd, self._gid)
            file.write(head)
            file.writelines(blocks)
            file.flush()
            if self._fsync and sync:
                os.fdatasync(fd)
            os.rename(temp, self._path)
            self._note(fd)
        self.damaged, self._begun, self._new_name = False, False, not sync
        if self._fsync and sync:
            fsync_directory(self.folder)

    def _blocks(self) -> Iterable[bytes]:
        if not self.fields:
            return _plain_blocks(self.uids.values(), self.uids)
        get = self.fields.get
        return [Entry(uid, get(base, b""), base).line() for base, uid in self.uids.items()]

    def save_uidls(self, uidls: "dict[bytes, bytes]") -> None:
        """P fields for these bases (lock held, loaded since)."""
        for base, uidl in uidls.items():
            entry = self.entry(base)
            if entry is not None and len(uidl) < MAX_LINE // 2:
                self.fields[base] = entry.with_uidl(uidl).fields
        self.rewrite(self.uids)

    def changed(self) -> bool:
        """Has somebody else written the file?"""
        try:
            info = os.stat(self._path)
        except OSError:
            return self._stamp is not None
        return (info.st_ino, info.st_size, info.st_mtime_ns) != self._stamp


def _opener(path: str, _: int = 0) -> int:
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _plain_blocks(uids: Iterable[int], bases: Collection[bytes]) -> Iterator[bytes]:
    """Entries without fields, a thousand by one operation."""
    pairs = zip(uids, bases, strict=True)
    while some := list(islice(pairs, 1000)):
        yield (b"%d :%b\n" * len(some)) % tuple(chain.from_iterable(some))
