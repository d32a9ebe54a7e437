"""All mailboxes of one user as protocols and doveadm see them. Part of store/api.py."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from mailsuite.fulltext.database import FullText
from mailsuite.store.mailbox_api import Mailbox
from mailsuite.store.quota import Quota
from mailsuite.store.values import MailboxInfo, NamespaceInfo

if TYPE_CHECKING:
    from mailsuite.store.acl import NamespaceAcl
    from mailsuite.store.attributes import Attributes, MailboxEntries
    from mailsuite.store.names import Parts


class MailStore(Protocol):
    """All mailboxes of one user."""

    @property
    def user(self) -> str: ...
    @property
    def separator(self) -> str: ...
    @property
    def prefix(self) -> str:
        """The namespace's prefix, e.g. "" or "INBOX."."""
        ...
    @property
    def quota(self) -> Quota | None:
        """None: this user's mail is not counted."""
        ...

    @property
    def fulltext(self) -> FullText | None:
        """The full text of the mailboxes beside INBOX; None: it is switched off, or there is no place for it."""
        ...

    def full_texts(self) -> Mapping[str, FullText]:
        """That of each of the user's own namespaces, by prefix. Mailboxes that others use, too, share INBOX's."""
        ...

    text_wanted: Callable[[str], None]
    """Called, from any thread, with the name of a mailbox whose full text should be made complete."""

    @property
    def used(self) -> bool:
        """A mailbox or the index was opened: there is something to keep, and to close."""
        ...

    @property
    def unusable(self) -> frozenset[str]:
        """Characters that no part of a name can have."""
        ...

    def list_mailboxes(self, beginnings: Sequence[str] = ("",), reference: str = "") -> list[MailboxInfo]:
        """All names, parents that hold no mail included, INBOX always. Patterns are matched by the caller.

        beginnings: of what is looked for; a namespace that is not listed is told when one of them lies within it.
        reference: of LIST; the mail of a user whose namespace it names is looked into.
        """
        ...

    def subscriptions(self, beginnings: Sequence[str] = ("",)) -> list[str]:
        """Subscribed names, whether or not they exist."""
        ...

    def subscribed_above(self, name: str) -> str:
        """What a subscribed name's parents must begin with for LSUB to tell them: "" for all."""
        ...

    def separator_of(self, name: str) -> str:
        """The separator of the namespace that a name is in; that of INBOX for none."""
        ...

    def subscribe(self, name: str, on: bool, *, missing: bool = False) -> None:
        """missing: also one that does not exist. Raises NoSuchMailbox (on=True only), InvalidName."""
        ...

    def exists(self, name: str) -> bool:
        """Does it exist, or is made at first use (INBOX, auto = create)? Raises InvalidName, BadEncoding."""
        ...

    def namespaces(self) -> list[NamespaceInfo]:
        """All that NAMESPACE tells, in its order."""
        ...

    def acl_of(self, name: str) -> "tuple[NamespaceAcl, Parts] | None":
        """The ACLs that a name belongs to, and what they call it; None: there are none. Raises InvalidName,
        BadEncoding, NoSuchMailbox, StoreError."""
        ...

    def quota_of(self, name: str) -> Quota | None:
        """The quotas that a mailbox counts in. Raises Refused for another user's."""
        ...

    def open(self, name: str, *, right: str = "r") -> Mailbox:
        """The mailbox by name, for who has the right (store/acl.py): "r" to read, "i" to put messages in, "p" to
        deliver, "" whoever asks. Raises NoSuchMailbox, NotSelectable, NoPermission, InvalidName, BadEncoding,
        StoreError.
        """
        ...

    def hold(self, name: str, *, claims: bool = True) -> bool:
        """For an event loop: Mailbox.hold(unchanged=True, claims=claims) of a mailbox that is open, so that `open`
        waits for nothing either. True: call `release` afterwards, in the same thread."""
        ...

    def release(self, name: str) -> None:
        """After `hold`."""
        ...

    def create(self, name: str, special_use: tuple[str, ...] = ()) -> None:
        """A trailing separator asks for a parent only where the store knows those (mbox). special_use: kept for it.

        Raises MailboxExists, InvalidName, NotPossible.
        """
        ...

    def delete(self, name: str) -> None:
        """Raises NoSuchMailbox, Refused."""
        ...

    def rename(self, old: str, new: str) -> None:
        """With all children. Raises NoSuchMailbox, MailboxExists, NotPossible, InvalidName."""
        ...

    def special_use(self, name: str) -> tuple[str, ...]: ...

    def comment(self, name: str) -> str:
        """What the configuration says of the mailbox; "" when nothing."""
        ...

    @property
    def attributes(self) -> "Attributes | None":
        """The user's own dictionary of METADATA's entries; None: there is none."""
        ...

    @property
    def server_entries(self) -> Mapping[str, bytes]:
        """METADATA's entries of the server that the configuration gives."""
        ...

    def attributes_of(self, name: str) -> "MailboxEntries | None":
        """A mailbox's entries; None: nothing is kept. Raises what open() does."""
        ...

    def path(self, name: str, kind: str = "mailbox") -> str:
        """Where a mailbox lies or would lie; kind: mailbox, index or control. Raises InvalidName, BadEncoding."""
        ...

    def stamp(self, name: str) -> object | None:
        """What changes when a mailbox's messages or their flags do, from its files' times: cheap, and not of the last
        few milliseconds. None: there is no such mailbox. Raises InvalidName, BadEncoding, StoreError."""
        ...

    def name_places(self) -> list[tuple[str, str]]:
        """Where names of mailboxes and subscriptions come and go: folders, each with the file's name in it, "*" for all
        files and folders, "*/" for all folders."""
        ...

    def close(self) -> None:
        """Write what was delayed, close files and index. The store can't be used afterwards."""
        ...
