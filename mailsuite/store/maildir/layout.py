"""Where Maildirs lie: Maildir++ (.Work.2024 in the root, which is INBOX itself) or LAYOUT=fs (Work/2024 in the root).

A folder is made as a whole under a hidden name and then renamed, so that nobody sees half of one. A deleted one is
renamed first, too. Implements store/layout.Layout.
"""

import os
import re
import shutil
import stat
from contextlib import suppress

from mailsuite.base.files import fsync_directory, give_group, own_group
from mailsuite.store.index import Index
from mailsuite.store.layout import Found, is_folder, leads_back
from mailsuite.store.location import Location
from mailsuite.store.maildir import measure
from mailsuite.store.maildir.mailbox import MaildirMailbox
from mailsuite.store.names import INBOX, Parts, from_disk, on_disk
from mailsuite.store.options import StoreOptions
from mailsuite.store.private_seen import PrivateSeen
from mailsuite.store.quota import Usage

TRASH = "..DOVECOT-TRASHED"
MAILDIR = Found(selectable=True, no_inferiors=False)
PARENT = Found(selectable=False, no_inferiors=False, folder=True)
MARKER = "maildirfolder"

_PARTS = {"new", "cur", "tmp"}


class MaildirPlusPlus:
    """The flat layout."""

    own = "."
    reserved: re.Pattern[str] | None = None
    inbox_renames = False
    _marked = True              # each folder holds the marker file of Maildir++

    def __init__(self, location: Location) -> None:
        self._location, self._root = location, location.root

    def folder(self, parts: Parts) -> str:
        return self._location.inbox if parts == INBOX else os.path.join(self._root, self._name(parts))

    def _name(self, parts: Parts) -> str:
        return "." + ".".join(self._on_disk(parts))

    def _on_disk(self, parts: Parts) -> Parts:
        return tuple(on_disk(part, utf8=True) for part in parts) if self._location.utf8 else parts

    def control_folder(self, parts: Parts) -> str:
        if self._location.control == self._root:
            return self.folder(parts)
        return os.path.join(self._location.control, self._name(parts))

    def path(self, parts: Parts) -> str:
        return self.folder(parts)

    def find_all(self) -> dict[Parts, Found]:
        try:
            entries = list(os.scandir(self._root))
        except FileNotFoundError:
            return {}
        found: dict[Parts, Found] = {}
        for entry in entries:
            name = entry.name[1:]
            if entry.name.startswith(".") and name and not name.startswith(".") and not name.endswith(".") \
                    and ".." not in name and name != "INBOX" and is_folder(entry):
                found[tuple(from_disk(part, utf8=self._location.utf8) for part in name.split("."))] = MAILDIR
        return found

    def kind(self, parts: Parts) -> Found | None:
        folder = self.folder(parts)
        if os.path.isdir(folder) and (parts != INBOX or os.path.isdir(os.path.join(folder, "cur"))):
            return MAILDIR
        return None

    def acl_folder(self, parts: Parts) -> str:
        return self.folder(parts) if parts else self._root

    def prepare_for(self, parts: Parts) -> None:
        if not os.path.isdir(self._root):
            os.makedirs(self._root, self.mode())

    def name_folders(self) -> list[str]:
        return [self._root]

    def prepare(self) -> None:
        """The root is made with INBOX."""

    def mode(self, parts: Parts = INBOX) -> int:
        """Rights of a new folder: as the folder above has them."""
        above = self._above(parts)
        return stat.S_IMODE(above.st_mode) & 0o2777 | 0o700 if above is not None else 0o700

    def _above(self, parts: Parts) -> os.stat_result | None:
        """Of the nearest folder above, or the root."""
        for depth in range(len(parts) - 1, 0, -1):
            with suppress(OSError):
                return os.stat(self.folder(parts[:depth]))
        with suppress(OSError):
            return os.stat(self._root)
        return None

    def alike(self, one: Parts, other: Parts) -> bool:
        first, second = self._above(one), self._above(other)
        return first is None or second is None or (first.st_mode, first.st_gid) == (second.st_mode, second.st_gid)

    def make(self, parts: Parts, *, parent_only: bool) -> None:
        folder, mode, above = self.folder(parts), self.mode(parts), self._above(parts)
        gid = above.st_gid if above is not None else -1
        if os.path.isdir(folder):
            for name in sorted(_PARTS):             # a root that holds folders, but no mail of its own yet
                if not os.path.isdir(os.path.join(folder, name)):
                    make_folder(os.path.join(folder, name), mode, gid)
            return
        if parts == INBOX:
            os.makedirs(os.path.dirname(folder), 0o700, exist_ok=True)
        elif not os.path.isdir(self._root):
            self.prepare_for(parts)                     # a root that came so has no marker, as with Dovecot
            if self._location.inbox == self._root:
                self.make(INBOX, parent_only=False)
        make_maildir(folder, mode, gid, marked=self._marked)

    def made_before(self, parts: Parts) -> None:
        """CREATE INBOX leaves the marker in a root that came without it, as Dovecot does."""
        folder = self.folder(parts)
        if self._marked and parts == INBOX and os.path.isdir(folder) and not os.path.exists(f"{folder}/{MARKER}"):
            _mark(folder, self.mode())

    def delete(self, parts: Parts) -> None:
        remove_tree(self.folder(parts), self._root)

    def rename(self, old: Parts, new: Parts) -> list[tuple[Parts, Parts]]:
        pairs = [(parts, new + parts[len(old):]) for parts in self.find_all() if parts[: len(old)] == old]
        for was, now in sorted(pairs):
            os.rename(self.folder(was), self.folder(now))
        fsync_directory(self._root)
        return pairs

    def stamp(self, parts: Parts) -> object | None:
        return measure.stamp(self.folder(parts))

    def usage(self, parts: Parts, *, wire: bool) -> Usage:
        return measure.measure(self.folder(parts), wire=wire)

    def open(self, parts: Parts, name: str, index: Index, options: StoreOptions) -> MaildirMailbox:
        folder = self.folder(parts)
        if not os.path.isdir(os.path.join(folder, "cur")):
            self.make(parts, parent_only=False)
        control = None
        if self._location.control != self._root:
            control = self.control_folder(parts)
            os.makedirs(control, 0o700, exist_ok=True)
        private = PrivateSeen(self._location.private, parts) if self._location.private and not options.inbox else None
        return MaildirMailbox(name, folder, self._location.control, index, options, control=control, private=private)


