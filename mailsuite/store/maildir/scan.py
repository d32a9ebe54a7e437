"""Looking at a Maildir: which files are there, which UID each has, what other programs did.

look() compares the two listings with the last ones, so a change costs what changed. A file that vanished is looked for
once more before its message counts as expunged: a rename by another program may hide it from one listing. UIDs are
given under the uidlist's lock only; the listing of cur/ is trusted for RECHECK_S after our own changes.
"""

import errno
import json
import os
import stat
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from mailsuite.store.api import MailboxInUse, NoPermission, StoreError
from mailsuite.store.dovecot_log import read_log
from mailsuite.store.flags import KEYWORD_SHIFT
from mailsuite.store.index import Index
from mailsuite.store.mailbox import BaseMailbox, Change
from mailsuite.store.maildir.filename import (
    KEYWORD_LETTERS,
    UniqueNames,
    base_of,
    bits_of,
    letters_of,
    sort_key,
)
from mailsuite.store.maildir.keywords import read_keywords
from mailsuite.store.maildir.tmp import clean_tmp
from mailsuite.store.maildir.uidlist import UidList
from mailsuite.store.options import StoreOptions
from mailsuite.store.uid_validity import new_uid_validity

RECHECK_S = 2.0
# A folder's time stamp is only as fine as the kernel's tick: one that is younger than this when it is listed may hide
# a change that came right after.
TICK_NS = 50_000_000
KEPT_PERCENT = 75           # a uidlist with fewer entries in use than this is written anew

# Why a uidlist cannot be written: it belongs to somebody else, or there is no room.
_UNWRITABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT})
_HIGH = -1 << (KEYWORD_SHIFT + KEYWORD_LETTERS)         # keywords that have no letter

_FOLDERS = ("new", "cur")               # in this order: a file moves from new to cur

Path = bytes            # b"cur/NAME" or b"new/NAME"


