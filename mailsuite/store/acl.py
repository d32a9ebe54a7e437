"""What a store asks of its ACLs, and what they ask of the store: a contract.

Implemented by acl/namespace.py; given to a namespace's store. Rights are letters of RFC 4314. A right that is missing
is NoPermission for who may see the mailbox (l), else NoSuchMailbox: absent and hidden look the same.

    acl.rights(("Work",)) -> frozenset("lr")
    demand(acl.rights(parts), "k", name)            raises NoPermission, NoSuchMailbox
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from mailsuite.store.errors import NoPermission, NoSuchMailbox
from mailsuite.store.flags import DELETED, SEEN

if TYPE_CHECKING:
    from mailsuite.acl.entries import Entry, Who
    from mailsuite.store.names import Parts

WRITING = frozenset("iwtse")        # who has none of these opens a mailbox for reading only
SEEING = frozenset("lri")           # SUBSCRIBE: one of these tells that the mailbox is there


class Place(Protocol):
    """One namespace's mailboxes on disk. Parts () are its root."""

    def acl_folder(self, parts: "Parts") -> str:
        """Where a mailbox's dovecot-acl lies."""
        ...

    def shown_name(self, parts: "Parts") -> str:
        """As users see it, in UTF-8."""
        ...

    @property
    def prefix(self) -> str: ...

    @property
    def own(self) -> str:
        """What separates the parts of a name on disk."""
        ...

    @property
    def own_flags(self) -> bool:
        """\\Seen is each user's own (INDEXPVT)."""
        ...

    def name_of(self, parts: "Parts") -> str: ...

    def is_there(self, parts: "Parts") -> bool: ...

    def all_parts(self) -> "Iterable[Parts]": ...


class NamespaceAcl(Protocol):
    """ACLs of one namespace, for one user. Methods block and raise StoreError for what cannot be read."""

    who: "Who"
    owner: str
    anyone_allowed: bool

    @property
    def place(self) -> Place: ...

    def attach(self, place: Place) -> None: ...

    def rights(self, parts: "Parts") -> frozenset[str]: ...

    def rights_below(self, parts: "Parts") -> frozenset[str]:
        """Of the mailbox that parts would be made below of, or of the root."""
        ...

    def inherit(self, parts: "Parts") -> None:
        """The mailbox was made."""
        ...

    def gone(self, parts: "Parts") -> None:
        """The mailbox was deleted, or moved with all below it."""
        ...

    def entries(self, parts: "Parts") -> "list[Entry]": ...

    def change(self, parts: "Parts", update: "Callable[[Sequence[Entry]], Sequence[Entry]]") -> None: ...

    def tell_shared(self) -> None:
        """Look up anew who may see something of this namespace's owner."""
        ...

    def told_shared(self) -> bool | None:
        """Does acl_shared_dict say that the owner shares something with the user? None: there is none."""
        ...


def demand(rights: frozenset[str], right: str, name: str) -> None:
    """Raises NoPermission, NoSuchMailbox."""
    if right not in rights:
        raise NoPermission(f"{name} (missing right: {right})") if "l" in rights else NoSuchMailbox(name)


def writable_flags(rights: frozenset[str]) -> int:
    """The bits of flags that these rights allow to change."""
    allowed = ~(SEEN | DELETED) if "w" in rights else 0
    return allowed | SEEN * ("s" in rights) | DELETED * ("t" in rights)
