"""The service `access`: the small root parent between the logins and the users' workers.

A login process opens a channel over base_dir/imap or base_dir/pop3 (login_channel.py), and hands over who has logged
in (admission.py). Commands of doveadm, deliveries of the LMTP server and questions about sessions come by the same
sockets. The parent reads no mail and nothing that a client sent.

A reload leaves connections and workers alone; workers get the new settings with the next connection (user_workers.py).
Limits: LOGIN_TIMEOUT_S for a message; see entrance.py.
"""

import asyncio
import contextlib
import json
import logging
import os
import pwd
import socket
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from mailsuite.access.admission import Admission
from mailsuite.access.entrance import peer_uid, read_message, say
from mailsuite.access.identity import NotAllowed, identity_of
from mailsuite.access.login_channel import Entry, LoginChannel
from mailsuite.access.login_questions import Why
from mailsuite.access.proxied import Directory
from mailsuite.access.url_service import UrlRequest
from mailsuite.access.user_workers import UserWorkers
from mailsuite.access.way_back import Returns, maker_of
from mailsuite.access.worker import ServeUser
from mailsuite.base.errors import TemporaryError
from mailsuite.base.log import access_logger
from mailsuite.net.accepting import Accepting
from mailsuite.net.privileges import Identity
from mailsuite.net.service import ServiceContext
from mailsuite.sasl import grant as grants
from mailsuite.sasl.master_client import AuthMaster
from mailsuite.sasl.user import UserInfo

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings
    from mailsuite.config.settings import Settings

EX_NOUSER, EX_TEMPFAIL = 67, 75
LOGIN_TIMEOUT_S = 10.0           # how long a login process may take to say what it wants

log = access_logger("access")