class ScannedMaildir(BaseMailbox):
    """folder: holds new, cur and tmp. root: of all the user's Maildirs, where UIDVALIDITY values are counted."""

    flags_in_files = True

    def __init__(self, name: str, folder: str, root: str, index: Index, options: StoreOptions, *,
                 control: str | None = None) -> None:
        super().__init__(name, index, options)
        self.folder, self.root = folder, root
        self._prefix = os.fsencode(folder) + b"/"
        self.sync_files = options.fsync != "never"
        self.names = UniqueNames(options.host)
        self.mode = stat.S_IMODE(os.stat(folder).st_mode) & 0o666
        self.control = control or folder
        self.uidlist = UidList(self.control, fsync=self.sync_files, mode=self.mode)
        self._letter_bits: dict[bytes, int] = {}               # of letters
        self._by_base: dict[bytes, int] = {}            # uids
        self._listed: dict[str, set[bytes]] = {"new": set(), "cur": set()}
        self._mtimes = {"new": -1, "cur": -1}
        self._settled = {"new": False, "cur": False}
        self._recheck_at = 0.0
        self._opened = False
        self._gone_from_list = False                    # the uidlist names files that are gone
        self._doubles: list[tuple[Path, Path]] = []     # (kept, spare) of one base
        self.writable = os.access(os.path.join(folder, "cur"), os.W_OK)

    # --- looking ----------------------------------------------------------------------------------------------------

    def look(self) -> None:
        try:
            folders: list[str] = []
            if not self._opened:
                self._open()
            elif self.uidlist.changed():
                self._reload()
                folders = list(_FOLDERS)
            else:
                folders = self._stale_folders()
            if folders and not self.deleted:
                self._scan(folders)
        except PermissionError as error:
            raise NoPermission(str(error)) from error
        except (FileNotFoundError, NotADirectoryError) as error:
            if os.path.isdir(os.path.join(self.folder, "cur")):
                raise StoreError(str(error)) from error
            self.vanish()
        except OSError as error:
            raise StoreError(str(error)) from error

    def _stale_folders(self) -> list[str]:
        """Those that have to be listed again."""
        due = time.monotonic() >= self._recheck_at > 0
        return [folder for folder in _FOLDERS if due or not self._settled[folder]
                or self._mtimes[folder] != os.stat(self._in(folder)).st_mtime_ns]

    def _in(self, folder: str) -> str:
        return os.path.join(self.folder, folder)

    def _open(self) -> None:
        """First look: keywords, UIDs, what the index knows."""
        self.uidlist.load()
        if not self.uidlist.uid_validity:
            self._begin_uidlist()
        self.uid_validity, self.uid_next = self.uidlist.uid_validity, self.uidlist.next_uid
        self.index = self._database.mailbox(self.name, self.uid_validity)
        self.highest_modseq = max(self.index.highest_modseq, read_log(self._in("dovecot.index.log")).modseq)
        self.read_keywords()
        self._add_high_keywords()
        self._opened = True
        added = self._first_listing()
        self._apply_scan(added, set())
        if self.writable:
            self.tidy_uidlist()
            clean_tmp(self._in("tmp"))

    def _begin_uidlist(self) -> None:
        try:
            with self.uidlist.locked():
                self.uidlist.load()
                if not self.uidlist.uid_validity:
                    self.uidlist.begin(new_uid_validity(self.root))
        except OSError as error:
            if error.errno not in _UNWRITABLE:
                raise
            self.uidlist.uid_validity = int(os.stat(self.folder).st_ctime)      # a Maildir we may only read

    def _add_high_keywords(self) -> None:
        """Keywords without a letter, kept in the index behind the 26 that have one."""
        names = json.loads(self.index.state) if self.index.state else []
        if names:
            while len(self.table.keywords) < KEYWORD_LETTERS:
                self.table.add(f"unknown-{len(self.table.keywords)}")
            for name in names:
                self.table.add(name)

    def _list(self, folder: str) -> set[bytes]:
        path = self._in(folder)
        now = time.time_ns()
        self._mtimes[folder] = os.stat(path).st_mtime_ns
        self._settled[folder] = now - self._mtimes[folder] > TICK_NS
        return {name for name in os.listdir(os.fsencode(path)) if not name.startswith(b".")}

    def _first_listing(self) -> dict[bytes, Path]:
        """All messages with a UID come in the order of their UIDs, with the MODSEQs of the index.

        Returns the files that have no UID yet, by base.
        """
        entries = self.uidlist.entries
        found: list[tuple[int, bytes]] = []
        added: dict[bytes, Path] = {}
        for folder in _FOLDERS:
            listed = self._listed[folder] = self._list(folder)
            prefix = folder.encode() + b"/"
            for name in listed:
                entry = entries.get(name.partition(b":")[0])
                if entry is not None:
                    found.append((entry.uid, prefix + name))
                else:
                    self._note_added(added, prefix + name)
        found.sort()
        known = self.index.load()
        rows, changed = self.rows, []
        last = 0
        for uid, path in found:
            if uid == last:
                self._doubles.append((rows.keys[-1], path))
                continue
            last = uid
            flags, modseq = known.pop(uid, (-1, self.highest_modseq))
            bits = self.bits(letters_of(path)) | (flags & _HIGH if flags > 0 else 0)
            if bits != flags:
                changed.append(len(rows))
                # What the index did not know came, or changed, while another program served the mailbox.
                modseq = self.highest_modseq + 1 if flags >= 0 or self.index.known else modseq
            rows.append(uid, bits, modseq, path)
            self._by_base[base_of(path[4:])] = uid
        if any(rows.modseqs[at] > self.highest_modseq for at in changed) or known:
            self.highest_modseq += 1
        self._gone_from_list = len(entries) > len(rows)
        first_recent = self.index.first_recent if self.index.known else self.uid_next
        self.unclaimed = {uid for uid, path in zip(rows.uids, rows.keys, strict=True)
                          if uid >= first_recent or path.startswith(b"new/")}
        if changed or known:
            self.save_rows(changed, list(known))
        return added

    def _reload(self) -> None:
        """Somebody else wrote the uidlist; another UIDVALIDITY makes this another mailbox."""
        validity = self.uid_validity
        self.uidlist.load()
        if self.uidlist.uid_validity and self.uidlist.uid_validity != validity:
            self.vanish()
            return
        self._renumbered(self.uid_next)
        self.uid_next = max(self.uid_next, self.uidlist.next_uid)
        self.read_keywords()

    def _renumbered(self, first: int) -> None:
        """Files that left and came back under their old names between two looks have new UIDs, from `first` on."""
        again = []
        for entry in reversed(self.uidlist.entries.values()):
            if entry.uid < first:
                break
            uid = self._by_base.get(entry.base)
            if uid is not None and uid != entry.uid and (at := self.rows.position(uid)) is not None:
                path = self.rows.keys[at]
                self._listed[path[:3].decode()].discard(path[4:])       # the next look finds it
                del self._by_base[entry.base]
                again.append(uid)
        self.drop_rows(again)

    def read_keywords(self) -> None:
        """Learn what other programs put into dovecot-keywords."""
        known = self.table.keywords
        for number, keyword in enumerate(read_keywords(self.control)):
            if number >= len(known):
                self.table.add(keyword)
            elif known[number] != keyword and known[number] == f"unknown-{number}":
                self.table.rename(number, keyword)

    def _scan(self, folders: list[str]) -> None:
        """Compare with the last listing."""
        added: dict[bytes, Path] = {}
        removed: set[Path] = set()
        if "cur" in folders:
            self._recheck_at = 0.0
        for folder in folders:
            old, now = self._listed[folder], self._list(folder)
            prefix = folder.encode() + b"/"
            for name in now - old:
                self._note_added(added, prefix + name)
            removed.update(prefix + name for name in old - now)
            self._listed[folder] = now
        self._apply_scan(added, removed)

    def _note_added(self, added: dict[bytes, Path], path: Path) -> None:
        base = base_of(path[4:])
        other = added.get(base)
        if other is not None:
            self._doubles.append((path, other))
        added[base] = path

    def _apply_scan(self, added: dict[bytes, Path], removed: set[Path]) -> None:
        changes: list[Change] = []
        new: dict[bytes, Path] = {}
        rows = self.rows
        for base, path in added.items():
            uid = self._by_base.get(base)
            at = rows.position(uid) if uid is not None else None
            if at is None:
                new[base] = path
                continue
            if rows.keys[at] not in removed and rows.keys[at] != path and self._exists(rows.keys[at]):
                self._doubles.append((rows.keys[at], path))
                continue
            rows.keys[at] = path
            bits = self.bits(letters_of(path)) | rows.flags[at] & _HIGH
            if bits != rows.flags[at]:
                changes.append((at, bits))
        vanished = [uid for path in removed if (uid := self._by_base.get(base_of(path[4:]))) is not None
                    and (at := rows.position(uid)) is not None and rows.keys[at] == path]
        self.set_flags(changes)
        if vanished:
            self._expunged(vanished, new)
        if new:
            self._arrived(new)
        while self._doubles:
            self._drop_double(*self._doubles.pop())

    def path(self, path: Path) -> bytes:
        """The full path of a message's file."""
        return self._prefix + path

    def _exists(self, path: Path) -> bool:
        return os.path.lexists(self.path(path))

    def _drop_double(self, kept: Path, spare: Path) -> None:
        """Two names of one message: one goes when both are the same file, else it becomes a message of its own."""
        with suppress(OSError):     # gone by now, or not ours to change: looked at again with the next change
            if os.path.samefile(self.path(kept), self.path(spare)):
                os.unlink(self.path(spare))
            else:
                os.rename(self.path(spare), self.path(spare[:4] + self.names.next()))
        self._settled[spare[:3].decode()] = False

    def _expunged(self, uids: list[int], new: dict[bytes, Path]) -> None:
        """Look once more for files that vanished before their messages count as gone."""
        again: dict[bytes, Path] = {}
        for folder in ("new", "cur"):
            prefix = folder.encode() + b"/"
            again.update({base_of(name): prefix + name for name in os.listdir(os.fsencode(self._in(folder)))})
        gone = []
        changes: list[Change] = []
        for uid in uids:
            at = self.rows.position(uid)
            assert at is not None
            base = base_of(self.rows.keys[at][4:])
            path = again.get(base)
            if path is None:
                gone.append(uid)
                self._by_base.pop(base, None)
            else:
                self.rows.keys[at] = path
                self._listed[path[:3].decode()].add(path[4:])
                changes.append((at, self.bits(letters_of(path)) | self.rows.flags[at] & _HIGH))
        self.set_flags([(at, bits) for at, bits in changes if bits != self.rows.flags[at]])
        if self.drop_rows(gone):
            self._gone_from_list = True

    def _arrived(self, new: dict[bytes, Path]) -> None:
        """Give UIDs to files that have none, in the order of delivery."""
        try:
            with self.uidlist.locked():
                if self.uidlist.load():
                    self.read_keywords()
                uids = self._assign(sorted(new, key=sort_key))
        except OSError as error:
            if error.errno not in _UNWRITABLE:
                raise
            uids = self._provisional(sorted(new, key=sort_key))
        self.add_rows([(uid, new[base]) for uid, base in sorted(uids)])

    def _provisional(self, bases: list[bytes]) -> list[tuple[int, bytes]]:
        """UIDs that only this process knows: who cannot write, or has no room to, can still read and delete."""
        self.uidlist.load()
        known = self._known(bases)
        have = {base for _, base in known}
        first = max([self.uid_next, *(uid + 1 for uid, _ in known)])
        return known + list(enumerate((base for base in bases if base not in have), first))

    def _known(self, bases: list[bytes]) -> list[tuple[int, bytes]]:
        """Entries that another program made are taken over, unless their UID is one that views have passed."""
        last = self.rows.uids[-1] if self.rows.uids else 0
        return [(entry.uid, base) for base in bases
                if (entry := self.uidlist.entries.get(base)) is not None and entry.uid > last]

    def _assign(self, bases: list[bytes]) -> list[tuple[int, bytes]]:
        """As _known; the others get new ones. The uidlist's lock is held."""
        known = self._known(bases)
        have = {base for _, base in known}
        missing = [base for base in bases if base not in have]
        if missing:
            self._shorten(bases)
        self.uidlist.next_uid = max(self.uidlist.next_uid, self.uid_next)
        return known + list(zip(self.uidlist.add([(base, b"") for base in missing]), missing, strict=True))

    def _shorten(self, besides: Sequence[bytes] = ()) -> None:
        """Leave files that are gone out of the uidlist, when they are a good part of it (lock held)."""
        if self._gone_from_list and len(self._by_base) * 100 <= len(self.uidlist.entries) * KEPT_PERCENT:
            self.uidlist.next_uid = max(self.uidlist.next_uid, self.uid_next)
            there = {base_of(name) for folder in ("new", "cur") for name in os.listdir(os.fsencode(self._in(folder)))}
            self.uidlist.rewrite(there.union(self._by_base, besides))
            self._gone_from_list = False

    def assign_new(self, files: list[tuple[bytes, bytes]], wanted: Sequence[int] = ()) -> list[int]:
        """UIDs for files we are putting there, (base, uidlist fields) each. The uidlist's lock is held.

        wanted: UIDs they should get, where those are above all that were given; 0: any.

        Looks once more: what others put there before we had the lock comes first.
        """
        if self.uidlist.changed():
            self.distrust()
            self.look()
        if self.deleted:
            raise StoreError(f"{self.folder} is gone")
        self.uidlist.next_uid = max(self.uidlist.next_uid, self.uid_next)
        return self.uidlist.add(files, wanted)

    def add_rows(self, files: list[tuple[int, Path]]) -> None:
        """Messages with new UIDs, ascending, come into memory and the index."""
        if not files:
            return
        self.highest_modseq += 1
        first = len(self.rows)
        for uid, path in files:
            self.rows.append(uid, self.bits(letters_of(path)), self.highest_modseq, path)
            self._by_base[base_of(path[4:])] = uid
            self._listed[path[:3].decode()].add(path[4:])
            self.unclaimed.add(uid)
        self.uid_next = max(self.uid_next, files[-1][0] + 1, self.uidlist.next_uid)
        self.save_rows(range(first, len(self.rows)), [])

    def has_base(self, base: bytes) -> bool:
        return base in self._by_base or base in self.uidlist.entries

    def bits(self, letters: bytes) -> int:
        bits = self._letter_bits.get(letters)
        if bits is None:
            bits = bits_of(letters)
            if bits >> (KEYWORD_SHIFT + len(self.table.keywords)):
                self.read_keywords()
            while bits >> (KEYWORD_SHIFT + len(self.table.keywords)):
                self.table.add(f"unknown-{len(self.table.keywords)}")
            self._letter_bits[letters] = bits
        return bits

    def relist(self, old: Path, new: Path | None) -> None:
        """We renamed or removed a file."""
        self._listed[old[:3].decode()].discard(old[4:])
        if new is not None:
            self._listed[new[:3].decode()].add(new[4:])
        else:
            self._by_base.pop(base_of(old[4:]), None)

    def distrust(self) -> None:
        """The next look lists the folders."""
        self._settled["cur"] = self._settled["new"] = False

    def note_gone(self) -> None:
        self._gone_from_list = True

    def tidy_uidlist(self) -> None:
        """Leave files that are gone out of the uidlist, when there are any."""
        if self._gone_from_list and self._opened:
            with suppress(OSError, MailboxInUse), self.uidlist.locked():
                self.uidlist.load()
                self._shorten()

    def own_change(self) -> None:
        """We changed the folder: what look() found still holds, but is looked at again soon."""
        self._mtimes["cur"] = os.stat(self._in("cur")).st_mtime_ns
        self._recheck_at = self._recheck_at or time.monotonic() + RECHECK_S

    def watch_paths(self) -> list[str]:
        return [self._in("new"), self._in("cur")]

    @property
    def guid(self) -> str:
        return self.uidlist.guid or super().guid

    def _bases(self, uids: Sequence[int]) -> list[bytes]:
        return [b"" if at is None else base_of(self.rows.keys[at][4:]) for at in self.rows.positions(uids)]

    def saved_uidls(self, uids: Sequence[int]) -> list[str | None]:
        with self.lock:
            entries = self.uidlist.entries
            if not any(b"P" in entry.fields for entry in entries.values()):
                return [None] * len(uids)
            found = [entry.uidl() if (entry := entries.get(base)) else None for base in self._bases(uids)]
        return [None if uidl is None else uidl.decode("utf-8", "surrogateescape") for uidl in found]

    def save_uidls(self, uidls: Mapping[int, str]) -> None:
        with self.lock:
            try:
                with self.uidlist.locked():
                    self.uidlist.load()
                    self.uidlist.next_uid = max(self.uidlist.next_uid, self.uid_next)
                    self.uidlist.save_uidls({
                        base: uidl.encode("utf-8", "surrogateescape")
                        for base, uidl in zip(self._bases(list(uidls)), uidls.values(), strict=True)})
            except OSError as error:
                if error.errno not in _UNWRITABLE:
                    raise StoreError(str(error)) from error

    def identities(self, uids: Sequence[int], kind: str) -> list[str] | None:
        if kind not in ("filename", "guid", "content"):
            return None
        found = []
        with self.lock:
            for at in self.rows.positions(uids):
                base = base_of(self.rows.keys[at][4:]) if at is not None else b""
                entry = self.uidlist.entries.get(base) if kind != "filename" else None
                found.append((entry.guid() if entry else base).decode("utf-8", "surrogateescape"))
        return found
