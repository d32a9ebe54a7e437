"""The users' workers as the access service sees them: which serves whom, and which sessions they have.

    workers = UserWorkers(dovecot, settings, protocols)
    identity = workers.identity(user, "imap")               raises NotAllowed
    pid = workers.begin(identity, user, handover, fd)       a session; 0: there is no room now (await workers.room())
    link = workers.link(identity, user, "imap", key)        a socket over which a login process reaches the worker
    answer = await workers.ask(identity, user, {...}, fds)  a command, or a delivery
    await workers.settled()                                 `sessions` is what it is now

All sessions of a user meet in one worker. Those that come by a link are told of within some milliseconds. A worker that
was forked before a reload gets the new settings with the next request.
Limits: WORKERS_LIMIT processes, LINKED_LIMIT of them with links, SESSIONS_LIMIT connections in one.
"""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mailsuite.access.handover import share_of
from mailsuite.access.identity import identity_of
from mailsuite.access.login_rehearsal import rehearse
from mailsuite.access.sessions import Session, Sessions
from mailsuite.access.way_back import Returns
from mailsuite.access.worker import ServeUser, run_worker
from mailsuite.base.errors import MailError
from mailsuite.base.log import access_logger
from mailsuite.net.privileges import Identity
from mailsuite.net.service import new_event_loop
from mailsuite.net.workers import Main, WorkerChannel, WorkerPool
from mailsuite.sasl.user import UserInfo

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings
    from mailsuite.config.settings import Settings

WORKERS_LIMIT = 1024             # worker processes at once; Dovecot's default process_limit of service imap
LINKED_LIMIT = 64                # with more workers, idle ones must be free to go
SESSIONS_LIMIT = 100_000         # connections in one worker
SPARES = 2                       # workers forked in advance: the first two users mostly share no worker
IDLE_S = 60.0                    # how long a worker without connections stays
IDENTITY_S = 2.0                 # how long the groups of a uid are taken to be the same
IDENTITIES_LIMIT = 10_000

Key = tuple[str, str, str]       # user, address, protocol: by what connections are counted
log = access_logger("access")


