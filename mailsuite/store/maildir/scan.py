"""Looking at a Maildir: which files are there, what other programs did.

look() compares the listings with the names that are known; what is done with all messages is done by a few operations
on all of them, not message by message. A file that vanished is looked for once more before its message counts as
expunged: a rename by another program may hide it from one listing. The listing of cur/ is trusted for RECHECK_S after
our own changes.
"""

import operator
import os
import stat
import time
from array import array
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from itertools import islice

from mailsuite.store.api import NoPermission, StoreError
from mailsuite.store.dovecot_log import read_log
from mailsuite.store.flags import KEYWORD_SHIFT
from mailsuite.store.mailbox import Change
from mailsuite.store.maildir.filename import KEYWORD_LETTERS, base_of, infos_of, letters_of
from mailsuite.store.maildir.folder import Path
from mailsuite.store.maildir.listing import Files, files_of, list_blocks, list_sorted
from mailsuite.store.maildir.numbering import NumberedMaildir, demand_unwritable
from mailsuite.store.maildir.tmp import clean_tmp
from mailsuite.store.uid_set import UidSet
from mailsuite.store.uid_validity import new_uid_validity

RECHECK_S = 2.0
MAKING_S = 2.0              # a folder whose cur/ changed later than this ago may be being made
# A folder's time stamp is only as fine as the kernel's tick: one that is younger than this when it is listed may hide
# a change that came right after.
TICK_NS = 50_000_000

_HIGH = -1 << (KEYWORD_SHIFT + KEYWORD_LETTERS)         # keywords that have no letter

_FOLDERS = ("new", "cur")               # in this order: a file moves from new to cur


