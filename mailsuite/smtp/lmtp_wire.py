"""The lines, contents and replies of an LMTP session: what is below its commands. See lmtp_session.py.

A line of more than line_limit octets is refused and skipped; content is passed on in the blocks that come, line ends LF
and dots undone. What a command has asked for and what it says goes into one list of actions, in order.
"""

import re
from collections.abc import Callable

from mailsuite.base.dialogue import Action, Ask, Body, Close, Send
from mailsuite.base.errors import Bug
from mailsuite.smtp.data import ChunkDecoder, DotDecoder
from mailsuite.smtp.lmtp_questions import LmtpConfig
from mailsuite.smtp.reply import encode

CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class LmtpWire:
    """Subclasses have the commands. end: why the dialogue ended, for the log."""

    def __init__(self, config: LmtpConfig) -> None:
        self.config = config
        self.timeout_s = config.timeout_s
        self.end = ""
        self._bad = 0
        self._buffer = bytearray()
        self._searched = 0
        self._too_long = self._ended = self._starting_tls = False
        self._then: Callable[[object], None] | None = None
        self._dots: DotDecoder | None = None
        self._chunks: ChunkDecoder | None = None
        self._chunk_left, self._chunk_kept, self._chunk_last, self._chunk_size = 0, False, False, 0
        self._chunk_failed = False
        self._content_size = 0
        self._actions: list[Action] = []

    def _command(self, line: str) -> None:
        raise NotImplementedError

    def _deliver(self) -> None:
        """The content is complete."""
        raise NotImplementedError

    # --- the driver's calls -------------------------------------------------------------------------------------

    @property
    def backlog(self) -> int:
        return len(self._buffer)

    def feed(self, octets: bytes) -> list[Action]:
        if self._ended or self._starting_tls:
            return []
        self._buffer += octets
        return self._run()

    def answered(self, result: object) -> list[Action]:
        then, self._then = self._then, None
        if then is None:
            raise Bug("an answer to no question")
        then(result)
        return self._run()

    def failed(self, error: BaseException) -> list[Action]:
        """A recipient or a delivery that could not be decided: the client keeps the mail."""
        then, self._then = self._then, None
        if then is not None:
            then(None)
        return self._run()

    def timed_out(self) -> list[Action]:
        return self._terminate("4.4.2", "Disconnected for inactivity")

    def stop(self) -> list[Action]:
        """The suite stops."""
        return self._terminate("4.3.2", "Shutting down")

    def lost(self) -> list[Action]:
        if not self._ended:
            self._ended = True
            unfinished = "DATA" if self._dots is not None else "BDAT" if self._chunk_left else ""
            self.end = "Connection closed" + (f" (unfinished {unfinished} command)" if unfinished else "")
        return []

    # --- octets -------------------------------------------------------------------------------------------------

    def _run(self) -> list[Action]:
        while self._then is None and not self._ended and not self._starting_tls and self._buffer:
            if self._dots is not None:
                self._take_content(self._dots)
            elif self._chunk_left:
                self._take_chunk()
            else:
                end = self._buffer.find(b"\n", self._searched)
                if end < 0:
                    self._keep_partial()
                    break
                line = bytes(self._buffer[:end]).removesuffix(b"\r")
                del self._buffer[:end + 1]
                self._searched = 0
                too_long, self._too_long = self._too_long or len(line) > self.config.line_limit, False
                if too_long:
                    self._refuse("500 5.5.2 Line too long")
                else:
                    self._command(line.decode("utf-8", "surrogateescape"))
        return self._take_actions()

    def _keep_partial(self) -> None:
        if len(self._buffer) > self.config.line_limit:
            self._too_long = True
            self._buffer.clear()
        self._searched = len(self._buffer)

    def _take_content(self, dots: DotDecoder) -> None:
        octets = bytes(self._buffer)
        self._buffer.clear()
        self._body(dots.feed(octets))
        if dots.ended:
            self._dots = None
            self._buffer += dots.rest
            self._deliver()

    def _take_chunk(self) -> None:
        octets = bytes(self._buffer[:self._chunk_left])
        del self._buffer[:len(octets)]
        self._chunk_left -= len(octets)
        if self._chunk_kept and self._chunks is not None:
            self._body(self._chunks.feed(octets))
        if not self._chunk_left:
            self._end_chunk()

    def _end_chunk(self) -> None:
        if not self._chunk_kept:
            return                      # it was answered when it was announced
        if self._chunk_last:
            if self._chunks is not None and self._chunks.finish().startswith(b"\r"):
                self._body(b"\r")       # no line end is added: a message ends as it was sent
            self._chunks = None
            self._deliver()
        else:
            self._say(f"250 2.0.0 Added {self._chunk_size} octets")

    def _body(self, octets: bytes) -> None:
        self._content_size += len(octets)
        if octets and not 0 < self.config.size_limit < self._content_size:
            self._actions.append(Body(octets))

    # --- saying -------------------------------------------------------------------------------------------------

    def _ask(self, question: object, then: Callable[[object], None]) -> None:
        self._then = then
        self._actions.append(Ask(question))

    def _say(self, reply: str) -> None:
        self._bad = 0
        self._actions.append(Send(encode(CONTROL.sub("?", reply))))

    def _refuse(self, reply: str) -> None:
        """A reply to a bad command."""
        if not reply.startswith(("500", "501", "503")):
            self._say(reply)
            return
        if self._bad >= self.config.bad_commands:
            self._actions += self._terminate("4.7.0", "Too many invalid commands.")
            return
        bad = self._bad + 1
        self._say(reply)
        self._bad = bad

    def _terminate(self, status: str, why: str) -> list[Action]:
        if self._ended:
            return []
        self._ended, self.end = True, why
        return [Send(encode(f"421 {status} {self.config.hostname} {why}")), Close(why)]

    def _finish(self, why: str) -> None:
        self._ended, self.end = True, why
        self._actions.append(Close(why))

    def _take_actions(self) -> list[Action]:
        actions, self._actions = self._actions, []
        return actions
