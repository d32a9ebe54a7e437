"""The service `access`: the small root parent between the logins and the users' workers.

A login process connects to base_dir/imap or base_dir/pop3, sends a HandOver with the client's descriptor, and proves by
the auth service's cookie that the login is real. The parent asks the auth service who that is, refuses whom the
settings refuse (first_valid_uid, mail_max_userip_connections), and gives the connection to the worker of that uid and
user. It reads no mail and nothing that a client sent.

A reload leaves connections and workers alone; workers get the new settings with the next connection.
Limits: MESSAGE_LIMIT octets of a login's message, LOGIN_TIMEOUT_S for it, WORKERS_LIMIT processes.
"""

import array
import asyncio
import contextlib
import json
import logging
import os
import pwd
import signal
import socket
import struct
import time
import zlib
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from mailsuite.access.handover import HandOver
from mailsuite.access.identity import NotAllowed, identity_of
from mailsuite.access.login import Why
from mailsuite.access.worker import ServeUser, run_worker
from mailsuite.base.errors import TemporaryError
from mailsuite.base.log import access_logger
from mailsuite.net.accepting import Accepting
from mailsuite.net.privileges import Identity
from mailsuite.net.service import ServiceContext
from mailsuite.net.workers import WorkerChannel, WorkerPool
from mailsuite.sasl.master_client import AuthMaster
from mailsuite.sasl.user import UserInfo

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings
    from mailsuite.config.settings import Settings

EX_NOUSER, EX_TEMPFAIL = 67, 75
MESSAGE_LIMIT = 1 << 20
LOGIN_TIMEOUT_S = 10.0           # how long a login process may take to say what it wants
LEAVING_WAIT_S = 0.3             # how long a login over the user's limit waits for a session that is just ending
WORKERS_LIMIT = 1024             # worker processes at once; Dovecot's default process_limit of service imap
SESSIONS_LIMIT = 100_000         # connections in one worker
IDLE_S = 60.0                    # how long a worker without connections stays

log = access_logger("access")


class RefusedLogin(Exception):
    """Why a login is not served."""

    def __init__(self, why: Why, text: str = "") -> None:
        super().__init__(text)
        self.why, self.text = why, text


