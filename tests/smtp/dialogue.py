"""Plays a server session against a scripted world: no sockets, no tables."""

from dataclasses import dataclass, field

from mailsuite.base.dialogue import Action, Ask, Body, Close, Send, StartTls, TlsInfo
from mailsuite.smtp import questions
from mailsuite.smtp.config import SessionConfig
from mailsuite.smtp.facts import Client, Facts
from mailsuite.smtp.session import ServerSession


@dataclass
class World:
    """Answers as an obliging server does; refuse: address -> reply."""

    refuse: dict[str, str] = field(default_factory=dict)
    mechanisms: tuple[str, ...] = ()
    asked: list[object] = field(default_factory=list)
    message: bytes = b""
    messages: list[bytes] = field(default_factory=list)
    handshakes: int = 0
    closed: bool = False

    def answer(self, session: ServerSession, question: object) -> object:
        self.asked.append(question)
        match question:
            case questions.RcptTo() | questions.Verify():
                if question.recipient in self.refuse:
                    return questions.Refusal(self.refuse[question.recipient])
                if isinstance(question, questions.RcptTo):
                    session.facts.queue_id = "4F3A21"
            case questions.EndOfMessage():
                self.messages.append(self.message)
                self.message = b""
                return questions.Queued("4F3A21")
            case questions.Abandon():
                self.message = b""
            case questions.EhloOptions():
                return questions.Offer(mechanisms=self.mechanisms)
            case questions.Forbidden():
                return question.command == "GET"
            case questions.AuthStart():
                return questions.AuthDone("alice") if question.initial else questions.AuthMore(b"")
            case questions.AuthLine():
                return questions.AuthFailed("alice")
            case questions.Etrn():
                return "250 Queuing started"
            case questions.RateCheck() | questions.AddressSyntax():
                return True
        return None


class Play:
    """One dialogue. out: all that was sent."""

    def __init__(self, config: SessionConfig | None = None, world: World | None = None) -> None:
        self.world = world or World()
        self.session = ServerSession(config or SessionConfig(), Facts(Client("192.0.2.9", name="c.test")),
                                     ask_connect=False)
        self.out = b""
        self._perform(self.session.opened())

    def send(self, octets: bytes) -> bytes:
        """What is answered to octets."""
        before = len(self.out)
        self._perform(self.session.feed(octets))
        return self.out[before:]

    def lines(self, *lines: str) -> list[str]:
        """The (last line of each) reply to lines sent one by one."""
        return [self.send(line.encode() + b"\r\n").decode().rstrip("\r\n").rpartition("\n")[2] for line in lines]

    def _perform(self, actions: list[Action]) -> None:
        for action in actions:
            assert not self.world.closed, "nothing follows a Close"
            match action:
                case Send():
                    self.out += action.octets
                case Body():
                    self.world.message += action.octets
                case Ask():
                    self._perform(self.session.answered(self.world.answer(self.session, action.question)))
                case StartTls():
                    self.world.handshakes += 1
                    assert self.session.feed(b"NOOP\r\n") == []
                    self._perform(self.session.secured(TlsInfo("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256, 256)))
                case Close():
                    self.world.closed = True
