"""A login with another server in a client's stead: what the protocols have in common. No I/O.

    dialogue = ImapDialogue(target, client)            proxy_imap.py, proxy_pop3.py, proxy_sieve.py
    for step in dialogue.take_line(line): ...          Say(octets) | Secure() | Compute(Derive) | LoggedIn(octets)
    dialogue.secured()                                 after Secure; what comes next
    dialogue.computed(octets)                          after Compute

Raises ProxyFailed: what the log says, what the client hears, whether another try may help.
"""

import binascii
from base64 import b64decode, b64encode
from dataclasses import dataclass
from enum import Enum, auto

from mailsuite.access.login_origin import Origin
from mailsuite.access.proxy_target import Target
from mailsuite.base.secret import Secret
from mailsuite.smtp.client_sasl import MECHANISMS, Derive, Exchange, SaslError

LINE_LIMIT = 4096                # octets of one line of the server before the login


class Kind(Enum):
    """Of failures."""

    CONNECT = auto()
    INTERNAL = auto()            # ours: the database's fields make no sense
    REMOTE = auto()
    REMOTE_CONFIG = auto()       # will be the same at every try
    PROTOCOL = auto()            # the server says what it may not
    AUTH = auto()                # it does not let the client in
    AUTH_TEMPORARY = auto()      # not now

    @property
    def in_words(self) -> str:
        """What stands before the reason in the log."""
        return _WORDS.get(self, "")

    @property
    def may_pass(self) -> bool:
        """Whether another try makes sense."""
        return self in (Kind.CONNECT, Kind.REMOTE, Kind.PROTOCOL, Kind.AUTH_TEMPORARY)

    @property
    def by_server(self) -> bool:
        return self in (Kind.AUTH, Kind.AUTH_TEMPORARY)


_WORDS = {Kind.REMOTE: "Aborting due to remote server: ", Kind.REMOTE_CONFIG: "Aborting due to remote server: ",
          Kind.PROTOCOL: "Remote server sent invalid input: "}


class ProxyFailed(Exception):
    """reply: what the client hears, a whole line without its end; "" is the protocol's usual one for the kind."""

    def __init__(self, kind: Kind, reason: str, reply: str = "") -> None:
        super().__init__(reason)
        self.kind, self.reason, self.reply = kind, reason, reply


@dataclass(frozen=True, slots=True)
class Say:
    octets: bytes


@dataclass(frozen=True, slots=True)
class Secure:
    """Do the TLS handshake now."""


@dataclass(frozen=True, slots=True)
class Compute:
    """Something slow is wanted; its result goes to computed()."""

    derive: Derive


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """Done: these octets are for the client, and all that follows goes to and fro."""

    octets: bytes


Step = Say | Secure | Compute | LoggedIn


@dataclass(frozen=True)
class ClientSide:
    """What the dialogue may know of the client. tag: of its login command (IMAP)."""

    origin: Origin
    tag: str = ""
    wants_capabilities: bool = False        # it asked for them before its login: an untagged answer, no response code


class ProxyDialogue:
    """state: for the log, what has been sent and received."""

    def __init__(self, target: Target, client: ClientSide) -> None:
        self.target, self.client = target, client
        self._exchange: Exchange | None = None

    @property
    def state(self) -> str:
        raise NotImplementedError

    def take_line(self, line: str) -> list[Step]:
        """One line of the server without its end. Raises ProxyFailed."""
        raise NotImplementedError

    def secured(self) -> list[Step]:
        """The handshake is done."""
        raise NotImplementedError

    def computed(self, octets: bytes) -> list[Step]:
        """The answer to Compute."""
        assert self._exchange is not None
        return self._sasl_answer(self._send(octets))

    # --- SASL -----------------------------------------------------------------------------------------------------

    def begin_sasl(self) -> bytes | None:
        """The initial response, in base64 ("=": empty); None when the server speaks first."""
        target = self.target
        if target.master:
            # Only PLAIN tells both names: who logs in, and as whom.
            self._exchange = _as_other(target.user, target.master, target.password)
        else:
            mechanism = target.mechanism or "PLAIN"
            self._exchange = MECHANISMS[mechanism].begin(target.user, target.password, mechanism == "PLAIN")
        first = next(self._exchange)
        assert not isinstance(first, Derive)
        return None if first is None else (b64encode(first) or b"=")

    def sasl_challenge(self, base64: str, *, first_wanted: bytes | None = None) -> list[Step]:
        """The server's challenge; first_wanted: the initial response, when it was held back."""
        try:
            challenge = b64decode(base64, validate=True)
        except (binascii.Error, ValueError):
            raise ProxyFailed(Kind.PROTOCOL, "Invalid base64 data in AUTHENTICATE response") from None
        if first_wanted is not None:
            return self._sasl_answer(b64decode(first_wanted) if first_wanted != b"=" else b"")
        return self._sasl_answer(self._send(challenge))

    def _send(self, octets: bytes) -> bytes | Derive | None:
        assert self._exchange is not None
        try:
            return self._exchange.send(octets)
        except SaslError as error:
            raise ProxyFailed(Kind.PROTOCOL, f"Invalid authentication data: {error}") from error

    def _sasl_answer(self, answer: bytes | Derive | None) -> list[Step]:
        if isinstance(answer, Derive):
            return [Compute(answer)]
        return [Say(self.sasl_line(b64encode(answer or b"")))]

    def sasl_line(self, base64: bytes) -> bytes:
        """A response as the protocol writes it."""
        return base64 + b"\r\n"


def _as_other(user: str, master: str, password: Secret) -> Exchange:
    yield b"\0".join([user.encode("utf-8", "surrogateescape"), master.encode("utf-8", "surrogateescape"),
                      password.reveal()])
    raise SaslError("authentication protocol loop")


def clean(line: str) -> str:
    """What a server said, for the log."""
    return "".join(char if char.isprintable() else "?" for char in line[:160])
