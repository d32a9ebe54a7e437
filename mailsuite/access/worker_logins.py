"""Hand-overs that come to a worker straight from login processes, and what the access service is told of its sessions.

    logins = WorkerLogins(channel, world, serve)        serve(handover, user, fd) begins a session
    logins.open(message, sock)          a link to a login process, as the access service wants it
    with logins.counted(user, handover, told=True): ...         every session of this process, however it came
    logins.at_leisure(call)             what nobody waits for, with others

A link's packets are those of login_channel.py. The worker takes whose grant it can read and who is of its share,
refuses who has too many connections, and sends back what it cannot judge: {"n": 7, "again": "grant"} with the client's
descriptor. Beginnings and ends of sessions are told within TELL_S, or at once when somebody wants to know.

Who logs in, and perhaps out, waits for two or three sentences; all else is done afterwards for many together. That
spares the login process a wake-up a login, and caches are warm for all but the first: half the time of each.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from mailsuite.access.handover import GRANT, SHARE, HandOver, share_of
from mailsuite.access.login_channel import Entry, LoginChannel
from mailsuite.access.login_questions import Why
from mailsuite.base.errors import TemporaryError
from mailsuite.base.turns import ANYWHERE, Stay
from mailsuite.net.workers import WorkerChannel
from mailsuite.sasl import grant as grants
from mailsuite.sasl.master_client import granted_user
from mailsuite.sasl.user import UserInfo

if TYPE_CHECKING:
    from mailsuite.access.world import UserWorld

TELL_S = 0.02                    # how long the access service may be in the dark about a session...
TELL_MOST = 200                  # ...or about so many
LEISURE_S = 0.02                 # how long a session's end may wait to be tidied up...
LEISURE_MOST = 200               # ...or for so many others
TOLD_FIRST_S = 0.005             # before: the login process's line in the log should be there
LEAVING_WAIT_S = 0.3             # how long a login over the user's limit waits for a session that is just ending
KEYS_LIMIT = 16                  # of grants; the oldest go first

Key = tuple[str, str, str]       # user, address, protocol: by what connections are counted


def too_many(most: int) -> str:
    """What the client hears."""
    return f"Maximum number of connections from user+IP exceeded (mail_max_userip_connections={most})"


class Link:
    """One login process's link, for users of one share of some rights."""

    def __init__(self, protocol: str, workers: int, share: int, grants_of: grants.Opened) -> None:
        self.protocol, self.workers, self.share, self.grants = protocol, workers, share, grants_of
        self.channel: LoginChannel | None = None

    def user_of(self, entry: Entry) -> UserInfo | str:
        """Who logs in, or why the access service has to be asked. Raises KeyError, TypeError, ValueError."""
        handover, (pid, number, cookie), grant = entry.packet["h"], entry.packet["t"], str(entry.packet["g"])
        about = grants.about(pid, number, cookie, self.protocol, handover["session_id"])
        octets = self.grants.open(about, grant) if handover["protocol"] == self.protocol else None
        if octets is None:
            return GRANT
        user = granted_user(octets)
        if share_of(user.user, self.workers) != self.share:
            self.grants.give_back(grant)
            return SHARE
        return user


class Counted:
    """One session of this process, from `with` to its end."""

    __slots__ = ("_key", "_logins", "_number", "_told")

    def __init__(self, logins: "WorkerLogins", key: Key, told: list[object] | None) -> None:
        """told: what the access service is to hear, None: it knows."""
        self._logins, self._key, self._told = logins, key, told
        self._number = 0

    def __enter__(self) -> None:
        logins = self._logins
        logins.counts[self._key] = logins.counts.get(self._key, 0) + 1
        number = self._number = logins.last = logins.last + 1
        if self._told is not None:
            logins.direct += 1
            logins.tell_soon([number, *self._told])

    def __exit__(self, *_: object) -> None:
        logins = self._logins
        left = logins.counts[self._key] - 1
        if left:
            logins.counts[self._key] = left
        else:
            del logins.counts[self._key]
        if self._told is not None:
            logins.direct -= 1
            logins.tell_soon([self._number, time.monotonic()])
            if not logins.direct:
                logins.report()


