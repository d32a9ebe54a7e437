"""Whole messages before those who want to look at them (inspection.py), and the edits they ask for, carried out.

    await inspect(case, inspectors, writer, header_size)       in commit, before anything is synced

Header fields live in memory meanwhile; the body stays where it is. The header is written anew after each inspector that
changed it, in front of the body, which is not copied while the header fits the queue file's reserve.
`case` is the message at hand (an Intake): it is told of hold, discard, sender and recipients.
Raises Refused: what an inspector decided, or 451 when it failed; OSError.
"""

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Protocol

from mailsuite.base.errors import MailError
from mailsuite.base.log import logger
from mailsuite.queue.cleanup_edits import Header, dsn_of_recipient, dsn_of_sender
from mailsuite.queue.envelope import Envelope, Recipient
from mailsuite.queue.file import Writer
from mailsuite.queue.inspection import (
    AddHeader,
    AddRecipient,
    ChangeHeader,
    ChangeSender,
    Edit,
    Field,
    InsertHeader,
    Inspection,
    Inspector,
    Quarantine,
    RemoveFields,
    RemoveRecipient,
    ReplaceBody,
    ReplaceHeader,
)
from mailsuite.queue.refused import Refused

if TYPE_CHECKING:
    from mailsuite.queue.cleanup_recipients import RecipientList
    from mailsuite.queue.pool import SyncPool

IN_LOOP = 256 * 1024             # octets that may be moved in the event loop; more is a thread's work
log = logger("cleanup")


class Case(Protocol):
    """What of an Intake is used here."""

    queue_id: str
    envelope: Envelope
    discarded: bool
    list: "RecipientList"

    async def change_sender(self, address: str) -> None: ...


class WholeMessage:
    """inspection.Inspected over a queue file that is being made."""

    def __init__(self, case: Case, writer: Writer, header_size: int) -> None:
        self.queue_id, self.envelope = case.queue_id, case.envelope
        self.recipients: Sequence[Recipient] = case.list.all
        self._writer = writer
        self._head = Header(writer.read(0, header_size))
        self.header_size = header_size

    @property
    def fields(self) -> Sequence[Field]:
        return self._head.fields

    @property
    def size(self) -> int:
        return self._writer.size

    def header(self) -> bytes:
        return self._head.octets()

    def body(self, block: int = 65536) -> Iterator[bytes]:
        at, size = self.header_size + 1, self._writer.size
        file = self._writer.share()
        if file is None:
            return iter([rest] if (rest := self._writer.read(at, size)) else [])
        return _blocks(file, self._writer.start + at, max(0, size - at), block)

    # --- edits --------------------------------------------------------------------------------------------------

    def edit_header(self, edit: InsertHeader | AddHeader | ChangeHeader | RemoveFields | ReplaceHeader) -> None:
        self._head.apply(edit)

    async def store(self, edit: ReplaceBody | None, pool: "SyncPool") -> None:
        """Bring header and body into the file as they are meant to be now. Raises OSError."""
        new = self._head.octets() if self._head.changed else None

        def write() -> None:
            if edit is not None:
                self._writer.replace_rest(self.header_size, _with_separator(edit))
            if new is not None:
                self._writer.replace_start(self.header_size, new)
                self.header_size, self._head.changed = len(new), False

        if edit is not None or (new is not None and self._writer.size > IN_LOOP):
            await _to_the_end(pool, write)
        elif new is not None:
            write()


def _with_separator(edit: ReplaceBody) -> Iterator[bytes]:
    yield b"\n"
    yield from edit.blocks


def _blocks(file: IO[bytes], at: int, size: int, block: int) -> Iterator[bytes]:
    # A descriptor of its own, which goes with this generator: the message may be gone while a thread still reads.
    while size > 0 and (octets := os.pread(file.fileno(), min(block, size), at)):
        yield octets
        at, size = at + len(octets), size - len(octets)


async def _to_the_end(pool: "SyncPool", function: Callable[[], None]) -> None:
    """Run in a thread; whoever cancels us must not close the file while the thread writes."""
    future = pool.run(function)
    try:
        await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise


async def inspect(case: Case, inspectors: Sequence[Inspector], writer: Writer, header_size: int,
                  pool: "SyncPool") -> None:
    """Ask each; carry out what it wants before the next one looks. Stops at a refusal or discard."""
    message = WholeMessage(case, writer, header_size)
    for inspector in inspectors:
        found = await _ask(inspector, message)
        if found.refusal is not None:
            raise found.refusal
        if found.discard:
            case.discarded = True
            return
        body: ReplaceBody | None = None
        for edit in found.edits:
            if isinstance(edit, InsertHeader | AddHeader | ChangeHeader | RemoveFields | ReplaceHeader):
                message.edit_header(edit)
            elif isinstance(edit, ReplaceBody):
                body = edit
            else:
                await _envelope_edit(case, edit)
        await message.store(body, pool)
        if found.edits and not case.list.all:
            case.discarded = True            # nobody is left to get it
            return


async def _ask(inspector: Inspector, message: WholeMessage) -> Inspection:
    """Raises Refused, 451 for every kind of failure."""
    try:
        return await inspector.inspect(message)
    except Refused:
        raise
    except MailError as error:
        log.warning("%s: %s", message.queue_id, error)
        raise Refused(451, "4.3.0", f"Error: {error.public}", detail=str(error)) from error
    except Exception as error:
        log.exception("%s: unforeseen in an inspection", message.queue_id)
        raise Refused(451, "4.3.0", "Error: internal error", detail=str(error)) from error


async def _envelope_edit(case: Case, edit: Edit) -> None:
    envelope = case.envelope
    match edit:
        case Quarantine():
            envelope.hold, envelope.hold_reason = True, envelope.hold_reason or edit.reason
        case RemoveRecipient():
            case.list.remove(edit.address)
        case AddRecipient():
            orcpt, notify = dsn_of_recipient(case.queue_id, edit.parameters)
            await case.list.add(Recipient(edit.address, orcpt=orcpt, notify=notify))
        case ChangeSender():
            ret, envid = dsn_of_sender(case.queue_id, edit.parameters)
            envelope.ret, envelope.envid = ret or envelope.ret, envid or envelope.envid
            await case.change_sender(edit.address)
