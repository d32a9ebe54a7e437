"""Several namespaces as one store: one's own mail here and there, what others share, what is public.

    store = Namespaces("alice", specs, open_one, owners)       specs: of namespace.py, expanded for the user
    store.open("Public/Board"); store.list_mailboxes(); store.namespaces()

Implements store/api.MailStore: each name goes to the store of its namespace, found by the longest prefix. A namespace
of other users (type = shared) has a store for each owner, made when somebody asks for the owner's mail by name or when
acl_shared_dict says that the owner shares something. Mailboxes of shared and public namespaces are remembered in the
user's own index: two users may be served by two processes, and what they share are the files.

    open_one(spec, prefix, owner) -> UserStore     owner "" but in shared namespaces; raises NoOwner, MailError
    owners() -> names                              who shares something with the user, as far as is known
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mailsuite.base.errors import MailError
from mailsuite.base.log import access_logger
from mailsuite.fulltext.database import FullText
from mailsuite.store.api import Mailbox, MailboxInfo, NamespaceInfo, NoSuchMailbox, NotPossible, Refused, StoreError
from mailsuite.store.names import INBOX, Parts
from mailsuite.store.namespace import NamespaceSpec, OwnerPattern
from mailsuite.store.quota import Quota, Usage
from mailsuite.store.space import Space
from mailsuite.store.store import UserStore

if TYPE_CHECKING:
    from mailsuite.store.acl import NamespaceAcl
    from mailsuite.store.attributes import Attributes, MailboxEntries

MAX_OWNERS = 1000           # other users whose mail one user's store keeps at hand
log = access_logger("imap")


class NoOwner(StoreError):
    """There is no such user: CREATE there is not possible, all else is as if the mail could not be read."""


class NoNamespace(Refused):
    """The name has no namespace's prefix."""

    def __init__(self, prefix: str) -> None:
        super().__init__("Client tried to access nonexistent namespace. (Mailbox name should probably be prefixed "
                         f"with: {prefix})")


OpenOne = Callable[[NamespaceSpec, str, str], UserStore]


