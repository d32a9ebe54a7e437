"""Server side of the client protocol (version 1.2): one connection of an SMTP, IMAP or POP3 server.

    session = ClientSession(hub, write, close)
    session.opened();  session.feed(octets);  session.lost()

The hub knows the service in force and keeps the requests that succeeded until a master asks for them. Anything that a
well-written client never says closes the connection with a line in the log; a user's wrong password does not.
A login server of ours adds cbind-TYPE=BASE64 words, the channel bindings of its client's connection (MECH lines with
"channel-binding"; "private" keeps others from offering those), and core=N where it keeps to a core (base/turns.py).
Limits: wire.LINE_LIMIT octets a line, OPEN_LIMIT requests under way on one connection, REQUEST_TIMEOUT_S for each.
"""

import asyncio
import os
import secrets
from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Callable, Mapping
from typing import Protocol

from mailsuite.base.eager import StandIn, begin
from mailsuite.base.errors import PeerError, TemporaryError
from mailsuite.base.huge_pages import Busy
from mailsuite.base.lines import LineBuffer
from mailsuite.base.log import access_logger
from mailsuite.base.turns import ANYWHERE, Stay
from mailsuite.sasl import grant as grants
from mailsuite.sasl import wire
from mailsuite.sasl.attempt import Attempt, Denied, Granted
from mailsuite.sasl.request import AuthRequest
from mailsuite.sasl.service import AuthService

OPEN_LIMIT = 5000
REQUEST_TIMEOUT_S = 150.0
MAJOR, MINOR = 1, 2
_VALUELESS = frozenset({"proxy", "nologin", "anonymous"})

log = access_logger("auth")


class Hub(Protocol):
    """What a connection needs of the server it belongs to."""

    service: AuthService
    stay: Stay
    busy: Busy
    sealer: "grants.Sealer | None"        # makes grants for the access service, when that wants them

    def next_connection_uid(self) -> int: ...

    def keep(self, pid: int, number: int, cookie: str, request: AuthRequest, service: AuthService) -> None:
        """Remember a success until a master asks for it."""
        ...

    def closing(self, cookie: str) -> None:
        """The connection with that cookie is gone."""
        ...


class Broken(PeerError):
    """What the client said breaks the protocol."""


