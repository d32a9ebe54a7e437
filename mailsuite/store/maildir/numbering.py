"""UIDs for the files of a Maildir, and their rows in memory and in the index.

UIDs are given under the uidlist's lock only, in the order of delivery; who cannot write the uidlist numbers the
messages for itself.
"""

import operator
import os
from array import array
from collections.abc import Sequence
from contextlib import suppress
from itertools import repeat

from mailsuite.store.api import MailboxInUse, StoreError
from mailsuite.store.maildir.filename import base_of, bases_of, in_order
from mailsuite.store.maildir.folder import MaildirFolder, Path
from mailsuite.store.maildir.listing import Files, files_of
from mailsuite.store.maildir.uidlist import UNWRITABLE

KEPT_PERCENT = 75           # a uidlist with fewer entries in use than this is written anew


class NumberedMaildir(MaildirFolder):
    """Every file that is found gets its UID here."""

    def _arrived(self, files: Files) -> None:
        """Give UIDs to files that have none, in the order of delivery."""
        files = self._without_line_ends(files)
        if not files.bases:
            return
        ordered = in_order(files.bases)
        try:
            with self.uidlist.locked():
                if self.uidlist.load():
                    self.read_keywords()
                uids, ordered = self._assign(ordered)
        except OSError as error:
            demand_unwritable(error)
            uids, ordered = self._provisional(ordered)
        if ordered != files.bases:
            paths = dict(zip(files.bases, files.paths, strict=True))
            files = files_of({base: paths[base] for base in ordered})
        self._add_rows(uids, files)

    def _without_line_ends(self, files: Files) -> Files:
        """A line end in a base would break the uidlist: such a file gets another name, by which it is found again."""
        if b"\n" not in b"".join(files.bases):
            return files
        kept: dict[bytes, Path] = {}
        for base, path in zip(files.bases, files.paths, strict=True):
            if b"\n" not in base:
                kept[base] = path
                continue
            try:
                os.rename(self.path(path), self.path(path[:4] + self.names.next() + path[4 + len(base):]))
            except OSError:             # gone, or not ours to change
                self._no_mail.add(path)
            self.distrust()
        return files_of(kept)

    def _provisional(self, bases: list[bytes]) -> tuple[Sequence[int], list[bytes]]:
        """UIDs that only this process knows: who cannot write, or has no room to, can still read and delete."""
        self.uidlist.load()
        uids, known, missing = self._known(bases)
        first = max(self.uid_next, uids[-1] + 1 if uids else 0)
        return [*uids, *range(first, first + len(missing))], known + missing

    def _known(self, bases: list[bytes]) -> tuple[list[int], list[bytes], list[bytes]]:
        """Entries that another program made are taken over, unless their UID is one that views have passed.

        Returns their UIDs, ascending, their bases, and the other bases.
        """
        last, listed = self.rows.uids[-1] if self.rows.uids else 0, self.uidlist.uids
        if listed.keys().isdisjoint(bases):
            return [], [], bases
        known = {uid: base for base in bases if (uid := listed.get(base, 0)) > last}
        have = set(known.values())
        uids = sorted(known)
        return uids, [known[uid] for uid in uids], [base for base in bases if base not in have]

    def _assign(self, bases: list[bytes]) -> tuple[Sequence[int], list[bytes]]:
        """UIDs, ascending, with their bases: known ones, and new ones in the order of bases. The uidlist is locked."""
        uids, known, missing = self._known(bases)
        if missing:
            self._shorten(bases)
        self.uidlist.next_uid = max(self.uidlist.next_uid, self.uid_next)
        new = self.uidlist.add_plain(missing)
        return [*uids, *new] if uids else new, known + missing if known else missing

    def _shorten(self, besides: Sequence[bytes] = ()) -> None:
        """Leave files that are gone out of the uidlist, when they are a good part of it (lock held)."""
        if self._gone_from_list and len(self.by_base) * 100 <= len(self.uidlist.uids) * KEPT_PERCENT:
            self.uidlist.next_uid = max(self.uidlist.next_uid, self.uid_next)
            there = {base_of(name) for folder in ("new", "cur") for name in os.listdir(os.fsencode(self._in(folder)))}
            self.uidlist.rewrite(there.union(self.by_base, besides))
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

    def add_rows(self, uids: Sequence[int], paths: Sequence[Path]) -> None:
        """Messages with new UIDs, ascending, come into memory and the index."""
        self._add_rows(uids, files_of({base_of(path[4:]): path for path in paths}))

    def _add_rows(self, uids: Sequence[int], files: Files) -> None:
        if not uids:
            return
        self.highest_modseq += 1
        first = len(self.rows)
        self._extend(uids, self.bits_of_all(files.infos, uids), array("Q", [self.highest_modseq]) * len(uids),
                     files.paths)
        self.unclaimed.update(uids)
        self.uid_next = max(self.uid_next, uids[-1] + 1, self.uidlist.next_uid)
        self.save_rows(range(first, len(self.rows)), [])

    def _extend(self, uids: Sequence[int], all_bits: list[int], modseqs: "array[int]", paths: Sequence[Path]) -> None:
        self.rows.extend(uids, all_bits, modseqs, paths)
        if self._by_base is not None:
            self._by_base.update(zip(bases_of(paths), uids, strict=True))
        if any(map(operator.ge, paths, repeat(b"new/"))):
            self.in_new.update([(path, uid) for path, uid in zip(paths, uids, strict=True) if path >= b"new/"])

    def has_base(self, base: bytes) -> bool:
        return base in self.by_base or base in self.uidlist.uids

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


def demand_unwritable(error: OSError) -> None:
    """A uidlist that cannot be written is no reason not to read mail; any other failure is raised."""
    if error.errno not in UNWRITABLE:
        raise error
