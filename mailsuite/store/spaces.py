"""Which namespace a mailbox's name belongs to, and what is open of each.

    spaces = Spaces("alice", specs, open_one, owners)       as for namespaces.Namespaces
    spaces.find("Public/Board") -> Space                    by the longest prefix; of other users: the owner's
    spaces.of_owner(shared, "bob") -> Space                 raises NoOwner

Limits: MAX_OWNERS.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from mailsuite.store.errors import NoSuchMailbox, NotPossible, Refused, StoreError
from mailsuite.store.namespace import NamespaceSpec, OwnerPattern
from mailsuite.store.space import Space
from mailsuite.store.store import UserStore

MAX_OWNERS = 1000           # other users whose mail one user's store keeps at hand


class NoOwner(StoreError):
    """There is no such user: CREATE there is not possible, all else is as if the mail could not be read."""


class NoNamespace(Refused):
    """The name has no namespace's prefix."""

    def __init__(self, prefix: str) -> None:
        super().__init__("Client tried to access nonexistent namespace. (Mailbox name should probably be prefixed "
                         f"with: {prefix})")


OpenOne = Callable[[NamespaceSpec, str, str], UserStore]


class NoFormat(NotPossible):
    """The name is in a namespace whose mail is of a format that is not there."""

    def __init__(self) -> None:
        super().__init__("Mailboxes of this namespace cannot be read here")


class Shared(NamedTuple):
    """A namespace of other users. spaces: by owner, of those whose mail was looked at."""

    spec: NamespaceSpec
    pattern: OwnerPattern
    spaces: dict[str, Space]


class Spaces:
    """All namespaces of one user. own: those that are not other users'. specs: expanded, with separators.

    left_out: those whose mail cannot be read; their names are kept from the namespaces around.
    """

    def __init__(self, user: str, specs: Sequence[NamespaceSpec], open_one: OpenOne,
                 owners: Callable[[], Iterable[str]], left_out: Sequence[NamespaceSpec] = ()) -> None:
        self.user, self._open_one, self.owners = user, open_one, owners
        self._lock = threading.RLock()
        self.shared: list[Shared] = []
        self.own: list[Space] = []
        self.specs = specs
        for spec in specs:
            if spec.kind == "shared":
                self.shared.append(Shared(spec, OwnerPattern(spec.prefix, spec.separator), {}))
            else:
                self.own.append(Space(spec, spec.prefix, self._maker(spec, spec.prefix)))
        self._left_out = [OwnerPattern(spec.prefix, spec.separator).begin if spec.kind == "shared" else spec.prefix
                          for spec in left_out]
        for space in self.own:
            if space.spec.alias_for is not None:
                space.target = next((one for one in self.own if one.prefix == space.spec.alias_for), None)
        self.inbox = next(space for space in self.own if space.spec.inbox)
        self.text_wanted: Callable[[str], None] = lambda name: None

    def _maker(self, spec: NamespaceSpec, prefix: str, owner: str = "") -> Callable[[], UserStore]:
        def make() -> UserStore:
            store = self._open_one(spec, prefix, owner)
            store.text_wanted = lambda name: self.text_wanted(name)
            return store

        return make

    def find_own(self, name: str) -> Space | None:
        """Among those that are not other users'; None: it is in none of them."""
        if name.upper() == "INBOX":
            return self.inbox
        found: Space | None = None
        for space in self.own:
            own = name
            if space.prefix.upper().startswith("INBOX") and name.upper().startswith("INBOX"):
                own = "INBOX" + name[5:]
            if space.holds(own) and (found is None or len(space.prefix) > len(found.prefix)):
                found = space
        return found

    def find(self, name: str) -> Space:
        """Raises NoNamespace, NoSuchMailbox, NoFormat, MailError of an owner's mail that cannot be opened."""
        if name.upper() == "INBOX":
            return self.inbox
        found = self.find_own(name)
        for shared in self.shared:
            begin = shared.pattern.begin
            if (found is None or len(begin) > len(found.prefix)) and (
                    name.startswith(begin) or name == begin.removesuffix(shared.spec.separator)):
                return self._of_name(shared, name)
        if any(name.startswith(prefix) and (found is None or len(prefix) > len(found.prefix))
               for prefix in self._left_out):
            raise NoFormat
        if found is None:
            alias = next((space for space in self.own if space.target is self.inbox), self.inbox)
            raise NoNamespace(min((alias, self.inbox), key=self.own.index).prefix)
        return found

    def _of_name(self, shared: Shared, name: str) -> Space:
        found = shared.pattern.owner_of(name, self.user)
        if found is None:
            raise NoSuchMailbox(name)
        space = self.of_owner(shared, found[0])
        space.asked = True
        return space

    def of_owner(self, shared: Shared, owner: str) -> Space:
        """Raises NoOwner, NotPossible: too many are open, MailError."""
        with self._lock:
            space = shared.spaces.get(owner)
            if space is None:
                prefix = shared.pattern.prefix_of(owner)
                space = Space(shared.spec, prefix, self._maker(shared.spec, prefix, owner))
                _ = space.store                     # raises when there is no such owner
                self._drop_unused(shared.spaces)
                shared.spaces[owner] = space
            return space

    @staticmethod
    def _drop_unused(spaces: dict[str, Space]) -> None:
        if len(spaces) >= MAX_OWNERS:
            for owner, space in list(spaces.items()):
                if space.made is None or not space.made.used:
                    del spaces[owner]
            if len(spaces) >= MAX_OWNERS:
                raise NotPossible("Too many users' mailboxes are open")

    def made(self) -> Iterator[UserStore]:
        """Stores that were opened so far."""
        for space in [*self.own, *(space for shared in self.shared for space in list(shared.spaces.values()))]:
            if space.target is None and space.made is not None:
                yield space.made

    def close(self) -> None:
        """Close all that is open."""
        with self._lock:
            for store in [*self.made()]:
                if store is not self.inbox.made:
                    store.close()
            self.inbox.store.close()            # its index is the others', too
