"""Server side of one IMAP dialogue after login: octets in, actions out; no sockets, clocks or files.

    session = Session(limits, greeting=b"a1 OK Logged in\\r\\n")
    session.feed(octets) -> [Send(...), Ask(Command(...))]        session.answered(Done(...))

Questions (`Ask`): `Command` (a whole command, literals included), `AppendPart` (one literal of APPEND is announced:
take it or not), `AppendEnd`, `IdleEnd`. The answer is `Done` (the tagged line, whole), or `Go` (APPEND may send; IDLE
has begun). What a command says untagged is sent by the server module meanwhile; it comes before the tagged line.

Literals of APPEND flow to the server's sink as `Body` and are never whole in memory. All other literals count
against `max_line_length` together with their line. Literals that nobody wants are skipped, not read as commands.
Limits: params.Limits. Source: RFC 3501 section 2.2, RFC 7888, RFC 2177.
"""

from collections.abc import Callable, Container
from dataclasses import dataclass, field

from mailsuite.base.dialogue import Action, Ask, Body, Close, Send, TlsInfo
from mailsuite.base.errors import Bug, PeerError
from mailsuite.base.lines import LineBuffer
from mailsuite.imap.reply import BAD, Reply, bad_arguments, internal_error
from mailsuite.imap.syntax import Argument, ArgumentParser, Literal, split_command, split_name, split_tag

MAX_BAD_COMMANDS = 20       # in a row; Dovecot's number
INACTIVITY_S = 30 * 60.0    # RFC 3501 section 5.4
LITERAL_MINUS = 4096        # octets; RFC 7888 section 5


@dataclass(frozen=True, slots=True)
class Command:
    """A whole command. name: upper case, "UID FETCH" for UID commands; uid says that it is one."""

    tag: bytes
    name: str
    arguments: list[Argument]
    uid: bool = False


@dataclass(frozen=True, slots=True)
class AppendPart:
    """APPEND announces a literal. arguments: all since the last literal; the first time the mailbox leads them.

    first: nothing was announced before in this command. name: or REPLACE, whose message number leads, UID REPLACE.
    """

    tag: bytes
    arguments: list[Argument]
    literal: Literal
    first: bool
    name: str = "APPEND"
    uid: bool = False


@dataclass(frozen=True, slots=True)
class AppendEnd:
    """The last line of APPEND came. arguments: what stood behind the last literal. error: the line was nonsense."""

    tag: bytes
    arguments: list[Argument]
    error: str = ""


@dataclass(frozen=True, slots=True)
class IdleEnd:
    """The client left IDLE. regular: by DONE."""

    tag: bytes
    regular: bool


@dataclass(frozen=True, slots=True)
class Done:
    """The command is over. octets: its tagged line (and what else must come last)."""

    octets: bytes
    bad: bool = False
    close: bool = False


@dataclass(frozen=True, slots=True)
class Go:
    """APPEND: send the literal. IDLE: it has begun. octets: what is said first, when the client waits for it."""

    octets: bytes = b""


# Arguments in front of the first message.
_WITHOUT_ARGUMENTS = frozenset({"NOOP", "CHECK"})
_TAKING_BINARY = frozenset({"SETMETADATA"})             # RFC 5464 section 5; messages are taken otherwise
_BEFORE_MESSAGES = {"APPEND": 1, "REPLACE": 2, "UID REPLACE": 2}


@dataclass(slots=True)
class _Reading:
    """The command being read."""

    tag: bytes
    name: str = ""
    uid: bool = False
    parser: ArgumentParser = field(default_factory=ArgumentParser)
    octets: int = 0             # of lines and literals so far
    announced: bool = False     # APPEND: a literal was given to the sink

    @property
    def streams(self) -> bool:
        """A literal that comes now is a message."""
        least = _BEFORE_MESSAGES.get(self.name)
        return self.announced or least is not None and len(self.parser.arguments) >= least


