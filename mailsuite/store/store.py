"""All mailboxes of one user: names, creation, subscriptions, and the one shared object for each open mailbox.

Implements store/api.MailStore over a Layout. Mailboxes with auto = create or subscribe are made at their first use and
always listed. A mailbox object lives until the store is closed, so a second SELECT finds everything in memory.
"""

import errno
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from mailsuite.fulltext.database import FILE_NAME as FULLTEXT_NAME
from mailsuite.fulltext.database import FullText
from mailsuite.store.api import (
    HasChildren,
    Mailbox,
    MailboxExists,
    MailboxInfo,
    NoPermission,
    NoSuchMailbox,
    NotPossible,
    NotSelectable,
    Refused,
    StoreError,
)
from mailsuite.store.attributes import Attributes, MailboxEntries
from mailsuite.store.index import Index
from mailsuite.store.layout import Found, Layout
from mailsuite.store.location import Location
from mailsuite.store.mailbox import BaseMailbox
from mailsuite.store.names import INBOX, Naming, Parts
from mailsuite.store.options import MailboxRule, StoreOptions
from mailsuite.store.quota import Quota, Usage
from mailsuite.store.special_use import SpecialUses
from mailsuite.store.subscriptions import Subscriptions

INDEX_NAME = "dovecot.index.mailsuite"
_TAKEN = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, errno.ENOTDIR})
MAX_OPEN = 200          # mailboxes nobody looks at are put away beyond this


def make_layout(location: Location) -> Layout:
    if location.kind == "mbox":
        from mailsuite.store.mbox.layout import MboxTree
        return MboxTree(location)
    from mailsuite.store.maildir.layout import MaildirPlusPlus, MaildirTree
    return MaildirPlusPlus(location) if location.layout == "maildir++" else MaildirTree(location)