class AccessParent:
    """The parent's state."""

    def __init__(self, dovecot: "DovecotSettings", settings: "Settings", protocols: Mapping[str, ServeUser]) -> None:
        self.dovecot, self.settings, self._protocols = dovecot, settings, protocols
        self.generation = 0
        self._auth = AuthMaster(os.path.join(dovecot.text("base_dir"), "auth-master"))
        self._pool = WorkerPool(self._worker_main, name="access", most=WORKERS_LIMIT, depth=SESSIONS_LIMIT,
                                backlog=SESSIONS_LIMIT, idle_s=IDLE_S)
        self._cores = len(os.sched_getaffinity(0))
        self._connections: dict[tuple[str, str, str], int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def _worker_main(self, channel: WorkerChannel) -> None:
        """In the fork: what the parent had at that moment is what the worker begins with."""
        run_worker(channel, self.dovecot, self.settings, self.generation, self._protocols)

    def reload(self, settings: "Settings", dovecot: "DovecotSettings | None") -> None:
        if dovecot is not None:
            self.dovecot, self.settings = dovecot, settings
            self.generation += 1

    # --- from the logins --------------------------------------------------------------------------------------------

    def accept(self, login: socket.socket) -> None:
        """Serve one connection."""
        task = asyncio.get_running_loop().create_task(self._serve(login))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, login: socket.socket) -> None:
        """One hand-over, to the end of the session that it began."""
        fds: list[int] = []
        with login:
            try:
                message = await asyncio.wait_for(_read_message(login, fds), LOGIN_TIMEOUT_S)
                if "doveadm" in message:
                    await self._doveadm(message["doveadm"], fds, login)
                    return
                if "deliver" in message:
                    await self._deliver(message["deliver"], fds, login)
                    return
                handover = HandOver.from_message(message["handover"])
                pid, number, cookie = message["ticket"]
                await self._admit(handover, int(pid), int(number), str(cookie), fds, login)
            except RefusedLogin as refused:
                _answer(login, {"refused": refused.why.value, "text": refused.text})
            except (OSError, TimeoutError, ValueError, KeyError, TypeError) as error:
                log.error("broken request of a login process: %s", error)
            except Exception:
                log.exception("unforeseen in a hand-over")
            finally:
                _close_all(fds)

    async def _admit(self, handover: HandOver, pid: int, number: int, cookie: str, fds: list[int],
                     login: socket.socket) -> None:
        if len(fds) != 1 or handover.protocol not in self._protocols:
            raise ValueError("no descriptor, or a protocol that is not served")
        try:
            user = await self._auth.request(pid, number, cookie)
        except TemporaryError as error:
            log.error("%s", error.detail or error.public)
            raise RefusedLogin(Why.FAILED) from error
        if user is None:
            raise RefusedLogin(Why.NOT_FOUND)
        settings = self.dovecot.for_protocol(handover.protocol)
        try:
            identity = identity_of(user, settings)
        except NotAllowed as error:
            access_logger(handover.protocol).error("user %s: Initialization failed: %s", user.user, error.detail)
            raise RefusedLogin(Why.INITIALIZATION) from error
        key = await self._count_in(user, handover, settings)
        try:
            await self._to_worker(identity, user, {"handover": handover.to_message()}, fds, login)
        finally:
            self._count_out(key)

    async def _count_in(self, user: UserInfo, handover: HandOver,
                        settings: "DovecotSettings") -> tuple[str, str, str]:
        """mail_max_userip_connections: of one user from one address, in one protocol. Raises RefusedLogin."""
        key = (user.user, handover.peer.address, handover.protocol)
        most = settings.number("mail_max_userip_connections")
        if most and key[1]:
            end = time.monotonic() + LEAVING_WAIT_S
            while self._connections.get(key, 0) >= most:
                if time.monotonic() > end:
                    raise RefusedLogin(Why.LIMIT, "Maximum number of connections from user+IP exceeded "
                                                  f"(mail_max_userip_connections={most})")
                await asyncio.sleep(0.02)
        self._connections[key] = self._connections.get(key, 0) + 1
        return key

    def _count_out(self, key: tuple[str, str, str]) -> None:
        left = self._connections[key] - 1
        if left:
            self._connections[key] = left
        else:
            del self._connections[key]

    async def _doveadm(self, request: Mapping[str, Any], fds: list[int], client: socket.socket) -> None:
        """A command of doveadm on a user's mail, for the administrator and for who owns it; no ticket is needed."""
        name, peer = str(request["user"]), peer_uid(client)
        settings = self.dovecot.for_protocol("imap")
        try:
            user = await self._auth.userdb(name, service="doveadm")
            if user is None:
                _say(client, {"error": "User doesn't exist"}, {"status": EX_NOUSER})
                return
            identity = identity_of(user, settings)
            if peer not in (0, os.geteuid(), identity.uid):
                raise ValueError("doveadm's commands are for the administrator")
            if "source" in request:
                source = await self._auth.userdb(str(request["source"]), service="doveadm")
                if source is None:
                    _say(client, {"fatal": f"User {request['source']} doesn't exist"}, {"status": EX_NOUSER})
                    return
                if identity_of(source, settings).uid != identity.uid:
                    _say(client, {"fatal": f"The mail of {source.user} belongs to another account than that of {name}"},
                         {"status": EX_TEMPFAIL})
                    return
                request = {**request, "source": source.to_message()}
        except (TemporaryError, NotAllowed) as error:
            _say(client, {"error": error.detail or error.public}, {"status": EX_TEMPFAIL})
            return
        await self._to_worker(identity, user, {"doveadm": request}, fds, client, client_first=True)

    async def _deliver(self, job: Mapping[str, Any], fds: list[int], client: socket.socket) -> None:
        """A message of the LMTP server for one user; fds: its content."""
        if peer_uid(client) not in {0, os.geteuid(), _uid(self.dovecot.text("default_internal_user"))} or len(fds) != 1:
            raise ValueError("only the LMTP server delivers, and with a message")
        name, settings = str(job["user"]), self.dovecot.for_protocol("lmtp")
        try:
            user = await self._auth.userdb(name, service="lmtp")
            if user is None:
                raise NotAllowed("User doesn't exist any more")
            identity = identity_of(user, settings)
        except (TemporaryError, NotAllowed) as error:
            _answer(client, {"failed": error.detail or error.public})
            return
        await self._to_worker(identity, user, {"deliver": job}, fds, client, client_first=True)

    async def _to_worker(self, identity: Identity, user: UserInfo, what: Mapping[str, Any], fds: list[int],
                         login: socket.socket, *, client_first: bool = False) -> None:
        """Returns when the session is over."""
        key = str(zlib.crc32(user.user.encode("utf-8", "surrogateescape")) % self._cores)
        request = {**what, "user": user.to_message(), "generation": self.generation}
        descriptors = [login.fileno(), *fds] if client_first else [*fds, login.fileno()]
        try:
            # The worker has to be the only one who holds the client's descriptor, or its end would not be the end.
            answer = await self._pool.ask(identity, request, descriptors, key=key,
                                          taken=lambda: _let_go(fds, login))
            if "held" in answer:            # it was forked before a reload, and waits for the new settings
                await self._pool.ask(identity, {"go_on": answer["held"], "generation": self.generation,
                                                "dovecot": self.dovecot.to_json()}, key=key)
        except TemporaryError as error:
            log.error("user %s: %s", user.user, error.detail or error.public)
            _answer(login, {"refused": Why.FAILED.value})

    async def stop(self) -> None:
        """End all sessions with a goodbye, then the workers."""
        for pid in self._pool.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        await self._pool.close()
        self._auth.close()


