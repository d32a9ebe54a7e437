"""The postscreen service: accepts for smtpd, tests strangers, hands good clients' sockets over.

A client's way: too many connections? access list? passed all tests lately (cache)? Else the greeting is held back while
DNS lists are asked; who speaks first, hangs up or has too many points has failed. Who fails by an `enforce` action, or
has tests to do that need a dialogue, talks to engine.py; the others' sockets go to the `pass` service, with what they
sent still unread in them. No smtpd process has been spent until then.

Limits: pre_queue_limit clients under test, post_queue_limit waiting to be taken, connections of one client, the
engine's commands, time and line length. At 90% of pre_queue_limit begins stress: waits and time limits are shorter.
"""

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
import time
from collections import Counter
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from mailsuite.base.dialogue import Peer, Session
from mailsuite.base.errors import Bug, ConfigError, TemporaryError
from mailsuite.base.log import logger
from mailsuite.dns.resolver import Resolver
from mailsuite.net.driver import Connection
from mailsuite.net.handler import Channel
from mailsuite.net.passing import pass_socket
from mailsuite.net.proxy import read_header
from mailsuite.net.service import Listener, ServiceContext, peer_of
from mailsuite.net.sni import smtpd_names
from mailsuite.net.tls import ServerTls, smtpd_tls
from mailsuite.postscreen import params
from mailsuite.postscreen.access import Verdict
from mailsuite.postscreen.cache import NEVER, Cache, Check
from mailsuite.postscreen.dnsbl import Score, ask
from mailsuite.postscreen.engine import Engine, Filter, Screened
from mailsuite.postscreen.progress import Progress
from mailsuite.postscreen.screen_config import ScreenConfig
from mailsuite.smtp.log_lines import escape

if TYPE_CHECKING:
    pass

log, tls_log = logger("postscreen"), logger("tlsproxy")
PEEK = 100                  # octets of a pregreeting that are looked at (and at most 100 of them logged)
FLUSH_S = 5.0
PASS_WAIT_S = 10.0          # how long smtpd may take to have room for a client
GOODBYE_S = 5.0


class Gone(Exception):
    """The client has hung up."""


