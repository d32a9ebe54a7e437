"""One milter as one mail connection sees it: a session on a socket, with time-outs, and what its failure means.

    milter = Milter(spec, options, log)
    answer = await milter.event("connect", connect_data(...), values)       opens the connection at the first event
    answer = await milter.content(fields, body, values); milter.edits       the message as a whole
    milter.reset(); milter.close()

An answer of None: go on. A milter that refused the connection, or that failed, says the same to all that follows.
Raises nothing: what fails becomes the milter's default action (milter_default_action), with a warning in the log.
Limits: the milter's time-outs; "progress" prolongs one up to PROGRESS times.
"""

import asyncio
import errno
import logging
import os
from collections.abc import Iterable, Mapping
from enum import Enum, auto

from mailsuite.base.errors import PeerError
from mailsuite.base.log import logger
from mailsuite.smtp.milter.reply_text import MalformedReply
from mailsuite.smtp.milter.session import TRY_LATER, Act, Answer, MilterSession
from mailsuite.smtp.milter.settings import MilterOptions, MilterSpec
from mailsuite.smtp.milter.syntax import ABORT, BODY_CHUNK, QUIT, Reply, Steps, event_name, packet

PROGRESS = 20
READ = 65536
SHUTDOWN_REPLY = "421 4.7.0 Server closing connection"
_CONTENT = frozenset({"header", "eoh", "body", "eom"})
_cleanup_log = logger("cleanup")
_FAILED = {"accept": None, "reject": Answer(Act.REPLY, "550 5.5.0 Service unavailable"),
           "tempfail": Answer(Act.REPLY, TRY_LATER), "quarantine": Answer(Act.QUARANTINE),
           "shutdown": Answer(Act.SHUTDOWN, SHUTDOWN_REPLY)}


_MALFORMED = {**_FAILED, "tempfail": Answer(Act.REPLY, "451 4.3.5 Server configuration problem - try again later")}


class State(Enum):
    NEW = auto()
    OPEN = auto()
    MESSAGE_DONE = auto()       # it has seen enough of this message
    DONE = auto()               # of this connection: `_standing` is said to what follows


