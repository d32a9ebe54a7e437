"""A whole message before a milter: header and body are shown, and what it wants changed becomes edits.

    intake.inspectors.append(ContentMilter(milter, intake, values, soft_bounce=False))

The message is read from the queue file in blocks, each sent when the milter has taken the one before. Our own Received:
header is not shown, as Sendmail has none yet at this point; so "the first Received" is the client's.
What the milter refuses is a Refused; changes that make no sense are left out, with a warning.
Limits: those of session.py.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from mailsuite.base.errors import PeerError
from mailsuite.base.log import logger
from mailsuite.queue.cleanup_checks import MILTER, described
from mailsuite.queue.inspection import (
    AddHeader,
    AddRecipient,
    ChangeHeader,
    ChangeSender,
    Edit,
    Field,
    InsertHeader,
    Inspected,
    Inspection,
    Quarantine,
    RemoveRecipient,
    ReplaceBody,
)
from mailsuite.queue.refused import Refused
from mailsuite.smtp.milter.client import Milter
from mailsuite.smtp.milter.reply_text import logged
from mailsuite.smtp.milter.session import Act, Answer
from mailsuite.smtp.milter.syntax import Kind, Reply
from mailsuite.smtp.reply import soften, split_status
from mailsuite.smtp.syntax import parse_address

if TYPE_CHECKING:
    from mailsuite.queue.cleanup import Intake

log = logger("cleanup")
HOLD, DISCARD = "milter triggers HOLD action", "milter triggers DISCARD action"
_BEFORE_RECIPIENTS = frozenset({"CONNECT", "EHLO", "MAIL"})
_NAME = re.compile(r"[!-9;-~]{1,998}")


def shown_fields(fields: Sequence[Field]) -> list[Field]:
    """Without the Received: header that we put on top."""
    own = next((at for at, field in enumerate(fields) if field.name.lower() == b"received"), len(fields))
    return [field for at, field in enumerate(fields) if at != own]


class ContentMilter:
    """An inspection.Inspector: one milter, one message."""

    def __init__(self, milter: Milter, intake: "Intake", values: Callable[[], Mapping[str, str]], *,
                 soft_bounce: bool, origin_name: str = "") -> None:
        self._milter, self._intake, self._values, self._soft_bounce = milter, intake, values, soft_bounce
        self._origin_name = origin_name

    async def inspect(self, message: Inspected) -> Inspection:
        answer = await self._milter.content(((field.name, field.value) for field in shown_fields(message.fields)),
                                            message.body(), self._values())
        inspection = decided(self._intake, answer, "END-OF-MESSAGE", soft_bounce=self._soft_bounce,
                             origin_name=self._origin_name)
        if inspection.refusal is None and not inspection.discard:
            inspection.edits += await self._edits(message)
            if self._intake.trouble is not None:
                inspection.refusal = self._intake.trouble      # of milter_header_checks
            inspection.discard = self._intake.discarded
        return inspection

    # --- edits --------------------------------------------------------------------------------------------------

    async def _edits(self, message: Inspected) -> list[Edit]:
        verbatim = self._milter.leading_space
        edits: list[Edit] = []
        body: list[bytes] = []
        for reply in self._milter.edits:
            if reply.kind is Kind.REPLACE_BODY:
                body.append(reply.octets)
            elif reply.kind in (Kind.ADD_HEADER, Kind.INSERT_HEADER, Kind.CHANGE_HEADER):
                edits += await self._header_edits(reply, verbatim)
            elif reply.kind is Kind.QUARANTINE:
                if not self._intake.envelope.hold and not any(isinstance(edit, Quarantine) for edit in edits):
                    log.info("%s", described(self._intake, "milter-hold: END-OF-MESSAGE", f": {HOLD}",
                                             origin_name=self._origin_name))
                edits.append(Quarantine(reply.strings[0] or HOLD))
            else:
                edits += self._envelope_edits(reply)
        if body:
            edits.append(ReplaceBody([_with_lf(b"".join(body))]))
        return edits

    async def _header_edits(self, reply: Reply, verbatim: bool) -> list[Edit]:
        name, value = reply.strings
        if not _NAME.fullmatch(name):
            log.warning("%s: ignoring a header of milter %s without a proper name: %.100r", self._intake.queue_id,
                        self._milter.spec.name, name)
            return []
        if reply.kind is Kind.CHANGE_HEADER:
            # Ours is the first Received: of the file, and the milter does not know it.
            occurrence = max(1, reply.number) + (name.lower() == "received")
            return [ChangeHeader(name, occurrence, value or None, verbatim)]
        if not self._intake.cleanup.checks.headers[MILTER].empty:
            return await self._checked(reply, name, value, verbatim)
        if reply.kind is Kind.ADD_HEADER:
            return [AddHeader(name, value, verbatim)]
        return [InsertHeader(reply.number, name, value, verbatim)]

    async def _checked(self, reply: Reply, name: str, value: str, verbatim: bool) -> list[Edit]:
        """milter_header_checks may drop or replace what is added."""
        text = f"{name}:{'' if verbatim else ' '}{value}".encode("utf-8", "surrogateescape")
        edits: list[Edit] = []
        for line in await self._intake.cleanup.checks.header(self._intake, text, MILTER):
            new_name, _, new_value = line.decode("utf-8", "surrogateescape").partition(":")
            edits.append(AddHeader(new_name, new_value, True) if reply.kind is Kind.ADD_HEADER
                         else InsertHeader(reply.number, new_name, new_value, True))
        return edits

    def _envelope_edits(self, reply: Reply) -> list[Edit]:
        said, *parameters = reply.strings
        try:
            address = parse_address(said, empty=True)
        except PeerError:
            log.warning("%s: ignoring a bad address of milter %s: %.100r", self._intake.queue_id,
                        self._milter.spec.name, said)
            return []
        esmtp = parameters[0] if parameters else ""
        if reply.kind is Kind.CHANGE_FROM:
            return [ChangeSender(address, esmtp)]
        if reply.kind is Kind.DELETE_RECIPIENT:
            return [RemoveRecipient(address)]
        if not address:
            log.warning("%s: ignoring attempt from Milter to add null recipient", self._intake.queue_id)
            return []
        return [AddRecipient(address, esmtp)]


def _with_lf(body: bytes) -> bytes:
    """LF line ends; a last line without one gets it."""
    body = body.replace(b"\r\n", b"\n")
    return body if not body or body.endswith(b"\n") else body + b"\n"


def decided(intake: "Intake", answer: Answer | None, where: str, *, soft_bounce: bool,
            origin_name: str = "") -> Inspection:
    """An answer that concerns the message as a whole; logged. where: as the log names the stage. origin_name: of a
    client that is simulated."""
    told = where not in _BEFORE_RECIPIENTS

    def say(act: str, text: str) -> None:
        log.info("%s", described(intake, f"milter-{act}: {where}", f": {text}", origin_name=origin_name, told=told))

    if answer is None:
        return Inspection()
    if answer.act is Act.DISCARD:
        say("discard", DISCARD)
        return Inspection(discard=True)
    if answer.act is Act.QUARANTINE:
        if not intake.envelope.hold:
            say("hold", HOLD)
        return Inspection([Quarantine(HOLD)])
    reply = answer.reply
    say("reject", logged(reply)[4:])
    if soft_bounce:
        reply = soften(reply)
    status, text = split_status(reply.partition("\n")[0][4:], f"{reply[0]}.7.1")
    return Inspection(refusal=Refused(int(reply[:3]), status, text, reply=reply))
