"""All mailboxes of one user: names, creation, subscriptions, and the one shared object for each open mailbox.

Implements store/api.MailStore over a Layout. Mailboxes with auto = create or subscribe are made at their first use and
always listed. A mailbox object lives until the store is closed, so a second SELECT finds everything in memory.
"""

import errno
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

from mailsuite.base.log import access_logger
from mailsuite.fulltext.database import FullText
from mailsuite.fulltext.file import FILE_NAME as FULLTEXT_NAME
from mailsuite.store.acl import SEEING, NamespaceAcl, demand
from mailsuite.store.api import (
    HasChildren,
    Mailbox,
    MailboxExists,
    MailboxInfo,
    NamespaceInfo,
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
from mailsuite.store.names import INBOX, Naming, Parts, from_mutf7
from mailsuite.store.options import MailboxRule, StoreOptions
from mailsuite.store.quota import Quota, Usage
from mailsuite.store.special_use import SpecialUses
from mailsuite.store.subscriptions import Subscriptions

INDEX_NAME = "dovecot.index.mailsuite"
log = access_logger("imap")
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
                 attributes: Attributes | None = None, *, shared_attributes: Attributes | None = None,
                 acl: NamespaceAcl | None = None, keeper: "Callable[[], UserStore] | None" = None, sole: bool = True
                 ) -> None:
        """keeper: of index and full text, for mailboxes that others use, too. sole: the quotas have no other namespace
        to ask."""
        self.attributes, self._shared_attributes = attributes, shared_attributes or attributes
        self.user, self._location, self._options, self.quota = user, location, options, quota
        self._layout = make_layout(location)
        self._naming = Naming(self._layout.own, options.separator, options.prefix, self._layout.reserved,
                              inbox=options.inbox, others=options.kind == "shared")
        self._acl, self._keeper = acl, keeper
        if options.kind == "private":
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
        if quota is not None and sole:
            quota.attach(location.root if location.kind == "maildir" else None, self.measure, self.open)
        self._rules: dict[Parts, MailboxRule] = {self._rule_parts(rule): rule for rule in options.mailboxes}
        if acl is not None:
            acl.attach(self)

    def _rule_parts(self, rule: MailboxRule) -> Parts:
        parts = tuple(rule.name.split(self._naming.separator))
        return INBOX if len(parts) == 1 and parts[0].upper() == "INBOX" and self._options.inbox else parts

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
    def own(self) -> str:
        """What separates the parts of a name on disk."""
        return self._naming.own

    @property
    def own_flags(self) -> bool:
        return bool(self._location.private)

    def name_of(self, parts: Parts) -> str:
        return self._naming.name(parts)

    @property
    def unlisted_root(self) -> bool:
        """Dovecot lists the root of mbox folders as if it held mail."""
        return self._location.kind == "mbox"

    @property
    def unusable(self) -> frozenset[str]:
        return frozenset((self._naming.separator, self._naming.own, "/"))

    @property
    def index(self) -> Index:
        """Opened at its first use: a login that opens nothing needs none."""
        if self._keeper is not None:
            return self._keeper().index
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
        if self._keeper is not None:
            return self._keeper().fulltext
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
        if self._keeper is not None:
            return self._keeper()._known_text()
        if self._fulltext is None and self._location.index is not None and not os.path.exists(
                os.path.join(self._location.index, FULLTEXT_NAME)):
            return None
        return self.fulltext

    # --- names ------------------------------------------------------------------------------------------------------

    def _made_at_use(self, parts: Parts) -> bool:
        rule = self._rules.get(parts)
        return parts == INBOX and self._options.inbox or rule is not None and rule.auto in ("create", "subscribe")

    def stamp(self, name: str) -> object | None:
        with _file_errors():
            return self._layout.stamp(self._naming.parts(name))

    def name_places(self) -> list[tuple[str, str]]:
        folder, name = os.path.split(self._location.subscriptions)
        kind = "*" if self._location.kind == "mbox" else "*/"
        with _file_errors():
            return [*((each, kind) for each in self._layout.name_folders()), (folder, name)]

    def list_mailboxes(self, beginnings: Sequence[str] = ("",), reference: str = "") -> list[MailboxInfo]:
        with self._lock, _file_errors():        # nobody sees half of a rename
            found = dict(self._layout.find_all())
            root = self._layout.kind(INBOX) if not self._options.inbox else None
        nothing = Found(True, False)
        if self._options.kind != "public" and (self._options.inbox or self._options.kind == "shared"):
            found.setdefault(INBOX, nothing)
        elif root is not None and root.selectable:
            found[INBOX] = root
        for parts, rule in self._rules.items():
            if rule.auto in ("create", "subscribe"):
                old = found.get(parts)
                if old is None or not old.selectable:
                    found[parts] = nothing
        if self._acl is not None:
            found = {parts: one for parts, one in found.items()
                     if parts == INBOX and self._options.inbox or one.selectable and self._is_seen(parts)}
        parents = {parts[:depth] for parts in found for depth in range(1, len(parts))}
        if self._options.inbox and self.prefix.upper() == "INBOX" + self.separator and len(found) > 1:
            parents.add(INBOX)
        for parent in parents:
            found.setdefault(parent, Found(False, False))
        veils = self._acl is not None and not self._acl.who.owner
        subscribed = set(self._subscribed())
        return [MailboxInfo(self._naming.name(parts), one.selectable, parts in parents, one.no_inferiors,
                            parts in subscribed, self._special(parts), veiled=veils and not one.selectable)
                for parts, one in sorted(found.items(), key=lambda item: (item[0] != INBOX, item[0]))]

    def _subscribed(self) -> list[Parts]:
        names = self._subscriptions.read()
        names += [parts for parts, rule in self._rules.items() if rule.auto == "subscribe" and parts not in names]
        return names

    def subscribed_parts(self) -> list[Parts]:
        """As the file names them, and those with auto = subscribe."""
        return self._subscribed()

    def check_subscribed(self, name: str, must_exist: bool) -> Parts:
        """A name that another namespace is to keep. Raises NoSuchMailbox, InvalidName."""
        parts = self._naming.parts(name)
        if must_exist and not (self._exists(parts) and self._may_any(parts, SEEING)):
            raise NoSuchMailbox(name)
        return parts

    def change_subscription(self, parts: Parts, on: bool) -> None:
        """An entry for whatever it may stand for."""
        self._subscriptions.change(parts, on=on)

    def subscriptions(self, beginnings: Sequence[str] = ("",)) -> list[str]:
        return [self._naming.name(parts) for parts in self._subscribed()]

    def subscribe(self, name: str, on: bool, *, missing: bool = False) -> None:
        self._subscriptions.change(self.check_subscribed(name, on and not missing), on=on)

    def subscribed_above(self, name: str) -> str:
        return ""

    def separator_of(self, name: str) -> str:
        return self._naming.separator

    def namespaces(self) -> list[NamespaceInfo]:
        return [NamespaceInfo(self._options.kind, self.prefix, self.separator)]

    def quota_of(self, name: str) -> Quota | None:
        return self.quota

    def _exists(self, parts: Parts) -> bool:
        with _file_errors():
            kind = self._layout.kind(parts)
        if parts == INBOX and self._options.kind == "shared" and kind is None:
            return os.path.isdir(self._location.root)           # it comes with its first message
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
        if self.attributes is None or self._shared_attributes is None:
            return None
        mailbox = self.open(name)
        assert isinstance(mailbox, BaseMailbox)
        return MailboxEntries(self._attribute_guid(mailbox), self.attributes, self._shared_attributes)

    def _attribute_guid(self, mailbox: BaseMailbox) -> str:
        """What a mailbox's entries are found by. An mbox has no GUID of its own in its file: its name stands in for it,
        as two files may have one UIDVALIDITY."""
        return mailbox.guid if self._location.kind != "mbox" else _name_guid(mailbox.name)

    def _entries_to_go(self, name: str) -> MailboxEntries | None:
        """What goes with a mailbox that is deleted, if there is anything."""
        if not any(each is not None and each.everything() for each in (self.attributes, self._shared_attributes)):
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

    # --- rights -----------------------------------------------------------------------------------------------------

    def acl_of(self, name: str) -> tuple[NamespaceAcl, Parts] | None:
        return (self._acl, self._naming.parts(name)) if self._acl is not None else None

    def _demand(self, parts: Parts, right: str, name: str) -> None:
        if self._acl is not None and right:
            demand(self._acl.rights(parts), right, name)

    def _is_seen(self, parts: Parts) -> bool:
        """May LIST tell it? What has a damaged ACL is not told; the others are."""
        assert self._acl is not None
        try:
            return "l" in self._acl.rights(parts)
        except StoreError as error:
            log.error("%s: %s", self._naming.name(parts), error.detail)
            return False

    def _may_any(self, parts: Parts, rights: frozenset[str]) -> bool:
        return self._acl is None or not rights.isdisjoint(self._acl.rights(parts))

    def _demand_below(self, parts: Parts) -> None:
        """May the user make this mailbox?"""
        if self._acl is not None and "k" not in self._acl.rights_below(parts):
            raise NoPermission("missing right: k")

    def acl_folder(self, parts: Parts) -> str:
        return self._layout.acl_folder(parts)

    def shown_name(self, parts: Parts) -> str:
        name = self._naming.name(parts or INBOX)
        return from_mutf7(name) or name

    def is_there(self, parts: Parts) -> bool:
        kind = self._layout.kind(parts)
        return kind is not None and kind.selectable

    def all_parts(self) -> Iterable[Parts]:
        return {INBOX: None, **self._layout.find_all()}

    # --- mailboxes --------------------------------------------------------------------------------------------------

    def open(self, name: str, *, right: str = "r") -> Mailbox:
        parts = self._naming.parts(name)
        with self._lock, _file_errors():
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
                if parts in self._rules and self._rules[parts].auto == "subscribe":
                    self._subscriptions.change(parts, on=True)
            mailbox = self._made_ready(parts)
            mailbox.refresh()
            self._put_away()
            self._open[parts] = mailbox
            return mailbox

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

    def _has_children(self, parts: Parts) -> bool:
        return any(other[: len(parts)] == parts and other != parts for other in self._layout.find_all())

    def create(self, name: str, special_use: tuple[str, ...] = ()) -> None:
        parts = self._naming.parts(name)
        with self._lock, _file_errors():
            kind = self._layout.kind(parts)
            self._demand_below(parts)
            if kind is not None and (kind.selectable or self._layout.own == "/") or (
                    parts == INBOX and (self._options.inbox or self._options.kind == "shared")):
                raise MailboxExists
            self._layout.make(parts, parent_only=name.endswith(self.separator))
            if self._acl is not None:
                self._acl.inherit(parts)
            if not name.endswith(self.separator) or self._layout.own == ".":
                self._layout_opened(parts, name)
            if special_use:
                self._uses.give(parts, special_use)

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
        with self._lock, _file_errors():
            self._demand(parts, "x", name)
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
                entries.forget()
            if (text := self._known_text()) is not None:
                text.forget(self._naming.name(parts))
            if self._acl is not None:
                self._acl.gone(parts)
            if self.quota is not None:
                self.quota.changed(self._quota_name(parts), octets=-held.octets, messages=-held.messages)

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
            if target != source:
                self._demand(source, "x", old)
                self._demand_below(target)
            there = self._layout.kind(target)
            if target == source:
                raise MailboxExists("Can't rename mailbox to itself")
            if target[: len(source)] == source:
                raise Refused("Can't rename mailbox under its own child")
            if not self._layout.alike(source, target):
                raise NotPossible("Renaming not supported across conflicting directory permissions")
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
            if self._acl is not None:
                self._acl.gone(source)

    def move_to(self, other: "UserStore", old: str, new: str) -> None:
        """RENAME into another namespace of the user. Raises what rename() does."""
        source, target = self._naming.parts(old), other._naming.parts(new)
        with self._lock, other._lock, _file_errors():
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

    # --- quota ------------------------------------------------------------------------------------------------------

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