class Namespaces:
    """All namespaces of one user. specs: prefixes and locations are expanded, separators filled in."""

    def __init__(self, user: str, specs: Sequence[NamespaceSpec], open_one: OpenOne,
                 owners: Callable[[], Iterable[str]]) -> None:
        self.user, self._open_one, self._owners = user, open_one, owners
        self._lock = threading.RLock()
        self._shared: list[tuple[NamespaceSpec, OwnerPattern, dict[str, Space]]] = []
        self._spaces: list[Space] = []
        self.specs = specs
        for spec in specs:
            if spec.kind == "shared":
                self._shared.append((spec, OwnerPattern(spec.prefix, spec.separator), {}))
            else:
                self._spaces.append(Space(spec, spec.prefix, self._maker(spec, spec.prefix)))
        for space in self._spaces:
            if space.spec.alias_for is not None:
                space.target = next((one for one in self._spaces if one.prefix == space.spec.alias_for), None)
        self._inbox = next(space for space in self._spaces if space.spec.inbox)
        self.quota: Quota | None = self._inbox.store.quota
        self.text_wanted: Callable[[str], None] = lambda name: None

    def _maker(self, spec: NamespaceSpec, prefix: str, owner: str = "") -> Callable[[], UserStore]:
        def make() -> UserStore:
            store = self._open_one(spec, prefix, owner)
            store.text_wanted = lambda name: self.text_wanted(name)
            return store

        return make

    # --- which namespace --------------------------------------------------------------------------------------------

    def _find(self, name: str) -> Space:
        """Raises NoNamespace, NoSuchMailbox, MailError of an owner's mail that cannot be opened."""
        if name.upper() == "INBOX":
            return self._inbox
        found: Space | None = None
        for space in self._spaces:
            own = name
            if space.prefix.upper().startswith("INBOX") and name.upper().startswith("INBOX"):
                own = "INBOX" + name[5:]
            if space.holds(own) and (found is None or len(space.prefix) > len(found.prefix)):
                found = space
        for spec, pattern, spaces in self._shared:
            if (found is None or len(pattern.begin) > len(found.prefix)) and (
                    name.startswith(pattern.begin) or name == pattern.begin.removesuffix(spec.separator)):
                return self._of_owner(spec, pattern, spaces, name)
        if found is None:
            alias = next((space for space in self._spaces if space.target is self._inbox), self._inbox)
            raise NoNamespace(min((alias, self._inbox), key=self._spaces.index).prefix)
        return found

    def _of_owner(self, spec: NamespaceSpec, pattern: OwnerPattern, spaces: dict[str, Space], name: str) -> Space:
        found = pattern.owner_of(name, self.user)
        if found is None:
            raise NoSuchMailbox(name)
        space = self._space_of(spec, pattern, spaces, found[0])
        space.asked = True
        return space

    def _space_of(self, spec: NamespaceSpec, pattern: OwnerPattern, spaces: dict[str, Space], owner: str) -> Space:
        with self._lock:
            space = spaces.get(owner)
            if space is None:
                prefix = pattern.prefix_of(owner)
                space = Space(spec, prefix, self._maker(spec, prefix, owner))
                _ = space.store                     # raises when there is no such owner
                self._drop_unused(spaces)
                spaces[owner] = space
            return space

    @staticmethod
    def _drop_unused(spaces: dict[str, Space]) -> None:
        if len(spaces) >= MAX_OWNERS:
            for owner, space in list(spaces.items()):
                if space.made is None or not space.made.used:
                    del spaces[owner]
            if len(spaces) >= MAX_OWNERS:
                raise NotPossible("Too many users' mailboxes are open")

    def _store(self, name: str) -> tuple[UserStore, str]:
        """The store of a name, and what it calls it."""
        space = self._find(name)
        return space.store, space.name(name)

    # --- what there is ----------------------------------------------------------------------------------------------

    @property
    def used(self) -> bool:
        return any(store.used for store in self._made())

    def _made(self) -> Iterator[UserStore]:
        for space in [*self._spaces, *(space for _, _, spaces in self._shared for space in list(spaces.values()))]:
            if space.target is None and space.made is not None:
                yield space.made

    @property
    def separator(self) -> str:
        return self._inbox.separator

    @property
    def prefix(self) -> str:
        return self._inbox.prefix

    @property
    def unusable(self) -> frozenset[str]:
        return self._inbox.store.unusable

    def keeper(self) -> UserStore:
        """Of index and full text, for mailboxes that others use, too."""
        return self._inbox.store

    @property
    def fulltext(self) -> FullText | None:
        return self._inbox.store.fulltext

    @property
    def attributes(self) -> "Attributes | None":
        return self._inbox.store.attributes

    @property
    def server_entries(self) -> Mapping[str, bytes]:
        return self._inbox.store.server_entries

    def namespaces(self) -> list[NamespaceInfo]:
        found = []
        for spec in self.specs:
            if not spec.hidden:
                prefix = next(pattern.begin for other, pattern, _ in self._shared if other is spec) \
                    if spec.kind == "shared" else spec.prefix
                found.append(NamespaceInfo(spec.kind, prefix, spec.separator))
        return found

    def list_mailboxes(self, beginnings: Sequence[str] = ("",), reference: str = "") -> list[MailboxInfo]:
        found: list[MailboxInfo] = []
        for space in self._spaces:
            if space.spec.listed != "no" or _reached(space.prefix, beginnings):
                found += self._listed(space, roots=space.spec.listed)
        for spec, pattern, spaces in self._shared:
            found += self._listed_shared(spec, pattern, spaces, beginnings, reference)
        subscribed = set(self.subscriptions(beginnings))
        found = [info if info.subscribed == (info.name in subscribed) else replace(info, subscribed=not info.subscribed)
                 for info in found]
        return _with_parents(found, self.separator)

    def _listed(self, space: Space, *, roots: str) -> list[MailboxInfo]:
        """roots: whether the namespace's prefix is told: yes, no, or children: when something is below."""
        try:
            infos = space.store.list_mailboxes()
        except MailError as error:
            if not space.spec.may_fail:
                raise
            log.error("namespace %s: %s", space.prefix, error.detail or error.public)
            return []
        shown = [self._own_look(space, info) for info in infos if space.target is None or info.name != "INBOX"]
        rooted = any(info.name == space.root for info in shown)
        below = any(info.name != space.root for info in shown)
        if space.root and space.root.upper() != "INBOX" and (roots == "yes" or roots == "children" and below):
            if rooted:
                shown = [replace(info, has_children=below) if info.name == space.root else info for info in shown]
            else:
                shown.append(MailboxInfo(space.root, selectable=False, has_children=below,
                                         bare=space.store.unlisted_root, separator=self._other(space)))
        return shown

    def _other(self, space: Space) -> str:
        return space.separator if space.separator != self.separator else ""

    def _own_look(self, space: Space, info: MailboxInfo) -> MailboxInfo:
        if space.target is None and not self._other(space):
            return info
        return replace(info, name=space.shown(info.name), separator=self._other(space))

    def _listed_shared(self, spec: NamespaceSpec, pattern: OwnerPattern, spaces: dict[str, Space],
                       beginnings: Sequence[str], reference: str) -> list[MailboxInfo]:
        if spec.listed == "no" and not _reached(pattern.begin, beginnings):
            return []
        named = pattern.owner_of(reference, self.user) if reference.startswith(pattern.begin) else None
        found: list[MailboxInfo] = []
        for owner in dict.fromkeys([*([named[0]] if named else []), *spaces, *self._owners()]):
            if owner == self.user:
                continue
            try:
                space = self._space_of(spec, pattern, spaces, owner)
                space.asked = space.asked or named is not None and owner == named[0]
                found += self._listed(space, roots="yes" if space.asked else "children")
            except NoOwner:
                continue                    # gone since the owner shared something
            except MailError as error:
                log.error("namespace %s: %s", pattern.prefix_of(owner), error.detail or error.public)
        root = pattern.begin.removesuffix(spec.separator)
        if root and (spec.listed == "yes" or spec.listed == "children" and found):
            found.append(MailboxInfo(root, selectable=False, has_children=bool(found)))
        return found

    # --- subscriptions ----------------------------------------------------------------------------------------------

    def subscriptions(self, beginnings: Sequence[str] = ("",)) -> list[str]:
        found: list[str] = []
        for space in self._spaces:
            if not space.spec.subscriptions or space.target is not None and not _reached(space.prefix, beginnings):
                continue
            if space.spec.listed == "no" and not _reached(space.prefix, beginnings):
                continue
            for parts in space.store.subscribed_parts():
                name = self._foreign_name(space.store, parts) if space.target is None else None
                found.append(name or space.shown(space.store.name_of(parts)))
        return list(dict.fromkeys(found))

    def _foreign_name(self, keeper: UserStore, parts: Parts) -> str | None:
        """What an entry for another namespace's mailbox says: its prefix, then the name with that store's own
        separator, cut at the separator of the store that keeps it, as Dovecot writes it."""
        text = keeper.own.join(parts)
        for space in self._spaces:
            if not space.spec.subscriptions and space.target is None and text.startswith(space.prefix) and space.prefix:
                rest = text.removeprefix(space.prefix)
                return space.store.name_of(tuple(rest.split(space.store.own)) if rest else INBOX)
        for spec, pattern, spaces in self._shared:
            found = pattern.owner_of(text, self.user) if text.startswith(pattern.begin) else None
            if found is not None and not spec.subscriptions:
                owner, prefix = found
                rest = text.removeprefix(prefix)
                space_of = spaces.get(owner)
                own = space_of.store.own if space_of is not None else keeper.own
                levels = rest.split(own) if rest and rest != "INBOX" else []
                return spec.separator.join([prefix.removesuffix(spec.separator), *levels])
        return None

    def subscribe(self, name: str, on: bool, *, missing: bool = False) -> None:
        space = self._find(name)
        if space.spec.subscriptions:
            space.store.subscribe(space.name(name), on, missing=missing)
            return
        keeper = self._keeper(space)
        store = space.store
        parts = store.check_subscribed(name, on and not missing)
        rest = "" if parts == INBOX and space.spec.kind == "public" else store.own.join(parts)
        keeper.store.change_subscription(tuple((space.prefix + rest).split(keeper.store.own)), on)

    def _keeper(self, space: Space) -> Space:
        """The namespace above that keeps the subscriptions. Raises NotPossible."""
        above = [one for one in self._spaces if one.spec.subscriptions and one.target is None
                 and space.prefix.startswith(one.prefix) and one.separator == space.separator]
        if not above:
            raise NotPossible("This namespace has no subscriptions")
        return max(above, key=lambda one: len(one.prefix))

    def subscribed_above(self, name: str) -> str:
        return next((pattern.begin for _, pattern, _ in self._shared if name.startswith(pattern.begin)), "")

    def separator_of(self, name: str) -> str:
        for space in self._spaces:
            if space.holds(name) and space.prefix:
                return space.separator
        return self.separator

    # --- mailboxes --------------------------------------------------------------------------------------------------

    def exists(self, name: str) -> bool:
        store, own = self._store(name)
        return store.exists(own)

    def special_use(self, name: str) -> tuple[str, ...]:
        store, own = self._store(name)
        return store.special_use(own)

    def path(self, name: str, kind: str = "mailbox") -> str:
        store, own = self._store(name)
        return store.path(own, kind)

    def comment(self, name: str) -> str:
        store, own = self._store(name)
        return store.comment(own)

    def attributes_of(self, name: str) -> "MailboxEntries | None":
        store, own = self._store(name)
        return store.attributes_of(own)

    def stamp(self, name: str) -> object | None:
        store, own = self._store(name)
        return store.stamp(own)

    def name_places(self) -> list[tuple[str, str]]:
        """Of all that is open: what others share is watched once somebody has looked there."""
        _ = self._inbox.store
        return list(dict.fromkeys(place for store in self._made() for place in store.name_places()))

    def open(self, name: str, *, right: str = "r") -> Mailbox:
        store, own = self._store(name)
        return store.open(own, right=right)

    def acl_of(self, name: str) -> "tuple[NamespaceAcl, Parts] | None":
        store, own = self._store(name)
        return store.acl_of(own)

    def quota_of(self, name: str) -> Quota | None:
        if self._find(name).spec.kind == "shared":
            raise Refused("Not showing other users' quota")
        return self.quota

    def create(self, name: str, special_use: tuple[str, ...] = ()) -> None:
        try:
            store, own = self._store(name)
        except (NoOwner, NoSuchMailbox) as error:
            raise NotPossible("Mailbox can't be created") from error
        store.create(own, special_use)

    def delete(self, name: str) -> None:
        space = self._find(name)
        if name == space.root and not space.spec.inbox and space.spec.kind != "shared":
            raise NotPossible("Storage root can't be deleted")
        space.store.delete(space.name(name))

    def rename(self, old: str, new: str) -> None:
        source, target = self._find(old), self._find(new)
        if source.store is target.store:
            source.store.rename(source.name(old), target.name(new))
        elif source.spec.kind != "private" or target.spec.kind != "private":
            raise NotPossible("Renaming not supported across non-private namespaces")
        else:
            source.store.move_to(target.store, source.name(old), target.name(new))

    # --- quota ------------------------------------------------------------------------------------------------------

    def measure(self, ignored: Callable[[str], bool]) -> Usage:
        """What the user's own and the public mailboxes hold. Raises OSError."""
        octets = messages = 0
        for space in self._spaces:
            if space.target is None:
                held = space.store.measure(ignored)
                octets, messages = octets + held.octets, messages + held.messages
        return Usage(octets, messages)

    def close(self) -> None:
        with self._lock:
            for store in [*self._made()]:
                if store is not self._inbox.made:
                    store.close()
            self._inbox.store.close()           # its index is the others', too


def _reached(prefix: str, beginnings: Sequence[str]) -> bool:
    return any(beginning.startswith(prefix) for beginning in beginnings)


def _with_parents(infos: list[MailboxInfo], separator: str) -> list[MailboxInfo]:
    """Names between a namespace's prefix and what was found."""
    known = {info.name for info in infos}
    parents: dict[str, MailboxInfo] = {}
    for info in infos:
        own = info.separator or separator
        at = info.name.rfind(own)
        while at > 0:
            parent = info.name[:at]
            if parent not in known and parent.upper() != "INBOX":
                parents[parent] = MailboxInfo(parent, selectable=False, has_children=True, separator=info.separator)
            at = info.name.rfind(own, 0, at)
    return [*infos, *parents.values()]
