"""Who looks at a whole message before it is taken, and what they may ask for: milters, plug-ins, DKIM, ARC.

    class Sign:                                          # an Inspector
        async def inspect(self, message: Inspected) -> Inspection:
            return Inspection(edits=[InsertHeader(0, "DKIM-Signature", value)])

    cleanup.first, cleanup.last: list[Inspector]         one per process: what verifies comes first, what signs last
    intake.inspectors: list[Inspector]                   of one message: the milters and plug-ins of its connection

Cleanup asks them in this order in `commit`, after header and body checks, rewriting and the last octet, before anything
is synced. The edits of one are applied before the next one looks. Without inspectors nothing of this costs anything;
with edits a new header is put in front of the body, which stays where it is (file.py, RESERVE).
Those of Cleanup see our own notices too, and look at envelope.program, is_bounce and handling for what is theirs.
`intake.inspectors` is set before the content's first octet. Not asked: mail that is refused or discarded already.
Raises: TemporaryError of an inspector is a 451 to the client; any other exception too, with a traceback in the log.
Envelope, recipients and fields are the inspector's to read; changes go through edits only. What an inspector decided is
its own to log.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from mailsuite.queue.envelope import Envelope, Recipient

if TYPE_CHECKING:
    from mailsuite.queue.refused import Refused


@dataclass(frozen=True, slots=True)
class Field:
    """One header field as it stands in the queue file: name b"Subject", value b" Hello\\n world": all that follows the
    colon, with its leading white space and LF folds, without the last line end."""

    name: bytes
    value: bytes


class Inspected(Protocol):
    """A message on its way in; all of it is in the queue file, LF line ends."""

    queue_id: str
    envelope: Envelope                   # its sender is the one of MAIL FROM, or of the last ChangeSender
    recipients: Sequence[Recipient]      # expanded; their `original` is what the client gave. Copies (bcc) included

    @property
    def fields(self) -> Sequence[Field]:
        """In order. What access tables PREPEND comes first, then the Received: header of ours."""
        ...

    @property
    def size(self) -> int:
        """Octets of header and body."""
        ...

    def header(self) -> bytes:
        """The header's octets, without the empty line."""
        ...

    def body(self, block: int = 65536) -> Iterator[bytes]:
        """The body in blocks, from its beginning at each call. Reads the page cache; whoever hashes much of it does
        so in a thread. It stays readable there when the connection is lost meanwhile."""
        ...


@dataclass(frozen=True, slots=True)
class InsertHeader:
    """index: where among the fields, 0 is the top (above our Received:); beyond the last one: at the end.
    value is unfolded or folded with LF. verbatim: it stands right behind the colon; else a blank comes between."""

    index: int
    name: str
    value: str
    verbatim: bool = False


@dataclass(frozen=True, slots=True)
class AddHeader:
    """At the end of the header."""

    name: str
    value: str
    verbatim: bool = False


@dataclass(frozen=True, slots=True)
class ChangeHeader:
    """occurrence: 1 is the first field of that name (in any case). value None takes it away. Where there are not so
    many, a value is added at the end of the header."""

    name: str
    occurrence: int
    value: str | None
    verbatim: bool = False


@dataclass(frozen=True, slots=True)
class RemoveFields:
    """Fields by their places among message.fields, as they stand when this edit's turn comes; any number in one go."""

    places: frozenset[int]


@dataclass(frozen=True, slots=True)
class ReplaceHeader:
    """All fields but our own Received: (the first one), which stays on top. octets: whole lines, LF ends."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class ReplaceBody:
    """The new body, LF line ends. blocks is iterated once, in a thread when the message is big; it must not read the
    message any more (`[*message.body(), footer]` is a list already, so it may)."""

    blocks: Iterable[bytes]


@dataclass(frozen=True, slots=True)
class AddRecipient:
    """address in internal form. It is mapped and expanded as one that the client gave."""

    address: str
    parameters: str = ""                 # ESMTP: NOTIFY=, ORCPT=; others are ignored with a warning


@dataclass(frozen=True, slots=True)
class RemoveRecipient:
    """All recipients that came from this address, as the client or an edit gave it (before expansion). A message
    without any that are left is taken and forgotten."""

    address: str


@dataclass(frozen=True, slots=True)
class ChangeSender:
    """address in internal form, "" for the null sender; canonical maps apply."""

    address: str
    parameters: str = ""                 # ESMTP: RET=, ENVID=


@dataclass(frozen=True, slots=True)
class Quarantine:
    """To the hold queue."""

    reason: str


Edit = (InsertHeader | AddHeader | ChangeHeader | RemoveFields | ReplaceBody | AddRecipient | RemoveRecipient
        | ChangeSender | Quarantine | ReplaceHeader)


@dataclass(slots=True)
class Inspection:
    """What an inspector decided. refusal: the message is not taken; discard: it is taken and thrown away."""

    edits: list[Edit] = field(default_factory=list)
    refusal: "Refused | None" = None
    discard: bool = False


class Inspector(Protocol):
    async def inspect(self, message: Inspected) -> Inspection:
        """Raises TemporaryError when it cannot tell."""
        ...
