"""The names of a user's mailboxes: which there are, subscriptions, what the configuration says of each, METADATA."""

import os
from collections.abc import Sequence

from mailsuite.store.acl import SEEING
from mailsuite.store.api import MailboxInfo, NamespaceInfo, NoSuchMailbox
from mailsuite.store.layout import Found
from mailsuite.store.names import INBOX, Parts
from mailsuite.store.quota import Quota
from mailsuite.store.store_base import StoreBase, file_errors


class NamedMailboxes(StoreBase):
    """See store/store_api.MailStore for the public methods."""

    def _made_at_use(self, parts: Parts) -> bool:
        rule = self._rules.get(parts)
        return parts == INBOX and self._options.inbox or rule is not None and rule.auto in ("create", "subscribe")

    def stamp(self, name: str) -> object | None:
        with file_errors():
            return self._layout.stamp(self._naming.parts(name))

    def name_places(self) -> list[tuple[str, str]]:
        folder, name = os.path.split(self._location.subscriptions)
        kind = "*" if self._location.kind == "mbox" else "*/"
        with file_errors():
            return [*((each, kind) for each in self._layout.name_folders()), (folder, name)]

    def list_mailboxes(self, beginnings: Sequence[str] = ("",), reference: str = "") -> list[MailboxInfo]:
        with self._lock, file_errors():        # nobody sees half of a rename
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
                            parts in subscribed, self._special(parts), veiled=veils and not one.selectable,
                            marked=one.marked, folder=one.folder)
                for parts, one in sorted(found.items(), key=lambda item: (item[0] != INBOX, item[0]))]

    def _exists(self, parts: Parts) -> bool:
        with file_errors():
            kind = self._layout.kind(parts)
        if parts == INBOX and self._options.kind == "shared" and kind is None:
            return os.path.isdir(self._location.root)           # it comes with its first message
        return self._made_at_use(parts) or kind is not None and kind.selectable

    def _is_folder(self, parts: Parts) -> bool:
        """One that only holds other mailboxes can be subscribed to, too."""
        with file_errors():
            return self._layout.kind(parts) is not None

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

    def namespaces(self) -> list[NamespaceInfo]:
        return [NamespaceInfo(self._options.kind, self.prefix, self.separator)]

    def separator_of(self, name: str) -> str:
        return self._naming.separator

    def quota_of(self, name: str) -> Quota | None:
        return self.quota

    @property
    def server_entries(self) -> dict[str, bytes]:
        values = {"/shared/comment": self._options.server_comment, "/shared/admin": self._options.server_admin}
        return {name: value.encode("utf-8", "surrogateescape") for name, value in values.items() if value}

    def path(self, name: str, kind: str = "mailbox") -> str:
        parts = self._naming.parts(name)
        where = self._layout.path(parts)
        if kind == "mailbox" or self._location.kind == "mbox" and kind == "control":
            return where
        if kind == "index":
            return self._location.index or ""
        return self._layout.control_folder(parts)

    # --- subscriptions ------------------------------------------------------------------------------------------------

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
        if must_exist and not ((self._exists(parts) or self._is_folder(parts)) and self._may_any(parts, SEEING)):
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
