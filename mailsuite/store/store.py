"""All mailboxes of one user: the layer that makes, deletes and renames them. Implements store/store_api.MailStore.

Below it: store_base.py (layout, index, rights), store_names.py, store_open.py. Mailboxes with auto = create or
subscribe are made at their first use and always listed.
"""

import errno
import os

from mailsuite.store.api import HasChildren, Mailbox, MailboxExists, NoSuchMailbox, NotPossible, Refused
from mailsuite.store.events import hearing
from mailsuite.store.names import INBOX, Parts
from mailsuite.store.quota import Usage
from mailsuite.store.store_base import file_errors
from mailsuite.store.store_open import OpenMailboxes, name_guid

_TAKEN = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, errno.ENOTDIR})


class UserStore(OpenMailboxes):
    """Made by open_store()."""

    def create(self, name: str, special_use: tuple[str, ...] = ()) -> None:
        parts = self._naming.parts(name)
        with self._lock, file_errors():
            kind = self._layout.kind(parts)
            self._demand_below(parts)
            if kind is not None and (kind.selectable or self._layout.own == "/") or (
                    parts == INBOX and (self._options.inbox or self._options.kind == "shared")):
                self._layout.made_before(parts)
                raise MailboxExists
            self._layout.make(parts, parent_only=name.endswith(self.separator))
            if self._acl is not None:
                self._acl.inherit(parts)
            if not name.endswith(self.separator) or self._layout.own == ".":
                self._layout_opened(parts, name)
            if special_use:
                self._uses.give(parts, special_use)
            if (events := hearing()) is not None:
                events.created(self._naming.name(parts))

    def _layout_opened(self, parts: Parts, name: str) -> None:
        """A new mailbox gets its UIDVALIDITY at once."""
        mailbox = self._made_ready(parts)
        self.index.forget(mailbox.name)
        mailbox.refresh()
        self._open[parts] = mailbox

    def delete(self, name: str) -> None:
        parts = self._naming.parts(name)
        if parts == INBOX:
            if self._options.inbox or self._options.kind == "shared":
                raise Refused("INBOX can't be deleted")
            raise NotPossible("Storage root can't be deleted")
        with self._lock, file_errors():
            self._demand(parts, "x", name)
            if self._layout.kind(parts) is None:
                if self._layout.own == "/" and self._has_children(parts):
                    raise HasChildren
                raise NoSuchMailbox(name)
            held = self._usage_of(parts) if self.quota is not None else Usage(0, 0)
            entries = self._entries_to_go(name)
            events = hearing()
            deleted = None if events is None else events.deleting(self._if_selectable(parts, name), name)
            self._layout.delete(parts)
            self._close_one(parts)
            self.index.forget(self._naming.name(parts))
            self._uses.forget(parts)
            if entries is not None:
                entries.forget()
            if (text := self._known_text()) is not None:
                text.forget(self._naming.name(parts))
            if self._acl is not None:
                self._acl.gone(parts)
            if self.quota is not None:
                self.quota.changed(self._quota_name(parts), octets=-held.octets, messages=-held.messages)
            if deleted is not None:
                deleted()

    def _if_selectable(self, parts: Parts, name: str) -> Mailbox | None:
        kind = self._layout.kind(parts)
        return self.open(name, right="") if kind is not None and kind.selectable else None

    def _has_children(self, parts: Parts) -> bool:
        return any(other[: len(parts)] == parts and other != parts for other in self._layout.find_all())

    def rename(self, old: str, new: str) -> None:
        source, target = self._naming.parts(old), self._naming.parts(new)
        with self._lock, file_errors():
            if source == INBOX and not self._layout.inbox_renames:
                raise NotPossible("Renaming INBOX isn't supported")
            kind = self._layout.kind(source)
            if self._layout.own == "/" and target != source:        # there Dovecot looks at the new name first
                self._check_target(source, target)
            if kind is None and not self._has_children(source):
                raise NoSuchMailbox(old)
            if target != source:
                self._demand(source, "x", old)
                self._demand_below(target)
            if target == source:
                raise MailboxExists("Can't rename mailbox to itself")
            if not self._layout.alike(source, target):
                raise NotPossible("Renaming not supported across conflicting directory permissions")
            self._check_target(source, target, taken=kind is not None)
            for parts in list(self._open):
                if parts[: len(source)] == source:
                    self._open[parts].checkpoint()
            try:
                renamed = self._layout.rename(source, target)
            except OSError as error:
                if error.errno in _TAKEN:               # a folder that only holds other mailboxes has that name
                    raise MailboxExists("Target mailbox already exists") from error
                raise
            self._uses.renamed(renamed)
            for was, now in renamed:
                self._close_one(was)
                self.index.rename(self._naming.name(was), self._naming.name(now))
                if self.attributes is not None and self._location.kind == "mbox":
                    self.attributes.move(name_guid(self._naming.name(was)), name_guid(self._naming.name(now)),
                                         keep=was == INBOX)
                if (text := self._known_text()) is not None:
                    text.rename(self._naming.name(was), self._naming.name(now))
            if self._acl is not None:
                self._acl.gone(source)
            if (events := hearing()) is not None:
                events.renamed(self._naming.name(source), self._naming.name(target))

    def _check_target(self, source: Parts, target: Parts, *, taken: bool = True) -> None:
        """taken: may not be there yet. Raises Refused, MailboxExists."""
        if target[: len(source)] == source:
            raise Refused("Can't rename mailbox under its own child")
        if taken and self._layout.kind(target) is not None:
            raise MailboxExists("Target mailbox already exists")

    def move_to(self, other: "UserStore", old: str, new: str) -> None:
        """RENAME into another namespace of the user. Raises what rename() does."""
        source, target = self._naming.parts(old), other._naming.parts(new)
        with self._lock, other._lock, file_errors():
            if source == INBOX or self._location.kind != "maildir" or other._location.kind != "maildir":
                raise NotPossible("Can't rename mailboxes across specified storages")
            if self._layout.kind(source) is None:
                raise NoSuchMailbox(old)
            self._demand(source, "x", old)
            other._demand_below(target)
            if other._layout.kind(target) is not None:
                raise MailboxExists("Target mailbox already exists")
            for was in sorted({source, *(one for one in self._layout.find_all() if one[: len(source)] == source)}):
                if was in self._open:
                    self._open[was].checkpoint()
                here, there = self._layout.path(was), other._layout.path(target + was[len(source):])
                if not os.path.isdir(here):
                    continue                        # moved with its parent
                other._layout.prepare_for(target + was[len(source):])
                os.rename(here, there)
                self._close_one(was)
                self.index.forget(self._naming.name(was))
            for store, parts in ((self, source), (other, target)):
                if store._acl is not None:
                    store._acl.gone(parts)
            if (events := hearing()) is not None:
                events.renamed(self._naming.name(source), other._naming.name(target))
