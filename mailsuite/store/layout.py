"""Where mailboxes lie on disk, as a contract: a Maildir++ tree, a tree of Maildirs, a tree of mbox files.

Implemented by maildir/layout.py and mbox/layout.py; used by store.py, which knows names, subscriptions and rights.
All methods block and raise OSError; what a client should be told they raise as store errors. is_folder and leads_back
help those that walk a tree.
"""

import os
import re
from typing import NamedTuple, Protocol

from mailsuite.store.index import Index
from mailsuite.store.mailbox import BaseMailbox
from mailsuite.store.names import Parts
from mailsuite.store.options import StoreOptions
from mailsuite.store.quota import Usage


def is_folder(entry: "os.DirEntry[str]") -> bool:
    """Also through a symbolic link; one that leads nowhere or into a circle is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def leads_back(entry: "os.DirEntry[str]", top: str) -> bool:
    """Is this folder a symbolic link to one in which it lies? Who walks below `top` would go round in circles."""
    if not entry.is_symlink():
        return False
    above = entry.path
    try:
        target = os.stat(above)
        while len(above) > len(top):
            above = os.path.dirname(above)
            if os.path.samestat(os.stat(above), target):
                return True
    except OSError:
        return True
    return False


class Found(NamedTuple):
    """selectable: holds mail. no_inferiors: can't have children. folder: it is there, but can only hold mailboxes.

    marked: an mbox to which mail has come since anybody read it.
    """

    selectable: bool
    no_inferiors: bool
    folder: bool = False
    marked: bool = False


class Layout(Protocol):
    """own: what separates the parts of a name on disk. reserved: parts that a name must not have."""

    own: str
    reserved: re.Pattern[str] | None
    inbox_renames: bool                 # RENAME of INBOX moves its mail

    def find_all(self) -> dict[Parts, Found]:
        """All that is there; INBOX and parents without mail of their own need not be."""
        ...

    def kind(self, parts: Parts) -> Found | None:
        """What lies at a name; None: nothing."""
        ...

    def path(self, parts: Parts) -> str:
        """Where a mailbox of that name lies or would lie."""
        ...

    def control_folder(self, parts: Parts) -> str:
        """Where uidlist and keywords of a mailbox lie."""
        ...

    def acl_folder(self, parts: Parts) -> str:
        """Where the mailbox's dovecot-acl lies; () is the root."""
        ...

    def alike(self, one: Parts, other: Parts) -> bool:
        """Whether two mailboxes have the same rights of the operating system."""
        ...

    def prepare_for(self, parts: Parts) -> None:
        """Make what a mailbox of that name would lie in."""
        ...

    def name_folders(self) -> list[str]:
        """Folders in which mailboxes come and go."""
        ...

    def prepare(self) -> None:
        """Make the root, which need not be there before the first login."""
        ...

    def make(self, parts: Parts, *, parent_only: bool) -> None:
        """The name is free. Raises NotPossible where the parent can't have children."""
        ...

    def made_before(self, parts: Parts) -> None:
        """Somebody wanted to make a mailbox that is there."""
        ...

    def delete(self, parts: Parts) -> None:
        """Raises Refused for one that can't go."""
        ...

    def rename(self, old: Parts, new: Parts) -> list[tuple[Parts, Parts]]:
        """With its children. Returns the pairs that were renamed."""
        ...

    def stamp(self, parts: Parts) -> object | None:
        """What changes whenever a mailbox's messages do; None: there is no such mailbox. Takes no lock."""
        ...

    def usage(self, parts: Parts, *, wire: bool) -> Usage:
        """How much a mailbox holds, with CRLF line ends or as stored. Takes no lock."""
        ...

    def open(self, parts: Parts, name: str, index: Index, options: StoreOptions) -> BaseMailbox: ...