class WorkerLogins:
    """One worker's."""

    def __init__(self, channel: WorkerChannel, world: "UserWorld",
                 serve: Callable[[HandOver, UserInfo, int], None]) -> None:
        self._channel, self._world, self._serve, self._pid = channel, world, serve, os.getpid()
        self._links: set[Link] = set()
        self._grants: dict[str, grants.Opened] = {}         # by key: a grant is good once, by whatever link it comes
        self.counts: dict[Key, int] = {}
        self._told: list[list[object]] = []                 # not yet
        self.direct = self.last = 0                         # sessions that came by a link, and the last one's number
        self._busy = False
        self._stay = Stay()
        self._waiting: set[asyncio.Task[None]] = set()
        self._leisure: list[Callable[[], None]] = []        # to be called...
        self._soon: list[Callable[[], None]] = []           # ...in a moment

    # --- links ------------------------------------------------------------------------------------------------------

    def open(self, message: Mapping[str, Any], sock: socket.socket) -> None:
        """message: {"protocol", "key" in hex, "workers", "share"}. Raises KeyError, ValueError."""
        key = message["key"]
        if key not in self._grants:
            self._grants[key] = grants.Opened(bytes.fromhex(key))
            if len(self._grants) > KEYS_LIMIT:
                del self._grants[next(iter(self._grants))]
        link = Link(message["protocol"], message["workers"], message["share"], self._grants[key])
        self._links.add(link)
        self.report()
        link.channel = LoginChannel(sock, partial(self._take, link), partial(self._closed, link))

    def close(self) -> None:
        """No more of them; what could wait is done."""
        self.hurry()
        for link in list(self._links):
            if link.channel is not None:
                link.channel.close()

    def _closed(self, link: Link) -> None:
        self._links.discard(link)
        self.report()

    def report(self) -> None:
        """While there are links or sessions of theirs, the worker is not idle."""
        busy = bool(self._links or self.direct)
        if busy != self._busy:
            self._busy = busy
            with contextlib.suppress(OSError):
                self._channel.report_busy(int(busy))

    def _take(self, link: Link, entry: Entry) -> None:
        """One hand-over."""
        core = entry.packet.get("core", ANYWHERE)
        self._stay.at(core if type(core) is int else ANYWHERE)
        try:
            user = link.user_of(entry) if len(entry.fds) == 1 else GRANT
            if isinstance(user, str):
                entry.again(user)
                return
            handover = HandOver.from_message(entry.packet["h"])
        except (ValueError, KeyError, TypeError, TemporaryError):
            entry.refused(Why.FAILED)
            return
        # A limit of 0 is none.
        if (user.user, handover.peer.address, handover.protocol) in self.counts and self._most(user, handover):
            task = asyncio.get_running_loop().create_task(self._when_there_is_room(entry, handover, user))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)
        else:
            self._begin(entry, handover, user)

    def _begin(self, entry: Entry, handover: HandOver, user: UserInfo) -> None:
        """The client hears its greeting before the login process hears anything. One that passes on what it decrypts
        waits for the word."""
        self._serve(handover, user, entry.fds.pop())
        entry.accepted(self._pid, late=handover.tls is None)

    def _most(self, user: UserInfo, handover: HandOver) -> int:
        """mail_max_userip_connections where the user has so many from that address, in this protocol; else 0."""
        count = self.counts.get((user.user, handover.peer.address, handover.protocol), 0)
        if not count or not handover.peer.address:      # a limit of 0 is none
            return 0
        most = self._world.dovecot.for_protocol(handover.protocol).number("mail_max_userip_connections")
        return most if count >= most else 0

    async def _when_there_is_room(self, entry: Entry, handover: HandOver, user: UserInfo) -> None:
        end = time.monotonic() + LEAVING_WAIT_S
        while most := self._most(user, handover):
            if time.monotonic() > end:
                entry.refused(Why.LIMIT, too_many(most))
                return
            await asyncio.sleep(0.02)
        self._begin(entry, handover, user)

    # --- what can wait --------------------------------------------------------------------------------------------

    def at_leisure(self, call: Callable[[], None]) -> None:
        """Call it within LEISURE_S and TOLD_FIRST_S; at once when somebody wants to know, or the worker ends."""
        leisure = self._leisure
        if not leisure:
            asyncio.get_running_loop().call_later(LEISURE_S, self._prepare)
        leisure.append(call)
        if len(leisure) >= LEISURE_MOST:
            self._prepare()

    def _prepare(self) -> None:
        """Login processes first: the end of a session is told in the log below its beginning."""
        self._flush_links()
        if self._leisure:
            self._soon += self._leisure
            self._leisure.clear()
            asyncio.get_running_loop().call_later(TOLD_FIRST_S, self._do_soon)

    def _flush_links(self) -> None:
        for link in list(self._links):
            if link.channel is not None:
                link.channel.flush()

    def _do_soon(self) -> None:
        calls, self._soon = self._soon, []
        for call in calls:
            call()

    def hurry(self) -> None:
        """Do now what could wait."""
        self._flush_links()
        self._soon += self._leisure
        self._leisure.clear()
        self._do_soon()

    # --- sessions ---------------------------------------------------------------------------------------------------

    def counted(self, user: UserInfo, handover: HandOver, *, told: bool) -> Counted:
        """Around a session. told: the access service does not know of it yet."""
        name, address, protocol = key = user.user, handover.peer.address, handover.protocol
        return Counted(self, key, [name, protocol, address, handover.session_id, time.monotonic()] if told else None)

    def tell_soon(self, row: list[object]) -> None:
        """What the access service is to hear within TELL_S."""
        told = self._told
        if not told:
            asyncio.get_running_loop().call_later(TELL_S, self.tell)
        told.append(row)
        if len(told) >= TELL_MOST:
            self.tell()

    def tell(self) -> None:
        """The access service is to know now."""
        told, self._told = self._told, []
        if told:
            with contextlib.suppress(OSError):
                self._channel.tell(told)
