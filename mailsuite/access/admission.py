"""Who may come in: hand-overs of login processes, on their way to the users' workers.

    LoginChannel(sock, admission.take)

What proves a login is the auth service's grant (sasl/grant.py), or its cookie, for which the auth service is asked who
that is. Whom the settings refuse (first_valid_uid, mail_max_userip_connections) is refused here. Where a grant is good,
the login process gets a link to the worker, and hands over this connection and others like it by itself; the worker
then counts connections. All others are given to the worker from here.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from mailsuite.access.identity import NotAllowed
from mailsuite.access.login_channel import Entry
from mailsuite.access.login_questions import Why
from mailsuite.access.user_workers import UserWorkers
from mailsuite.access.worker_logins import LEAVING_WAIT_S, too_many
from mailsuite.base.errors import TemporaryError
from mailsuite.base.log import access_logger
from mailsuite.net.privileges import Identity
from mailsuite.sasl import grant as grants
from mailsuite.sasl.master_client import AuthMaster
from mailsuite.sasl.user import UserInfo

log = access_logger("access")


class RefusedLogin(Exception):
    """Why a login is not served."""

    def __init__(self, why: Why, text: str = "") -> None:
        super().__init__(text)
        self.why, self.text = why, text


@dataclass(frozen=True, slots=True)
class Call:
    """What has to be known here of a hand-over; the rest is the worker's."""

    handover: Mapping[str, Any]
    protocol: str
    name: str
    address: str
    ticket: tuple[int, int, str]
    grant: str
    about: bytes

    @classmethod
    def of(cls, entry: Entry, protocols: Collection[str]) -> "Call":
        """Raises ValueError, KeyError, TypeError, IndexError for what is none."""
        packet = entry.packet
        handover, (pid, number, cookie) = packet["h"], packet["t"]
        protocol = handover["protocol"]
        if len(entry.fds) != 1 or protocol not in protocols:
            raise ValueError("no descriptor, or a protocol that is not served")
        return cls(handover, protocol, str(handover["user"]), str(handover["peer"][0]),
                   (int(pid), int(number), str(cookie)), str(packet["g"]),
                   grants.about(pid, number, cookie, protocol, handover["session_id"]))


class Admission:
    """start: runs a coroutine as a task."""

    def __init__(self, auth: AuthMaster, workers: UserWorkers,
                 start: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self._auth, self._workers, self._start = auth, workers, start

    def take(self, entry: Entry) -> None:
        """One hand-over. Most need to wait for nothing; a task goes on with the others."""
        try:
            call = Call.of(entry, self._workers.protocols)
            if not call.grant:
                self._start(self._asked(entry, call))
                return
            linked = self._workers.links
            user = self._auth.granted(call.about, call.grant, use=not linked)
            if user is None:                # forged, used before, or given before one of us started anew
                log.error("a login process brought a grant that is not good (user %s)", call.name)
                raise RefusedLogin(Why.FAILED)
            identity = self._identity(user, call)
            if not (linked and self._link(entry, call, user, identity)):
                self._start(self._admitted(entry, call, user))
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

    def _identity(self, user: UserInfo, call: Call) -> Identity:
        """Raises RefusedLogin."""
        try:
            return self._workers.identity(user, call.protocol)
        except NotAllowed as error:
            program = {"sieve": "managesieve"}.get(call.protocol, call.protocol)
            access_logger(program).error("%s", error.detail, extra={"prefix": f"{program}({user.user})"})
            raise RefusedLogin(Why.INITIALIZATION) from error

    def _link(self, entry: Entry, call: Call, user: UserInfo, identity: Identity) -> bool:
        """Show the login process the way to the user's worker; False when there is none now. Raises TemporaryError."""
        key = self._auth.key_of(grants.rights_in(call.grant))
        made = None if key is None else self._workers.link(identity, user, call.protocol, key)
        if made is None:
            self._auth.granted(call.about, call.grant, use=True)
            return False
        entry.routed(*made)
        return True

    async def _asked(self, entry: Entry, call: Call) -> None:
        """A hand-over without a grant: the auth service is asked who that is."""
        try:
            user = await self._auth.request(*call.ticket)
            if user is None:
                raise RefusedLogin(Why.NOT_FOUND)
        except Exception as error:
            self._refuse(entry, error)
            return
        await self._admitted(entry, call, user)

    async def _admitted(self, entry: Entry, call: Call, user: UserInfo) -> None:
        """Give the connection to the user's worker from here."""
        try:
            identity = self._identity(user, call)
            await self._workers.settled()
            end = time.monotonic() + LEAVING_WAIT_S
            while most := self._workers.most(user, call.protocol, call.address):
                if time.monotonic() > end:
                    raise RefusedLogin(Why.LIMIT, too_many(most))
                await asyncio.sleep(0.02)
            while not (pid := self._workers.begin(identity, user, call.handover, entry.fds)):
                await self._workers.room()
            entry.fds = []
            entry.accepted(pid)
        except Exception as error:
            self._refuse(entry, error)
