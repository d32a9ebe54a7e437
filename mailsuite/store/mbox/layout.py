"""Where mbox files lie: folders and files below ~/mail, INBOX wherever mail_location says.

A mailbox is a file, so it has no children; a folder has children and holds no mail. Implements store/layout.Layout.
"""

import os
import re
import shutil
import socket
import stat

from mailsuite.base.files import fsync_directory
from mailsuite.store.api import HasChildren, NotPossible
from mailsuite.store.index import Index
from mailsuite.store.layout import Found, is_folder, leads_back
from mailsuite.store.location import Location
from mailsuite.store.mbox import measure
from mailsuite.store.mbox.mailbox import MboxMailbox
from mailsuite.store.names import INBOX, Parts, from_disk, on_disk
from mailsuite.store.options import StoreOptions
from mailsuite.store.quota import Usage

FILE = Found(selectable=True, no_inferiors=True)
MARKED = FILE._replace(marked=True)
FOLDER = Found(selectable=False, no_inferiors=False, folder=True)

_HIDDEN = re.compile(r"\.imap$|\.subscriptions$|.+\.lock$"
                     r"|\.?dovecot(\.index\.|\.list|-acl|-attributes|-uidvalidity|-special-use)"
                     r"|\.new-|\.nfs|\.mailsuite-")


def _is_marked(entry: "os.DirEntry[str]") -> bool:
    """Whether the file has grown since it was last read: new mail, as shells and biff see it, too."""
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return False
    return status.st_atime_ns < status.st_mtime_ns


class MboxTree:
    """Of one user."""

    own = "/"
    reserved: re.Pattern[str] | None = re.compile(r"\.imap|.+\.lock")
    inbox_renames = True

    def __init__(self, location: Location) -> None:
        self._location, self._root = location, location.root
        self._measure = measure.Measure()

    def path(self, parts: Parts) -> str:
        return self._location.inbox if parts == INBOX else os.path.join(self._root, *self._on_disk(parts))

    def _on_disk(self, parts: Parts) -> Parts:
        return tuple(on_disk(part, utf8=True) for part in parts) if self._location.utf8 else parts

    def find_all(self) -> dict[Parts, Found]:
        found: dict[Parts, Found] = {}
        waiting: list[Parts] = [()]
        while waiting:
            above = waiting.pop()
            try:
                entries = list(os.scandir(os.path.join(self._root, *self._on_disk(above))))
            except OSError:
                continue
            for entry in entries:
                parts = (*above, from_disk(entry.name, utf8=self._location.utf8))
                if _HIDDEN.match(entry.name) or not above and entry.name.upper() == "INBOX" and not is_folder(entry):
                    continue
                if is_folder(entry):
                    if parts != INBOX:
                        found[parts] = FOLDER
                    if not leads_back(entry, self._root):
                        waiting.append(parts)
                elif entry.is_file(follow_symlinks=False) and entry.path != self._location.inbox:
                    found[parts] = MARKED if _is_marked(entry) else FILE
        return found

    def kind(self, parts: Parts) -> Found | None:
        try:
            mode = os.stat(self.path(parts)).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        if stat.S_ISDIR(mode):
            return FOLDER
        return Found(True, parts != INBOX)

    def acl_folder(self, parts: Parts) -> str:
        return os.path.join(self._root, ".imap", *self._on_disk(parts))

    def control_folder(self, parts: Parts) -> str:
        return self._location.control

    def alike(self, one: Parts, other: Parts) -> bool:
        return True

    def prepare_for(self, parts: Parts) -> None:
        os.makedirs(os.path.dirname(self.path(parts)), 0o700, exist_ok=True)

    def name_folders(self) -> list[str]:
        return [self._root, *(self.path(parts) for parts, found in self.find_all().items() if found == FOLDER)]

    def prepare(self) -> None:
        os.makedirs(self._root, 0o700, exist_ok=True)

    def make(self, parts: Parts, *, parent_only: bool) -> None:
        path = self.path(parts)
        if parts == INBOX:
            return              # it comes with its first message
        try:
            os.makedirs(path if parent_only else os.path.dirname(path), 0o700, exist_ok=True)
            if not parent_only:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        except (NotADirectoryError, FileExistsError):
            for depth in range(1, len(parts)):
                if os.path.isfile(self.path(parts[:depth])) and parts[:depth] != INBOX:
                    raise NotPossible("Mailbox doesn't allow inferior mailboxes") from None
            raise NotPossible("Mailbox already exists") from None

    def made_before(self, parts: Parts) -> None:
        pass

    def delete(self, parts: Parts) -> None:
        path = self.path(parts)
        if os.path.isdir(path):
            try:
                os.rmdir(path)
            except OSError:
                raise HasChildren from None
        else:
            os.unlink(path)
            shutil.rmtree(self._dovecot_index(parts), ignore_errors=True)
        fsync_directory(os.path.dirname(path))

    def rename(self, old: Parts, new: Parts) -> list[tuple[Parts, Parts]]:
        pairs = [(old, new)]
        if old != INBOX:
            pairs += [(parts, new + parts[len(old):]) for parts in self.find_all()
                      if parts[: len(old)] == old and parts != old]
        target = self.path(new)
        try:
            os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
        except (NotADirectoryError, FileExistsError):
            raise NotPossible("Target mailbox doesn't allow inferior mailboxes") from None
        os.rename(self.path(old), target)
        fsync_directory(os.path.dirname(target))
        return pairs

    def stamp(self, parts: Parts) -> object | None:
        return measure.stamp(self.path(parts))

    def usage(self, parts: Parts, *, wire: bool) -> Usage:
        return self._measure.usage(self.path(parts), wire=wire)

    def open(self, parts: Parts, name: str, index: Index, options: StoreOptions) -> MboxMailbox:
        journal = None
        if index.path is not None:
            journal = os.path.join(os.path.dirname(index.path), ".mailsuite-" + ".".join(parts)[:200] + ".journal")
        user = self._location.user.partition("@")[0]
        sender = f"{user}@{options.host or socket.getfqdn()}"
        control = self._location.control
        if control == self._root:
            control = os.path.join(control, ".imap")
        os.makedirs(control, 0o700, exist_ok=True)
        return MboxMailbox(name, self.path(parts), index, options, journal, sender, control,
                           os.path.join(self._dovecot_index(parts), "dovecot.index.log"))

    def _dovecot_index(self, parts: Parts) -> str:
        """Where Dovecot keeps its index of a mailbox, unless mail_location says otherwise."""
        *above, last = self._on_disk(parts)
        return os.path.join(self._root, *above, ".imap", last)