class ClientSession:
    """write takes octets for the client, close ends the connection."""

    def __init__(self, hub: Hub, write: Callable[[bytes], None], close: Callable[[], None]) -> None:
        self._hub, self._write, self._close = hub, write, close
        self._lines = LineBuffer(wire.LINE_LIMIT)
        self._cookie = secrets.token_hex(16)
        self._uid = hub.next_connection_uid()
        # Who offers APOP makes challenges that begin so, as Dovecot's pop3-login does.
        self._apop_prefix = b"<%x.%x." % (os.getpid(), self._uid)
        self._versioned, self._pid, self._over = False, 0, False
        self._attempts: dict[int, Attempt] = {}
        # Of requests that wait for a CONT; all others are being answered.
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def opened(self) -> None:
        out = [wire.line("VERSION", str(MAJOR), str(MINOR))]
        out += [wire.line("MECH", mech.name, *mech.flags) for mech in self._hub.service.mechanisms.values()]
        out += [wire.line("SPID", str(os.getpid())), wire.line("CUID", str(self._uid)),
                wire.line("COOKIE", self._cookie), wire.line("DONE")]
        self._write(b"".join(out))

    def feed(self, octets: bytes) -> None:
        if self._over:
            return
        try:
            if (line := self._lines.only_line(octets)) is not None:
                self._on_line(line)
                return
            self._lines.feed(octets)
            while not self._over and (line := self._lines.take_line()) is not None:
                self._on_line(line)
        except PeerError as error:
            log.error("BUG: Authentication client %s", error.detail or error.public)
            self.lost()
            self._close()

    def lost(self) -> None:
        """The connection is gone: nothing is answered any more."""
        self._over = True
        for timer in self._timers.values():
            timer.cancel()
        for task in self._tasks:
            task.cancel()
        for attempt in self._attempts.values():
            attempt.close()
        self._attempts.clear()
        self._hub.closing(self._cookie)

    # --- lines ------------------------------------------------------------------------------------------------------

    def _on_line(self, line: bytes) -> None:
        words = wire.words(line)
        if not self._versioned:
            if words[0] != "VERSION" or len(words) < 3 or words[1] != str(MAJOR):
                raise Broken(f"not compatible with this server (mixed old and new binaries?): {line[:80]!r}")
            self._versioned = True
        elif not self._pid:
            self._pid = self._number(words[1:2], "CPID")
            if words[0] != "CPID" or not self._pid:
                raise Broken("sent broken CPID handshake")
        elif words[0] == "AUTH":
            self._auth(words, has_bindings=b"\tcbind-" in line)
        elif words[0] == "CONT":
            self._cont(words)
        elif words[0] == "CANCEL":
            self._drop(self._number(words[1:2], "CANCEL"))
        else:
            raise Broken("sent unknown command: " + "?".join(words)[:80])

    def _number(self, words: list[str], command: str) -> int:
        text = words[0] if words else ""
        if not text.isascii() or not text.isdecimal() or len(text) > 20 or (number := int(text)) >= 2**32:
            raise Broken(f"sent broken {command} request")
        return number

    def _auth(self, words: list[str], *, has_bindings: bool) -> None:
        number = self._number(words[1:2], "AUTH")
        service = self._hub.service
        if len(words) < 4 or not number:
            raise Broken("sent broken AUTH request")
        if number in self._attempts:
            raise Broken(f"{self._pid} sent a duplicate ID {number}")
        mech = service.mechanisms.get(words[2].upper())
        if mech is None:
            raise Broken(f"{self._pid} requested unsupported authentication mechanism {words[2][:40]!r}")
        facts: dict[str, str] = {}
        initial: str | None = None
        for position, word in enumerate(words[3:], 3):
            name, _, value = word.partition("=")
            if name == "resp":
                if position != len(words) - 1:
                    raise Broken("sent AUTH parameters after 'resp'")
                initial = value
            else:
                facts[name] = value
        if "service" not in facts:
            raise Broken("didn't specify service in request")
        if len(self._attempts) >= OPEN_LIMIT:
            self._write(wire.line("FAIL", str(number), "code=temp_fail"))
            return
        self._hub.busy.count()
        core = facts.pop("core", "")
        self._hub.stay.at(int(core) if core.isdecimal() and len(core) < 6 else ANYWHERE)
        bindings = _bindings(facts) if has_bindings else None
        attempt = service.attempt(mech, facts["service"], facts, bindings=bindings, apop_prefix=self._apop_prefix)
        self._attempts[number] = attempt
        if initial:
            try:
                octets = _decoded(initial)
            except ValueError:
                self._refuse_base64(number, "initial response")
                return
            self._go(number, attempt, octets, first=True)
        else:
            self._go(number, attempt, None, first=True)

    def _cont(self, words: list[str]) -> None:
        number = self._number(words[1:2], "CONT")
        if len(words) < 3:
            raise Broken("sent broken CONT request")
        attempt = self._attempts.get(number)
        if attempt is None:
            self._write(wire.line("FAIL", str(number), "reason=Authentication request timed out"))
            return
        if number not in self._timers:
            raise Broken("sent CONT for a request that waits for no data")
        try:
            octets = _decoded(words[2], empty_sign=False)
        except ValueError:
            self._refuse_base64(number, "continued response")
            return
        self._go(number, attempt, octets, first=False)

    def _refuse_base64(self, number: int, where: str) -> None:
        attempt = self._attempts[number]
        if attempt.service.verbose:
            log.info("%s(%s): Invalid base64 data in %s", attempt.mech.name.lower(), attempt.request.who, where)
        self._drop(number)
        self._write(wire.line("FAIL", str(number), "code=invalid_base64", f"reason=Invalid base64 data in {where}"))

    def _drop(self, number: int) -> None:
        attempt = self._attempts.pop(number, None)
        if attempt is not None:
            attempt.close()
        if self._timers and (timer := self._timers.pop(number, None)) is not None:
            timer.cancel()

    # --- answers ----------------------------------------------------------------------------------------------------

    def _go(self, number: int, attempt: Attempt, octets: bytes | None, *, first: bool) -> None:
        if not first and (timer := self._timers.pop(number, None)) is not None:
            timer.cancel()
        # Most databases answer from memory, and no task is needed.
        task = begin(asyncio.get_running_loop(), self._run(number, attempt, octets, first), StandIn()).task
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, number: int, attempt: Attempt, octets: bytes | None, first: bool) -> None:
        try:
            if first:
                reply = await attempt.start(octets)
            else:
                reply = await attempt.go_on(octets or b"")
        except TemporaryError as error:
            log.error("%s(%s): %s", attempt.mech.name.lower(), attempt.request.who, error.detail or error.public)
            reply = Denied(attempt.request, attempt.named, "temp_fail")
        except Exception:
            log.exception("unforeseen in an authentication")
            reply = Denied(attempt.request, attempt.named, "temp_fail")
        if self._over or self._attempts.get(number) is not attempt:
            return
        if isinstance(reply, Granted):
            await self._grant(number, attempt, reply.request)
        elif isinstance(reply, Denied):
            await self._deny(number, attempt, reply)
        else:
            self._timers[number] = asyncio.get_running_loop().call_later(REQUEST_TIMEOUT_S, self._time_out, number)
            self._write(wire.line("CONT", str(number), b64encode(reply.octets).decode()))

    async def _deny(self, number: int, attempt: Attempt, reply: Denied) -> None:
        if reply.named and "nodelay" not in reply.request.fields:
            # So that guessing is slow on one connection; other requests go on meanwhile.
            await asyncio.sleep(attempt.service.failure_delay_s)
            if self._over or self._attempts.get(number) is not attempt:
                return
        self._drop(number)
        self._write(wire.line("FAIL", str(number), *denied_words(reply)))

    async def _grant(self, number: int, attempt: Attempt, request: AuthRequest) -> None:
        words = granted_words(request)
        # Who may not log in, or logs in elsewhere, is nobody's session here.
        if "nologin" not in request.facts and "nologin" not in request.fields and "proxy" not in request.fields:
            if seal := await self._seal(number, request, attempt.service):
                words.append(f"grant={seal}")
            else:
                self._hub.keep(self._pid, number, self._cookie, request, attempt.service)
        if self._over or self._attempts.get(number) is not attempt:
            return
        self._drop(number)
        self._write(wire.line("OK", str(number), *words))

    async def _seal(self, number: int, request: AuthRequest, service: AuthService) -> str:
        """What spares the access service a question (grant.py); "" where none was asked for, or none can be made."""
        sealer = self._hub.sealer
        if sealer is None or "grant" not in request.facts:
            return ""
        try:
            found = await service.userdb_after_login(request)
        except TemporaryError:
            return ""                       # it is tried once more when the access service asks, and logged then
        if found is None:
            return ""
        about = grants.about(self._pid, number, self._cookie, request.service, request.facts.get("session", ""))
        return sealer.seal(about, grants.rights_of(request.service, found[1]), wire.line(*login_words(request, *found)))

    def _time_out(self, number: int) -> None:
        self._drop(number)
        self._write(wire.line("FAIL", str(number), "reason=Authentication request timed out"))


