"""handle_DATA: a whole message before a plug-in.

envelope.content is the message as the client gave it (after header_checks and rewriting, without our Received: header),
CRLF line ends, in memory. A plug-in with `stream_content = True` gets envelope.message instead, an
inspection.Inspected that reads the queue file in blocks, and content None.
What the plug-in leaves in the envelope counts: another mail_from, other rcpt_tos, another content go into the queue.
Limits: smtpd_handlers_size_limit, smtpd_handlers_concurrency.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiosmtpd.smtp import MISSING

from mailsuite.base.errors import PeerError
from mailsuite.base.log import logger
from mailsuite.queue.headers import split_header
from mailsuite.queue.inspection import (
    AddRecipient,
    ChangeSender,
    Edit,
    Inspected,
    Inspection,
    RemoveRecipient,
    ReplaceBody,
    ReplaceHeader,
)
from mailsuite.queue.refused import Refused
from mailsuite.smtp.facts import Facts
from mailsuite.smtp.handlers.facade import View
from mailsuite.smtp.handlers.loading import Plugin
from mailsuite.smtp.questions import Refusal
from mailsuite.smtp.reply import split_status
from mailsuite.smtp.syntax import parse_address

if TYPE_CHECKING:
    from mailsuite.smtp.handlers.server_handlers import Handlers

IN_LOOP = 256 * 1024
log = logger("smtpd")


class ContentHandler:
    """An inspection.Inspector: one plug-in, one message. run: calls a hook of the connection."""

    def __init__(self, handlers: "Handlers", plugin: Plugin, view: View, run: Callable[..., Awaitable[Any]],
                 facts: Facts) -> None:
        self._handlers, self._plugin, self._view, self._run, self._facts = handlers, plugin, view, run, facts

    async def inspect(self, message: Inspected) -> Inspection:
        self._view.learn(self._facts)
        envelope = self._view.envelope
        if getattr(self._plugin.handler, "stream_content", False):
            envelope.message = message
            return await self._ask(message, None)
        if message.size > self._handlers.size_limit:
            return Inspection(refusal=Refused(552, "5.3.4", "Error: message too big for a plug-in"))
        async with self._handlers.places:
            if message.size > IN_LOOP:
                content = await asyncio.to_thread(content_of, message)
            else:
                content = content_of(message)
            envelope.content = envelope.original_content = content
            try:
                return await self._ask(message, content)
            finally:
                envelope.content = envelope.original_content = None

    async def _ask(self, message: Inspected, content: bytes | None) -> Inspection:
        from mailsuite.smtp.handlers.server_handlers import as_answer

        envelope, plugin = self._view.envelope, self._plugin
        sender, recipients = envelope.mail_from, list(envelope.rcpt_tos)
        hook = plugin.hook("handle_DATA")
        if hook is not None:
            said = await self._run(plugin, self._view, hook)
        else:
            said = await self._run(plugin, self._view, self._old_style(plugin.hook("process_message")))
        self._view.server.take_pushed()
        answer = said if isinstance(said, Refusal) else (
            None if said is MISSING or said is None else as_answer(plugin, "handle_DATA", said))
        if isinstance(answer, Refusal):
            return Inspection(refusal=_refused(answer.reply))
        if not self._handlers.deliver:
            reply = answer.reply if answer is not None else "250 OK"
            log.info("%s: taken by %s: %s", message.queue_id, plugin.name, reply)
            self._facts.treatment.reply = reply
            return Inspection(discard=True)
        return Inspection(self._edits(message.queue_id, sender, recipients, content))

    def _old_style(self, process: Any) -> Any:
        async def call(server: Any, session: Any, envelope: Any) -> Any:
            arguments = session.peer, envelope.mail_from, envelope.rcpt_tos, envelope.content
            if inspect.iscoroutinefunction(process):
                return await process(*arguments)
            return await asyncio.to_thread(process, *arguments)
        return call

    # --- what the plug-in changed -------------------------------------------------------------------------------

    def _edits(self, queue_id: str, sender: str | None, recipients: list[str], content: bytes | None) -> list[Edit]:
        envelope = self._view.envelope
        edits: list[Edit] = []
        try:
            if envelope.mail_from != sender:
                edits.append(ChangeSender(parse_address(envelope.mail_from or "", empty=True)))
            edits += [RemoveRecipient(parse_address(one)) for one in recipients if one not in envelope.rcpt_tos]
            edits += [AddRecipient(parse_address(one)) for one in envelope.rcpt_tos if one not in recipients]
        except PeerError as error:
            log.warning("%s: %s left a bad address in the envelope: %s", queue_id, self._plugin.name, error.public)
            raise
        new = envelope.content
        if content is not None and new is not None and new is not content and new != content:
            octets = new.encode("utf-8", "surrogateescape") if isinstance(new, str) else bytes(new)
            fields, body, _ = split_header(octets.replace(b"\r\n", b"\n"), whole=True)
            edits += [ReplaceHeader(b"".join(field + b"\n" for field in fields)), ReplaceBody([(body or b"")[1:]])]
        return edits


def content_of(message: Inspected) -> bytes:
    """Header and body with CRLF line ends, without the first Received: field, which is ours."""
    fields = list(message.fields)
    own = next((at for at, field in enumerate(fields) if field.name.lower() == b"received"), len(fields))
    header = b"".join(field.name + b":" + field.value + b"\n" for at, field in enumerate(fields) if at != own)
    return b"".join([header, b"\n", *message.body()]).replace(b"\n", b"\r\n")


def _refused(reply: str) -> Refused:
    status, text = split_status(reply.partition("\n")[0][4:], f"{reply[0]}.7.1")
    return Refused(int(reply[:3]), status, text, reply=reply)
