"""The ACLs of one namespace as one user meets them. Implements store/acl.NamespaceAcl.

    acl = NamespaceAcls(settings, owner="alice", private=True);  acl.attach(place)
    acl.rights(("Work",)) -> {"l", "r"};  acl.rights_below(("Work", "New"));  acl.inherit(("Work", "New"))
    acl.entries(("Work",)), acl.change(("Work",), update), acl.tell_shared()

Where ACLs come from: dovecot-acl in the mailbox's folder, then the administrator's (everywhere.py). A namespace that
has an owner gives the owner all rights and others none; a public one gives nobody any.
"""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from mailsuite.acl.entries import Entry, Identifier, Who, granted
from mailsuite.acl.everywhere import Everywhere
from mailsuite.acl.file import NAME, AclFile
from mailsuite.acl.rights import NONE, Rights
from mailsuite.acl.settings import AclSettings
from mailsuite.acl.shared import SharedBoxes
from mailsuite.base.errors import MailError
from mailsuite.store.acl import Place
from mailsuite.store.errors import StoreError
from mailsuite.store.names import INBOX, Parts

CACHE = "dovecot-acl-list"      # Dovecot's own list of mailboxes that others may see
MAX_FILES = 100_000             # ACL files of one namespace that are remembered
log = logging.getLogger("mailsuite.dovecot.acl")


class NamespaceAcls:
    """owner: of the namespace, "" of a public one. inbox: the namespace's root is its INBOX."""

    def __init__(self, settings: AclSettings, *, owner: str, inbox: bool) -> None:
        self.settings, self.owner, self._inbox = settings, owner, inbox
        self.who = Who(settings.user, settings.groups, bool(owner) and owner == settings.user)
        self.anyone_allowed = settings.anyone
        self._everywhere = Everywhere(settings.everywhere) if settings.everywhere else None
        self._shared = SharedBoxes(settings.shared) if settings.shared else None
        self._files: dict[Parts, AclFile] = {}
        self._lock = threading.Lock()
        self.place: Place

    def attach(self, place: Place) -> None:
        self.place = place

    # --- what there is ----------------------------------------------------------------------------------------------

    def _file(self, parts: Parts) -> AclFile:
        """() is the namespace's root."""
        with self._lock:
            file = self._files.get(parts)
            if file is None:
                if len(self._files) >= MAX_FILES:
                    self._files.clear()
                file = self._files[parts] = AclFile(os.path.join(self.place.acl_folder(parts), NAME))
            return file

    def _own(self, parts: Parts) -> list[Entry]:
        if self.settings.everywhere_only or not parts and self._inbox:
            return []
        return self._file(parts).entries()

    def entries(self, parts: Parts) -> list[Entry]:
        """Of the mailbox, then of the administrator. Raises StoreError."""
        found = list(self._own(parts))
        if self._everywhere is not None and parts:
            found += self._everywhere.entries(self.place.shown_name(parts))
        return found

    def rights(self, parts: Parts) -> Rights:
        """Raises StoreError."""
        before = NONE
        if self.settings.from_inbox and self.owner and parts != INBOX:
            before = granted(self.entries(INBOX), self.who)
        return granted(self.entries(parts), self.who, before)

    def _above(self, parts: Parts) -> Parts:
        """The nearest mailbox above that is there or has an ACL; () for the root."""
        for depth in range(len(parts) - 1, 0, -1):
            above = parts[:depth]
            if self.place.is_there(above) or self._file(above).there or (
                    self._everywhere is not None and self._everywhere.entries(self.place.shown_name(above))):
                return above
        return ()

    def rights_below(self, parts: Parts) -> Rights:
        """The rights that decide whether parts may be made: those of what it would be below of."""
        above = self._above(parts)
        if not above and not self._inbox and self._everywhere is not None:
            return granted([*self._own(()), *self._everywhere.entries(self.place.shown_name(()))], self.who)
        return self.rights(above)

    # --- changes ----------------------------------------------------------------------------------------------------

    def change(self, parts: Parts, update: Callable[[Sequence[Entry]], Sequence[Entry]]) -> None:
        """Raises StoreError (with acl_globals_only, too), NoPermission, MailboxInUse."""
        if self.settings.everywhere_only:
            raise StoreError("acl_globals_only: a mailbox's own ACL can't be changed")
        if self._file(parts).change(update):
            self.tell_shared()

    def inherit(self, parts: Parts) -> None:
        """A new mailbox has the entries of what it was made below of."""
        entries = self._own(self._above(parts))
        if entries:
            self._file(parts).change(lambda _: entries)
            self.tell_shared()

    def gone(self, parts: Parts) -> None:
        """A mailbox was deleted or renamed."""
        with self._lock:
            known = [one for one in self._files if one[: len(parts)] == parts]
            for one in known:
                del self._files[one]
        self.tell_shared(quietly=True)

    def told_shared(self) -> bool | None:
        if self._shared is None:
            return None
        return self.owner in self._shared.owners(self.who.user, self.who.groups)

    def tell_shared(self, *, quietly: bool = False) -> None:
        """Have acl_shared_dict name those who may see something of the owner's, and Dovecot make its list anew."""
        with suppress(OSError):
            os.unlink(os.path.join(self.place.acl_folder(()), CACHE))
        if self._shared is None or not self.owner:
            return
        whom: set[Identifier] = set()
        try:
            for parts in self.place.all_parts():
                with suppress(StoreError):          # a damaged file gives nobody anything
                    whom.update(entry.who for entry in self.entries(parts) if entry.rights and "l" in entry.rights)
            self._shared.tell(self.owner, whom)
        except (MailError, OSError) as error:
            if not quietly:
                log.error("%s: %s", self.owner, getattr(error, "detail", "") or error)
