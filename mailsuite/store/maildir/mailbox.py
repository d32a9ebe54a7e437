"""One Maildir as a mailbox: reading, flags, expunging, appending, copying. What is there: scan.py.

Flags are in the file's name, so a change of flags is a rename into cur/; another program may have renamed the file
since we looked: then it is looked for by its base name and tried again, once.
"""

import json
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from io import FileIO

from mailsuite.base.cached import read_cached
from mailsuite.message.crlf import BlockConverter, to_crlf
from mailsuite.message.message import Message
from mailsuite.store.api import Append, CopyResult, IdentityChange, MessageGone, StoreError
from mailsuite.store.flags import SEEN
from mailsuite.store.mailbox import BaseMailbox, Change
from mailsuite.store.maildir.append import MaildirAppend
from mailsuite.store.maildir.copying import copy_messages
from mailsuite.store.maildir.filename import (
    KEYWORD_LETTERS,
    base_of,
    letters_for,
    letters_of,
    rest_of,
    stored_size_of,
    wire_size_of,
)
from mailsuite.store.maildir.folder import Path
from mailsuite.store.maildir.keywords import write_keywords
from mailsuite.store.maildir.packed import MAGIC_OCTETS, is_packed, unpack
from mailsuite.store.maildir.reading import advise, is_no_mail, open_file, read_file, read_head, read_octets
from mailsuite.store.maildir.scan import ScannedMaildir

AT_ONCE = 64 * 1024     # octets of a message that an event loop may read from the kernel's memory
BLOCK = 64 * 1024       # octets of a large message in memory at a time


