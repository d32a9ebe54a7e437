"""What mailboxes and their users tell one another: columns, changes, results. Part of the contract of store/api.py."""

from dataclasses import dataclass, field
from enum import Enum, auto


class Column(Enum):
    """What columns() can render; the octets are complete as they stand behind the item's name in FETCH."""

    UID = auto()                # b"17"
    FLAGS = auto()              # b"\\Answered \\Seen $Key": without parentheses and without \Recent
    INTERNALDATE = auto()       # b'"14-Nov-2023 22:13:20 +0000"'
    SIZE = auto()               # b"1123", RFC822.SIZE
    ENVELOPE = auto()           # b"(...)"
    BODY = auto()               # b"(...)"
    BODYSTRUCTURE = auto()      # b"(...)"
    MODSEQ = auto()             # b"42", without parentheses


class FlagAction(Enum):
    """STORE FLAGS, +FLAGS and -FLAGS."""

    REPLACE = auto()
    ADD = auto()
    REMOVE = auto()


@dataclass(frozen=True)
class MailboxInfo:
    """One line of LIST. `exists`: False for a name that is only a parent of others (\\Noselect)."""

    name: str
    selectable: bool = True
    has_children: bool = False
    no_inferiors: bool = False          # an mbox file
    subscribed: bool = False
    special_use: tuple[str, ...] = ()   # "\\Sent"
    separator: str = ""                 # where it is not that of INBOX
    veiled: bool = False                # not for the user to see: told only for children that are not told
    bare: bool = False                  # the root of mbox folders: not selectable, but Dovecot doesn't say so
    marked: bool = False                # an mbox that has grown since it was last read
    folder: bool = False                # not selectable, but there: a folder for mailboxes


@dataclass(frozen=True)
class NamespaceInfo:
    """One namespace as NAMESPACE tells it (RFC 2342). kind: "private", "shared" or "public"."""

    kind: str
    prefix: str
    separator: str


@dataclass(frozen=True)
class Status:
    """STATUS of a mailbox, whether or not somebody has it selected. unseen: number without \\Seen."""

    messages: int
    recent: int
    unseen: int
    uid_next: int
    uid_validity: int
    highest_modseq: int
    size: int | None = None             # sum of RFC822.SIZE, only when asked for
    guid: str = ""                      # 32 hex digits
    deleted: int = 0                    # number with \\Deleted
    deleted_octets: int = 0             # their RFC822.SIZE, only when asked for


@dataclass(frozen=True)
class Changes:
    """What a view must tell its client, in this order. Sequence numbers are valid when announced in this order.

    expunged: descending, so each is right as it is sent. exists, recent: the new numbers, None when unchanged.
    flags: sequence numbers (after the expunges) of messages whose flags somebody else changed, or this session did
    without silent. keywords: the FLAGS and PERMANENTFLAGS responses have to be sent again, before the FETCHes.
    """

    expunged: list[int] = field(default_factory=list)
    expunged_uids: list[int] = field(default_factory=list)      # of expunged, in the same order
    exists: int | None = None
    recent: int | None = None
    flags: list[int] = field(default_factory=list)
    keywords: bool = False
    gone: bool = False                  # the mailbox itself was deleted or is another one now: close the session


@dataclass(frozen=True)
class StoreResult:
    """changed: UIDs whose flags are different now. refused: UIDs with a MODSEQ above unchanged_since."""

    changed: list[int]
    refused: list[int]


@dataclass(frozen=True)
class IdentityChange:
    """What Mailbox.update changes; None: as it is. The least_ values never lower what is there."""

    uid_validity: int | None = None
    guid: str | None = None
    least_uid_next: int | None = None
    least_modseq: int | None = None
    least_recent: int | None = None


@dataclass(frozen=True)
class CopyResult:
    """UIDPLUS: source_uids[i] became target_uids[i] in the target mailbox. refused: messages that were gone."""

    uid_validity: int
    source_uids: list[int]
    target_uids: list[int]