class Session:
    """One dialogue. max_line_length: octets of a command with its literals, but for APPEND's.

    known: names of commands; arguments of others are not looked at. None: all are asked for. literal_minus: a client
    may send LITERAL_MINUS octets without asking, not more (RFC 7888 section 5). literal8: ~{} may stand for any string.
    """

    def __init__(self, *, greeting: bytes = b"", max_line_length: int = 65536,
                 known: Container[str] | None = None, literal_minus: bool = False, literal8: bool = False) -> None:
        self._known, self._literal_minus, self._literal8 = known, literal_minus, literal8
        self.timeout_s = INACTIVITY_S
        self._greeting, self._limit = greeting, max_line_length
        self._lines = LineBuffer(max_line_length)
        self._step: Callable[[list[Action]], bool] = self._read_command
        self._reading: _Reading | None = None
        self._literal: Literal | None = None
        self._left = 0                  # octets of a literal still to come
        self._collected = bytearray()
        self._asked: object = None
        self._bad_commands = 0
        self._closed = False

    @property
    def backlog(self) -> int:
        return len(self._lines)

    # --- the contract of base.dialogue --------------------------------------------------------------------------

    def opened(self) -> list[Action]:
        return [Send(self._greeting)] if self._greeting else []

    def feed(self, octets: bytes) -> list[Action]:
        self._lines.feed(octets)
        return self._go_on([])

    def answered(self, result: object) -> list[Action]:
        asked, self._asked = self._asked, None
        if asked is None:
            raise Bug("answer without a question")
        actions: list[Action] = []
        match result:
            case Done():
                self._over(asked)
                if self._one_too_many(actions, result.bad):
                    return actions
                actions.append(Send(result.octets))
                if result.close:
                    return self._close(actions, "Logged out")
            case Go():
                if result.octets:
                    actions.append(Send(result.octets))
                self._step = self._read_idle if isinstance(asked, Command) else self._pass_literal
            case _:
                raise Bug(f"no answer to {asked!r}: {result!r}")
        return self._go_on(actions)

    def failed(self, error: BaseException) -> list[Action]:
        asked, self._asked = self._asked, None
        tag = getattr(asked, "tag", b"*")
        self._over(asked)
        return self._go_on([Send(internal_error().line(tag))])

    def secured(self, tls: TlsInfo) -> list[Action]:
        raise Bug("TLS begins before login")

    def timed_out(self) -> list[Action]:
        return self.end("Disconnected for inactivity")

    def lost(self) -> list[Action]:
        self._closed = True
        return []

    def remaining(self) -> bytes:
        """What the client has sent behind the command that is being answered; the session is over."""
        self._closed = True
        return self._lines.take_octets(len(self._lines))

    def end(self, why: str) -> list[Action]:
        """The server ends the dialogue: BYE."""
        return [] if self._closed else self._close([Send(b"* BYE %b.\r\n" % why.encode())], why)

    # --- steps: each takes what it can and says whether another may follow ----------------------------------------

    def _go_on(self, actions: list[Action]) -> list[Action]:
        while not self._closed and self._asked is None and self._step(actions):
            pass
        return actions

    def _line(self, actions: list[Action]) -> bytes | None:
        """The next line; a line that is too long is answered here, and the rest of it is skipped."""
        try:
            return self._lines.take_line()
        except PeerError:
            start = self._lines.take_octets(self._limit)
            self._step = self._skip_line
            reading, self._reading = self._reading or _begin(start), None
            self._refuse(actions, reading, PeerError("Too long argument"))
            return None

    def _skip_line(self, actions: list[Action]) -> bool:
        """Forget octets until a line ends."""
        try:
            line = self._lines.take_line()
        except PeerError:
            self._lines.take_octets(self._limit)
            return True
        if line is None:
            self._lines.clear()
            return False
        self._step = self._read_command
        return True

    def _read_command(self, actions: list[Action]) -> bool:
        line = self._line(actions)
        if line is None:
            return self._step == self._skip_line
        reading = _Reading(b"")
        try:
            whole = split_command(line)
            if whole is not None:
                reading.tag, reading.name, line = whole
            else:
                reading.tag, line = split_tag(line)
                reading.name, line = split_name(line)
            if reading.name == "UID":
                reading.name = ""
                name, line = split_name(line)
                reading.name, reading.uid = "UID " + name, True
        except PeerError as error:
            self._refuse(actions, reading, error)
            return True
        if self._known is not None and reading.name not in self._known:
            self._refuse(actions, reading, PeerError("Unknown command"))
            self._skip_behind(line)
            return True
        self._reading = reading
        return self._take_arguments(actions, line) if line else self._whole(actions, reading)

    def _read_more(self, actions: list[Action]) -> bool:
        line = self._line(actions)
        return self._step == self._skip_line if line is None else self._take_arguments(actions, line)

    def _take_arguments(self, actions: list[Action], line: bytes) -> bool:
        reading = self._reading
        assert reading is not None
        reading.octets += len(line)
        try:
            literal = reading.parser.feed_line(line)
        except PeerError as error:
            if reading.announced:       # the messages taken so far must be dropped
                return self._ask(actions, AppendEnd(reading.tag, [], error.public))
            self._reading, self._step = None, self._read_command
            self._refuse(actions, reading, error)
            return True
        if literal is None:
            return self._whole(actions, reading)
        if self._literal_minus and not literal.sync and literal.size > LITERAL_MINUS:
            return self._end_for_literal(actions, reading)
        if reading.streams and (literal.binary or not reading.parser.is_behind(b"URL")):    # CATENATE (URL {20} ...
            return self._announce(actions, reading, literal)
        if literal.sync and reading.name in _WITHOUT_ARGUMENTS:
            return self._ask(actions, Command(reading.tag, reading.name, []))       # as Dovecot: nobody reads them
        if literal.binary and not self._literal8 and reading.name not in _TAKING_BINARY:
            self._reading, self._step = None, self._read_command
            self._refuse(actions, reading, PeerError("literal8 not allowed here"))
            self._skip_behind(line)
            return True
        reading.octets += literal.size
        if reading.octets > self._limit:
            actions.append(Send(b"* BYE Literal size too large\r\n"))
            self._close(actions, "Literal size too large")
            return False
        self._literal, self._left, self._step = literal, literal.size, self._collect_literal
        if literal.sync:
            actions.append(Send(b"+ OK\r\n"))
        return True

    def _end_for_literal(self, actions: list[Action], reading: _Reading) -> bool:
        """What follows could be anything."""
        why = "Non-synchronizing literal size too large"
        code = b"[TOOBIG] " if reading.streams else b""
        actions.append(Send(b"* BYE %b%b\r\n" % (code, why.encode())))
        self._close(actions, why)
        return False

    def _whole(self, actions: list[Action], reading: _Reading) -> bool:
        if reading.announced:
            return self._ask(actions, AppendEnd(reading.tag, reading.parser.arguments))
        return self._ask(actions, Command(reading.tag, reading.name, reading.parser.arguments, reading.uid))

    def _collect_literal(self, actions: list[Action]) -> bool:
        octets = self._lines.take_octets(self._left)
        self._collected += octets
        self._left -= len(octets)
        if self._left:
            return False
        assert self._reading is not None
        self._reading.parser.feed_literal(bytes(self._collected))
        self._collected.clear()
        self._step = self._read_more
        return True

    # --- APPEND ---------------------------------------------------------------------------------------------------

    def _announce(self, actions: list[Action], reading: _Reading, literal: Literal) -> bool:
        part = AppendPart(reading.tag, reading.parser.arguments, literal, first=not reading.announced,
                          name=reading.name, uid=reading.uid)
        in_list = reading.parser.in_list
        if not in_list:
            reading.parser = ArgumentParser()
        reading.announced = True
        self._literal, self._left = literal, literal.size
        return self._ask(actions, part)

    def _pass_literal(self, actions: list[Action]) -> bool:
        """Hand the octets to the sink as they come."""
        if self._left:
            octets = self._lines.take_octets(self._left)
            if not octets:
                return False
            self._left -= len(octets)
            actions.append(Body(octets))
            if self._left:
                return False
        assert self._reading is not None and self._literal is not None
        if self._reading.parser.in_list:
            self._reading.parser.feed_literal(b"")      # CATENATE: its place among the parts
        self._step = self._read_more
        return True

    def _skip_literal(self, actions: list[Action]) -> bool:
        """A refused APPEND whose client did not wait: neither its octets nor what follows them are commands."""
        if self._left:
            self._left -= len(self._lines.take_octets(self._left))
            if self._left:
                return False
        line = self._line(actions)
        if line is None:
            return self._step == self._skip_line
        self._skip_behind(line)
        return True

    def _skip_behind(self, line: bytes) -> None:
        """A line that is not wanted: a literal that is sent without waiting is not wanted either."""
        opening = line.rfind(b"{")
        if line.endswith(b"+}") and opening >= 0 and line[opening + 1:-2].isdigit():
            self._left = min(int(line[opening + 1:-2][:18]), 1 << 50)
            self._step = self._skip_literal
        else:
            self._step = self._read_command

    # --- IDLE -----------------------------------------------------------------------------------------------------

    def _read_idle(self, actions: list[Action]) -> bool:
        line = self._line(actions)
        if line is None:
            return self._step == self._skip_line
        assert self._reading is not None
        return self._ask(actions, IdleEnd(self._reading.tag, line.upper() == b"DONE"))

    # --- ends -----------------------------------------------------------------------------------------------------

    def _ask(self, actions: list[Action], question: object) -> bool:
        self._asked = question
        actions.append(Ask(question))
        return False

    def _over(self, asked: object) -> None:
        """The command is answered: read the next."""
        self._step = self._read_command
        if isinstance(asked, AppendPart):
            # Refused before its octets came. A client that waits sends the next command instead.
            self._step = self._read_command if asked.literal.sync else self._skip_literal
        self._reading = None

    def _refuse(self, actions: list[Action], reading: _Reading, error: PeerError) -> None:
        if not reading.tag:
            reply = Reply(BAD, f"Error in IMAP tag: {error.public}", counts=True)
        elif not reading.name:
            reply = Reply(BAD, f"Error in IMAP command: {error.public}", counts=True)
        else:
            reply = bad_arguments(reading.name, error)
        if not self._one_too_many(actions, True):
            actions.append(Send(reply.line(reading.tag or b"*")))

    def _one_too_many(self, actions: list[Action], bad: bool) -> bool:
        """Count; True ends the session, and that command gets no reply of its own, as with Dovecot."""
        self._bad_commands = self._bad_commands + 1 if bad else 0
        if self._bad_commands <= MAX_BAD_COMMANDS:
            return False
        actions.append(Send(b"* BYE Too many invalid IMAP commands.\r\n"))
        self._close(actions, "Too many invalid IMAP commands")
        return True

    def _close(self, actions: list[Action], why: str) -> list[Action]:
        self._closed = True
        actions.append(Close(why))
        return actions


def _begin(start: bytes) -> _Reading:
    """Tag and name of a line that was too long to be read."""
    reading = _Reading(b"")
    try:
        reading.tag, rest = split_tag(start)
        reading.name, _ = split_name(rest)
    except PeerError:
        pass
    return reading