class Postscreen:
    """What all clients of the process share. Raises ConfigError."""

    def __init__(self, context: ServiceContext, tls: ServerTls | None) -> None:
        self.settings, self._tls = context.settings, tls
        self.config = ScreenConfig.of(context.settings, tls_ready=tls is not None)
        self.resolver = Resolver.of(context.settings)
        self.cache = Cache(self.config.cache_path, limit=self.config.cache_limit)
        self.stress = False
        self.tasks: set[asyncio.Task[None]] = set()
        self._testing = 0
        self._passing = 0
        self._open: Counter[str] = Counter()
        self._scores: dict[str, tuple[Score, asyncio.Task[None]]] = {}

    # --- one client -------------------------------------------------------------------------------------------------

    async def serve(self, sock: socket.socket, peer: Peer) -> None:
        """Screen one client. Owns the socket. Never raises, but when cancelled."""
        owned = True
        try:
            if self.config.haproxy:
                peer = await asyncio.wait_for(read_header(sock, peer), self.config.proxy_timeout_s)
        except (OSError, ValueError, TimeoutError) as error:
            log.warning("haproxy read: %s", error or "timeout")
            await self._last_words(sock, "421 4.3.2 No system resources")
            sock.close()
            return
        where = f"[{peer.address}]:{peer.port}"
        log.info("CONNECT from %s to [%s]:%d", where, peer.server_address, peer.server_port)
        self._open[peer.address] += 1
        self._count(1)
        try:
            owned = await self._screen(sock, peer, where)
        except (Gone, OSError):
            log.info("DISCONNECT %s", where)
        finally:
            self._count(-1)
            self._open[peer.address] -= 1
            if not self._open[peer.address]:
                del self._open[peer.address]
            if owned:
                sock.close()

    async def _screen(self, sock: socket.socket, peer: Peer, where: str) -> bool:
        """Returns whether the socket is still ours to close (always, but when the engine has it)."""
        config = self.config
        if 0 < config.connections < self._open[peer.address]:
            log.info("NOQUEUE: reject: CONNECT from %s: too many connections", where)
            return await self._drop(sock, where, "421 4.7.0 Error: too many connections")
        tests = Progress(config, self.cache.get(peer.address), time.time())
        verdict = await config.access.judge(peer.address)
        if verdict is Verdict.PERMIT:
            log.info("%sLISTED %s", config.words[0], where)
            return await self._hand_over(sock, peer, where)
        if verdict is Verdict.REJECT:
            log.info("%sLISTED %s", config.words[1], where)
            if config.denylist_action == "drop":
                return await self._drop(sock, where, "521 5.3.2 Service currently unavailable")
            if config.denylist_action == "enforce":
                tests.fail("550 5.3.2 Service currently unavailable")
        elif not tests.todo:
            log.info("PASS OLD %s", where)
            return await self._hand_over(sock, peer, where)
        if self._testing >= config.pre_queue:
            log.info("reject: connect from %s: all screening ports busy", where)
            return await self._drop(sock, where, "421 4.3.2 All screening ports are busy")
        if not await config.may_pass_here(peer.server_address):
            log.info("%sLIST VETO %s", config.words[0], where)
            tests.vetoed = True
        if tests.early and not await self._early(sock, peer, where, tests):
            return True
        if tests.reply or tests.deep or tests.vetoed:
            return self._talk(sock, peer, where, tests)
        self._conclude(peer, where, tests)
        return await self._hand_over(sock, peer, where)

    async def _early(self, sock: socket.socket, peer: Peer, where: str, tests: Progress) -> bool:
        """The tests before the greeting. Returns False when the client was dropped."""
        config, began = self.config, time.monotonic()
        if Check.PREGREET in tests.todo:
            await self._say(sock, f"220-{config.teaser}\r\n")
        score, asking = self._score(peer.address) if config.sites else (Score(done=True), None)
        until = began + (config.stress_greet_wait_s if self.stress else config.greet_wait_s)
        spoke = await _speaks_before(sock, until)
        if spoke is not None:
            after = time.monotonic() - began
            if not spoke:
                log.info("HANGUP after %s from %s in tests before SMTP handshake", _short(after), where)
                raise Gone
            if Check.PREGREET in tests.todo:
                size = _waiting(sock, len(spoke))
                log.info("PREGREET %d after %s from %s: %s", size, _short(after), where, escape(spoke))
                if config.greet_action == "drop":
                    return not await self._drop(sock, where, "521 5.5.1 Protocol error")
                tests.pregreeted(enforce=config.greet_action == "enforce")
            left = until - time.monotonic()
            if asking is not None and left > 0 and config.greet_action != "ignore":
                await asyncio.wait({asking}, timeout=left)
            elif left > 0 and config.greet_action == "ignore":
                await asyncio.sleep(left)
        elif Check.PREGREET in tests.todo:
            tests.passed(Check.PREGREET, config.ttls[Check.PREGREET])
        return not config.sites or await self._judge_score(sock, peer, where, tests, score)

    async def _judge_score(self, sock: socket.socket, peer: Peer, where: str, tests: Progress, score: Score) -> bool:
        config = self.config
        if score.points >= config.threshold:
            log.info("DNSBL rank %d for %s", score.points, where)
            shown = await config.shown_domain(score.domain)
            text = f"5.7.1 Service unavailable; client [{peer.address}] blocked using {shown}"
            if config.dnsbl_action == "drop":
                return not await self._drop(sock, where, f"521 {text}")
            tests.listed(f"550 {text}" if config.dnsbl_action == "enforce" else "")
            return True
        ttl = max(config.dnsbl_min_ttl_s, min(config.dnsbl_max_ttl_s, score.ttl_s or config.dnsbl_max_ttl_s))
        if not score.done:
            ttl = config.dnsbl_min_ttl_s
        if config.allow_threshold is not None and score.points <= config.allow_threshold and not tests.failed:
            tests.welcomed(ttl)
        elif Check.DNSBL in tests.todo:
            tests.passed(Check.DNSBL, ttl)
        return True

    def _score(self, address: str) -> tuple[Score, "asyncio.Task[None]"]:
        """One query for all connections of a client."""
        known = self._scores.get(address)
        if known is None:
            score = Score()

            async def look() -> None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self.config.dnsbl_timeout_s):
                        await ask(self.config.sites, self.resolver, address, score)

            task = asyncio.get_running_loop().create_task(look())
            known = self._scores[address] = score, task
            task.add_done_callback(lambda _: asyncio.get_running_loop().call_later(
                1.0, self._scores.pop, address, None))
        return known

    # --- ends -------------------------------------------------------------------------------------------------------

    def _talk(self, sock: socket.socket, peer: Peer, where: str, tests: Progress) -> bool:
        """Let the engine speak with the client, in a task of its own; the socket is then its."""
        handler = _EngineHandler(self, peer, where, tests)

        async def run() -> None:
            self._count(1)
            self._open[peer.address] += 1
            try:
                await asyncio.get_running_loop().connect_accepted_socket(lambda: Connection(
                    handler, peer=peer, tls=lambda: self._tls.context() if self._tls is not None else None), sock)
                await handler.over.wait()
            except OSError:
                sock.close()
            finally:
                self._count(-1)
                self._open[peer.address] -= 1
                if not self._open[peer.address]:
                    del self._open[peer.address]

        self.start(run())
        return False

    def finished(self, peer: Peer, where: str, tests: Progress) -> None:
        """The engine's dialogue is over."""
        self._conclude(peer, where, tests)
        log.info("DISCONNECT %s", where)

    def _conclude(self, peer: Peer, where: str, tests: Progress) -> None:
        """Say who passed, and remember what was passed."""
        if tests.passed_all:
            log.info("PASS %s %s", "NEW" if self.cache.get(peer.address) == NEVER else "OLD", where)
        if tests.changed and not (tests.vetoed or tests.failed):
            self.cache.put(peer.address, tests.stamps)

    async def _hand_over(self, sock: socket.socket, peer: Peer, where: str) -> bool:
        """Give the socket to smtpd. Returns True: ours is a copy to close."""
        if self._passing >= self.config.post_queue:
            log.info("reject: connect from %s: all server ports busy", where)
            return await self._drop(sock, where, "421 4.3.2 All server ports are busy")
        self._passing += 1
        try:
            async with asyncio.timeout(PASS_WAIT_S):
                await pass_socket(self.config.smtpd_path, sock, peer)
        except (OSError, TimeoutError) as error:
            log.warning("cannot connect to service %s: %s", self.config.smtpd_path, error or "timeout")
            return await self._drop(sock, where, "421 4.3.2 No system resources")
        finally:
            self._passing -= 1
        return True

    async def _drop(self, sock: socket.socket, where: str, reply: str) -> bool:
        """Say a last word. Returns True: the socket is ours to close."""
        await self._last_words(sock, reply)
        log.info("DISCONNECT %s", where)
        return True

    async def _last_words(self, sock: socket.socket, reply: str) -> None:
        with contextlib.suppress(OSError):
            await self._say(sock, self.config.with_footer(reply) + "\r\n")

    async def _say(self, sock: socket.socket, text: str) -> None:
        await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(
            sock, text.encode("utf-8", "surrogateescape")), GOODBYE_S)

    def _count(self, more: int) -> None:
        """Clients under test; stress begins and ends with their number."""
        self._testing += more
        if not self.stress and self._testing >= 0.9 * self.config.pre_queue:
            self.stress = True
            log.info("entering STRESS mode with %d connections", self._testing)
        elif self.stress and self._testing <= 0.7 * self.config.pre_queue:
            self.stress = False
            log.info("leaving STRESS mode with %d connections", self._testing)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside; the end of the service waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def command_time_s(self) -> float:
        return self.config.stress_command_time_s if self.stress else self.config.command_time_s


