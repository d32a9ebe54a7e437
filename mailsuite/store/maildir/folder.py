"""One Maildir's folder: its files' names, its uidlist and keywords, and what these tell of messages.

What is there is found out by scan.py, what is done with it by mailbox.py.
"""

import json
import os
import stat
from collections.abc import Callable, Mapping, Sequence

from mailsuite.base.files import own_group
from mailsuite.base.filesystems import is_local
from mailsuite.store.api import StoreError
from mailsuite.store.flags import KEYWORD_SHIFT, SEEN
from mailsuite.store.index import Index
from mailsuite.store.mailbox import BaseMailbox
from mailsuite.store.maildir.filename import KEYWORD_LETTERS, UniqueNames, base_of, bases_of, bits_of, letters_of
from mailsuite.store.maildir.keywords import read_keywords
from mailsuite.store.maildir.uidlist import UNWRITABLE, UidList
from mailsuite.store.options import StoreOptions
from mailsuite.store.private_seen import PrivateSeen

Path = bytes            # b"cur/NAME" or b"new/NAME"


class MaildirFolder(BaseMailbox):
    """folder: holds new, cur and tmp. root: of all the user's Maildirs, where UIDVALIDITY values are counted."""

    flags_in_files = True

    def __init__(self, name: str, folder: str, root: str, index: Index, options: StoreOptions, *,
                 control: str | None = None, private: PrivateSeen | None = None) -> None:
        """private: \\Seen is the user's own, and not in the files' names."""
        super().__init__(name, index, options)
        self.private = private
        self.folder, self.root = folder, root
        self._prefix = os.fsencode(folder) + b"/"
        self.sync_files = options.fsync != "never"
        self.names = UniqueNames(options.host)
        info = os.stat(folder)
        self._local = is_local(info.st_dev)
        self.mode, self.group = stat.S_IMODE(info.st_mode) & 0o666, info.st_gid
        self.gid = own_group(folder)                    # of new files; -1: the one they get
        self.control = control or folder
        self.uidlist = UidList(self.control, fsync=self.sync_files, mode=self.mode, gid=self.gid)
        self._letter_bits: dict[bytes, int] = {}               # of letters
        self._by_base: dict[bytes, int] | None = None   # uids; None: nobody has asked
        self.in_new: dict[Path, int] = {}               # those of rows.keys that are in new/, with their uids
        self._mtimes = {"new": -1, "cur": -1}
        self._settled = {"new": False, "cur": False}
        self._recheck_at = 0.0
        self._opened = False
        self._gone_from_list = False                    # the uidlist names files that are gone
        self._doubles: list[tuple[Path, Path]] = []     # (kept, spare) of one base
        self._no_mail: set[Path] = set()                # folders, pipes and links among the messages
        self.writable = os.access(os.path.join(folder, "cur"), os.W_OK)

    def _in(self, folder: str) -> str:
        return os.path.join(self.folder, folder)

    def path(self, path: Path) -> bytes:
        """The full path of a message's file."""
        return self._prefix + path

    def _exists(self, path: Path) -> bool:
        return os.path.lexists(self.path(path))

    def now_at(self, at: int, path: Path) -> None:
        """The file of the message at this position has this name now."""
        self.in_new.pop(self.rows.keys[at], None)
        if path.startswith(b"new/"):
            self.in_new[path] = self.rows.uids[at]
        self.rows.keys[at] = path

    def forget_file(self, path: Path) -> None:
        """The file is gone."""
        self.in_new.pop(path, None)
        if self._by_base is not None:
            self._by_base.pop(base_of(path[4:]), None)

    @property
    def by_base(self) -> dict[bytes, int]:
        """UIDs by what stays of the names. Made when somebody asks, which happens when files come or go."""
        if self._by_base is None:
            self._by_base = dict(zip(bases_of(self.rows.keys), self.rows.uids, strict=True))
        return self._by_base

    def _add_high_keywords(self) -> None:
        """Keywords without a letter, kept in the index behind the 26 that have one."""
        names = json.loads(self.index.state) if self.index.state else []
        if names:
            while len(self.table.keywords) < KEYWORD_LETTERS:
                self.table.add(f"unknown-{len(self.table.keywords)}")
            for name in names:
                self.table.add(name)

    def read_keywords(self) -> None:
        """Learn what other programs put into dovecot-keywords."""
        known = self.table.keywords
        for number, keyword in enumerate(read_keywords(self.control)):
            if number >= len(known):
                self.table.add(keyword)
            elif known[number] != keyword and known[number] == f"unknown-{number}":
                self.table.rename(number, keyword)

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

    def bits_of_all(self, infos: Sequence[bytes], uids: Sequence[int]) -> list[int]:
        """The flags of messages, as this user sees them. infos: what stands behind the colons of their names."""
        known = _BitsOf(self.bits)
        different = set(infos)
        all_bits = [known[different.pop()]] * len(infos) if len(different) == 1 else list(map(known.__getitem__, infos))
        return all_bits if self.private is None else list(map(self.own_bits, uids, all_bits))

    def own_bits(self, uid: int, bits: int) -> int:
        """What a file's name says, as this user sees it."""
        if self.private is None:
            return bits
        return bits | SEEN if uid in self.private.uids else bits & ~SEEN

    def file_bits(self, bits: int, old: int = 0) -> int:
        """What of a message's flags belongs into its file's name; old: what stands there."""
        return bits if self.private is None else bits & ~SEEN | old & SEEN

    def watch_paths(self) -> list[str]:
        return [self._in("new"), self._in("cur")]

    @property
    def guid(self) -> str:
        return self.uidlist.guid or super().guid

    def _bases(self, uids: Sequence[int]) -> list[bytes]:
        return [b"" if at is None else base_of(self.rows.keys[at][4:]) for at in self.rows.positions(uids)]

    def saved_uidls(self, uids: Sequence[int]) -> list[str | None]:
        with self.lock:
            listed = self.uidlist
            if not any(b"P" in fields for fields in listed.fields.values()):
                return [None] * len(uids)
            found = [entry.uidl() if (entry := listed.entry(base)) else None for base in self._bases(uids)]
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
                if error.errno not in UNWRITABLE:
                    raise StoreError(str(error)) from error

    def identities(self, uids: Sequence[int], kind: str) -> list[str] | None:
        if kind not in ("filename", "guid", "content", "links"):
            return None
        found = []
        with self.lock:
            if kind == "links":
                return [self._links(at) for at in self.rows.positions(uids)]
            for at in self.rows.positions(uids):
                base = base_of(self.rows.keys[at][4:]) if at is not None else b""
                entry = self.uidlist.entry(base) if kind != "filename" else None
                found.append((entry.guid() if entry else base).decode("utf-8", "surrogateescape"))
        return found

    def _links(self, at: int | None) -> str:
        try:
            return "" if at is None else str(os.stat(self.path(self.rows.keys[at])).st_nlink)
        except OSError:
            return ""


class _BitsOf(dict[bytes, int]):
    """Flags by what stands behind the colon of a name."""

    def __init__(self, bits: Callable[[bytes], int]) -> None:
        self._bits = bits

    def __missing__(self, info: bytes) -> int:
        bits = self[info] = self._bits(letters_of(b":" + info))
        return bits
