"""A user's open mailboxes: one shared object for each, what they hold for the quota, METADATA's entries, the end.

A mailbox object lives until the store is closed or MAX_OPEN are open, so a second SELECT finds everything in memory.
"""

import hashlib
from collections.abc import Callable
from functools import partial

from mailsuite.base.errors import MailError
from mailsuite.store.acl import NamespaceAcl
from mailsuite.store.api import Mailbox, NoSuchMailbox, NotSelectable
from mailsuite.store.attributes import Attributes, MailboxEntries
from mailsuite.store.events import hearing
from mailsuite.store.location import Location
from mailsuite.store.mailbox import BaseMailbox
from mailsuite.store.names import INBOX, Parts, from_mutf7
from mailsuite.store.options import StoreOptions
from mailsuite.store.quota import Quota, Usage
from mailsuite.store.store_base import StoreBase, file_errors
from mailsuite.store.store_names import NamedMailboxes

MAX_OPEN = 200          # mailboxes nobody looks at are put away beyond this


def name_guid(name: str) -> str:
    """What stands for a mailbox that has no GUID in its file."""
    return hashlib.md5(name.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()


class OpenMailboxes(NamedMailboxes):
    """See store/store_api.MailStore for the public methods."""

    def __init__(self, user: str, location: Location, options: StoreOptions, quota: Quota | None = None,
                 attributes: Attributes | None = None, *, shared_attributes: Attributes | None = None,
                 acl: NamespaceAcl | None = None, keeper: Callable[[], StoreBase] | None = None,
                 sole: bool = True) -> None:
        """keeper: of index and full text, for mailboxes that others use, too. sole: the quotas have no other namespace
        to ask."""
        super().__init__(user, location, options, quota, attributes, shared_attributes=shared_attributes, acl=acl,
                         keeper=keeper)
        self._open: dict[Parts, BaseMailbox] = {}
        self._measured: dict[Parts, tuple[object, Usage]] = {}
        if quota is not None and sole:
            quota.attach(location.root if location.kind == "maildir" else None, self.measure, self.open)

    @property
    def used(self) -> bool:
        """A mailbox or the index was opened: there is something to keep, and to close."""
        return bool(self._open) or self._index is not None

    def open(self, name: str, *, right: str = "r") -> Mailbox:
        parts = self._naming.parts(name)
        with self._lock, file_errors():
            self._demand(parts, right, name)
            if parts == INBOX and self.unlisted_root and not self._options.inbox:
                raise NotSelectable                     # the folder of mbox files
            mailbox = self._open.get(parts)
            if mailbox is not None:
                mailbox.refresh()
                if not mailbox.deleted:
                    return mailbox
                del self._open[parts]
            kind = self._layout.kind(parts)
            if kind is None or not kind.selectable:
                if not self._made_at_use(parts):
                    raise NotSelectable() if kind is not None else NoSuchMailbox(name)
                if kind is None:
                    self._layout.make(parts, parent_only=False)
                    if (events := hearing()) is not None:
                        events.created(self._naming.name(parts))
                if parts in self._rules and self._rules[parts].auto == "subscribe":
                    self._subscriptions.change(parts, on=True)
            mailbox = self._made_ready(parts)
            mailbox.refresh()
            self._put_away()
            self._open[parts] = mailbox
            return mailbox

    def hold(self, name: str, *, claims: bool = True) -> bool:
        if not self._lock.acquire(blocking=False):
            return False
        mailbox = self._open_by_name(name) if self._acl is None else None
        if mailbox is not None and mailbox.hold(unchanged=True, claims=claims):
            return True
        self._lock.release()
        return False

    def release(self, name: str) -> None:
        mailbox = self._open_by_name(name)
        assert mailbox is not None
        mailbox.release()
        self._lock.release()

    def _open_by_name(self, name: str) -> BaseMailbox | None:
        try:
            return self._open.get(self._naming.parts(name))
        except MailError:
            return None

    def _made_ready(self, parts: Parts) -> BaseMailbox:
        """A new mailbox object, with what all mailboxes of the user share."""
        mailbox = self._layout.open(parts, self._naming.name(parts), self.index, self._options)
        mailbox.quota, mailbox.texts = self.quota, lambda: self.fulltext
        mailbox.quota_name = self._quota_name(parts)
        names = {from_mutf7(name) or name for name in (mailbox.name, self.separator.join(parts))}
        mailbox.autoindex = self._options.fulltext.takes_by_itself(names, self._special(parts))
        if self._acl is not None:
            mailbox.rights = partial(self._acl.rights, parts)
        return mailbox

    def _quota_name(self, parts: Parts) -> str:
        """The owner's quota has rules for the owner's names."""
        if self._options.kind == "shared":
            return "INBOX" if parts == INBOX else self.separator.join(parts)
        return self._naming.name(parts)

    def _put_away(self) -> None:
        if len(self._open) >= MAX_OPEN:
            for parts, mailbox in list(self._open.items()):
                if not mailbox.in_use:
                    mailbox.checkpoint()
                    del self._open[parts]

    def _close_one(self, parts: Parts) -> None:
        mailbox = self._open.pop(parts, None)
        if mailbox is not None:
            with mailbox.lock:
                mailbox.vanish()

    def close(self) -> None:
        with self._lock:
            for mailbox in self._open.values():
                if not mailbox.deleted:
                    mailbox.checkpoint()
            self._open.clear()
            if self._index is not None:
                self._index.close()
                self._index = None
            if self._fulltext is not None:
                self._fulltext.close()
                self._fulltext = None

    # --- quota --------------------------------------------------------------------------------------------------------

    def measure(self, ignored: Callable[[str], bool]) -> Usage:
        """What all mailboxes hold, but those whose name is ignored. A mailbox that did not change is not looked into
        again. Takes no lock: who asks holds a mailbox's. Raises OSError."""
        octets = messages = 0
        for parts in {INBOX: None, **self._layout.find_all()}:
            if not ignored(self._quota_name(parts)):
                held = self._usage_of(parts)
                octets, messages = octets + held.octets, messages + held.messages
        return Usage(octets, messages)

    def _usage_of(self, parts: Parts) -> Usage:
        stamp = self._layout.stamp(parts)
        known = self._measured.get(parts)
        if stamp is None:
            return Usage(0, 0)
        if known is not None and known[0] == stamp:
            return known[1]
        held = self._layout.usage(parts, wire=self.quota is not None and self.quota.wire)
        self._measured[parts] = stamp, held
        return held

    # --- METADATA -----------------------------------------------------------------------------------------------------

    def attributes_of(self, name: str) -> MailboxEntries | None:
        if self.attributes is None or self._shared_attributes is None:
            return None
        mailbox = self.open(name)
        assert isinstance(mailbox, BaseMailbox)
        return MailboxEntries(self._attribute_guid(mailbox), self.attributes, self._shared_attributes)

    def _attribute_guid(self, mailbox: BaseMailbox) -> str:
        """What a mailbox's entries are found by. An mbox has no GUID of its own in its file: its name stands in for it,
        as two files may have one UIDVALIDITY."""
        return mailbox.guid if self._location.kind != "mbox" else name_guid(mailbox.name)

    def _entries_to_go(self, name: str) -> MailboxEntries | None:
        """What goes with a mailbox that is deleted, if there is anything."""
        if not any(each is not None and each.everything() for each in (self.attributes, self._shared_attributes)):
            return None
        try:
            return self.attributes_of(name)
        except NotSelectable:
            return None
