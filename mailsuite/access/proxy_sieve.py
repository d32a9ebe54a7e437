"""Logging in with another ManageSieve server in a client's stead: STARTTLS, XCLIENT, AUTHENTICATE. No I/O.

Source: Pigeonhole's managesieve-login as a proxy; RFC 5804.
"""

import re
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

_RESPONSE = re.compile(r"(OK|NO|BYE)(?: |$)", re.IGNORECASE)
_REASON = re.compile(r'NO (?:\((?P<code>[^)]*)\) )?"(?P<text>(?:[^"\\]|\\.)*)"', re.IGNORECASE)


class SieveDialogue(ProxyDialogue):
    """States: none (the greeting), tls-start, tls-ready (the capabilities behind it), xclient, auth."""

    def __init__(self, target: Target, client: ClientSide) -> None:
        super().__init__(target, client)
        self._state = "none"
        self._offers: set[str] = set()

    @property
    def state(self) -> str:
        return self._state

    def take_line(self, line: str) -> list[Step]:
        response = _RESPONSE.match(line)
        word = response[1].upper() if response else ""
        match self._state:
            case "none" | "tls-ready":
                return self._greeting(line, word)
            case "tls-start":
                if word != "OK":
                    raise ProxyFailed(Kind.REMOTE, "Remote refused STARTTLS command")
                return [Secure()]
            case "xclient":
                if word != "OK":
                    raise ProxyFailed(Kind.REMOTE, f"Remote XCLIENT failed: {clean(line)}")
                return self._authenticate()
        if line.startswith('"'):
            return self.sasl_challenge(line.strip().strip('"'))
        if word == "OK":
            return [LoggedIn(line.encode("utf-8", "surrogateescape") + b"\r\n")]
        return self._refused(line)

    def secured(self) -> list[Step]:
        self._state = "tls-ready"       # the server tells its capabilities anew
        self._offers.clear()
        return []

    def _greeting(self, line: str, word: str) -> list[Step]:
        if not word:
            if not line.startswith('"'):
                raise ProxyFailed(Kind.PROTOCOL,
                                  f"Remote returned with invalid capability/greeting line: {clean(line)}")
            self._offers.add(line[1:].partition('"')[0].upper())
            return []
        if word != "OK":
            what = ("Remote sent unexpected NO/BYE instead of capability response" if self._state == "none"
                    else f"Remote STARTTLS failed: {clean(line)}")
            raise ProxyFailed(Kind.PROTOCOL if self._state == "none" else Kind.REMOTE, what)
        if self.target.starttls and self._state == "none":
            if "STARTTLS" not in self._offers:
                raise ProxyFailed(Kind.REMOTE_CONFIG, "Remote doesn't support STARTTLS")
            self._state = "tls-start"
            return [Say(b"STARTTLS\r\n")]
        if "XCLIENT" in self._offers and not self.target.untrusted:
            self._state = "xclient"
            return [Say(self._xclient())]
        return self._authenticate()

    def _authenticate(self) -> list[Step]:
        self._state = "auth"
        mechanism = self.target.mechanism or "PLAIN"
        first = self.begin_sasl()
        command = b'AUTHENTICATE "%b"' % mechanism.encode()
        if first is not None:
            first = b"" if first == b"=" else first
            command += b" {%d+}\r\n" % len(first) + first
        return [Say(command + b"\r\n")]

    def sasl_line(self, base64: bytes) -> bytes:
        return b"{%d+}\r\n" % len(base64) + base64 + b"\r\n"

    def _xclient(self) -> bytes:
        origin = self.client.origin
        text = (f"XCLIENT ADDR={origin.peer.address} PORT={origin.peer.port} SESSION={origin.session_id} "
                f"TTL={origin.ttl - 1}")
        if self.target.forward:
            told = wire.line(*(f"{name}={value}" for name, value in self.target.forward))[:-1]
            text += f" FORWARD={b64encode(told).decode()}"
        return text.encode("utf-8", "surrogateescape") + b"\r\n"

    def _refused(self, line: str) -> list[Step]:
        said = _REASON.match(line)
        reason = said["text"] if said else line
        if said and (said["code"] or "").upper() == "TRYLATER":
            raise ProxyFailed(Kind.AUTH_TEMPORARY, reason, f'NO (TRYLATER) "{reason}"')
        raise ProxyFailed(Kind.AUTH, reason, 'NO "Authentication failed."')