class _EngineHandler:
    """The engine's side of the driver (net.driver.Handler)."""

    def __init__(self, screen: Postscreen, peer: Peer, where: str, tests: Progress) -> None:
        self._screen, self._peer, self._where, self._tests = screen, peer, where, tests
        self._began = time.monotonic()
        self._engine: Engine | None = None
        self.over = asyncio.Event()

    def open(self, channel: Channel) -> Session:
        config = self._screen.config
        self._engine = Engine(config, self._tests, Screened(self._peer.address, self._where, self._peer.server_address),
                              timeout_s=self._screen.command_time_s(), filters=not config.command_filter.empty)
        return self._engine

    async def answer(self, question: object) -> object:
        if not isinstance(question, Filter):
            raise Bug(f"unknown question {question!r}")
        config = self._screen.config
        try:
            line = await config.command_filter.find(question.line) if not config.command_filter.empty else None
            return line or question.line, bool(question.word) and await config.forbidden.matches(question.word)
        except TemporaryError as error:
            log.warning("%s", error.detail or error.public)
            return question.line, False

    def body(self, octets: bytes) -> None:
        """The engine takes no content."""

    def closed(self, reason: str) -> None:
        if self._engine is not None and reason == "lost connection":
            log.info("HANGUP after %s from %s in tests after SMTP handshake", _short(time.monotonic() - self._began),
                     self._where)
        self._screen.finished(self._peer, self._where, self._tests)
        if self._engine is not None and self._engine.tls is not None:
            tls_log.info("DISCONNECT %s", self._where)
        self.over.set()

    @property
    def engine(self) -> Engine | None:
        return self._engine


