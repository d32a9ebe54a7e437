"""Logging in with another POP3 server in a client's stead: STLS, XCLIENT, USER and PASS or AUTH. No I/O.

Source: Dovecot's pop3-login as a proxy; RFC 1939, RFC 2595, RFC 5034.
"""

from base64 import b64encode

from mailsuite.access.proxy_dialogue import (
    ClientSide,
    Kind,
    LoggedIn,
    ProxyDialogue,
    ProxyFailed,
    Say,
    Secure,
    Step,
    clean,
)
from mailsuite.access.proxy_target import Target
from mailsuite.sasl import wire


class Pop3Dialogue(ProxyDialogue):
    """States, as the log names them: banner, starttls, xclient, login1 (USER), login2 (PASS, AUTH)."""

    def __init__(self, target: Target, client: ClientSide) -> None:
        super().__init__(target, client)
        self._state = "banner"
        self._takes_xclient = False
        self._held: bytes | None = None

    @property
    def state(self) -> str:
        return self._state

    def take_line(self, line: str) -> list[Step]:
        good = line.startswith("+OK")
        match self._state:
            case "banner":
                if not good:
                    raise ProxyFailed(Kind.PROTOCOL, f"Invalid banner: {clean(line)}")
                self._takes_xclient = line.startswith("+OK [XCLIENT]")
                if not self.target.starttls:
                    return self._begin()
                self._state = "starttls"
                return [Say(b"STLS\r\n")]
            case "starttls":
                if not good:
                    raise ProxyFailed(Kind.REMOTE, f"STLS failed: {clean(line)}")
                return [Secure()]
            case "xclient":
                if not good:
                    raise ProxyFailed(Kind.REMOTE, f"XCLIENT failed: {clean(line)}")
                self._state = "login2" if self.target.mechanism else "login1"
                return []
            case "login1" if good:
                self._state = "login2"
                return [Say(b"PASS " + self.target.password.reveal() + b"\r\n")]
            case "login2" if line.startswith("+ ") and self._exchange is not None:
                held, self._held = self._held, None
                return self.sasl_challenge(line[2:], first_wanted=held)
            case "login2" if good:
                return [LoggedIn(line.encode("utf-8", "surrogateescape") + b"\r\n")]
        return self._refused(line)

    def secured(self) -> list[Step]:
        return self._begin()

    def _begin(self) -> list[Step]:
        steps: list[Step] = []
        self._state = "login2" if self.target.mechanism else "login1"
        if self._takes_xclient and not self.target.untrusted:
            steps.append(Say(self._xclient()))
            self._state = "xclient"
        if not self.target.mechanism:
            user = self.target.user.encode("utf-8", "surrogateescape")
            if any(octet in b"\0\r\n" for octet in user + self.target.password.reveal()):
                raise ProxyFailed(Kind.INTERNAL, "name or password cannot be said in POP3")
            return [*steps, Say(b"USER " + user + b"\r\n")]
        first = self.begin_sasl()
        if first is None:
            return [*steps, Say(f"AUTH {self.target.mechanism}\r\n".encode())]
        return [*steps, Say(f"AUTH {self.target.mechanism} ".encode() + first + b"\r\n")]

    def _xclient(self) -> bytes:
        origin = self.client.origin
        text = (f"XCLIENT ADDR={origin.peer.address} PORT={origin.peer.port} SESSION={origin.session_id} "
                f"TTL={origin.ttl - 1}")
        if self.target.forward:
            told = wire.line(*(f"{name}={value}" for name, value in self.target.forward))[:-1]
            text += f" FORWARD={b64encode(told).decode()}"
        return text.encode("utf-8", "surrogateescape") + b"\r\n"

    def _refused(self, line: str) -> list[Step]:
        if not line.startswith("-ERR "):
            raise ProxyFailed(Kind.AUTH, line, "-ERR [AUTH] Authentication failed.")
        if line.startswith("-ERR [SYS/TEMP]"):
            raise ProxyFailed(Kind.AUTH_TEMPORARY, line[5:], line)
        raise ProxyFailed(Kind.AUTH, line[5:], line)