class MaildirMailbox(ScannedMaildir):
    """Made by UserStore.open()."""

    def _with_file(self, uid: int, use: "Callable[[bytes], object]") -> object:
        """use(path) of the message's file. Raises MessageGone, StoreError."""
        for again in (True, False):
            at = self.rows.position(uid)
            if at is None:
                raise MessageGone
            try:
                return use(self.path(self.rows.keys[at]))
            except FileNotFoundError:
                if again:
                    self.rescan()
            except OSError as error:
                if is_no_mail(error):
                    self.leave_out(self.rows.keys[at])
                    break
                raise StoreError(str(error)) from error
        raise MessageGone

    def read_stored(self, uid: int) -> bytes:
        found = self._with_file(uid, read_file)
        assert isinstance(found, tuple)
        octets: bytes = found[0]
        return self._unpacked(uid, octets) if self.options.unpacks and is_packed(octets) else octets

    def _unpacked(self, uid: int, octets: bytes) -> bytes:
        try:
            return unpack(octets)
        except OSError as error:
            raise StoreError(f"{self.name}: UID {uid}: {error}") from error

    def blocks(self, uid: int) -> Iterator[bytes] | None:
        with self.lock:
            file = self._with_file(uid, open_file)
        assert isinstance(file, FileIO)
        if self.options.unpacks and is_packed(os.pread(file.fileno(), MAGIC_OCTETS, 0)):
            file.close()
            return None
        return _blocks(file)

    def will_need(self, uids: Sequence[int]) -> None:
        with self.lock:
            paths = self._paths(uids)
        for _, path in paths:
            advise(path)

    def message_at_once(self, uid: int) -> Message | None:
        if not self.lock.acquire(blocking=False):       # somebody is at work on the mailbox
            return None
        try:
            at = self.rows.position(uid)
            path = None if at is None else self.path(self.rows.keys[at])
        finally:
            self.lock.release()
        octets = None if path is None else read_cached(path, AT_ONCE)
        return None if octets is None or self.options.unpacks and is_packed(octets) else Message.from_stored(octets)

    def stored_date(self, uid: int) -> int:
        info = self._with_file(uid, os.stat)
        assert isinstance(info, os.stat_result)
        return int(info.st_mtime)

    def read_many(self, uids: Sequence[int]) -> Iterator[tuple[int, bytes, int]]:
        for uid, path in self._paths(uids):
            try:
                octets, date = read_file(path)
            except OSError:
                try:            # renamed meanwhile, gone, or a real fault
                    octets, date = self.read_stored(uid), self.stored_date(uid)
                except MessageGone:
                    continue
            if self.options.unpacks and is_packed(octets):
                octets = self._unpacked(uid, octets)
            yield uid, octets, date

    def read_whole(self, uids: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        return self._read_each(uids, read_octets)

    def read_headers(self, uids: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        return self._read_each(uids, read_head)

    def _read_each(self, uids: Sequence[int], read: Callable[[bytes], bytes]) -> Iterator[tuple[int, bytes]]:
        for uid, path in self._paths(uids):
            try:
                octets = read(path)
            except OSError:
                try:
                    octets = self.read_stored(uid)
                except MessageGone:
                    continue
            if self.options.unpacks and is_packed(octets):
                octets = self.read_stored(uid)      # all of it, whatever part was asked for
            yield uid, octets

    def _paths(self, uids: Sequence[int]) -> list[tuple[int, bytes]]:
        """Those that are there, with the full paths of their files."""
        keys, prefix = self.rows.keys, self.path(b"")
        return [(uid, prefix + keys[at]) for uid, at in zip(uids, self.rows.positions(uids), strict=True)
                if at is not None]

    def named_size(self, uid: int) -> int | None:
        return self.named_sizes([uid])[0]

    def named_sizes(self, uids: Sequence[int]) -> list[int | None]:
        keys = self.rows.keys
        return [None if at is None else wire_size_of(keys[at]) for at in self.rows.positions(uids)]

    def stored_octets(self, uid: int) -> int:
        at = self.rows.position(uid)
        if at is not None and (size := stored_size_of(base_of(self.rows.keys[at]))) is not None:
            return size
        try:
            if self.options.unpacks:
                return len(self.read_stored(uid))
            info = self._with_file(uid, os.stat)
        except (MessageGone, StoreError):
            return 0
        assert isinstance(info, os.stat_result)
        return info.st_size

    def find_saved(self, uid: int) -> int | None:
        try:
            info = self._with_file(uid, os.stat)
        except MessageGone:
            return None
        assert isinstance(info, os.stat_result)
        return int(info.st_ctime)

    def give_identity(self, change: IdentityChange) -> None:
        """The head of the uidlist says it all."""
        listed = self.uidlist
        try:
            with listed.locked():
                listed.load()
                if change.uid_validity is not None:
                    listed.uid_validity = change.uid_validity
                if change.guid is not None:
                    listed.guid = change.guid
                self.uid_next = listed.next_uid = max(listed.next_uid, self.uid_next, change.least_uid_next or 1)
                listed.rewrite(listed.uids)
        except OSError as error:
            raise StoreError(str(error)) from error
        if listed.uid_validity != self.uid_validity:
            self.vanish()

    def rescan(self) -> None:
        """Look whether or not the folders seem to have changed."""
        self.distrust()
        self.look()

    def resync(self) -> None:
        with self.lock:
            self.distrust()
            super().resync()

    def take_uid_validity(self, uid_validity: int) -> bool:
        try:
            with self.uidlist.locked():
                if self.uidlist.changed() or self.uidlist.uids or self.uidlist.next_uid > 1:
                    return False
                self.uidlist.uid_validity = uid_validity
                self.uidlist.rewrite(())
        except OSError as error:
            raise StoreError(str(error)) from error
        self.uid_validity = uid_validity
        self.index = self._database.mailbox(self.name, uid_validity)
        self.highest_modseq = self.index.highest_modseq
        return True

    # --- changing ---------------------------------------------------------------------------------------------------

    def make_keywords(self, names: list[str]) -> None:
        """New keywords get the next letters; those that another program gave in the meantime come first."""
        mine = self.table.keywords
        try:
            with self.uidlist.locked():
                self.read_keywords()
                super().make_keywords(self.table.unknown(names))
                write_keywords(self.control, mine, self.mode, self.gid)
        except OSError as error:
            raise StoreError(str(error)) from error
        if len(mine) > KEYWORD_LETTERS:
            state = json.dumps(mine[KEYWORD_LETTERS:]).encode()
            self.index.save([], [], highest_modseq=self.highest_modseq, first_recent=self.index.first_recent,
                            state=state)

    def apply_flags(self, changes: list[Change]) -> list[Change]:
        if self.private is not None:
            self.keep_private([self.rows.uids[at] for at, bits in changes if bits & SEEN], on=True)
            self.keep_private([self.rows.uids[at] for at, bits in changes if not bits & SEEN], on=False)
        done = self._rename_all(changes)
        self.own_change()
        if len(done) < len(changes):
            there = {at for at, _ in done}
            missing = [(self.rows.uids[at], bits) for at, bits in changes if at not in there]
            self.set_flags(done)            # positions move when the next look finds messages gone
            self.rescan()
            done = self._rename_all([(at, bits) for uid, bits in missing
                                     if (at := self.rows.position(uid)) is not None])
        return done

    def keep_private(self, uids: Collection[int], *, on: bool) -> None:
        """\\Seen of messages that others use, too, where it is the user's own."""
        if self.private is not None and any((uid in self.private.uids) != on for uid in uids):
            self.private.change(uids, on=on, there=self.rows.uids)

    def new_path(self, base: bytes, bits: int) -> Path:
        """Where a new message with these flags is put."""
        bits = self.file_bits(bits)
        return b"cur/" + base + b":2," + letters_for(bits, b"") if bits else b"new/" + base

    def _rename_all(self, changes: list[Change]) -> list[Change]:
        """Give files the names that have these flags; returns those that were where we thought. Raises StoreError."""
        keys, in_new, ends = self.rows.keys, self.in_new, dict[tuple[bytes, int], bytes]()
        missing: set[int] = set()
        number = 0
        try:
            folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                for number, (at, bits) in enumerate(changes):
                    old = keys[at]
                    path, _, info = old.partition(b":")
                    end = ends.get((info, bits))
                    if end is None:
                        letters, rest = letters_of(b":" + info), rest_of(b":" + info)
                        end = b":2," + letters_for(self.file_bits(bits, self.bits(letters)), letters) + rest
                        ends[info, bits] = end
                    new = b"cur" + path[3:] + end
                    if new == old:
                        continue
                    try:
                        os.rename(old, new, src_dir_fd=folder, dst_dir_fd=folder)
                    except FileNotFoundError:
                        missing.add(number)
                        continue
                    keys[at] = new
                    if in_new:
                        in_new.pop(old, None)
            finally:
                os.close(folder)
        except OSError as error:
            self.set_flags([change for at, change in enumerate(changes[:number]) if at not in missing])
            raise StoreError(str(error)) from error
        return [change for at, change in enumerate(changes) if at not in missing] if missing else changes

    def _move(self, at: int, new: Path) -> bool:
        old = self.rows.keys[at]
        if new != old:
            try:
                os.rename(self.path(old), self.path(new))
            except FileNotFoundError:
                return False
            except OSError as error:
                raise StoreError(str(error)) from error
            self.now_at(at, new)
        return True

    def claimed(self) -> None:
        """Files that a session has taken notice of move from new to cur."""
        moved = False
        for path, uid in sorted(self.in_new.items()):
            at = self.rows.position(uid)
            if at is not None:
                moved = self._move(at, b"cur/" + base_of(path[4:]) + b":2," + letters_of(path) + rest_of(path)) or moved
        if moved:
            self.own_change()

    def take_out(self, uids: list[int]) -> list[int]:
        gone: list[int] = []
        missing: list[int] = []
        for uid in uids:
            (gone if self._unlink(uid) else missing).append(uid)
        if missing:
            self.rescan()
            for uid in missing:
                if self.rows.position(uid) is None or self._unlink(uid):
                    gone.append(uid)
        self.own_change()
        self.note_gone()
        return gone

    def _unlink(self, uid: int) -> bool:
        at = self.rows.position(uid)
        if at is None:
            return True
        path = self.rows.keys[at]
        try:
            os.unlink(self.path(path))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StoreError(str(error)) from error
        self.forget_file(path)
        return True

    def begin_append(self, *, sender: str = "", delivery: bool = False) -> Append:
        return MaildirAppend(self, delivery=delivery)

    def copy_into(self, uids: Sequence[int], target: BaseMailbox) -> CopyResult:
        assert isinstance(target, MaildirMailbox)
        return copy_messages(self, uids, target)

    def flush(self) -> None:
        """The uidlist forgets files that are gone."""
        self.tidy_uidlist()


def _blocks(file: FileIO) -> Iterator[bytes]:
    """A file with CRLF line ends. Raises StoreError."""
    wire = BlockConverter(to_crlf)
    try:
        with file:
            while octets := file.read(BLOCK):
                yield wire.feed(octets)
    except OSError as error:
        raise StoreError(str(error)) from error
    yield wire.end()
