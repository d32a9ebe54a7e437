"""Our side of one connection to a milter: what is sent when, and what its answers mean. No sockets, no clocks.

    session = MilterSession(spec, options)
    send(session.hello()); session.feed(octets)...; session.agreed()           True once the options are settled
    send(session.event("rcpt", strings([...]), macro_values))                  b"": this milter does not want it
    session.feed(octets); answer = session.answer("rcpt")                      None: not whole yet

An `Answer` is what the milter's reply means. Edits come before the answer at the end of a message: `take_edits`.
Raises PeerError: the milter answers nonsense; the connection is of no use then.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from mailsuite.base.errors import PeerError
from mailsuite.smtp.milter.macros import chosen
from mailsuite.smtp.milter.reply_text import read_reply_text
from mailsuite.smtp.milter.settings import MilterOptions, MilterSpec
from mailsuite.smtp.milter.syntax import (
    EDITS,
    EVENTS,
    MACROS,
    OFFERED_ACTIONS,
    OFFERED_STEPS,
    Agreement,
    Kind,
    PacketBuffer,
    Reply,
    Steps,
    offer,
    packet,
    read_agreement,
    read_reply,
    unexpected,
)

COMMAND_REJECTED = "550 5.7.1 Command rejected"
TRY_LATER = "451 4.7.1 Service unavailable - try again later"
_MACROS_OF = {"header": "eoh", "body": "eom"}        # events whose macros are another's
_WITH_MACROS_ONLY = frozenset({"connect", "helo", "mail", "rcpt", "data", "unknown"})


class Act(Enum):
    """What becomes of the command or the message."""

    CONTINUE = auto()
    SKIP = auto()               # go on, but show nothing more of this kind
    ACCEPT = auto()             # this milter has seen enough
    REPLY = auto()              # the client is told `reply`
    DISCARD = auto()
    QUARANTINE = auto()         # the message is to be held
    SHUTDOWN = auto()           # the connection ends


@dataclass(frozen=True, slots=True)
class Answer:
    """reply: "550 5.7.1 text", lines separated by LF."""

    act: Act
    reply: str = ""


_PLAIN = {Kind.CONTINUE: Answer(Act.CONTINUE), Kind.ACCEPT: Answer(Act.ACCEPT), Kind.DISCARD: Answer(Act.DISCARD),
          Kind.REJECT: Answer(Act.REPLY, COMMAND_REJECTED), Kind.TEMPFAIL: Answer(Act.REPLY, TRY_LATER),
          Kind.SHUTDOWN: Answer(Act.SHUTDOWN)}


class MilterSession:
    """One connection."""

    def __init__(self, spec: MilterSpec, options: MilterOptions) -> None:
        self._spec, self._options = spec, options
        self._buffer = PacketBuffer(options.packet_limit)
        self._agreement = Agreement(spec.version, OFFERED_ACTIONS, Steps(0), {})
        self._edits: list[Reply] = []
        self._edit_count = self._body_size = 0

    def hello(self) -> bytes:
        return offer(self._spec.version)

    def feed(self, octets: bytes) -> None:
        self._buffer.feed(octets)

    def agreed(self) -> bool:
        """Whether the milter has answered our offer. Raises PeerError."""
        found = self._buffer.take()
        if found is None:
            return False
        letter, data = found
        if letter != Kind.NEGOTIATE.value:
            raise PeerError(f'unexpected reply "{letter.decode("latin-1")}" in initial handshake')
        agreement = read_agreement(data)
        if agreement.version > self._spec.version:
            raise PeerError(f"protocol version {agreement.version} conflict with MTA protocol version "
                            f"{self._spec.version}")
        if int(agreement.actions) & ~int(OFFERED_ACTIONS):
            raise PeerError(f"request mask {int(agreement.actions):#x} conflict with MTA request mask "
                            f"{int(OFFERED_ACTIONS):#x}")
        self._agreement = agreement
        return True

    # --- what the milter wants to see ---------------------------------------------------------------------------

    @property
    def version(self) -> int:
        return min(self._agreement.version, self._spec.version)

    def has(self, step: Steps) -> bool:
        return bool(self._agreement.steps & step)

    def wants(self, event: str) -> bool:
        """Whether the event is sent. A milter that answered with an old version does not know the newer ones."""
        known = EVENTS[event]
        return not self.has(known.leave_out) and not (
            known.version > self.version and self.version in OFFERED_STEPS)

    def is_answered(self, event: str) -> bool:
        if event == "header" and self._spec.silent_headers:
            return False
        return not self.has(EVENTS[event].silent)

    def event(self, event: str, data: bytes, values: Mapping[str, str]) -> bytes:
        """The octets that tell of an event: its macros, which are told even where the event itself is left out."""
        wanted = self.wants(event)
        if not wanted and (event not in _WITH_MACROS_ONLY or EVENTS[event].version > self.version):
            return b""
        letter = EVENTS[event].letter
        stage = _MACROS_OF.get(event, event)
        names = self._agreement.symbols.get(stage) or self._options.macros[stage]
        pairs = chosen(names, values, self._options.macro_defaults)
        return packet(MACROS, letter + pairs) + (packet(letter, data) if wanted else b"")

    # --- what it answers ----------------------------------------------------------------------------------------

    def answer(self, event: str) -> Answer | None:
        """The meaning of the next reply, None while it is not whole. Raises PeerError."""
        while (found := self._buffer.take()) is not None:
            reply = read_reply(*found, event)
            if reply.kind is Kind.PROGRESS:
                continue
            if reply.kind in EDITS:
                self._take_edit(event, reply)
                continue
            if reply.kind is Kind.SKIP:
                return Answer(Act.SKIP)
            if reply.kind is Kind.REPLY_CODE:
                return Answer(Act.REPLY, read_reply_text(reply.strings[0]))
            if reply.kind not in _PLAIN:
                raise unexpected(reply.kind, event)
            return _PLAIN[reply.kind]
        return None

    def _take_edit(self, event: str, reply: Reply) -> None:
        if event != "eom":
            raise unexpected(reply.kind, event)
        self._edit_count += 1
        self._body_size += len(reply.octets)
        if reply.kind is not Kind.REPLACE_BODY and self._edit_count > self._options.edit_limit:
            raise PeerError(f"more than {self._options.edit_limit} changes (milter_edit_limit)")
        if 0 < self._options.body_limit < self._body_size:
            raise PeerError("a new body over message_size_limit")
        self._edits.append(reply)

    def take_edits(self) -> list[Reply]:
        edits, self._edits = self._edits, []
        self._edit_count = self._body_size = 0
        return edits