def _bindings(facts: dict[str, str]) -> dict[str, bytes]:
    """The channel bindings among the words, which are taken out: nobody else needs to know them."""
    found = {}
    for name in [name for name in facts if name.startswith("cbind-")]:
        try:
            found[name.removeprefix("cbind-")] = _decoded(facts.pop(name))
        except ValueError as error:
            raise Broken("sent channel binding data that is no base64") from error
    return found


def _decoded(text: str, *, empty_sign: bool = True) -> bytes:
    """base64; "=" is an empty initial response. Raises ValueError."""
    if text == "=" and empty_sign:
        return b""
    return a2b_base64(text.strip(), strict_mode=True)


def _names(request: AuthRequest) -> list[str]:
    words = []
    if request.original_user is not None and request.original_user != request.user:
        words.append(f"original_user={request.original_user}")
    if request.master_user:
        words.append(f"auth_user={request.master_user}")
    return words


def granted_words(request: AuthRequest) -> list[str]:
    """What follows "OK <id>". Where a database gave fields and all are hidden, an empty word stands for them."""
    words = [f"user={request.user}"]
    if request.fields or request.userdb_fields:
        for name, value in request.client_fields().items():
            words.append(name if name in _VALUELESS or not value else f"{name}={value}")
        if len(words) == 1 and (request.fields.keys() - {"nopassword"} or request.userdb_fields):
            words.append("")
    return words if request.original_user == request.user and not request.master_user else words + _names(request)


def login_words(request: AuthRequest, user: str, fields: Mapping[str, str]) -> list[str]:
    """What follows "USER <id>" where a master asks who logged in."""
    return [user, *[f"{name}={value}" if value else name for name, value in fields.items()],
            f"auth_mech={request.mechanism}"]


def denied_words(reply: Denied) -> list[str]:
    """What follows "FAIL <id>"."""
    request = reply.request
    words = [f"user={request.user}"] if reply.named else []
    if reply.code:
        words.append(f"code={reply.code}")
    if reply.named:
        words += _names(request)
        if request.bad_name and request.original_user == request.user:
            words.append(f"original_user={request.original_user}")
    if reply.reason:
        words.append(f"reason={reply.reason}")
    return words
