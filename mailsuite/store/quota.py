"""What a store asks of its user's quotas, and what the quotas ask of the store: a contract.

Implemented by quota/user_quota.py; given to open_store(). A store counts sizes as `Quota.wire` says: with CRLF line
ends (quota_vsizes) or as they are stored. It asks before it takes messages in, and tells what became of them.

    store.quota.admit("INBOX", [1234])                  raises OverQuota, TooLarge
    store.quota.changed("INBOX", octets=1234, messages=1)
    store.quota.state("INBOX") -> [RootState(...)]      for GETQUOTAROOT and doveadm
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from mailsuite.store.api import Mailbox


class Usage(NamedTuple):
    """What a quota root counts: octets and messages."""

    octets: int
    messages: int


class Resource(NamedTuple):
    """used and limit in kilobytes (rounded up) or messages; limit None: there is none."""

    name: str                   # STORAGE or MESSAGE
    used: int
    limit: int | None


class RootState(NamedTuple):
    """One quota root as it is now. hidden: IMAP clients are not told of it."""

    name: str
    resources: tuple[Resource, ...]
    hidden: bool


# measure(ignored): what all mailboxes hold, but those for whose name ignored is true.
Measure = Callable[[Callable[[str], bool]], Usage]


class Quota(Protocol):
    """All quota roots of one user. Mailboxes are named as IMAP clients name them."""

    wire: bool
    makes_room: bool            # whether make_room may do something

    @property
    def largest(self) -> int:
        """Octets that one message may have; 0: any."""
        ...

    def attach(self, root: str | None, measure: Measure, open_mailbox: "Callable[[str], Mailbox]", *,
               foreign: tuple[str, ...] = ()) -> None:
        """The store is open. root: the folder of a Maildir++ tree, None: another kind of store. foreign: prefixes of
        public namespaces, where only a root with their ns= counts."""
        ...

    def make_room(self, mailbox: str, sizes: Sequence[int], *, delivery: bool = False, moved_from: str = "",
                  spare: str = "") -> None:
        """Before `admit`, while no mailbox's lock is held: empty what the trash plugin names as far as needed.
        spare: a mailbox that messages are copied from. Never raises."""
        ...

    def admit(self, mailbox: str, sizes: Sequence[int], *, delivery: bool = False, moved_from: str = "",
              replaces: bool = False) -> None:
        """May messages of these sizes come in? delivery: new mail, which may use the grace. moved_from: they leave
        another mailbox of the user. replaces: there are as many messages afterwards. Raises OverQuota, TooLarge,
        StoreError."""
        ...

    def changed(self, mailbox: str, *, octets: int, messages: int) -> None:
        """What came into a mailbox, or with negative numbers, left it. Never raises: the mail is there already."""
        ...

    def state(self, mailbox: str = "") -> list[RootState]:
        """The roots that a mailbox belongs to, with the limits of its own rules; all roots without a name."""
        ...

    def recalculate(self) -> None:
        """Count anew what the mailboxes hold. Raises StoreError."""
        ...
