"""Who looks at a whole message before it is taken, and what they may ask for: milters, plug-ins, DKIM, ARC.

    class Sign:                                          # an Inspector
        async def inspect(self, message: Inspected) -> Inspection:
            return Inspection(edits=[InsertHeader(0, "DKIM-Signature", value)])

    cleanup.first, cleanup.last: list[Inspector]         one per process: what verifies comes first, what signs last
    intake.inspectors: list[Inspector]                   of one message: the milters and plug-ins of its connection

Cleanup asks them in this order in `commit`, after header and body checks, rewriting and the last octet, before anything
is synced. The edits of one are applied before the next one looks. Without inspectors nothing of this costs anything;
with edits the queue file is written anew, its content copied by the kernel where it did not change.
Raises: TemporaryError of an inspector is a 451 to the client; any other exception too, with a traceback in the log.
Envelope, recipients and fields are the inspector's to read; changes go through edits only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from mailsuite.queue.envelope import Envelope, Recipient

if TYPE_CHECKING:
    from mailsuite.queue.cleanup import Refused


@dataclass(frozen=True, slots=True)
class Field:
    """One header field as it stands in the queue file: name b"Subject", value b" Hello\\n world": all that follows the
    colon, with its leading white space and LF folds, without the last line end."""

    name: bytes
    value: bytes


class Inspected(Protocol):
    """A message on its way in; all of it is in the queue file, LF line ends."""

    queue_id: str
    envelope: Envelope
    recipients: Sequence[Recipient]
    fields: Sequence[Field]              # in order; [0] is the Received: header of ours
    size: int                            # octets of header and body

    def header(self) -> bytes:
        """The header's octets, without the empty line."""
        ...

    def body(self, block: int = 65536) -> Iterator[bytes]:
        """The body in blocks, from its beginning at each call. Reads the page cache; whoever hashes much of it does
        so in a thread."""
        ...


@dataclass(frozen=True, slots=True)
class InsertHeader:
    """index: where among the fields, 0 is the top (above our Received:). value is unfolded or folded with LF."""

    index: int
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class AddHeader:
    """At the end of the header."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class ChangeHeader:
    """occurrence: 1 is the first field of that name. value None takes it away."""

    name: str
    occurrence: int
    value: str | None


@dataclass(frozen=True, slots=True)
class ReplaceBody:
    """The new body, LF line ends; a file when it is big."""

    blocks: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class AddRecipient:
    """address in internal form. It is mapped and expanded as one that the client gave."""

    address: str
    parameters: str = ""                 # ESMTP: NOTIFY=, ORCPT=


@dataclass(frozen=True, slots=True)
class RemoveRecipient:
    """All recipients that came from this address, before or after expansion."""

    address: str


@dataclass(frozen=True, slots=True)
class ChangeSender:
    address: str
    parameters: str = ""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """To the hold queue."""

    reason: str


Edit = (InsertHeader | AddHeader | ChangeHeader | ReplaceBody | AddRecipient | RemoveRecipient | ChangeSender
        | Quarantine)


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