class AccessParent:
    """The parent's state."""

    def __init__(self, dovecot: "DovecotSettings", settings: "Settings", protocols: Mapping[str, ServeUser]) -> None:
        self.auth = AuthMaster(os.path.join(dovecot.text("base_dir"), "auth-master"), takes_grants=True)
        self.workers = UserWorkers(dovecot, settings, protocols)
        self.admission = Admission(self.auth, self.workers, self._start)
        self._proxied = Directory()
        self._tasks: set[asyncio.Task[None]] = set()

    def reload(self, settings: "Settings", dovecot: "DovecotSettings | None") -> None:
        if dovecot is not None:
            get_protocols_ready(dovecot)
            self.workers.reload(settings, dovecot)

    def get_ready(self) -> None:
        """What the first login would wait for."""
        from mailsuite.imap.server_rehearsal import tidy

        self._start(self.auth.connect())
        get_protocols_ready(self._dovecot)
        tidy(self._dovecot.text("base_dir"))
        self.workers.keep_spares(lambda: rehearse_protocols(self._dovecot))

    @property
    def _dovecot(self) -> "DovecotSettings":
        return self.workers.dovecot

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
                message = await asyncio.wait_for(read_message(login, fds), LOGIN_TIMEOUT_S)
                if "doveadm" in message:
                    await self._doveadm(message["doveadm"], fds, login)
                elif "deliver" in message:
                    await self._deliver(message["deliver"], fds, login)
                elif "url" in message:
                    await self._fetch_url(UrlRequest.from_message(message["url"]), fds, login)
                elif "about" in message:
                    await self._about(message["about"], login)
                elif "proxying" in message:
                    await self._list_proxied(login)
                elif "channel" in message and len(fds) == 1:
                    _open_channel(socket.socket(fileno=fds.pop()), self.admission.take, self.workers.returns)
                else:
                    raise ValueError("none that is known")
            except (OSError, TimeoutError, ValueError, KeyError, TypeError) as error:
                log.error("broken request of a login process: %s", error)
            except Exception:
                log.exception("unforeseen in a hand-over")
            finally:
                _close_all(fds)

    async def _list_proxied(self, login: socket.socket) -> None:
        """A login process tells what it passes on to other servers. Raises ValueError."""
        if peer_uid(login) not in {0, os.geteuid(), _uid(self._dovecot.text("default_login_user"))}:
            raise ValueError("only login processes pass connections on")
        await self._proxied.serve(login)

    async def _doveadm(self, request: Mapping[str, Any], fds: list[int], client: socket.socket) -> None:
        """A command of doveadm on a user's mail, for the administrator and for who owns it; no ticket is needed."""
        name, peer = str(request["user"]), peer_uid(client)
        settings = self._dovecot.for_protocol("imap")
        try:
            user = await self.auth.userdb(name, service="doveadm")
            if user is None:
                say(client, {"error": "User doesn't exist"}, {"status": EX_NOUSER})
                return
            identity = identity_of(user, settings)
            if peer not in (0, os.geteuid(), identity.uid):
                raise ValueError("doveadm's commands are for the administrator")
            if "source" in request:
                source = await self.auth.userdb(str(request["source"]), service="doveadm")
                if source is None:
                    say(client, {"fatal": f"User {request['source']} doesn't exist"}, {"status": EX_NOUSER})
                    return
                if identity_of(source, settings).uid != identity.uid:
                    say(client, {"fatal": f"The mail of {source.user} belongs to another account than that of {name}"},
                         {"status": EX_TEMPFAIL})
                    return
                request = {**request, "source": source.to_message()}
        except (TemporaryError, NotAllowed) as error:
            say(client, {"error": error.detail or error.public}, {"status": EX_TEMPFAIL})
            return
        await self._to_worker(identity, user, {"doveadm": request}, fds, client)

    async def _about(self, request: Mapping[str, Any], client: socket.socket) -> None:
        """What the administrator asks about sessions, or wants to be ended. Raises ValueError."""
        if peer_uid(client) not in (0, os.geteuid()):
            raise ValueError("what doveadm asks about sessions is for the administrator")
        await self.workers.settled()
        try:
            found = self.workers.sessions.find(str(request.get("user", "")), str(request.get("network", "")))
        except ValueError as error:
            say(client, {"error": str(error)})
            return
        match request["what"]:
            case "who":
                answer: dict[str, object] = {"sessions": [session[:5] for session in found]}
            case "kick":
                await self.workers.kick(found)
                answer = {"kicked": sorted({session.user for session in found})}
            case "proxied":
                rows = self._proxied.find(_texts(request.get("users")), _texts(request.get("hosts")))
                answer = {"proxied": rows}
            case "kick proxied":
                answer = {"kicked": self._proxied.kick(_texts(request.get("users")), _texts(request.get("hosts")))}
            case "workers":
                answer = {"workers": {pid: sum(1 for session in self.workers.sessions if session.pid == pid)
                                      for pid in self.workers.pool.pids()}}
            case "stats":
                metrics = self.workers.sessions.metrics
                answer = {"stats": [[name, *metric.row()] for name, metric in sorted(metrics.items())]}
                if request.get("reset"):
                    metrics.clear()
            case _:
                raise ValueError("nothing that is known")
        with contextlib.suppress(OSError):
            client.setblocking(False)
            octets = json.dumps(answer).encode() + b"\n"
            await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(client, octets), LOGIN_TIMEOUT_S)

    async def _deliver(self, job: Mapping[str, Any], fds: list[int], client: socket.socket) -> None:
        """A message of the LMTP server for one user; fds: its content."""
        lmtp_server = _uid(self._dovecot.text("default_internal_user"))
        if peer_uid(client) not in {0, os.geteuid(), lmtp_server} or len(fds) != 1:
            raise ValueError("only the LMTP server delivers, and with a message")
        name, settings = str(job["user"]), self._dovecot.for_protocol("lmtp")
        try:
            user = await self.auth.userdb(name, service="lmtp")
            if user is None:
                raise NotAllowed("User doesn't exist any more")
            identity = identity_of(user, settings)
        except (TemporaryError, NotAllowed) as error:
            say(client, {"failed": error.detail or error.public})
            return
        began = time.monotonic()
        await self._to_worker(identity, user, {"deliver": job}, fds, client)
        self.workers.sessions.count("lmtp_delivery", began)

    async def _fetch_url(self, request: UrlRequest, fds: list[int], client: socket.socket) -> None:
        """A URL of somebody's mail, for somebody. Raises ValueError."""
        settings, asker = self._dovecot.for_protocol("imap"), request.asker
        try:
            if asker.submits:
                allowed = {_uid(self.workers.settings.text("mail_owner"))}
            else:
                own = await self.auth.userdb(asker.user, service="imap")
                allowed = {identity_of(own, settings).uid} if own is not None else set()
            if peer_uid(client) not in {0, os.geteuid(), *allowed}:
                raise ValueError(f"a URL is asked for in the name of {asker.user}, by uid {peer_uid(client)}")
            for name in request.owners:
                if (owner := await self.auth.userdb(name, service="imap")) is not None:
                    what = {"url": request.to_message()}
                    await self._to_worker(identity_of(owner, settings), owner, what, fds, client)
                    return
        except (TemporaryError, NotAllowed) as error:
            log.error("URL for %s: %s", asker.user, error.detail or error.public)
        say(client, {"refused": "URLAUTH verification failed"})     # who exists is nobody's business

    async def _to_worker(self, identity: Identity, user: UserInfo, what: Mapping[str, Any], fds: list[int],
                         client: socket.socket) -> None:
        """A command or a delivery; returns when it is over."""
        try:
            # The worker has to be the only one who holds the client's descriptor, or its end would not be the end.
            await self.workers.ask(identity, user, what, [client.fileno(), *fds], taken=lambda: _let_go(fds, client))
        except TemporaryError as error:
            log.error("user %s: %s", user.user, error.detail or error.public)
            say(client, {"refused": Why.FAILED.value})

    async def stop(self) -> None:
        """End all sessions with a goodbye, then the workers."""
        await self.workers.stop()
        self.auth.close()


def _open_channel(sock: socket.socket, take: Callable[[Entry], None], returns: Returns) -> None:
    if sock.type != socket.SOCK_SEQPACKET:
        sock.close()
        raise ValueError("a channel is a SOCK_SEQPACKET")
    pid = maker_of(sock)
    returns.add(LoginChannel(sock, take, lambda: returns.drop(pid)), pid)


def _texts(value: object) -> list[str]:
    return [str(text) for text in value] if isinstance(value, list) else []


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


def get_protocols_ready(dovecot: "DovecotSettings") -> None:
    """What their sessions ask of the settings is worked out here, once."""
    from mailsuite.imap.server import get_ready as get_imap_ready
    from mailsuite.pop3.server import get_ready as get_pop3_ready

    get_imap_ready(dovecot.for_protocol("imap"))
    get_pop3_ready(dovecot.for_protocol("pop3"))


def rehearse_protocols(dovecot: "DovecotSettings") -> None:
    """In a worker in reserve: what its first session would wait for."""
    from mailsuite.imap.server_rehearsal import rehearse

    get_protocols_ready(dovecot)
    rehearse(dovecot.text("base_dir"))


async def serve(context: ServiceContext) -> None:
    """Run until context.stopping."""
    assert context.dovecot is not None
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    grants.get_ready()
    parent = AccessParent(context.dovecot, context.settings, load_protocols())
    context.on_reload = parent.reload
    entrances = [Accepting(listener.sock, parent.accept) for listener in context.listeners]
    for entrance in entrances:
        entrance.start()
    context.ready()
    parent.get_ready()
    await context.stopping.wait()
    for entrance in entrances:
        entrance.stop()
    await parent.stop()
