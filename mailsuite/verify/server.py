"""verify(8): the service that knows which addresses can be delivered, and finds out.

Listens on private/verify for one JSON object a line (net/ipc.py):

    {"op": "query", "seq": 7, "address": "a@b.test", "wait_s": 6}  ->  {"seq": 7, "status": 0, "text": "250 2.1.5 Ok"}
    {"op": "update", "address": "a@b.test", "status": 2, "text": "unknown user"}

A query is answered at once when the answer is known; else a probe is sent through the queue, and the answer waits for
what becomes of it, wait_s at most: then it is status 3, "Address verification in progress". A probe is a message
without content whose `verify` is "probe": the agents go as far as RCPT TO and report; qmgr tells us by update.
Limits: address_verify_pending_request_limit probes under way; the size of the cache.
Only processes of mail_owner and root reach the socket.
"""

import asyncio
import time
from typing import TYPE_CHECKING, Any

from mailsuite.base.errors import MailError
from mailsuite.base.log import logger
from mailsuite.maps.cache import Cache, CacheError
from mailsuite.net.ipc import Link, serve_unix
from mailsuite.net.service import ServiceContext
from mailsuite.queue.cleanup import Cleanup
from mailsuite.queue.envelope import Envelope, Handling, Origin, Recipient
from mailsuite.queue.notify import Notifier
from mailsuite.queue.store import open_store
from mailsuite.rewrite.rewriter import Rewriter
from mailsuite.smtp.received import header_date
from mailsuite.verify import params
from mailsuite.verify.book import IN_PROGRESS, Book, Memory, Rules, Status
from mailsuite.verify.sender import ProbeSender

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings
    from mailsuite.config.settings import Settings

LAST_CLEANUP = "_LAST_CACHE_CLEANUP_COMPLETED_"      # as Postfix names it in the cache
PAUSE_S = 0.01              # between the parts of a sweep, for those who ask meanwhile
QUERIES_LIMIT = 10_000      # of one process at once
WAIT_LIMIT_S = 600.0
log = logger("verify")


def make_rules(settings: "Settings") -> Rules:
    return Rules(settings[params.POSITIVE_EXPIRE], settings[params.POSITIVE_REFRESH], settings[params.NEGATIVE_CACHE],
                 settings[params.NEGATIVE_EXPIRE], settings[params.NEGATIVE_REFRESH])


