"""A user's worker: the process in which mail is read, with the rights of one uid.

All sessions of a user meet here (the parent sees to it), so that what they share is one object in memory (world.py).
Logged-in connections come from login processes, over links that the parent has made (worker_logins.py), or from the
parent itself: then the request is answered when the session is over. So the parent knows who has which connections.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mailsuite.access.handover import HandOver
from mailsuite.access.way_back import GivenBack
from mailsuite.access.worker_logins import WorkerLogins
from mailsuite.access.world import UserWorld
from mailsuite.base import privilege
from mailsuite.base.eager import Errand, StandIn, begin
from mailsuite.base.errors import MailError
from mailsuite.base.huge_pages import Busy
from mailsuite.net.params import HUGE_PAGES_AFTER
from mailsuite.net.service import new_event_loop
from mailsuite.net.workers import Request, WorkerChannel
from mailsuite.sasl.user import UserInfo

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings
    from mailsuite.config.settings import Settings

TELL_S = 0.02                    # how long the parent may be in the dark about the end of a session...
TELL_MOST = 200                  # ...or of so many
END_WAIT_S = 8.0                 # how long sessions may take to say goodbye when the suite stops

# The result: a connection that goes on without a user.
ServeUser = Callable[[socket.socket, HandOver, UserInfo, UserWorld], Awaitable[GivenBack | None]]

log = logging.getLogger("mailsuite.dovecot.access")


class Worker:
    """One worker process. generation: which state of the settings `world` has."""

    def __init__(self, channel: WorkerChannel, world: UserWorld, generation: int,
                 protocols: Mapping[str, ServeUser]) -> None:
        self._channel, self._world, self._generation, self._protocols = channel, world, generation, protocols
        self._sessions: set[asyncio.Task[None]] = set()
        self._direct: set[Errand] = set()           # those that came by a link
        self._held: dict[int, tuple[Mapping[str, Any], list[int]]] = {}     # until newer settings have come
        self._ended: list[tuple[int, Mapping[str, Any] | BaseException]] = []      # not told yet
        self._logins = WorkerLogins(channel, world, self._begin)
        world.at_leisure = self._logins.at_leisure
        self._busy = Busy(world.settings[HUGE_PAGES_AFTER])
        self._done = asyncio.Event()

    async def run(self) -> None:
        """Serve until the parent wants an end."""
        loop = asyncio.get_running_loop()
        self._channel.set_blocking(False)
        loop.add_reader(self._channel.fileno(), self._readable)
        loop.add_signal_handler(signal.SIGTERM, self._world.stop)
        await self._done.wait()
        self._world.stop()
        self._logins.close()
        waiting = {*self._sessions, *(loop.create_task(errand.wait()) for errand in self._direct)}
        if waiting:
            await asyncio.wait(waiting, timeout=END_WAIT_S)
        self._tell_ends()
        self._logins.tell()

    def _readable(self) -> None:
        for _ in range(64):
            try:
                request = self._channel.receive()
            except BlockingIOError:
                return
            except OSError:
                request = None
            if request is None:
                asyncio.get_running_loop().remove_reader(self._channel.fileno())
                self._done.set()
                return
            task = begin(asyncio.get_running_loop(), self._serve(request), StandIn()).task
            if task is not None:
                self._sessions.add(task)
                task.add_done_callback(self._sessions.discard)

    async def _serve(self, request: Request) -> None:
        answer: dict[str, Any] = {}
        try:
            message: Mapping[str, Any] = request.message
            fds = request.fds
            if "go_on" in message:
                self._take_settings(message)
                message, fds = self._held.pop(message["go_on"])
            elif message["generation"] > self._generation:
                self._held[request.number] = message, fds
                answer = {"held": request.number}
                return
            if "kick" in message:
                self._world.end(map(str, message["kick"]))
            elif "tell" in message:
                self._logins.hurry()
                await asyncio.sleep(0)          # sessions end in a turn of their own
                self._logins.tell()
            elif "link" in message:
                self._logins.open(message["link"], socket.socket(fileno=fds[0]))
            elif "doveadm" in message:
                await self._doveadm(message, fds)
            elif "deliver" in message:
                await self._deliver(message, fds)
            elif "url" in message:
                await self._fetch_url(message, fds)
            else:
                await self._session(message, fds)
        except Exception:
            log.exception("unforeseen in a user's session")
        finally:
            self._answer(request, answer)

    def _answer(self, request: Request, answer: Mapping[str, Any]) -> None:
        """The ends of sessions may wait for each other: nobody hurries to hear of them."""
        if not answer and "handover" in request.message:
            self._ended.append((request.number, answer))
            if len(self._ended) == 1:
                asyncio.get_running_loop().call_later(TELL_S, self._tell_ends)
            elif len(self._ended) >= TELL_MOST:
                self._tell_ends()
        else:
            with contextlib.suppress(OSError):
                self._channel.answer(request.number, answer)

    def _tell_ends(self) -> None:
        ended, self._ended = self._ended, []
        if ended:
            with contextlib.suppress(OSError):
                self._channel.answer_batch(ended)

    def _take_settings(self, message: Mapping[str, Any]) -> None:
        from mailsuite.config.dovecot import DovecotSettings

        self._world.dovecot = DovecotSettings.from_json(message["dovecot"])
        self._generation = message["generation"]

    async def _session(self, message: Mapping[str, Any], fds: list[int]) -> None:
        """One that the parent gives us, and counts."""
        handover, user = HandOver.from_message(message["handover"]), UserInfo.from_message(message["user"])
        await self._serve_user(handover, user, fds[0], told=False)

    async def _serve_user(self, handover: HandOver, user: UserInfo, fd: int, *, told: bool) -> None:
        try:
            self._busy.count()
            client = socket.socket(-1, socket.SOCK_STREAM, 0, fd)       # the kernel need not be asked
            client.setblocking(False)
            with self._logins.counted(user, handover, told=told):
                given_back = await self._protocols[handover.protocol](client, handover, user, self._world)
            if given_back is not None:
                self._give_back(given_back, handover)
        except Exception:
            log.exception("unforeseen in a user's session")

    def _give_back(self, given_back: GivenBack, handover: HandOver) -> None:
        """A descriptor that cannot be sent is closed, and the client sees the end."""
        try:
            self._channel.give({"back": given_back.message(handover)}, [given_back.fd])
        except OSError as error:
            log.error("cannot give a connection back: %s", error)
        finally:
            os.close(given_back.fd)

    def _begin(self, handover: HandOver, user: UserInfo, fd: int) -> None:
        """A session that came from a login process; its first steps are made here and now."""
        errand = Errand(asyncio.get_running_loop(), self._serve_user(handover, user, fd, told=True),
                        self._direct.discard)
        if errand.begin():
            self._direct.add(errand)

    async def _doveadm(self, message: Mapping[str, Any], fds: list[int]) -> None:
        """A command of doveadm; it waits at the other end of the first descriptor, the second is its input."""
        from mailsuite.access import doveadm, doveadm_sync
        from mailsuite.access.doveadm_run import EX_TEMPFAIL
        from mailsuite.access.user_mail import UserMail

        user, settings = UserInfo.from_message(message["user"]), self._world.dovecot.for_protocol("imap")
        with socket.socket(fileno=fds[0]) as sock, UserMail.of(user, settings, self._world) as mail:
            sock.setblocking(True)
            content = fds[1] if len(fds) > 1 else -1
            with contextlib.suppress(OSError):          # who went away needs no answer
                try:
                    store = await mail.opened()
                    if message["doveadm"]["command"] in doveadm_sync.COMMANDS:
                        await doveadm_sync.serve(message["doveadm"], mail, user, settings, content, sock,
                                                 lambda: self._world.stopping)
                        return
                except MailError as error:
                    lines = [{"error": error.public}, {"status": EX_TEMPFAIL}]
                    sock.sendall("".join(json.dumps(line) + "\n" for line in lines).encode())
                    return
                job = doveadm.Job(store, user, settings, message["doveadm"])
                await mail.run(lambda: doveadm.serve(job, content, sock))

    async def _deliver(self, message: Mapping[str, Any], fds: list[int]) -> None:
        """A message that came by LMTP: its server waits at the first descriptor, the second is the content."""
        from mailsuite.access import lmtp_delivery
        from mailsuite.access.user_mail import UserMail

        user, settings = UserInfo.from_message(message["user"]), self._world.dovecot.for_protocol("lmtp")
        with socket.socket(fileno=fds[0]) as sock, closing_fd(fds[1]) as content, \
                UserMail.of(user, settings, self._world) as mail:
            sock.setblocking(False)
            answer = await lmtp_delivery.serve(mail, message["deliver"], content, settings)
            with contextlib.suppress(OSError):          # a few octets into an empty buffer
                sock.send(json.dumps(answer).encode() + b"\n")
            if "check" not in message["deliver"]:
                await mail.expire()


    async def _fetch_url(self, message: Mapping[str, Any], fds: list[int]) -> None:
        """Somebody has a URL of this user's mail; who asks waits at the descriptor."""
        from mailsuite.access import url_service
        from mailsuite.access.user_mail import UserMail

        user, settings = UserInfo.from_message(message["user"]), self._world.dovecot.for_protocol("imap")
        with socket.socket(fileno=fds[0]) as sock, UserMail.of(user, settings, self._world) as mail:
            await url_service.answer(mail, settings, url_service.UrlRequest.from_message(message["url"]), sock)


@contextlib.contextmanager
def closing_fd(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)


def run_worker(channel: WorkerChannel, dovecot: "DovecotSettings", settings: "Settings", generation: int,
               protocols: Mapping[str, ServeUser], runner: asyncio.Runner | None = None) -> None:
    """The main of a worker process, with a loop of its own, or the runner's."""

    privilege.allow(channel.identity.privileged_gid)

    async def main() -> None:
        await Worker(channel, UserWorld(dovecot, settings), generation, protocols).run()

    with runner or asyncio.Runner(loop_factory=new_event_loop) as running:
        running.run(main())
