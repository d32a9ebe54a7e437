"""A connection to an IMAP server on which commands are given: log in, commands with literals, their answers.

    with Connection(account) as connection:  connection.command(b"NOOP", on=take_untagged) -> Tagged

Raises: Lost (make another connection), PeerError (no IMAP), Refusal (the server said NO or BAD), and what login_client
raises.
"""

import contextlib
from collections.abc import Callable
from typing import Self

from mailsuite.base.errors import PeerError, PermanentError
from mailsuite.imapc import login_client
from mailsuite.imapc.account import Account
from mailsuite.imapc.response import number
from mailsuite.imapc.spool import Spool
from mailsuite.imapc.wire_client import Continue, Lost, Response, Tagged, Untagged, Wire

_TEMPORARY = frozenset((b"UNAVAILABLE", b"INUSE", b"LIMIT", b"THROTTLED", b"SERVERBUG", b"OVERQUOTA"))


class Refusal(PermanentError):
    """NO or BAD. code: e.g. b"TRYCREATE"."""

    def __init__(self, done: Tagged, what: str) -> None:
        super().__init__(f"{what}: {done.text.decode('utf-8', 'replace')}")
        self.code = done.code

    @property
    def temporary(self) -> bool:
        return self.code in _TEMPORARY


class Literal(bytes):
    """Sent as a literal."""


Handler = Callable[[Untagged], None]


def quote(text: bytes) -> list[bytes]:
    """As a quoted string, or as a literal what no quoted string can hold."""
    if len(text) < 1000 and text.isascii() and not any(char in text for char in b"\r\n\0"):
        return [b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"']
    return [Literal(text)]


def name_octets(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


class Connection:
    """Blocking; belongs to one thread."""

    def __init__(self, account: Account, *, interrupted: Callable[[], None] = lambda: None) -> None:
        self.account = account
        self._wire = Wire(account, interrupted=interrupted)
        self._count = 0
        self._bye = ""
        self.capabilities: frozenset[str] = frozenset()
        self.exists = 0                 # messages in the selected mailbox, as the server said last

    # --- life -------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def start(self) -> None:
        """Connect and log in. Raises Lost, PeerError, LoginFailed, ConfigError."""
        try:
            self._wire.open()
            welcome = login_client.greeting(self._wire)
            if self.account.tls == "starttls":
                if welcome:
                    raise PeerError(f"{self.account.host} greets with PREAUTH: TLS cannot be started any more")
                self.command(b"STARTTLS")
                self._wire.start_tls()
            self.capability()
            if not welcome:
                done = login_client.log_in(self._wire, self.command, self.capabilities, quote)
                if done.code == b"CAPABILITY":
                    self._know(done.arguments)
                else:
                    self.capability()
            self.logged_in()
        except BaseException:
            self._wire.close()
            raise

    def close(self) -> None:
        """LOGOUT, if the connection still serves."""
        if self._wire.is_open:
            with contextlib.suppress(Lost, PeerError, Refusal):
                self.command(b"LOGOUT")
        self._wire.close()

    @property
    def alive(self) -> bool:
        """Not known to be lost."""
        return self._wire.is_open

    def logged_in(self) -> None:
        """What a client wants to know first."""

    def capability(self) -> None:
        self.command(b"CAPABILITY")

    def _know(self, words: bytes) -> None:
        self.capabilities = frozenset(words.decode("ascii", "replace").upper().split())

    # --- commands ---------------------------------------------------------------------------------------------------

    def command(self, *parts: bytes, check: bool = True, on: Handler | None = None,
                answer: Callable[[Continue], bytes] | None = None) -> Tagged:
        """One command, to its end. parts: a Literal among them is sent as one. Raises Refusal when check."""
        done = self._finish(self._begin(*parts), on, answer=answer)
        if check and done.status != b"OK":
            raise Refusal(done, parts[0].split(b" ")[0].decode())
        return done

    def _begin(self, *parts: bytes) -> bytes:
        """Send a command; waits only where a literal has to be asked for."""
        self._count += 1
        tag = b"a%d" % self._count
        out = [tag, b" "]
        for part in parts:
            if not isinstance(part, Literal):
                out.append(part)
                continue
            plus = self.sends_at_once(len(part))
            out.append(b"{%d%b}\r\n" % (len(part), b"+" if plus else b""))
            if not plus:
                self._wire.send(b"".join(out))
                out = []
                self._await_go_ahead(tag)
            out.append(part)
        self._wire.send(b"".join([*out, b"\r\n"]))
        return tag

    def sends_at_once(self, size: int) -> bool:
        """May a literal of this size go without being asked for (RFC 7888)?"""
        return "LITERAL+" in self.capabilities or "LITERAL-" in self.capabilities and size <= 4096

    def _await_go_ahead(self, tag: bytes) -> None:
        response = self._next(None)
        while not isinstance(response, Continue):
            if isinstance(response, Tagged) and response.tag == tag:
                raise Refusal(response, "literal")
            response = self._next(None)

    def _next(self, on: Handler | None, sink: Spool | None = None) -> Response:
        """The next response; what concerns the connection is noted."""
        try:
            response = self._wire.read(sink)
        except Lost as error:
            if self._bye:
                raise Lost(f"{error.public} ({self._bye})") from error
            raise
        if isinstance(response, Untagged):
            self._note(response)
            if on is not None:
                on(response)
        return response

    def _finish(self, tag: bytes, on: Handler | None, *, sink: Spool | None = None,
                answer: Callable[[Continue], bytes] | None = None) -> Tagged:
        while True:
            response = self._next(on, sink)
            if isinstance(response, Tagged) and response.tag == tag:
                return response
            if isinstance(response, Continue) and answer is not None:
                self._wire.send(answer(response) + b"\r\n")

    def _note(self, response: Untagged) -> None:
        name = response.name
        if name == b"CAPABILITY":
            self._know(b" ".join(word for word in response.values[1:] if isinstance(word, bytes)))
        elif name == b"BYE":
            self._bye = response.text.decode("utf-8", "replace")
        elif name == b"EXISTS":
            self.exists = number(response.values[0])
