"""Server side of one ManageSieve dialogue after login: octets in, actions out; no sockets, clocks or files.

Each command is asked; the answer is `Answer`. Bad commands in a row end the session.
Limits: MAX_BAD_COMMANDS, INACTIVITY_S, the line and literal limits that the server module gives. Source: RFC 5804.
"""

from dataclasses import dataclass

from mailsuite.base.dialogue import Action, Ask, Close, Send, TlsInfo
from mailsuite.base.errors import Bug
from mailsuite.base.lines import LineBuffer
from mailsuite.managesieve.reply import bye, no, ok
from mailsuite.managesieve.syntax import BadArguments, Reader, Unreadable

MAX_BAD_COMMANDS = 20       # in a row; Dovecot's number
INACTIVITY_S = 30 * 60.0
INTERNAL = "Internal error occurred. Refer to server log for more information."


@dataclass(frozen=True, slots=True)
class Answer:
    octets: bytes
    bad: bool = False
    close: bool = False


class Session:
    """One dialogue. octets_in, octets_out: for the log."""

    def __init__(self, *, line_limit: int, literal_limit: int) -> None:
        self.timeout_s = INACTIVITY_S
        self._lines = LineBuffer(line_limit)
        self._reader = Reader(self._lines, literal_limit=literal_limit, skipping=("PUTSCRIPT", "CHECKSCRIPT"))
        self._asked = self._closed = False
        self._bad_commands = self.octets_in = self.octets_out = 0

    @property
    def backlog(self) -> int:
        return len(self._lines)

    def opened(self) -> list[Action]:
        return [self._send(ok("Logged in."))]

    def feed(self, octets: bytes) -> list[Action]:
        self.octets_in += len(octets)
        self._lines.feed(octets)
        return self._go_on([])

    def _send(self, octets: bytes) -> Send:
        self.octets_out += len(octets)
        return Send(octets)

    def _go_on(self, actions: list[Action]) -> list[Action]:
        while not self._closed and not self._asked:
            try:
                command = self._reader.take()
            except BadArguments as error:
                actions += self._count(no(f"Error in MANAGESIEVE command {error.name}: {error.public}"), bad=True)
                continue
            except Unreadable as error:
                return actions + self._end(bye(error.public), error.public)
            if command is None:
                break
            self._asked = True
            actions.append(Ask(command))
        return actions

    def _count(self, octets: bytes, *, bad: bool) -> list[Action]:
        self._bad_commands = self._bad_commands + 1 if bad else 0
        actions: list[Action] = [self._send(octets)]
        if self._bad_commands >= MAX_BAD_COMMANDS:
            text = "Too many invalid MANAGESIEVE commands."
            actions += self._end(bye(text), text)
        return actions

    def answered(self, result: object) -> list[Action]:
        if not self._asked or not isinstance(result, Answer):
            raise Bug(f"no answer to a command: {result!r}")
        self._asked = False
        if result.close:
            return [self._send(result.octets), *self._end(b"", "Logged out")]
        return self._go_on(self._count(result.octets, bad=result.bad))

    def failed(self, problem: BaseException) -> list[Action]:
        self._asked = False
        return self._go_on([self._send(no(INTERNAL, "TRYLATER"))])

    def secured(self, tls: TlsInfo) -> list[Action]:
        raise Bug("TLS begins before login")

    def timed_out(self) -> list[Action]:
        return self.end("Disconnected for inactivity")

    def lost(self) -> list[Action]:
        self._closed = True
        return []

    def end(self, why: str) -> list[Action]:
        """The server ends the dialogue."""
        return [] if self._closed else self._end(bye(why), why)

    def _end(self, last: bytes, why: str) -> list[Action]:
        self._closed = True
        actions: list[Action] = [self._send(last)] if last else []
        return [*actions, Close(why)]