class UserWorkers:
    """Belongs to the access service's loop. dovecot, settings, generation: as they are after the last reload."""

    def __init__(self, dovecot: "DovecotSettings", settings: "Settings", protocols: Mapping[str, ServeUser]) -> None:
        self.dovecot, self.settings, self.protocols = dovecot, settings, protocols
        self.generation = 0
        self.sessions, self.returns = Sessions(), Returns()
        self.pool = WorkerPool(self._main, name="access", most=WORKERS_LIMIT, depth=SESSIONS_LIMIT,
                               backlog=SESSIONS_LIMIT, idle_s=IDLE_S, told=self.told, given=self.returns.give)
        self._cores = len(os.sched_getaffinity(0))
        self._identities: dict[object, tuple[float, Identity]] = {}     # each with the time it is good until
        self._counts: dict[Key, int] = {}
        self._linked: dict[int, tuple[Identity, str]] = {}              # by pid
        self._direct: dict[int, dict[int, tuple[int, Key]]] = {}        # by pid and the worker's number

    def _main(self, channel: WorkerChannel) -> None:
        """In the fork: what the parent had at that moment is what the worker begins with."""
        run_worker(channel, self.dovecot, self.settings, self.generation, self.protocols)

    def keep_spares(self, get_ready: Callable[[], None]) -> None:
        """Have workers in reserve for the first logins of those whose worker is not there yet.

        get_ready: called in it, with the parent's rights still.
        """
        self.pool.keep_spares(lambda: self._spare(get_ready), min(SPARES, self._cores))

    def _spare(self, get_ready: Callable[[], None]) -> Main:
        """In the fork: what any worker begins with, so that its memory is its own by then."""
        runner = asyncio.Runner(loop_factory=new_event_loop)
        runner.get_loop()
        get_ready()
        rehearse(self.dovecot, self.settings)
        return lambda channel: run_worker(channel, self.dovecot, self.settings, self.generation, self.protocols, runner)

    def reload(self, settings: "Settings", dovecot: "DovecotSettings") -> None:
        self.dovecot, self.settings = dovecot, settings
        self.generation += 1
        self.pool.renew_spares()

    def identity(self, user: UserInfo, protocol: str) -> Identity:
        """As whom the user's mail is served. Raises NotAllowed."""
        settings = self.dovecot.for_protocol(protocol)
        key = settings, user.uid, user.gid, user.system_groups_user, user.fields.get("chroot", "")
        known = self._identities.get(key)
        now = time.monotonic()
        if known is not None and known[0] > now:
            return known[1]
        identity = identity_of(user, settings)
        if len(self._identities) >= IDENTITIES_LIMIT:
            self._identities.clear()
        self._identities[key] = now + IDENTITY_S, identity
        return identity

    def _key(self, user: UserInfo) -> str:
        return str(share_of(user.user, self._cores))

    # --- sessions ---------------------------------------------------------------------------------------------------

    def most(self, user: UserInfo, protocol: str, address: str) -> int:
        """mail_max_userip_connections where the user has so many from that address, in this protocol; else 0."""
        most = self.dovecot.for_protocol(protocol).number("mail_max_userip_connections")
        return most if address and self._counts.get((user.user, address, protocol), 0) >= most else 0

    def begin(self, identity: Identity, user: UserInfo, handover: Mapping[str, Any], fds: list[int]) -> int:
        """Give a connection to the user's worker: its process id, and fds are taken; 0 when there is no room for one
        now. Raises WorkerGone."""
        protocol, address, worker = handover["protocol"], str(handover["peer"][0]), self._key(user)
        key = user.user, address, protocol
        request = {"handover": handover, "user": user.to_message(), "generation": self.generation}

        def over(answer: dict[str, Any] | MailError) -> None:
            if isinstance(answer, MailError):
                log.error("user %s: %s", user.user, answer.detail or answer.public)
            elif "held" in answer:
                with contextlib.suppress(MailError):
                    self.pool.start(identity, self._settings_for(answer), [], over, key=worker)
                    return
            self._count_out(number, key)

        pid = self.pool.start(identity, request, fds, over, key=worker)
        if pid:
            number = self._count_in(Session(user.user, protocol, address, pid, str(handover["session_id"]), identity,
                                            worker, time.monotonic()), key)
        return pid

    async def room(self) -> None:
        """Wait until a worker has gone, after `begin` returned 0."""
        await self.pool.room()

    def _count_in(self, session: Session, key: Key) -> int:
        self._counts[key] = self._counts.get(key, 0) + 1
        return self.sessions.begin(session)

    def _count_out(self, number: int, key: Key) -> None:
        left = self._counts[key] - 1
        if left:
            self._counts[key] = left
        else:
            del self._counts[key]
        self.sessions.end(number)

    # --- links --------------------------------------------------------------------------------------------------------

    @property
    def links(self) -> bool:
        """Whether login processes should reach workers by themselves."""
        return self.pool.count < LINKED_LIMIT

    def link(self, identity: Identity, user: UserInfo, protocol: str,
             key: bytes) -> tuple[socket.socket, int, int] | None:
        """A link to the user's worker, for users of the rights that have this key for their grants; how many workers
        share them, and which this is. None: there is no room for a worker now. Raises WorkerGone.

        It can be used at once: what comes before the worker has it waits there.
        """
        worker = self._key(user)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        wanted = {"protocol": protocol, "key": key.hex(), "workers": self._cores, "share": int(worker)}

        def over(answer: dict[str, Any] | MailError) -> None:
            """The worker has it; one that is gone has let go of it."""
            if not isinstance(answer, MailError) and "held" in answer:
                with contextlib.suppress(MailError):
                    self.pool.start(identity, self._settings_for(answer), [], over, key=worker)

        fds = [os.dup(theirs.fileno())]
        theirs.close()
        pid = 0
        try:
            pid = self.pool.start(identity, {"link": wanted, "generation": self.generation}, fds, over, key=worker)
        finally:
            if not pid:
                ours.close()
                os.close(fds[0])
        if not pid:
            return None
        self._linked[pid] = identity, worker
        return ours, self._cores, int(worker)

    def told(self, pid: int, rows: Any) -> None:
        """What a worker says of sessions that came by links; None: it is gone, and they are."""
        known = self._direct.setdefault(pid, {})
        if rows is None:
            self._linked.pop(pid, None)
            del self._direct[pid]
            for number, key in known.values():
                self._count_out(number, key)
            return
        identity, worker = self._linked.get(pid, (None, ""))
        for row in rows:
            if len(row) == 2:
                if (begun := known.pop(row[0], None)) is not None:
                    self._count_out(*begun)
            else:
                its_number, user, protocol, address, session_id, started = row
                key = user, address, protocol
                session = Session(user, protocol, address, pid, session_id, identity, worker, started)
                known[its_number] = self._count_in(session, key), key

    async def settled(self) -> None:
        """Wait until all workers have told what they had to tell."""
        await asyncio.gather(*[self._have_it_told(identity, worker) for identity, worker in self._linked.values()])

    async def _have_it_told(self, identity: Identity, worker: str) -> None:
        with contextlib.suppress(MailError):        # one that is gone has no sessions
            await self.pool.ask(identity, {"tell": True, "generation": 0}, key=worker)

    # --- commands -----------------------------------------------------------------------------------------------------

    async def ask(self, identity: Identity, user: UserInfo, what: Mapping[str, Any], fds: Sequence[int], *,
                  taken: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """Have the user's worker do something, to its end. Raises MailError."""
        key = self._key(user)
        request = {**what, "user": user.to_message(), "generation": self.generation}
        answer = await self.pool.ask(identity, request, fds, key=key, taken=taken)
        if "held" in answer:
            answer = await self.pool.ask(identity, self._settings_for(answer), key=key)
        return answer

    def _settings_for(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """For a worker that was forked before a reload: it holds the request until it has the new settings."""
        return {"go_on": answer["held"], "generation": self.generation, "dovecot": self.dovecot.to_json()}

    async def kick(self, found: Sequence[Session]) -> None:
        """Have the workers say goodbye to these sessions, and wait until they have begun to."""
        groups: dict[tuple[Identity, str], list[str]] = {}
        for session in found:
            groups.setdefault((session.identity, session.worker), []).append(session.session_id)
        for (identity, worker), names in groups.items():
            with contextlib.suppress(MailError):        # a worker that died has no sessions any more
                await self.pool.ask(identity, {"kick": names, "generation": 0}, key=worker)

    async def stop(self) -> None:
        """End all sessions with a goodbye, then the workers."""
        for pid in self.pool.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        await self.pool.close()