class Milter:
    """One connection to one milter. log: the program whose log tells of failures."""

    def __init__(self, spec: MilterSpec, options: MilterOptions, log: logging.Logger) -> None:
        self.spec, self.log = spec, log
        self.edits: list[Reply] = []
        self._session = MilterSession(spec, options)
        self._state = State.NEW
        self._skipped = ""              # an event that it wants no more of, until another comes
        self._standing: Answer | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    # --- events -------------------------------------------------------------------------------------------------

    async def event(self, event: str, data: bytes, values: Mapping[str, str]) -> Answer | None:
        """Tell of an event that the client caused."""
        if self._state is State.NEW:
            await self._open()
        if self._state is not State.OPEN:
            return self._standing
        if event == self._skipped:
            return None
        self._skipped = ""
        try:
            answer = await self._tell(event, data, values, self.spec.command_timeout_s)
        except (OSError, PeerError) as error:
            return self._failed(event, error)
        return self._judged(event, answer)

    @property
    def says_already(self) -> Answer | None:
        """What it says to everything, without being asked: commands of which milters are not told."""
        return self._standing

    def wants(self, step: Steps) -> bool:
        return self._state is State.OPEN and self._session.has(step)

    @property
    def leading_space(self) -> bool:
        """Header values of its edits begin right behind the colon."""
        return self._session.has(Steps.LEADING_SPACE)

    def _judged(self, event: str, answer: Answer | None) -> Answer | None:
        """The effect of an answer on what follows."""
        if answer is None:
            return None
        if answer.act is Act.SKIP:
            self._skipped = event
            return None
        of_connection = event in ("connect", "helo")
        if answer.act is Act.ACCEPT:
            if of_connection:
                self._end(None)
            else:
                self._state = State.MESSAGE_DONE
            return None
        if answer.act is Act.SHUTDOWN:
            answer = Answer(Act.SHUTDOWN, answer.reply or SHUTDOWN_REPLY)
        if answer.act is Act.DISCARD and of_connection:
            self.log.warning("milter %s: DISCARD action is not allowed for connect or helo", self.spec.name)
            return None
        if of_connection or answer.act is Act.SHUTDOWN:
            self._end(answer)
        elif answer.act is Act.DISCARD:
            self._state = State.MESSAGE_DONE
        return answer

    def _end(self, standing: Answer | None) -> None:
        self._drop()
        self._state, self._standing = State.DONE, standing

    async def _tell(self, event: str, data: bytes, values: Mapping[str, str], wait_s: float) -> Answer | None:
        """Raises OSError, PeerError."""
        octets = self._session.event(event, data, values)
        if not octets:
            return None
        await self._send(octets, wait_s)
        if not self._session.wants(event) or not self._session.is_answered(event):
            return None
        answer = await self._answer(event, wait_s)
        return None if answer.act is Act.CONTINUE else answer

    # --- the message --------------------------------------------------------------------------------------------

    async def content(self, fields: Iterable[tuple[bytes, bytes]], body: Iterable[bytes],
                      values: Mapping[str, str]) -> Answer | None:
        """Show header fields (name, value with LF folds) and body (LF line ends, in blocks). Afterwards `edits` holds
        what the milter wants changed, unless it refuses the message."""
        self.edits = []
        if self._state is State.NEW:
            await self._open()
        if self._state is not State.OPEN:
            return self._standing
        where = "header"
        wait_s = self.spec.content_timeout_s
        try:
            for name, value in fields if self._session.wants("header") else ():
                answer = await self._tell("header", self._field(name, value), values, wait_s)
                if answer is not None:
                    if answer.act is Act.SKIP:
                        break
                    return self._judged(where, answer)
            where = "eoh"
            answer = await self._tell("eoh", b"", values, wait_s)
            if answer is not None and answer.act is not Act.SKIP:
                return self._judged(where, answer)
            where = "body"
            for chunk in chunks(body) if self._session.wants("body") else ():
                answer = await self._tell("body", chunk, values, wait_s)
                if answer is not None:
                    if answer.act is Act.SKIP:
                        break
                    return self._judged(where, answer)
            where = "eom"
            answer = await self._tell("eom", b"", values, wait_s)
        except (OSError, PeerError) as error:
            return self._failed(where, error)
        self.edits = self._session.take_edits()
        return self._judged(where, answer)

    def _field(self, name: bytes, value: bytes) -> bytes:
        if not self.leading_space and value[:1] == b" ":
            value = value[1:]
        return name + b"\0" + value.replace(b"\0", b"?") + b"\0"

    # --- ends ---------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """The message is over, whatever came of it."""
        if self._state is State.MESSAGE_DONE:
            self._state = State.OPEN
        self._skipped = ""
        self._write(packet(ABORT))

    def close(self) -> None:
        self._write(packet(QUIT))
        self._drop()

    def _drop(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._reader = self._writer = None

    def _failed(self, event: str, error: Exception) -> Answer | None:
        log = _cleanup_log if event in _CONTENT else self.log
        reason = error.public if isinstance(error, PeerError) else (
            f"can't read {event_name(event)} reply packet header: {_why(error)}")
        log.warning("milter %s: %s", self.spec.name, reason)
        self._end((_MALFORMED if isinstance(error, MalformedReply) else _FAILED)[self.spec.default_action])
        return self._standing

    # --- the socket ---------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        spec = self.spec
        try:
            async with asyncio.timeout(spec.connect_timeout_s):
                if spec.host:
                    self._reader, self._writer = await asyncio.open_connection(spec.host, spec.port)
                else:
                    self._reader, self._writer = await asyncio.open_unix_connection(spec.path)
        except OSError as error:
            self.log.warning("connect to Milter service %s: %s", spec.name, _why(error))
            self._end(_FAILED[spec.default_action])
            return
        self._state = State.OPEN
        try:
            await self._send(self._session.hello(), spec.connect_timeout_s)
            async with asyncio.timeout(spec.connect_timeout_s):
                while not self._session.agreed():
                    await self._receive()
            if self._session.version < 2:
                self.log.warning("milter %s: unexpected protocol version %d", spec.name, self._session.version)
        except (OSError, PeerError) as error:
            self._failed("optneg", error)

    def _write(self, octets: bytes) -> None:
        """Without waiting: a milter that reads nothing is found out at the next event."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(octets)

    async def _send(self, octets: bytes, wait_s: float) -> None:
        if self._writer is None or self._writer.is_closing():
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        self._writer.write(octets)
        async with asyncio.timeout(wait_s):
            await self._writer.drain()

    async def _receive(self) -> None:
        assert self._reader is not None
        octets = await self._reader.read(READ)
        if not octets:
            raise ConnectionError("Application error")      # Postfix's word for an end where none may be
        self._session.feed(octets)

    async def _answer(self, event: str, wait_s: float) -> Answer:
        """Raises OSError, PeerError. What arrives prolongs the wait: a milter may say "progress"."""
        loop = asyncio.get_running_loop()
        end = loop.time() + PROGRESS * wait_s
        while (answer := self._session.answer(event)) is None:
            async with asyncio.timeout(min(wait_s, end - loop.time())):
                await self._receive()
        return answer


def chunks(blocks: Iterable[bytes]) -> Iterable[bytes]:
    """The body as it goes over the wire: CRLF line ends, pieces of BODY_CHUNK octets."""
    waiting = b""
    for block in blocks:
        waiting += block.replace(b"\n", b"\r\n")
        at = 0
        while len(waiting) - at >= BODY_CHUNK:
            yield waiting[at:at + BODY_CHUNK]
            at += BODY_CHUNK
        waiting = waiting[at:]
    if waiting:
        yield waiting


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "Connection timed out"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error)
