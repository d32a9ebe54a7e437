"""Several namespaces as one store: one's own mail here and there, what others share, what is public.

    store = Namespaces("alice", specs, open_one, owners)       specs: of namespace.py, expanded for the user
    store.open("Public/Board"); store.list_mailboxes(); store.namespaces()

Implements store/api.MailStore: each name goes to the store of its namespace, found by the longest prefix. A namespace
of other users (type = shared) has a store for each owner, made when somebody asks for the owner's mail by name or when
acl_shared_dict says that the owner shares something. Mailboxes of shared and public namespaces are remembered in the
user's own index: two users may be served by two processes, and what they share are the files.

    open_one(spec, prefix, owner) -> UserStore     owner "" but in shared namespaces; raises NoOwner, MailError
    owners() -> names                              who shares something with the user, as far as is known

See: spaces.py (which namespace a name belongs to), space_listing.py (LIST), space_subscriptions.py.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from mailsuite.base.errors import MailError
from mailsuite.fulltext.database import FullText
from mailsuite.store import space_listing, space_subscriptions
from mailsuite.store.api import Mailbox, MailboxInfo, NamespaceInfo, NoSuchMailbox, NotPossible, Refused
from mailsuite.store.names import Parts
from mailsuite.store.namespace import NamespaceSpec
from mailsuite.store.quota import Quota, Usage
from mailsuite.store.spaces import NoOwner, OpenOne, Spaces
from mailsuite.store.store import UserStore

if TYPE_CHECKING:
    from mailsuite.store.acl import NamespaceAcl
    from mailsuite.store.attributes import Attributes, MailboxEntries


class Namespaces:
    """All namespaces of one user. specs: prefixes and locations are expanded, separators filled in.

    left_out: namespaces whose mail cannot be read here.
    """

    def __init__(self, user: str, specs: Sequence[NamespaceSpec], open_one: OpenOne,
                 owners: Callable[[], Iterable[str]], left_out: Sequence[NamespaceSpec] = ()) -> None:
        self.user, self.spaces = user, Spaces(user, specs, open_one, owners, left_out)
        self.quota: Quota | None = self.spaces.inbox.store.quota

    @property
    def text_wanted(self) -> Callable[[str], None]:
        return self.spaces.text_wanted

    @text_wanted.setter
    def text_wanted(self, wanted: Callable[[str], None]) -> None:
        self.spaces.text_wanted = wanted

    def _store(self, name: str) -> tuple[UserStore, str]:
        """The store of a name, and what it calls it."""
        space = self.spaces.find(name)
        return space.store, space.name(name)

    # --- what there is ----------------------------------------------------------------------------------------------

    @property
    def used(self) -> bool:
        return any(store.used for store in self.spaces.made())

    @property
    def separator(self) -> str:
        return self.spaces.inbox.separator

    @property
    def prefix(self) -> str:
        return self.spaces.inbox.prefix

    @property
    def unusable(self) -> frozenset[str]:
        return self.spaces.inbox.store.unusable

    def keeper(self) -> UserStore:
        """Of index and full text, for mailboxes that others use, too."""
        return self.spaces.inbox.store

    @property
    def fulltext(self) -> FullText | None:
        return self.spaces.inbox.store.fulltext

    def full_texts(self) -> dict[str, FullText]:
        stores = {space.prefix: space.store for space in self.spaces.own if space.target is None}
        return {prefix: text for prefix, store in stores.items() if (text := store.fulltext) is not None}

    @property
    def attributes(self) -> "Attributes | None":
        return self.spaces.inbox.store.attributes

    @property
    def server_entries(self) -> Mapping[str, bytes]:
        return self.spaces.inbox.store.server_entries

    def namespaces(self) -> list[NamespaceInfo]:
        found = []
        for spec in self.spaces.specs:
            if not spec.hidden:
                prefix = next(each.pattern.begin for each in self.spaces.shared if each.spec is spec) \
                    if spec.kind == "shared" else spec.prefix
                found.append(NamespaceInfo(spec.kind, prefix, spec.separator))
        return found

    def list_mailboxes(self, beginnings: Sequence[str] = ("",), reference: str = "") -> list[MailboxInfo]:
        return space_listing.list_mailboxes(self.spaces, beginnings, reference)

    # --- subscriptions ----------------------------------------------------------------------------------------------

    def subscriptions(self, beginnings: Sequence[str] = ("",)) -> list[str]:
        return space_subscriptions.subscriptions(self.spaces, beginnings)

    def subscribe(self, name: str, on: bool, *, missing: bool = False) -> None:
        space_subscriptions.subscribe(self.spaces, name, on, missing=missing)

    def subscribed_above(self, name: str) -> str:
        return next((each.pattern.begin for each in self.spaces.shared if name.startswith(each.pattern.begin)), "")

    def separator_of(self, name: str) -> str:
        for space in self.spaces.own:
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
        _ = self.spaces.inbox.store
        return list(dict.fromkeys(place for store in self.spaces.made() for place in store.name_places()))

    def open(self, name: str, *, right: str = "r") -> Mailbox:
        store, own = self._store(name)
        return store.open(own, right=right)

    def hold(self, name: str, *, claims: bool = True) -> bool:
        made = self._made(name)
        return made is not None and made[0].hold(made[1], claims=claims)

    def release(self, name: str) -> None:
        made = self._made(name)
        assert made is not None
        made[0].release(made[1])

    def _made(self, name: str) -> tuple[UserStore, str] | None:
        """As _store, of the user's own that are open."""
        try:
            space = self.spaces.find_own(name)
        except MailError:
            return None
        store = None if space is None else (space.target or space).made
        return None if space is None or store is None else (store, space.name(name))

    def acl_of(self, name: str) -> "tuple[NamespaceAcl, Parts] | None":
        store, own = self._store(name)
        return store.acl_of(own)

    def quota_of(self, name: str) -> Quota | None:
        if self.spaces.find(name).spec.kind == "shared":
            raise Refused("Not showing other users' quota")
        return self.quota

    def create(self, name: str, special_use: tuple[str, ...] = ()) -> None:
        try:
            store, own = self._store(name)
        except (NoOwner, NoSuchMailbox) as error:
            raise NotPossible("Mailbox can't be created") from error
        store.create(own, special_use)

    def delete(self, name: str) -> None:
        space = self.spaces.find(name)
        if name == space.root and not space.spec.inbox and space.spec.kind != "shared":
            raise NotPossible("Storage root can't be deleted")
        space.store.delete(space.name(name))

    def rename(self, old: str, new: str) -> None:
        source, target = self.spaces.find(old), self.spaces.find(new)
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
        for space in self.spaces.own:
            if space.target is None:
                held = space.store.measure(ignored)
                octets, messages = octets + held.octets, messages + held.messages
        return Usage(octets, messages)

    def close(self) -> None:
        self.spaces.close()