async def _read_message(login: socket.socket, fds: list[int]) -> dict[str, Any]:
    """The JSON line of a login process; descriptors beside it are added to fds. Raises OSError, ValueError."""
    received = bytearray()
    while not received.endswith(b"\n"):
        await _readable(login)
        try:
            octets, ancillary, _, _ = login.recvmsg(65536, socket.CMSG_SPACE(4 * 4), socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            continue
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers = array.array("i")
                numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
                fds.extend(numbers)
        if not octets:
            raise ValueError("it ended early")
        received += octets
        if len(received) > MESSAGE_LIMIT:
            raise ValueError("its message is too long")
    message = json.loads(received)
    if not isinstance(message, dict):
        raise ValueError("its message is no object")
    return message


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(sock.fileno(), lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(sock.fileno())


def _answer(login: socket.socket, message: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):      # a few octets into an empty buffer; who is gone needs none
        login.send(json.dumps(message).encode() + b"\n")


def _say(client: socket.socket, *lines: Mapping[str, Any]) -> None:
    for line in lines:
        _answer(client, line)


def peer_uid(sock: socket.socket) -> int:
    """Who is at the other end of a Unix socket."""
    packed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", packed)[1]
    return uid


@cache
def _uid(name: str) -> int:
    """As whom the LMTP server runs; -1 where there is no such account (a suite without root)."""
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return -1


def _close_all(fds: list[int]) -> None:
    while fds:
        os.close(fds.pop())


def _let_go(fds: list[int], login: socket.socket) -> None:
    _close_all(fds)
    login.close()


def load_protocols() -> dict[str, ServeUser]:
    """Imported in the parent, so that the workers share the memory."""
    from mailsuite.imap.server import serve_user as serve_imap
    from mailsuite.pop3.server import serve_user as serve_pop3

    return {"imap": serve_imap, "pop3": serve_pop3}


async def serve(context: ServiceContext) -> None:
    """Run until context.stopping."""
    assert context.dovecot is not None
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    parent = AccessParent(context.dovecot, context.settings, load_protocols())
    context.on_reload = parent.reload
    entrances = [Accepting(listener.sock, parent.accept) for listener in context.listeners]
    for entrance in entrances:
        entrance.start()
    context.ready()
    await context.stopping.wait()
    for entrance in entrances:
        entrance.stop()
    await parent.stop()