class Service:
    """What all links share."""

    def __init__(self, context: ServiceContext) -> None:
        self._context = context
        self.entries = self._open(context.settings)
        self._store = open_store(context.settings)
        self._notifier = Notifier(f"{context.settings.text('queue_directory')}/public/qmgr")
        self.configure(context.settings)
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._pending: dict[str, float] = {}         # address -> when its probe was sent

    def _open(self, settings: "Settings") -> Cache | Memory:
        spec, limit = settings[params.ADDRESS_VERIFY_MAP].strip(), settings[params.ADDRESS_VERIFY_CACHE_SIZE_LIMIT]
        self.spec = spec
        if spec:
            try:
                return Cache(spec.rpartition(":")[2], limit_octets=limit)
            except CacheError as error:
                log.error("%s: addresses are remembered in memory only", error.detail)
        return Memory(limit // 1000)

    def configure(self, settings: "Settings") -> None:
        """New settings; the cache stays the one that is open."""
        self.settings = settings
        self.book = Book(make_rules(settings), self.entries)
        self.sender = ProbeSender(settings)
        self._pending_limit = settings[params.PENDING_LIMIT]
        self._hostname, self._mail_name = settings.text("myhostname"), settings.text("mail_name")
        overrides = self._context.library.get("cleanup")
        own = settings.with_overrides(overrides) if overrides else settings
        self._cleanup = Cleanup(own, Rewriter(settings), self._store, self._notifier)

    # --- requests -----------------------------------------------------------------------------------------------

    async def talk(self, link: Link) -> None:
        """One process asks and tells."""
        tasks: set[asyncio.Task[None]] = set()
        try:
            while (said := await link.receive()) is not None:
                if said["op"] == "update":
                    self.learn(str(said["address"]), Status(said["status"]), str(said["text"]))
                elif said["op"] == "query":
                    if len(tasks) >= QUERIES_LIMIT:
                        link.send({"seq": said["seq"], "status": Status.TODO.value, "text": IN_PROGRESS})
                        continue
                    task = asyncio.get_running_loop().create_task(self._answer(link, said))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
        except (KeyError, ValueError, TypeError) as error:
            log.warning("a process says what makes no sense: %s", error)
        finally:
            for task in tasks:
                task.cancel()

    async def _answer(self, link: Link, said: dict[str, Any]) -> None:
        try:
            status, text = await self.query(str(said["address"]), min(float(said["wait_s"]), WAIT_LIMIT_S))
            link.send({"seq": said["seq"], "status": status.value, "text": text})
            await link.drain()
        except (OSError, KeyError, ValueError, TypeError) as error:
            log.warning("cannot answer: %s", error)
            link.close()

    async def query(self, address: str, wait_s: float) -> tuple[Status, str]:
        now = time.time()
        known = self.book.look(address, now)
        if known.probe_due:
            await self._probe(address, now)
        if known.status is not Status.TODO or wait_s <= 0:
            return known.status, known.text
        await self._outcome(address, wait_s)
        known = self.book.look(address, time.time())
        return known.status, known.text

    async def _outcome(self, address: str, wait_s: float) -> None:
        """Wait for the next thing that is learnt of an address, not longer than wait_s."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.book.look(address, time.time()).status is not Status.TODO:
            return
        waiting = self._waiting.setdefault(address, set())
        waiting.add(future)
        try:
            await asyncio.wait_for(future, wait_s)
        except TimeoutError:
            pass
        finally:
            waiting.discard(future)
            if not waiting and self._waiting.get(address) is waiting:
                del self._waiting[address]

    def learn(self, address: str, status: Status, text: str) -> None:
        self._pending.pop(address, None)
        if status is not Status.TODO:
            self.book.learn(address, status, text, time.time())
        for future in self._waiting.pop(address, set()):
            if not future.done():
                future.set_result(None)

    # --- probes -------------------------------------------------------------------------------------------------

    async def _probe(self, address: str, now: float) -> None:
        """Send one; a failure is a warning, and the next who asks makes us try again."""
        if len(self._pending) >= self._pending_limit:
            self._pending = {one: at for one, at in self._pending.items() if at + 1000 > now}
        if len(self._pending) >= self._pending_limit:
            log.warning("too many probes under way (address_verify_pending_request_limit): <%s> is not verified now",
                        address)
            return
        self._pending[address] = now
        self.book.probed(address, now)
        envelope = Envelope(sender=self.sender.now(now), origin=Origin(), handling=Handling.INTERNAL, verify="probe",
                            program="verify", is_bounce=True)
        try:
            intake = self._cleanup.begin(envelope)
            try:
                await intake.recipient(Recipient(address))
                intake.write(f"Received: by {self._hostname} ({self._mail_name})\n\tid {intake.queue_id}; "
                             f"{header_date(now)}\n\n".encode())
                await intake.commit()
            finally:
                intake.abort()
        except MailError as error:
            log.warning("cannot send a probe for <%s>: %s", address, error.detail or error.public)
            self._pending.pop(address, None)
            self.entries.delete(address)

    # --- life ---------------------------------------------------------------------------------------------------

    async def clean(self) -> None:
        """Forget what has expired."""
        retained = dropped = 0

        def keep(key: str, value: str) -> bool:
            return key == LAST_CLEANUP or self.book.keeps(value, time.time())

        if isinstance(self.entries, Memory):
            retained, dropped = self.entries.sweep(keep)
        else:
            after: bytes | None = b""
            while after is not None:
                after, kept, gone = self.entries.sweep_some(keep, after)
                retained, dropped = retained + kept, dropped + gone
                await asyncio.sleep(PAUSE_S)
            retained -= self.entries.get(LAST_CLEANUP) is not None
            self.entries.put(LAST_CLEANUP, str(int(time.time())))
        log.info("cache %s full cleanup: retained=%d dropped=%d entries", self.spec or "in memory", retained, dropped)

    def cleanup_due_in(self) -> float:
        """Seconds; infinity: never."""
        interval = self.settings[params.CLEANUP_INTERVAL]
        if not interval:
            return float("inf")
        try:
            last = int(self.entries.get(LAST_CLEANUP) or 0)
        except ValueError:
            last = 0
        return max(0.0, last + interval - time.time())

    def close(self) -> None:
        if isinstance(self.entries, Cache):
            self.entries.close()


async def serve(context: ServiceContext) -> None:
    """verify(8)'s place in master.cf."""
    service = Service(context)

    def on_reload(settings: "Settings", dovecot: "DovecotSettings | None") -> None:
        service.configure(settings)

    context.on_reload = on_reload
    entrances = [serve_unix(listener.sock, service.talk) for listener in context.listeners]
    context.ready()
    while not context.stopping.is_set():
        try:
            async with asyncio.timeout(min(3600.0, service.cleanup_due_in())):
                await context.stopping.wait()
        except TimeoutError:
            if service.cleanup_due_in() <= 0:
                await service.clean()
                if isinstance(service.entries, Memory):
                    service.entries.put(LAST_CLEANUP, str(int(time.time())))
    for entrance in entrances:
        entrance.stop()
    service.close()
