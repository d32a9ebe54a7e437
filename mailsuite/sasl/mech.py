"""SASL mechanisms without I/O: what is said, and what they need to know, as generators.

    exchange = MECHANISMS["PLAIN"].start(Facts(...))
    move = next(exchange)             Say(octets): tell the peer, send() its answer;  Fetch(user, scheme): send() the
    move = exchange.send(answer)      secret in that scheme (bytes), or None when there is none;  Proof: send() anything
                                      when the attempt's turn has come;  Check(claim): send() b"" if right, else None
    MECHANISMS["PLAIN"].whole(initial)                  a Claim, of a mechanism whose initial response is all it says
    StopIteration.value               Claim: who it says it is, with a password to check; or Proved: it needs no more

An exchange raises MechError for what is no answer of its mechanism; that fails the login and nothing else. SMTP, IMAP
and POP3 all drive these through the auth service, so that no login process ever sees a stored password.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field

from msgspec import Struct

from mailsuite.base.errors import PeerError
from mailsuite.base.secret import Secret


class MechError(PeerError):
    """The peer's answer is not one of its mechanism; detail is for the log. user: whom it named, if it did."""

    def __init__(self, detail: str, *, user: str | None = None) -> None:
        super().__init__("Authentication failed.", status="5.7.8", detail=detail)
        self.user = user


@dataclass(frozen=True, slots=True)
class Say:
    """Tell the peer; its answer comes back. initial: an initial response, if there is one, is the answer instead."""

    octets: bytes
    initial: bool = False


@dataclass(frozen=True, slots=True)
class Fetch:
    """Get the stored secret of a user for a challenge mechanism; None comes back when there is none."""

    user: str
    scheme: str
    authzid: str = ""


class Claim(Struct, frozen=True):
    """The peer says it is user and knows the password. authzid: as whom it wants to act ("" for itself)."""

    user: str
    password: Secret
    authzid: str = ""


@dataclass(frozen=True, slots=True)
class Proved:
    """The exchange itself proved it. The user is the one that was fetched, or none was (ANONYMOUS, EXTERNAL)."""

    user: str
    anonymous: bool = False
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """The proof was wrong."""

    user: str


@dataclass(frozen=True, slots=True)
class Name:
    """The peer has said who it is, and the password comes later: a name that may not exist ends it here."""

    user: str


@dataclass(frozen=True, slots=True)
class Proof:
    """The proof has been looked at, nothing was said of it yet: who guesses passwords waits here for his turn.

    secret: what the user's secret is when good; equal for equal passwords. fits: whether another secret (a former one)
    would have made this proof, so that an old password is known again.
    """

    good: bool
    secret: bytes
    fits: Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class Check:
    """Check this claim now; b"" comes back when it is right, None when not, and then the peer may be told why."""

    claim: Claim


Move = Say | Fetch | Name | Proof | Check
End = Claim | Proved | Refused
Exchange = Generator[Move, bytes | None, End]


@dataclass(frozen=True)
class Facts:
    """What a mechanism may know besides the answers."""

    host_name: str = "localhost"
    anonymous_user: str = "anonymous"
    certificate_user: str = ""            # "" unless a good client certificate named one
    realm: str = ""
    bindings: Mapping[str, bytes] = field(default_factory=dict)    # channel bindings: type -> data of this connection
    binding_offered: bool = False         # the peer was told of a -PLUS mechanism
    apop_prefix: bytes = b""              # how the challenges begin that this connection's client may have sent


@dataclass(frozen=True)
class Mech:
    """start makes an exchange. flags: as the MECH line names them. whole: the claim of an initial response, for a
    mechanism that says no more than that, whoever asks; raises MechError."""

    name: str
    start: Callable[[Facts], Exchange]
    flags: tuple[str, ...] = ()
    whole: Callable[[bytes], "Claim"] | None = None

    @property
    def plaintext(self) -> bool:
        return "plaintext" in self.flags


def text(octets: bytes) -> str:
    """A name as text; octets that are no UTF-8 survive."""
    return octets.decode("utf-8", "surrogateescape")


def answer(octets: bytes | None) -> bytes:
    """What came back to a Say."""
    if octets is None:
        raise MechError("no answer")
    return octets