def _name_guid(name: str) -> str:
    return hashlib.md5(name.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()


@contextmanager
def _file_errors() -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise NoPermission(str(error)) from error
    except OSError as error:
        raise StoreError(str(error)) from error


class UserStore:
    """Made by open_store()."""

    def __init__(self, user: str, location: Location, options: StoreOptions, quota: Quota | None = None,
                 attributes: Attributes | None = None) -> None:
        self.attributes = attributes
        self.user, self._location, self._options, self.quota = user, location, options, quota
        self._layout = make_layout(location)
        self._naming = Naming(self._layout.own, options.separator, options.prefix, self._layout.reserved)
        with _file_errors():
            self._layout.prepare()
        self._subscriptions = Subscriptions(location.subscriptions, self._layout.own)
        folder, name = os.path.split(location.subscriptions)
        self._uses = SpecialUses(os.path.join(folder, name.replace("subscriptions", "dovecot-special-use")))
        self._open: dict[Parts, BaseMailbox] = {}
        self._lock = threading.RLock()
        self._index: Index | None = None
        self._fulltext: FullText | None = None
        self._text_lock = threading.Lock()      # its own: who asks may hold a mailbox's lock
        self.text_wanted: Callable[[str], None] = lambda name: None
        self._measured: dict[Parts, tuple[object, Usage]] = {}
        if quota is not None:
            quota.attach(location.root if location.kind == "maildir" else None, self.measure, self.open)
        self._rules: dict[Parts, MailboxRule] = {self._rule_parts(rule): rule for rule in options.mailboxes}

    def _rule_parts(self, rule: MailboxRule) -> Parts:
        parts = tuple(rule.name.split(self._naming.separator))
        return INBOX if len(parts) == 1 and parts[0].upper() == "INBOX" else parts

    @property
    def used(self) -> bool:
        """A mailbox or the index was opened: there is something to keep, and to close."""
        return bool(self._open) or self._index is not None

    @property
    def separator(self) -> str:
        return self._naming.separator

    @property
    def prefix(self) -> str:
        return self._naming.prefix

    @property
    def unusable(self) -> frozenset[str]:
        return frozenset((self._naming.separator, self._naming.own, "/"))

    @property
    def index(self) -> Index:
        """Opened at its first use: a login that opens nothing needs none."""
        if self._index is None:
            folder = self._location.index
            if folder is not None:
                try:
                    os.makedirs(folder, 0o700, exist_ok=True)
                except OSError:
                    folder = None
            self._index = Index(os.path.join(folder, INDEX_NAME) if folder is not None else None)
        return self._index

    @property
    def fulltext(self) -> FullText | None:
        """Opened at its first use. None: it is switched off, or there is no place for it."""
        with self._text_lock:
            if self._fulltext is None and self._options.fulltext.enabled and self._location.index is not None:
                folder = self._location.index
                with suppress(OSError):
                    os.makedirs(folder, 0o700, exist_ok=True)
                    self._fulltext = FullText(os.path.join(folder, FULLTEXT_NAME), self._options.fulltext,
                                              lambda name: self.text_wanted(name))
            return self._fulltext

    def _known_text(self) -> FullText | None:
        """It, where something may be in it: what does not exist need not be made to forget something."""
        if self._fulltext is None and self._location.index is not None and not os.path.exists(
                os.path.join(self._location.index, FULLTEXT_NAME)):
            return None
        return self.fulltext

    # --- names ------------------------------------------------------------------------------------------------------

    def _made_at_use(self, parts: Parts) -> bool:
        rule = self._rules.get(parts)
        return parts == INBOX or rule is not None and rule.auto in ("create", "subscribe")

    def list_mailboxes(self) -> list[MailboxInfo]:
        with _file_errors():
            found = dict(self._layout.find_all())
        nothing = Found(True, False)
        found.setdefault(INBOX, nothing)
        for parts, rule in self._rules.items():
            if rule.auto in ("create", "subscribe"):
                old = found.get(parts)
                if old is None or not old.selectable:
                    found[parts] = nothing
        parents = {parts[:depth] for parts in found for depth in range(1, len(parts))}
        for parent in parents:
            found.setdefault(parent, Found(False, False))
        subscribed = set(self._subscribed())
        return [MailboxInfo(self._naming.name(parts), one.selectable, parts in parents, one.no_inferiors,
                            parts in subscribed, self._special(parts))
                for parts, one in sorted(found.items(), key=lambda item: (item[0] != INBOX, item[0]))]

    def _subscribed(self) -> list[Parts]:
        names = self._subscriptions.read()
        names += [parts for parts, rule in self._rules.items() if rule.auto == "subscribe" and parts not in names]
        return names

    def subscriptions(self) -> list[str]:
        return [self._naming.name(parts) for parts in self._subscribed()]

    def subscribe(self, name: str, on: bool, *, missing: bool = False) -> None:
        parts = self._naming.parts(name)
        if on and not missing and not self._exists(parts):
            raise NoSuchMailbox(name)
        self._subscriptions.change(parts, on=on)

    def _exists(self, parts: Parts) -> bool:
        with _file_errors():
            kind = self._layout.kind(parts)
        return self._made_at_use(parts) or kind is not None and kind.selectable

    def exists(self, name: str) -> bool:
        return self._exists(self._naming.parts(name))

    def special_use(self, name: str) -> tuple[str, ...]:
        return self._special(self._naming.parts(name))

    def _special(self, parts: Parts) -> tuple[str, ...]:
        """What the configuration says, else what a client asked for when it made the mailbox."""
        rule = self._rules.get(parts)
        return rule.special_use if rule and rule.special_use else self._uses.read().get(parts, ())

    def comment(self, name: str) -> str:
        rule = self._rules.get(self._naming.parts(name))
        return rule.comment if rule else ""

    @property
    def server_entries(self) -> dict[str, bytes]:
        values = {"/shared/comment": self._options.server_comment, "/shared/admin": self._options.server_admin}
        return {name: value.encode("utf-8", "surrogateescape") for name, value in values.items() if value}

    def attributes_of(self, name: str) -> MailboxEntries | None:
        if self.attributes is None:
            return None
        mailbox = self.open(name)
        assert isinstance(mailbox, BaseMailbox)
        return MailboxEntries(self._attribute_guid(mailbox), self.attributes, self.attributes)

    def _attribute_guid(self, mailbox: BaseMailbox) -> str:
        """What a mailbox's entries are found by. An mbox has no GUID of its own in its file: its name stands in for it,
        as two files may have one UIDVALIDITY."""
        return mailbox.guid if self._location.kind != "mbox" else _name_guid(mailbox.name)

    def _entries_to_go(self, name: str) -> MailboxEntries | None:
        """What goes with a mailbox that is deleted, if there is anything."""
        if self.attributes is None or not self.attributes.everything():
            return None
        try:
            return self.attributes_of(name)
        except NotSelectable:
            return None

    def path(self, name: str, kind: str = "mailbox") -> str:
        parts = self._naming.parts(name)
        where = self._layout.path(parts)
        if kind == "mailbox" or self._location.kind == "mbox" and kind == "control":
            return where
        if kind == "index":
            return self._location.index or ""
        return where if self._location.control == self._location.root else os.path.join(
            self._location.control, os.path.basename(where) if parts != INBOX else "")

    # --- mailboxes --------------------------------------------------------------------------------------------------

    def open(self, name: str) -> Mailbox:
        parts = self._naming.parts(name)
        with self._lock, _file_errors():
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
                if parts in self._rules and self._rules[parts].auto == "subscribe":
                    self._subscriptions.change(parts, on=True)
            mailbox = self._layout.open(parts, name if parts != INBOX else "INBOX", self.index, self._options)
            self._equip(parts, mailbox)
            mailbox.refresh()
            self._put_away()
            self._open[parts] = mailbox
            return mailbox

    def _equip(self, parts: Parts, mailbox: BaseMailbox) -> None:
        """What all mailboxes of the user share."""
        mailbox.quota, mailbox.texts = self.quota, lambda: self.fulltext
        mailbox.autoindex = self._options.fulltext.takes_by_itself(mailbox.name, self._special(parts))

    def _put_away(self) -> None:
        if len(self._open) >= MAX_OPEN:
            for parts, mailbox in list(self._open.items()):
                if not mailbox.in_use:
                    mailbox.checkpoint()
                    del self._open[parts]

    def _has_children(self, parts: Parts) -> bool:
        return any(other[: len(parts)] == parts and other != parts for other in self._layout.find_all())

    def create(self, name: str, special_use: tuple[str, ...] = ()) -> None:
        parts = self._naming.parts(name)
        with self._lock, _file_errors():
            kind = self._layout.kind(parts)
            if kind is not None and (kind.selectable or self._layout.own == "/") or parts == INBOX:
                raise MailboxExists
            self._layout.make(parts, parent_only=name.endswith(self.separator))
            if not name.endswith(self.separator) or self._layout.own == ".":
                self._layout_opened(parts, name)
            if special_use:
                self._uses.give(parts, special_use)

    def _layout_opened(self, parts: Parts, name: str) -> None:
        """A new mailbox gets its UIDVALIDITY at once."""
        mailbox = self._layout.open(parts, self._naming.name(parts), self.index, self._options)
        self._equip(parts, mailbox)
        self.index.forget(mailbox.name)
        mailbox.refresh()
        self._open[parts] = mailbox

    def delete(self, name: str) -> None:
        parts = self._naming.parts(name)
        if parts == INBOX:
            raise Refused("INBOX can't be deleted")
        with self._lock, _file_errors():
            if self._layout.kind(parts) is None:
                if self._layout.own == "/" and self._has_children(parts):
                    raise HasChildren
                raise NoSuchMailbox(name)
            held = self._usage_of(parts) if self.quota is not None else Usage(0, 0)
            entries = self._entries_to_go(name)
            self._layout.delete(parts)
            self._close_one(parts)
            self.index.forget(self._naming.name(parts))
            self._uses.forget(parts)
            if entries is not None:
                entries.private.forget(entries.guid)
            if (text := self._known_text()) is not None:
                text.forget(self._naming.name(parts))
            if self.quota is not None:
                self.quota.changed(self._naming.name(parts), octets=-held.octets, messages=-held.messages)

    def _close_one(self, parts: Parts) -> None:
        mailbox = self._open.pop(parts, None)
        if mailbox is not None:
            with mailbox.lock:
                mailbox.vanish()

    def rename(self, old: str, new: str) -> None:
        source, target = self._naming.parts(old), self._naming.parts(new)
        with self._lock, _file_errors():
            if source == INBOX and not self._layout.inbox_renames:
                raise NotPossible("Renaming INBOX isn't supported")
            kind = self._layout.kind(source)
            if kind is None and not self._has_children(source):
                raise NoSuchMailbox(old)
            there = self._layout.kind(target)
            if target == source:
                raise MailboxExists("Can't rename mailbox to itself")
            if target[: len(source)] == source:
                raise Refused("Can't rename mailbox under its own child")
            if there is not None and kind is not None:
                raise MailboxExists("Target mailbox already exists")
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
                    self.attributes.move(_name_guid(self._naming.name(was)), _name_guid(self._naming.name(now)),
                                         keep=was == INBOX)
                if (text := self._known_text()) is not None:
                    text.rename(self._naming.name(was), self._naming.name(now))

    # --- quota ------------------------------------------------------------------------------------------------------

    def measure(self, ignored: Callable[[str], bool]) -> Usage:
        """What all mailboxes hold, but those whose name is ignored. A mailbox that did not change is not looked into
        again. Takes no lock: who asks holds a mailbox's. Raises OSError."""
        octets = messages = 0
        for parts in {INBOX: None, **self._layout.find_all()}:
            if not ignored(self._naming.name(parts)):
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