async def _speaks_before(sock: socket.socket, until: float) -> bytes | None:
    """What a client sends before a moment, left unread; b"" when it hangs up; None when it waits."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(sock.fileno(), readable.set)
    try:
        async with asyncio.timeout(max(0.0, until - time.monotonic())):
            await readable.wait()
    except TimeoutError:
        return None
    finally:
        loop.remove_reader(sock.fileno())
    try:
        return sock.recv(PEEK, socket.MSG_PEEK)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def _waiting(sock: socket.socket, least: int) -> int:
    """How many octets wait in a socket."""
    try:
        packed = fcntl.ioctl(sock.fileno(), termios.FIONREAD, struct.pack("i", 0))
    except OSError:
        return least
    return int(struct.unpack("i", packed)[0])


def _short(seconds: float) -> str:
    """Two digits of a second at most, as Postfix writes delays: "0", "0.61", "2.1"."""
    if seconds >= 1:
        return f"{seconds:.1f}".removesuffix(".0") if seconds < 100 else f"{seconds:.0f}"
    return f"{seconds:.2f}".rstrip("0").rstrip(".") or "0"


# --- the service --------------------------------------------------------------------------------------------------


def prepare(context: ServiceContext) -> ServerTls | None:
    """Read certificate and key while that is allowed."""
    settings = context.settings
    if settings[params.TLS_SECURITY_LEVEL] not in ("may", "encrypt"):
        return None
    tls = ServerTls(smtpd_tls(settings), smtpd_names(settings, "tlsproxy"))
    try:
        tls.load()
    except ConfigError as error:
        log.warning("%s", error.public)
        return None
    return tls


async def serve(context: ServiceContext) -> None:
    """Screen clients until told to stop; drained, those under test are finished first."""
    screen = Postscreen(context, context.prepared if isinstance(context.prepared, ServerTls) else None)
    await asyncio.to_thread(screen.cache.load)
    loop = asyncio.get_running_loop()

    def accept(listener: Listener) -> None:
        for _ in range(32):
            try:
                sock, address = listener.sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.warning("cannot accept a connection: %s", error)
                loop.remove_reader(listener.sock.fileno())
                loop.call_later(1.0, loop.add_reader, listener.sock.fileno(), accept, listener)
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            screen.start(screen.serve(sock, peer_of(sock, address)))

    for listener in context.listeners:
        listener.sock.setblocking(False)
        loop.add_reader(listener.sock.fileno(), accept, listener)
    context.ready()
    await _look_after(screen, context)
    for listener in context.listeners:
        loop.remove_reader(listener.sock.fileno())
    if not context.draining:
        for task in screen.tasks:
            task.cancel()
    if screen.tasks:
        await asyncio.wait(screen.tasks, timeout=None if context.draining else GOODBYE_S)
    await asyncio.to_thread(screen.cache.close)


async def _look_after(screen: Postscreen, context: ServiceContext) -> None:
    """Write the cache to disk now and then, and clean it, until the service stops."""
    next_clean = time.monotonic()
    interval = context.settings[params.CACHE_CLEANUP_INTERVAL]
    while not context.stopping.is_set():
        if interval and time.monotonic() >= next_clean:
            next_clean = time.monotonic() + interval
            kept, dropped = screen.cache.clean(time.time() - context.settings[params.CACHE_RETENTION_TIME])
            log.info("cache %s full cleanup: retained=%d dropped=%d entries", screen.config.cache_name, kept, dropped)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                await context.stopping.wait()
        await asyncio.to_thread(screen.cache.flush)
