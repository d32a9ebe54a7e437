"""Server side of one POP3 dialogue after login: octets in, actions out; no sockets, clocks or files.

Each line is asked as a `Command`; the answer is `Done`. What a command says in blocks is sent by the server module
meanwhile; `Done` has the rest. Bad commands in a row end the session.
Limits: MAX_LINE, MAX_BAD_COMMANDS. Source: RFC 1939.
"""

from dataclasses import dataclass

from mailsuite.base.dialogue import Action, Ask, Close, Send, TlsInfo
from mailsuite.base.errors import Bug, PeerError
from mailsuite.base.lines import LineBuffer
from mailsuite.pop3.reply import INTERNAL, error
from mailsuite.pop3.syntax import split_command

MAX_LINE = 2048             # octets with CRLF; Dovecot's number
MAX_BAD_COMMANDS = 20       # in a row; Dovecot's number
INACTIVITY_S = 10 * 60.0    # RFC 1939 section 3


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Done:
    """octets: the last of the reply. bad: counts as a bad command."""

    octets: bytes
    bad: bool = False
    close: bool = False
    reason: str = "Logged out"      # of a close, for the log


class Session:
    """One dialogue."""

    def __init__(self, *, greeting: bytes = b"") -> None:
        self.timeout_s = INACTIVITY_S
        self._greeting, self._lines = greeting, LineBuffer(MAX_LINE)
        self._asked = self._closed = False
        self._bad_commands = 0
        self.octets_in = self.octets_out = 0        # for the log line at the end

    @property
    def backlog(self) -> int:
        return len(self._lines)

    def opened(self) -> list[Action]:
        return [self._send(self._greeting)] if self._greeting else []

    def feed(self, octets: bytes) -> list[Action]:
        self._lines.feed(octets)
        self.octets_in += len(octets)
        return self._go_on([])

    def _go_on(self, actions: list[Action]) -> list[Action]:
        if self._closed or self._asked:
            return actions
        try:
            line = self._lines.take_line()
        except PeerError:
            return actions + self._end(error("Input line too long."), "Input line too long")
        if line is not None:
            self._asked = True
            actions.append(Ask(Command(*split_command(line))))
        return actions

    def answered(self, result: object) -> list[Action]:
        if not self._asked or not isinstance(result, Done):
            raise Bug(f"no answer to a command: {result!r}")
        self._asked = False
        actions: list[Action] = [self._send(result.octets)] if result.octets else []
        if result.close:
            return actions + self._end(b"", result.reason)
        self._bad_commands = self._bad_commands + 1 if result.bad else 0
        if self._bad_commands > MAX_BAD_COMMANDS:
            return actions + self._end(error("Too many bad commands."), "Too many bad commands")
        return self._go_on(actions)

    def failed(self, problem: BaseException) -> list[Action]:
        self._asked = False
        return self._go_on([self._send(INTERNAL)])

    def secured(self, tls: TlsInfo) -> list[Action]:
        raise Bug("TLS begins before login")

    def timed_out(self) -> list[Action]:
        return self.end("Disconnected for inactivity.")

    def lost(self) -> list[Action]:
        self._closed = True
        return []

    def end(self, why: str) -> list[Action]:
        """The server ends the dialogue."""
        return [] if self._closed else self._end(error(why), why)

    def _send(self, octets: bytes) -> Send:
        self.octets_out += len(octets)
        return Send(octets)

    def _end(self, last: bytes, why: str) -> list[Action]:
        self._closed = True
        actions: list[Action] = [self._send(last)] if last else []
        return [*actions, Close(why)]
