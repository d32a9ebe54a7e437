"""The service `access`: the small root parent between the logins and the users' workers.

A login process opens a channel over base_dir/imap or base_dir/pop3 (login_channel.py), and sends a HandOver with the
client's descriptor for each login, and with it what proves the login real: the auth service's grant (sasl/grant.py), or
its cookie, for which the parent asks the auth service who that is. The parent refuses whom the settings refuse
(first_valid_uid, mail_max_userip_connections), and gives the connection to the worker of that uid and user. It reads no
mail and nothing that a client sent.

A reload leaves connections and workers alone; workers get the new settings with the next connection.
Limits: MESSAGE_LIMIT octets of a message, LOGIN_TIMEOUT_S for it, WORKERS_LIMIT processes.
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
from collections.abc import Collection, Coroutine, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from mailsuite.access.identity import NotAllowed, identity_of
from mailsuite.access.login import Why
from mailsuite.access.login_channel import Entry, LoginChannel
from mailsuite.access.sessions import Session, Sessions
from mailsuite.access.worker import ServeUser, run_worker
from mailsuite.base.errors import MailError, TemporaryError
from mailsuite.base.log import access_logger
from mailsuite.net.accepting import Accepting
from mailsuite.net.privileges import Identity
from mailsuite.net.service import ServiceContext
from mailsuite.net.workers import WorkerChannel, WorkerPool
from mailsuite.sasl import grant as grants
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
IDENTITY_S = 2.0                 # how long the groups of a uid are taken to be the same
IDENTITIES_LIMIT = 10_000
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
        self._auth = AuthMaster(os.path.join(dovecot.text("base_dir"), "auth-master"), takes_grants=True)
        self._pool = WorkerPool(self._worker_main, name="access", most=WORKERS_LIMIT, depth=SESSIONS_LIMIT,
                                backlog=SESSIONS_LIMIT, idle_s=IDLE_S)
        self._cores = len(os.sched_getaffinity(0))
        self._identities: dict[object, tuple[float, Identity]] = {}     # each with the time it is good until
        self._connections: dict[tuple[str, str, str], int] = {}
        self.sessions = Sessions()
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
        self._start(self._serve(login))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, login: socket.socket) -> None:
        """One connection: a channel for hand-overs, or one command or delivery to its end."""
        fds: list[int] = []
        with login:
            try:
                message = await asyncio.wait_for(_read_message(login, fds), LOGIN_TIMEOUT_S)
                if "doveadm" in message:
                    await self._doveadm(message["doveadm"], fds, login)
                elif "deliver" in message:
                    await self._deliver(message["deliver"], fds, login)
                elif "about" in message:
                    await self._about(message["about"], login)
                elif "channel" in message and len(fds) == 1:
                    self._open_channel(socket.socket(fileno=fds.pop()))
                else:
                    raise ValueError("none that is known")
            except (OSError, TimeoutError, ValueError, KeyError, TypeError) as error:
                log.error("broken request of a login process: %s", error)
            except Exception:
                log.exception("unforeseen in a hand-over")
            finally:
                _close_all(fds)

    def _open_channel(self, sock: socket.socket) -> None:
        if sock.type != socket.SOCK_SEQPACKET:
            sock.close()
            raise ValueError("a channel is a SOCK_SEQPACKET")
        LoginChannel(sock, self._take)

    def _take(self, entry: Entry) -> None:
        """One hand-over. Most need to wait for nothing; a task goes on with the others."""
        try:
            if not self._admit_at_once(entry):
                self._start(self._admit(entry))
        except Exception as error:
            self._refuse(entry, error)

    def _refuse(self, entry: Entry, error: Exception) -> None:
        why, text = Why.FAILED, ""
        if isinstance(error, RefusedLogin):
            why, text = error.why, error.text
        elif isinstance(error, TemporaryError):
            log.error("%s", error.detail or error.public)
        elif isinstance(error, ValueError | KeyError | TypeError | IndexError):
            log.error("broken request of a login process: %s", error)
        else:
            log.error("unforeseen in a hand-over", exc_info=error)
        entry.refused(why, text)

    def _admit_at_once(self, entry: Entry) -> bool:
        """False when somebody must be asked or waited for. Raises RefusedLogin, WorkerGone, ValueError..."""
        call = _Call.of(entry, self._protocols)
        if not call.grant:
            return False
        user = self._auth.granted(call.about, call.grant)
        if user is None:                    # forged, used before, or given before one of us started anew
            log.error("a login process brought a grant that is not good (user %s)", call.name)
            raise RefusedLogin(Why.FAILED)
        identity, settings = self._identity(user, call)
        if self._is_full(user, call, settings) or not self._begin(entry, call, user, identity):
            self._start(self._admit_user(entry, call, user))
        return True

    async def _admit(self, entry: Entry) -> None:
        """A hand-over without a grant: the auth service is asked who that is."""
        try:
            call = _Call.of(entry, self._protocols)
            user = await self._auth.request(*call.ticket)
            if user is None:
                raise RefusedLogin(Why.NOT_FOUND)
        except Exception as error:
            self._refuse(entry, error)
            return
        await self._admit_user(entry, call, user)

    async def _admit_user(self, entry: Entry, call: "_Call", user: UserInfo) -> None:
        try:
            identity, settings = self._identity(user, call)
            end = time.monotonic() + LEAVING_WAIT_S
            while self._is_full(user, call, settings):
                if time.monotonic() > end:
                    most = settings.number("mail_max_userip_connections")
                    raise RefusedLogin(Why.LIMIT, "Maximum number of connections from user+IP exceeded "
                                                  f"(mail_max_userip_connections={most})")
                await asyncio.sleep(0.02)
            while not self._begin(entry, call, user, identity):
                await self._pool.room()
        except Exception as error:
            self._refuse(entry, error)

    def _identity(self, user: UserInfo, call: "_Call") -> "tuple[Identity, DovecotSettings]":
        """Raises RefusedLogin."""
        settings = self.dovecot.for_protocol(call.protocol)
        key = settings, user.uid, user.gid, user.system_groups_user, user.fields.get("chroot", "")
        known = self._identities.get(key)
        now = time.monotonic()
        if known is not None and known[0] > now:
            return known[1], settings
        try:
            identity = identity_of(user, settings)
            if len(self._identities) >= IDENTITIES_LIMIT:
                self._identities.clear()
            self._identities[key] = now + IDENTITY_S, identity
            return identity, settings
        except NotAllowed as error:
            program = {"sieve": "managesieve"}.get(call.protocol, call.protocol)
            access_logger(program).error("%s", error.detail, extra={"prefix": f"{program}({user.user})"})
            raise RefusedLogin(Why.INITIALIZATION) from error

    def _is_full(self, user: UserInfo, call: "_Call", settings: "DovecotSettings") -> bool:
        """mail_max_userip_connections: of one user from one address, in one protocol."""
        most = settings.number("mail_max_userip_connections")
        return bool(most and call.address and self._connections.get(call.key(user), 0) >= most)

    def _begin(self, entry: Entry, call: "_Call", user: UserInfo, identity: Identity) -> bool:
        """Give the connection to the user's worker; False when there is no room for one now. Raises WorkerGone."""
        key = call.key(user)
        request = {"handover": call.handover, "user": user.to_message(), "generation": self.generation}
        fds, entry.fds = entry.fds, []

        def over(answer: dict[str, Any] | MailError) -> None:
            if isinstance(answer, MailError):
                log.error("user %s: %s", user.user, answer.detail or answer.public)
            elif "held" in answer:          # it was forked before a reload, and waits for the new settings
                with contextlib.suppress(MailError):
                    self._pool.start(identity, {"go_on": answer["held"], "generation": self.generation,
                                                "dovecot": self.dovecot.to_json()}, [], over, key=worker)
                    return
            self._count_out(key)
            self.sessions.end(number)

        worker = _worker_key(user, self._cores)
        try:
            pid = self._pool.start(identity, request, fds, over, key=worker)
        except MailError:
            entry.fds = fds
            raise
        if not pid:
            entry.fds = fds
            return False
        self._connections[key] = self._connections.get(key, 0) + 1
        number = self.sessions.begin(Session(user.user, call.protocol, call.address, pid,
                                             str(call.handover["session_id"]), identity, worker, time.monotonic()))
        entry.accepted(pid)
        return True

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
        await self._to_worker(identity, user, {"doveadm": request}, fds, client)

    async def _about(self, request: Mapping[str, Any], client: socket.socket) -> None:
        """What the administrator asks about sessions, or wants to be ended. Raises ValueError."""
        if peer_uid(client) not in (0, os.geteuid()):
            raise ValueError("what doveadm asks about sessions is for the administrator")
        try:
            found = self.sessions.find(str(request.get("user", "")), str(request.get("network", "")))
        except ValueError as error:
            _answer(client, {"error": str(error)})
            return
        match request["what"]:
            case "who":
                answer: dict[str, object] = {"sessions": [session[:5] for session in found]}
            case "kick":
                await self._kick(found)
                answer = {"kicked": sorted({session.user for session in found})}
            case "workers":
                answer = {"workers": {pid: sum(1 for session in self.sessions if session.pid == pid)
                                      for pid in self._pool.pids()}}
            case "stats":
                answer = {"stats": [[name, *metric.row()] for name, metric in sorted(self.sessions.metrics.items())]}
                if request.get("reset"):
                    self.sessions.metrics.clear()
            case _:
                raise ValueError("nothing that is known")
        with contextlib.suppress(OSError):
            client.setblocking(False)
            octets = json.dumps(answer).encode() + b"\n"
            await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(client, octets), LOGIN_TIMEOUT_S)

    async def _kick(self, found: list[Session]) -> None:
        """Have the workers say goodbye to these sessions, and wait until they have begun to."""
        groups: dict[tuple[Identity, str], list[str]] = {}
        for session in found:
            groups.setdefault((session.identity, session.worker), []).append(session.session_id)
        for (identity, worker), names in groups.items():
            with contextlib.suppress(MailError):        # a worker that died has no sessions any more
                await self._pool.ask(identity, {"kick": names, "generation": 0}, key=worker)

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
        began = time.monotonic()
        await self._to_worker(identity, user, {"deliver": job}, fds, client)
        self.sessions.count("lmtp_delivery", began)

    async def _to_worker(self, identity: Identity, user: UserInfo, what: Mapping[str, Any], fds: list[int],
                         client: socket.socket) -> None:
        """A command or a delivery; returns when it is over."""
        key = _worker_key(user, self._cores)
        request = {**what, "user": user.to_message(), "generation": self.generation}
        try:
            # The worker has to be the only one who holds the client's descriptor, or its end would not be the end.
            answer = await self._pool.ask(identity, request, [client.fileno(), *fds], key=key,
                                          taken=lambda: _let_go(fds, client))
            if "held" in answer:            # it was forked before a reload, and waits for the new settings
                await self._pool.ask(identity, {"go_on": answer["held"], "generation": self.generation,
                                                "dovecot": self.dovecot.to_json()}, key=key)
        except TemporaryError as error:
            log.error("user %s: %s", user.user, error.detail or error.public)
            _answer(client, {"refused": Why.FAILED.value})

    async def stop(self) -> None:
        """End all sessions with a goodbye, then the workers."""
        for pid in self._pool.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        await self._pool.close()
        self._auth.close()