class ScannedMaildir(NumberedMaildir):
    """What the files say comes into memory and the index."""

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
            if not os.path.isdir(self._in("cur")):
                self.vanish()
            elif self._make_missing():
                self.look()
            else:
                raise StoreError(str(error)) from error
        except OSError as error:
            raise StoreError(str(error)) from error

    def _make_missing(self) -> bool:
        """new/ and tmp/ are empty most of the time, and what copies a Maildir may leave them out. Raises StoreError.

        In a folder that is made at this moment they are left to its maker, whose mkdir would fail.
        """
        made = False
        try:
            cur = os.stat(self._in("cur"))
            if abs(time.time() - cur.st_ctime) < MAKING_S:
                return False
            mode = stat.S_IMODE(cur.st_mode)
            for name in ("new", "tmp"):
                if not os.path.lexists(path := self._in(name)):
                    os.mkdir(path, 0o700)
                    os.chmod(path, mode)
                    if self.gid >= 0:
                        os.chown(path, -1, self.gid)
                    made = True
        except FileExistsError:
            return True                 # somebody was faster
        except OSError as error:
            raise StoreError(str(error)) from error
        return made

    def is_unchanged(self) -> bool:
        if not self._opened or not self._local:
            return False
        try:
            return not self.uidlist.changed() and not self._stale_folders()
        except OSError:
            return False

    def _stale_folders(self) -> list[str]:
        """Those that have to be listed again."""
        due = time.monotonic() >= self._recheck_at > 0
        return [folder for folder in _FOLDERS if due or not self._settled[folder]
                or self._mtimes[folder] != os.stat(self._in(folder)).st_mtime_ns]

    def _open(self) -> None:
        """First look: keywords, UIDs, what the index knows."""
        self.uidlist.load()
        if self.uidlist.uid_validity:
            self._take_over()
        else:
            self._begin()
        self.uidlist.let_go()
        self._drop_doubles()
        if self.writable:
            with suppress(StoreError):          # it can be read all the same
                self._make_missing()
            self.tidy_uidlist()
            clean_tmp(self._in("tmp"))

    def _begin(self) -> None:
        """Nobody gave UIDs here. The list is written once, with those of all messages."""
        with ExitStack() as held:
            try:
                held.enter_context(self.uidlist.locked())
                self.uidlist.load()
                if not self.uidlist.uid_validity:
                    self.uidlist.begin(new_uid_validity(self.root))
            except OSError as error:
                demand_unwritable(error)
                self.uidlist.uid_validity = int(os.stat(self.folder).st_ctime)      # a Maildir we may only read
            self._take_over()
            try:
                self.uidlist.settle()
            except OSError as error:
                demand_unwritable(error)

    def _take_over(self) -> None:
        self.uid_validity, self.uid_next = self.uidlist.uid_validity, self.uidlist.next_uid
        self.index = self._database.mailbox(self.name, self.uid_validity)
        self.highest_modseq = max(self.index.highest_modseq, read_log(self._in("dovecot.index.log")).modseq)
        if self.private is not None:
            self.private.load(self.uid_validity)
        self.read_keywords()
        self._add_high_keywords()
        self._opened = True
        self._arrived(self._first_listing())

    def _listed_now(self, folder: str) -> tuple[str, bytes]:
        """The folder that is about to be listed, and what its paths begin with."""
        path, now = self._in(folder), time.time_ns()
        self._mtimes[folder] = os.stat(path).st_mtime_ns
        self._settled[folder] = now - self._mtimes[folder] > TICK_NS
        return path, folder.encode() + b"/"

    def _first_listing(self) -> Files:
        """All messages with a UID come in the order of their UIDs, with the MODSEQs of the index.

        Returns the files that have no UID yet.
        """
        # In this order: a file moves from new to cur.
        found = list_sorted(*self._listed_now("new")).joined(list_sorted(*self._listed_now("cur")))
        listed, ordered = self.uidlist.uids, sorted(found.bases)
        files: dict[bytes, Path] = {}
        if listed or any(map(operator.eq, ordered, islice(ordered, 1, None))):
            for base, path in zip(found.bases, found.paths, strict=True):
                other = files.setdefault(base, path)
                if other is not path:
                    self._doubles.append((other, path))
            here = [base for base in listed if base in files]
            if here:
                self._known_rows(here, files)
            found = files_of({base: path for base, path in files.items() if base not in listed})
        self._gone_from_list = len(listed) > len(self.rows)
        first_recent = self.index.first_recent if self.index.known else self.uid_next
        self.unclaimed = UidSet(self.rows.after(first_recent - 1))
        self.unclaimed.update(self.in_new.values())
        return found

    def _known_rows(self, bases: list[bytes], files: dict[bytes, Path]) -> None:
        """Rows of files that have a UID: what the index knows of them, or knows no more, is compared."""
        uids, paths = list(map(self.uidlist.uids.__getitem__, bases)), list(map(files.__getitem__, bases))
        known = self.index.load()
        all_bits = self.bits_of_all(infos_of(paths), uids)
        modseqs = array("Q", [self.highest_modseq]) * len(uids)
        changed: Sequence[int] = range(len(uids))
        later = False                   # something happened since the index was written
        if self.index.known:
            changed = []
            for at, uid in enumerate(uids):
                flags, modseq = known.pop(uid, (-1, self.highest_modseq))
                if flags > 0:
                    all_bits[at] |= flags & _HIGH
                if all_bits[at] != flags:
                    # What the index did not know came, or changed, while another program served the mailbox.
                    changed.append(at)
                    modseq = self.highest_modseq + 1
                modseqs[at] = modseq
            later = bool(known) or any(modseqs[at] > self.highest_modseq for at in changed)
        self._extend(uids, all_bits, modseqs, paths)
        if later:
            self.highest_modseq += 1
        if changed or known:
            self.save_rows(changed, list(known))

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
        for base, uid in reversed(self.uidlist.uids.items()):
            if uid < first:
                break
            known = self.by_base.get(base)
            if known is not None and known != uid and (at := self.rows.position(known)) is not None:
                self.forget_file(self.rows.keys[at])            # the next look finds it
                again.append(known)
        self.drop_rows(again)

    def _scan(self, folders: list[str]) -> None:
        """Compare with the names that are known."""
        added: dict[bytes, Path] = {}
        removed: set[Path] = set()
        if "cur" in folders:
            self._recheck_at = 0.0
        for folder in folders:
            missing = set(self.in_new if folder == "new" else self.rows.keys)
            if folder == "cur":
                missing.difference_update(self.in_new)
            for some in list_blocks(*self._listed_now(folder)):
                some -= self._no_mail
                new = some.difference(missing)
                missing -= some
                # Listed twice: a file that was renamed meanwhile may be seen under both names.
                for path in new:
                    base = base_of(path[4:])
                    other = added.get(base)
                    if other is not None and other != path:
                        self._doubles.append((path, other))
                    added[base] = path
            removed |= missing
        if not added and not removed:
            return
        try:
            self._apply_scan(added, removed)
        except BaseException:
            self.distrust()             # what could not be taken over is looked at again
            raise

    def _apply_scan(self, added: dict[bytes, Path], removed: set[Path]) -> None:
        changes: list[Change] = []
        new, rows = added, self.rows
        if not self.by_base.keys().isdisjoint(added):
            new = {}
            for base, path in added.items():
                uid = self.by_base.get(base)
                at = rows.position(uid) if uid is not None else None
                if at is None:
                    new[base] = path
                    continue
                if rows.keys[at] not in removed and rows.keys[at] != path and self._exists(rows.keys[at]):
                    self._doubles.append((rows.keys[at], path))
                    continue
                self.now_at(at, path)
                bits = self.own_bits(rows.uids[at], self.bits(letters_of(path))) | rows.flags[at] & _HIGH
                if bits != rows.flags[at]:
                    changes.append((at, bits))
        vanished = [uid for path in removed if (uid := self.by_base.get(base_of(path[4:]))) is not None
                    and (at := rows.position(uid)) is not None and rows.keys[at] == path]
        self.set_flags(changes)
        if vanished:
            self._expunged(vanished)
        if new:
            self._arrived(files_of(new))
        self._drop_doubles()

    def _drop_doubles(self) -> None:
        """Two names of one message: one goes when both are the same file, else it becomes a message of its own."""
        while self._doubles:
            kept, spare = self._doubles.pop()
            with suppress(OSError):     # gone by now, or not ours to change: looked at again with the next change
                if os.path.samefile(self.path(kept), self.path(spare)):
                    os.unlink(self.path(spare))
                else:
                    os.rename(self.path(spare), self.path(spare[:4] + self.names.next()))
            self._settled[spare[:3].decode()] = False

    def _expunged(self, uids: list[int]) -> None:
        """Look once more for files that vanished before their messages count as gone."""
        again = {base_of(name): path for folder in _FOLDERS for name in os.listdir(os.fsencode(self._in(folder)))
                 if (path := folder.encode() + b"/" + name) not in self._no_mail}
        gone = []
        changes: list[Change] = []
        for uid in uids:
            at = self.rows.position(uid)
            assert at is not None
            base = base_of(self.rows.keys[at][4:])
            found = again.get(base)
            if found is None:
                gone.append(uid)
                self.forget_file(self.rows.keys[at])
            else:
                self.now_at(at, found)
                bits = self.own_bits(uid, self.bits(letters_of(found)))
                changes.append((at, bits | self.rows.flags[at] & _HIGH))
        self.set_flags([(at, bits) for at, bits in changes if bits != self.rows.flags[at]])
        if self.drop_rows(gone):
            self._gone_from_list = True

    def leave_out(self, path: Path) -> None:
        """What lies there is no file: the next look finds no message there."""
        self._no_mail.add(path)
        self.distrust()

    def own_change(self) -> None:
        """We changed the folder: what look() found still holds, but is looked at again soon."""
        self._mtimes["cur"] = os.stat(self._in("cur")).st_mtime_ns
        self._recheck_at = self._recheck_at or time.monotonic() + RECHECK_S
