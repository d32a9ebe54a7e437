"""Logging in with another IMAP server in a client's stead: ID, STARTTLS, LOGIN or AUTHENTICATE. No I/O.

What can be said without waiting is said at once (but with proxy_nopipelining). The server hears in ID who the client
is, where its banner offers ID; it believes that when we are in its login_trusted_networks.
Source: Dovecot's imap-login as a proxy; RFC 3501, RFC 2971.
"""

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

AUTHENTICATION_FAILED = "Authentication failed."
_SENT = ("id", "starttls", "capability", "authenticate", "auth-continue", "login")


class ImapDialogue(ProxyDialogue):
    """Tags: I for ID, S for STARTTLS, C for CAPABILITY, L for the login."""

    def __init__(self, target: Target, client: ClientSide) -> None:
        super().__init__(target, client)
        self._capabilities: str | None = None
        self._banner_seen = self._asked_capabilities = False
        self._secure = target.tls
        self._held: bytes | None = None         # the initial response, while AUTHENTICATE waits for "+"
        self._sent: set[str] = set()
        self._received = "none"

    @property
    def state(self) -> str:
        return "+".join(name for name in _SENT if name in self._sent) + "/" + self._received

    def take_line(self, line: str) -> list[Step]:
        if not self._banner_seen:
            self._banner_seen, self._received = True, "banner"
            return self._banner(line)
        if line.startswith("+"):
            return self._challenge(line)
        tag, _, rest = line.partition(" ")
        match tag:
            case "S":
                self._got("starttls")
                if not rest.startswith("OK"):
                    raise ProxyFailed(Kind.REMOTE, f"STARTTLS failed: {clean(rest.partition(' ')[2])}")
                return [Secure()]
            case "L":
                self._got("login")
                return self._login_reply(rest)
            case "C":
                self._got("capability")
                if rest.startswith("OK") and not self._sent & {"authenticate", "login"}:
                    return self._login()
                return []
            case "I":
                self._got("id")
                return self._go_on() if self.target.step_by_step else []
            case "*":
                return self._untagged(rest)
        return []

    def secured(self) -> list[Step]:
        self._secure = True
        self._capabilities = None       # those of the clear connection say nothing any more
        return self._login()

    def _got(self, what: str) -> None:
        self._sent.discard(what)
        self._received = what

    def _untagged(self, rest: str) -> list[Step]:
        if rest.upper().startswith("CAPABILITY "):
            self._capabilities = rest[11:]
        return []

    # --- what we say --------------------------------------------------------------------------------------------

    def _banner(self, line: str) -> list[Step]:
        if not line.startswith("* OK "):
            raise ProxyFailed(Kind.PROTOCOL, f"Invalid banner: {clean(line)}")
        text = line[5:]
        if text.startswith("[CAPABILITY "):
            self._capabilities = text[12:].partition("]")[0]
        steps: list[Step] = []
        if self._offers("ID") and not self.target.untrusted:
            self._sent.add("id")
            steps.append(Say(self._id()))
            if self.target.step_by_step:
                return steps
        return steps + self._go_on()

    def _offers(self, name: str) -> bool:
        return self._capabilities is not None and name in self._capabilities.upper().split()

    def _id(self) -> bytes:
        origin = self.client.origin
        peer = origin.peer
        fields = [("x-session-id", origin.session_id), ("x-originating-ip", peer.address),
                  ("x-originating-port", str(peer.port)), ("x-connected-ip", peer.server_address),
                  ("x-connected-port", str(peer.server_port)), ("x-proxy-ttl", str(origin.ttl - 1)),
                  *((f"x-forward-{name}", value) for name, value in self.target.forward)]
        words = [origin.client_id] if origin.client_id else []
        words += [f"{_quoted(name)} {_quoted(value)}" for name, value in fields]
        return f"I ID ({' '.join(words)})\r\n".encode("utf-8", "surrogateescape")

    def _go_on(self) -> list[Step]:
        if self.target.starttls and not self._secure:
            if self._capabilities is not None and not self._offers("STARTTLS"):
                raise ProxyFailed(Kind.REMOTE_CONFIG, "STARTTLS not supported")
            self._sent.add("starttls")
            return [Say(b"S STARTTLS\r\n")]
        return self._login()

    def _login(self) -> list[Step]:
        steps: list[Step] = []
        if not self._asked_capabilities and (self._capabilities is None or self.client.wants_capabilities):
            self._asked_capabilities = True
            self._sent.add("capability")
            steps.append(Say(b"C CAPABILITY\r\n"))
            if self.target.step_by_step:
                return steps
        target = self.target
        if not target.mechanism:
            if self._offers("LOGINDISABLED") and not self._secure:
                raise ProxyFailed(Kind.REMOTE_CONFIG, "LOGINDISABLED advertised, but SSL/TLS not enabled")
            self._sent.add("login")
            words = b" ".join(_astring(text) for text in (target.user.encode("utf-8", "surrogateescape"),
                                                          target.password.reveal()))
            return [*steps, Say(b"L LOGIN " + words + b"\r\n")]
        first = self.begin_sasl()
        command = f"L AUTHENTICATE {target.mechanism}".encode()
        if first is not None and self._offers("SASL-IR"):
            command += b" " + first
        else:
            self._held = first
        self._sent.add("authenticate")
        return [*steps, Say(command + b"\r\n")]

    def _challenge(self, line: str) -> list[Step]:
        if self._exchange is None:
            return []
        self._sent.discard("authenticate")
        self._received = "auth-continue"
        held, self._held = self._held, None
        steps = self.sasl_challenge(line[1:].lstrip(), first_wanted=held)
        self._sent.add("auth-continue")
        return steps

    # --- how it ended -----------------------------------------------------------------------------------------------

    def _login_reply(self, rest: str) -> list[Step]:
        if rest.startswith("OK "):
            return [LoggedIn(self._welcome(rest[3:]).encode("utf-8", "surrogateescape"))]
        reason = rest.removeprefix("NO ")
        tag = self.client.tag
        if rest.startswith("NO [") and not rest.startswith("NO [AUTHENTICATIONFAILED]"):
            if rest.upper().startswith("NO [UNAVAILABLE]"):
                raise ProxyFailed(Kind.AUTH_TEMPORARY, reason, f"{tag} NO {reason}")
            raise ProxyFailed(Kind.AUTH, reason, f"{tag} {rest}")
        # Words of its own could tell who exists.
        raise ProxyFailed(Kind.AUTH, reason, f"{tag} NO [AUTHENTICATIONFAILED] {AUTHENTICATION_FAILED}")

    def _welcome(self, text: str) -> str:
        tagged = text.upper().startswith("[CAPABILITY ")
        capabilities = text[12:].partition("]")[0] if tagged else self._capabilities
        if capabilities is None:
            return f"{self.client.tag} OK {text}\r\n"
        if self.client.wants_capabilities:
            return f"* CAPABILITY {capabilities}\r\n{self.client.tag} OK {text}\r\n"
        if not tagged:
            text = f"[CAPABILITY {capabilities}] " + (text.partition("]")[2].lstrip() if text.startswith("[") else text)
        return f"{self.client.tag} OK {text}\r\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "").replace("\n", "") + '"'


def _astring(octets: bytes) -> bytes:
    """Quoted, or a literal that needs no waiting where an octet may not stand in quotes."""
    if any(octet in b"\0\r\n" or octet > 126 for octet in octets):
        return b"{%d+}\r\n" % len(octets) + octets
    return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