@dataclass(frozen=True, slots=True)
class _Call:
    """What the parent has to know of a hand-over; the rest is the worker's."""

    handover: Mapping[str, Any]
    protocol: str
    name: str
    address: str
    ticket: tuple[int, int, str]
    grant: str
    about: bytes

    @classmethod
    def of(cls, entry: Entry, protocols: Collection[str]) -> "_Call":
        """Raises ValueError, KeyError, TypeError, IndexError for what is none."""
        packet = entry.packet
        handover, (pid, number, cookie) = packet["h"], packet["t"]
        protocol = handover["protocol"]
        if len(entry.fds) != 1 or protocol not in protocols:
            raise ValueError("no descriptor, or a protocol that is not served")
        return cls(handover, protocol, str(handover["user"]), str(handover["peer"][0]),
                   (int(pid), int(number), str(cookie)), str(packet["g"]),
                   grants.about(pid, number, cookie, protocol, handover["session_id"]))

    def key(self, user: UserInfo) -> tuple[str, str, str]:
        """By what connections are counted."""
        return user.user, self.address, self.protocol


def _worker_key(user: UserInfo, workers: int) -> str:
    """All sessions of a user meet in one worker."""
    return str(zlib.crc32(user.user.encode("utf-8", "surrogateescape")) % workers)


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
    from mailsuite.managesieve.server import serve_user as serve_sieve
    from mailsuite.pop3.server import serve_user as serve_pop3

    return {"imap": serve_imap, "pop3": serve_pop3, "sieve": serve_sieve}


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
