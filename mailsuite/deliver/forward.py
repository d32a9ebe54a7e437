"""New mail that local makes: members of lists, .forward addresses, other transports.

    forwards.add(node)                     all nodes with one sender and one Delivered-To share a message
    made = await forwards.send()           Made(queue id), or why it could not be made

The message gets a Received and a Delivered-To header in front and goes through `queue/cleanup.py`, in a worker that
has mail_owner's rights: the parent's files would be root's. `forward_main` is that worker.
"""

import asyncio
import contextlib
import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from mailsuite.base.errors import MailError
from mailsuite.base.log import logger
from mailsuite.config.settings import Settings
from mailsuite.deliver.agent import Job
from mailsuite.net.workers import Main, Request, WorkerChannel
from mailsuite.queue.envelope import Envelope, Handling, Notify, Origin, Recipient, Ret
from mailsuite.queue.refused import Refused
from mailsuite.smtp.received import header_date
from mailsuite.store.delivery import BLOCK, read_blocks

if TYPE_CHECKING:
    from mailsuite.deliver.expansion import Node
    from mailsuite.deliver.local import World
    from mailsuite.queue.cleanup import Cleanup

_ORIGIN = ("client_name", "client_address", "client_port", "helo_name", "protocol_name", "log_ident",
           "message_origin", "sasl_method", "sasl_username", "sasl_sender")


class Made(NamedTuple):
    """A new message; or, without a queue id, why not: refused for good (status "5...") or not now (status "")."""

    queue_id: str
    status: str = ""
    reason: str = ""


class Forwards:
    """The new messages of one expansion."""

    def __init__(self, world: "World", job: Job, fd: int) -> None:
        self._world, self._job, self._fd = world, job, fd
        self._groups: dict[tuple[str, str], list[Recipient]] = {}

    def add(self, node: "Node") -> None:
        """One more recipient of new mail; the same address comes once."""
        group = self._groups.setdefault((node.sender, node.delivered), [])
        if not any(known.address == node.address for known in group):
            original = "" if node.original == node.address else node.original
            group.append(Recipient(node.address, original, node.orcpt, node.notify))

    async def send(self) -> list[Made]:
        """Make the messages."""
        if self._job.probe:
            return []
        return [await self._one(sender, delivered, group) for (sender, delivered), group in self._groups.items()]

    async def _one(self, sender: str, delivered: str, group: list[Recipient]) -> Made:
        request = self._job.request
        question = {"sender": sender, "delivered": delivered if self._world.mark_forwards else "",
                    "recipients": [[r.address, r.original, r.orcpt, int(r.notify)] for r in group],
                    "offset": request.offset, "size": request.size, "encoding": request.encoding,
                    "smtputf8": request.smtputf8, "envid": request.envid, "ret": request.ret, "facts": request.facts}
        try:
            answer = await self._world.forwarder.ask(self._world.mail_owner, question, [self._fd])
        except MailError as error:
            self._world.log.warning("%s: cannot forward: %s", request.queue_id, error)
            return Made("")
        return Made(answer["queue_id"], answer.get("status", ""), answer.get("reason", ""))


# --- in the worker --------------------------------------------------------------------------------------------------

def forward_main(settings: Settings) -> Main:
    """The main of the worker that makes the messages."""

    def main(channel: WorkerChannel) -> None:
        from mailsuite.net.service import new_event_loop
        loop = new_event_loop()
        asyncio.set_event_loop(loop)
        loop.run_until_complete(_serve(channel, settings))

    return main


async def _serve(channel: WorkerChannel, settings: Settings) -> None:
    from mailsuite.auth_results.wiring import add_signer, load_keys
    from mailsuite.queue.cleanup import Cleanup
    from mailsuite.queue.notify import Notifier
    from mailsuite.queue.store import open_store
    from mailsuite.rewrite.rewriter import Rewriter

    rewriter = Rewriter(settings)
    cleanup = Cleanup(settings, rewriter, open_store(settings),
                      Notifier(f"{settings.text('queue_directory')}/public/qmgr"))
    add_signer(cleanup, settings, rewriter, load_keys(settings))      # an ARC seal, with mail_owner's rights
    channel.set_blocking(False)
    loop, ended, tasks = asyncio.get_running_loop(), asyncio.Event(), set()

    def readable() -> None:
        with contextlib.suppress(BlockingIOError):
            while (request := channel.receive()) is not None:
                task = loop.create_task(_answer(channel, cleanup, settings, request))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            loop.remove_reader(channel.fileno())
            ended.set()

    loop.add_reader(channel.fileno(), readable)
    await ended.wait()
    if tasks:
        await asyncio.wait(tasks)


async def _answer(channel: WorkerChannel, cleanup: "Cleanup", settings: Settings, request: Request) -> None:
    try:
        channel.answer(request.number, {"queue_id": await _resubmit(cleanup, settings, request.message,
                                                                    request.fds[0])})
    except Exception as error:
        if isinstance(error, Refused) and error.code >= 500:
            channel.answer(request.number, {"queue_id": "", "status": error.status,
                                            "reason": error.public.removeprefix("Error: ")})
            return
        if not isinstance(error, (MailError, OSError)):
            logger("local").exception("unforeseen while forwarding")
        with contextlib.suppress(OSError):
            channel.fail(request.number, error)
    finally:
        for fd in request.fds:
            os.close(fd)


async def _resubmit(cleanup: "Cleanup", settings: Settings, message: dict[str, Any], fd: int) -> str:
    facts = message["facts"]
    envelope = Envelope(
        sender=message["sender"], origin=Origin(**{name: facts[name] for name in _ORIGIN if name in facts}),
        local=facts.get("rewrite_context", "local") == "local", handling=Handling.INTERNAL,
        encoding=message["encoding"], smtputf8=message["smtputf8"], envid=message["envid"], ret=Ret(message["ret"]),
        program="local", require_tls=facts.get("require_tls", ""))
    intake = cleanup.begin(envelope)
    try:
        for address, original, orcpt, notify in message["recipients"]:
            await intake.recipient(Recipient(address, original, orcpt, Notify(notify)))
        intake.write(_received(settings, intake.queue_id, message["delivered"]))
        for number, block in enumerate(read_blocks(fd, message["offset"], message["size"])):
            intake.write(block)
            if number % (1024 * 1024 // BLOCK) == 0:
                await asyncio.sleep(0)
        return (await intake.commit()).queue_id
    finally:
        intake.abort()


def _received(settings: Settings, queue_id: str, delivered: str) -> bytes:
    text = (f"Received: by {settings.text('myhostname')} ({settings.text('mail_name')})\n"
            f"\tid {queue_id}; {header_date(time.time())}\n")
    if delivered:           # without quotes, as the loop detection of every Postfix has it
        text += f"Delivered-To: {delivered}\n"
    return text.encode("utf-8", "surrogateescape")