class MaildirTree(MaildirPlusPlus):
    """LAYOUT=fs."""

    own = "/"
    reserved: re.Pattern[str] | None
    _marked = False

    def __init__(self, location: Location) -> None:
        super().__init__(location)
        self._top, self._mail = location.mailboxes or location.root, location.mail_folder
        self._no_names = {self._mail} if self._mail else _PARTS
        self.reserved = re.compile("|".join(map(re.escape, sorted(self._no_names))))

    def folder(self, parts: Parts) -> str:
        return self._location.inbox if parts == INBOX else os.path.join(self._named(parts), self._mail).rstrip("/")

    def _named(self, parts: Parts) -> str:
        """The folder that has a mailbox' name."""
        return os.path.join(self._top, *self._on_disk(parts))

    def control_folder(self, parts: Parts) -> str:
        if self._location.control == self._root:
            return self.folder(parts)
        return os.path.join(self._location.control, *self._on_disk(parts))

    def find_all(self) -> dict[Parts, Found]:
        found: dict[Parts, Found] = {}
        waiting: list[Parts] = [()]
        while waiting:
            above = waiting.pop()
            try:
                entries = list(os.scandir(self._named(above)))
            except OSError:
                continue
            for entry in entries:
                if entry.name.startswith("..") or entry.name in self._no_names or not is_folder(entry):
                    continue
                parts = (*above, from_disk(entry.name, utf8=self._location.utf8))
                if parts == INBOX and self._mail:
                    waiting.append(parts)
                    continue
                if entry.name.startswith(".") and self.kind(parts) is None:
                    continue                        # something else that is hidden
                found[parts] = self.kind(parts) or PARENT
                if not leads_back(entry, self._top):
                    waiting.append(parts)
        return found

    def kind(self, parts: Parts) -> Found | None:
        folder = self.folder(parts)
        if os.path.isdir(os.path.join(folder, "cur")):
            return MAILDIR
        return None

    def prepare_for(self, parts: Parts) -> None:
        os.makedirs(os.path.dirname(self.folder(parts)), self.mode(), exist_ok=True)

    def name_folders(self) -> list[str]:
        return [self._top, *(self._named(parts) for parts in self.find_all())]

    def make(self, parts: Parts, *, parent_only: bool) -> None:
        folder = self._named(parts) if parent_only else os.path.dirname(self.folder(parts))
        os.makedirs(folder, self.mode(), exist_ok=True)
        if not parent_only:
            super().make(parts, parent_only=False)

    def delete(self, parts: Parts) -> None:
        """Children stay."""
        folder = self._named(parts)
        if any(is_folder(entry) and entry.name not in self._no_names for entry in os.scandir(folder)):
            for name in sorted(self._no_names):
                remove_tree(os.path.join(folder, name), self._root)
        else:
            remove_tree(folder, self._root)

    def rename(self, old: Parts, new: Parts) -> list[tuple[Parts, Parts]]:
        pairs = [(parts, new + parts[len(old):]) for parts in self.find_all() if parts[: len(old)] == old]
        os.makedirs(os.path.dirname(self._named(new)), self.mode(), exist_ok=True)
        os.rename(self._named(old), self._named(new))
        return pairs


def make_folder(path: str, mode: int, gid: int = -1) -> None:
    """gid: its group, where we are in it."""
    os.mkdir(path, 0o700)
    if gid != os.stat(path).st_gid and gid in os.getgroups():
        os.chown(path, -1, gid)
    os.chmod(path, mode)


def make_maildir(folder: str, mode: int, gid: int = -1, *, marked: bool = True) -> None:
    """A Maildir, with the marker file of Maildir++ if so wanted; whole or not there."""
    parent = os.path.dirname(folder)
    temp = os.path.join(parent, f"..new-{os.getpid()}-{os.path.basename(folder).lstrip('.')}"[:255])
    shutil.rmtree(temp, ignore_errors=True)
    make_folder(temp, mode, gid)
    for name in sorted(_PARTS):
        make_folder(os.path.join(temp, name), mode, gid)
    if marked:
        _mark(temp, mode)
    try:
        os.rename(temp, folder)
    except OSError:
        shutil.rmtree(temp, ignore_errors=True)
        if not os.path.isdir(os.path.join(folder, "cur")):      # else somebody was faster
            raise
    fsync_directory(parent)


def _mark(folder: str, mode: int) -> None:
    fd = os.open(os.path.join(folder, MARKER), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    os.fchmod(fd, mode & 0o666)
    give_group(fd, own_group(folder))
    os.close(fd)


def remove_tree(folder: str, root: str) -> None:
    """Out of sight at once, then file by file."""
    trash = os.path.join(root, f"{TRASH}.{os.getpid()}")
    shutil.rmtree(trash, ignore_errors=True)
    os.rename(folder, trash)
    fsync_directory(root)
    shutil.rmtree(trash, ignore_errors=True)
