"""What plug-ins of aiosmtpd see of a connection: its Session and Envelope, and an object in the place of its server.

    view = View(hostname, loop); view.learn(facts); view.new_envelope(); view.server, view.session, view.envelope

The objects are aiosmtpd's own classes. session.peer is (address, port), of the client that XCLIENT or PROXY names.
session.auth_data of a client that our auth service knows is LoginPassword(login, b""): passwords are not passed on.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from aiosmtpd.smtp import MISSING, Envelope, LoginPassword, Session

if TYPE_CHECKING:
    from mailsuite.smtp.facts import Facts
    from mailsuite.smtp.handlers.dialogue import AuthDialogue

__all__ = ["MISSING", "View"]


class FacadeServer:
    """What hooks use of aiosmtpd.smtp.SMTP. push outside of AUTH is kept for who called the hook."""

    def __init__(self, view: "View", hostname: str) -> None:
        self._view, self.hostname = view, hostname
        self.pushed: list[str] = []
        self.dialogue: AuthDialogue | None = None

    @property
    def session(self) -> Any:
        return self._view.session

    @property
    def envelope(self) -> Any:
        return self._view.envelope

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    async def push(self, status: str | bytes) -> None:
        """A line for the client."""
        self.pushed.append(status.decode("utf-8", "surrogateescape") if isinstance(status, bytes) else status)

    async def challenge_auth(self, challenge: str | bytes, encode_to_b64: bool = True,
                             log_client_response: bool = False) -> Any:
        """The client's answer to a challenge of AUTH, or MISSING when it gave up."""
        if self.dialogue is None:
            return MISSING
        return await self.dialogue.challenge(challenge, encode_to_b64)

    def take_pushed(self) -> list[str]:
        pushed, self.pushed = self.pushed, []
        return pushed


class View:
    """One connection, one plug-in: plug-ins change these objects, each has its own."""

    def __init__(self, hostname: str) -> None:
        self.session = Session(asyncio.get_running_loop())
        self.envelope = Envelope()
        self.server = FacadeServer(self, hostname)

    def new_envelope(self) -> None:
        self.envelope = Envelope()

    def new_session(self) -> None:
        """After STARTTLS or XCLIENT."""
        self.session = Session(asyncio.get_running_loop())

    def learn(self, facts: "Facts") -> None:
        """Bring the session up to date."""
        session, client = self.session, facts.client
        session.peer = (client.address, client.port) if client.address else ""
        session.extended_smtp = facts.protocol == "ESMTP"
        if facts.tls is not None and session.ssl is None:
            session.ssl = {"cipher": (facts.tls.cipher, facts.tls.protocol, facts.tls.cipher_bits),
                           "peercert_der": facts.tls.peer_certificate or None}
        if facts.sasl_username and not session.authenticated:
            session.authenticated = True
            if session.auth_data is None:
                session.auth_data = LoginPassword(facts.sasl_username.encode("utf-8", "surrogateescape"), b"")
                session._login_data = session.auth_data.login
