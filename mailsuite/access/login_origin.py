"""Where a client comes from, as far as a login goes: its connection, and what a trusted proxy said about it.

A proxy in login_trusted_networks passes on the client's addresses and session, in IMAP's ID ("x-originating-ip"...), in
POP3's and ManageSieve's XCLIENT. Nobody else is believed.
"""

import binascii
import ipaddress
from base64 import b64decode

from msgspec import Struct
from msgspec.structs import replace

from mailsuite.base.dialogue import Peer
from mailsuite.sasl import wire

TTL = 5                          # servers a login may be passed on to, one after the other
SESSION_ID_LIMIT = 64            # octets
CLIENT_ID_LIMIT = 256            # octets of what an ID command said, for the auth service
FORWARD_LIMIT = 4096             # octets of all fields that a proxy wants to be passed on


class Origin(Struct):
    """peer: both ends as they shall be known. first: those of the connection, where a trusted proxy named others.

    forward: "key=value" that the proxy wants to be passed on to the databases.
    """

    peer: Peer
    session_id: str = ""
    ttl: int = TTL
    forward: list[str] = []
    client_id: str = ""          # imap_id_retain
    first: Peer | None = None

    @property
    def changed(self) -> bool:
        """A trusted proxy said something."""
        return self.first is not None

    @property
    def real(self) -> Peer:
        """Both ends of the connection."""
        return self.first or self.peer

    # --- IMAP's ID ------------------------------------------------------------------------------------------------

    def take_id(self, key: str, value: str) -> None:
        """One pair of a trusted client's ID command; what makes no sense is passed over."""
        key = key.lower()
        match key:
            case "x-originating-ip":
                self._address("address", value)
            case "x-connected-ip":
                self._address("server_address", value)
            case "x-originating-port":
                self._port("port", value)
            case "x-connected-port":
                self._port("server_port", value)
            case "x-proxy-ttl":
                self._ttl(value)
            case "x-session-id" | "x-session-ext-id":
                self._session(value)
            case _ if key.startswith(FORWARD):
                self._forward([f"{key.removeprefix(FORWARD)}={value}"])

    # --- XCLIENT ----------------------------------------------------------------------------------------------------

    def take_xclient(self, words: list[str]) -> bool:
        """KEY=VALUE words of a trusted client; False when one is wrong. Unknown ones are passed over."""
        good = True
        for word in words:
            key, _, value = word.partition("=")
            match key.upper():
                case "ADDR":
                    good &= self._address("address", value)
                case "PORT":
                    good &= self._port("port", value)
                case "SESSION":
                    self._session(value)
                case "TTL":
                    good &= self._ttl(value)
                case "FORWARD":
                    good &= self._forward_encoded(value)
        return good

    # --- one value each -------------------------------------------------------------------------------------------

    def _address(self, name: str, value: str) -> bool:
        try:
            address = str(ipaddress.ip_address(value))
        except ValueError:
            return False
        self._change(**{name: address})
        return True

    def _port(self, name: str, value: str) -> bool:
        if not value.isascii() or not value.isdigit() or not 0 < int(value[:6]) < 65536:
            return False
        self._change(**{name: int(value)})
        return True

    def _ttl(self, value: str) -> bool:
        if not value.isascii() or not value.isdigit() or len(value) > 9:
            return False
        self.ttl = int(value)
        return True

    def _session(self, value: str) -> None:
        if value and len(value) <= SESSION_ID_LIMIT:
            self.session_id = value

    def _forward(self, fields: list[str]) -> None:
        self.forward += fields
        while sum(map(len, self.forward)) > FORWARD_LIMIT:
            self.forward.pop()

    def _forward_encoded(self, value: str) -> bool:
        try:
            octets = b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            return False
        self.forward = []
        self._forward([word for word in wire.words(octets) if word])
        return True

    def _change(self, **values: str | int) -> None:
        self.first = self.real
        self.peer = replace(self.peer, **values)


FORWARD = "x-forward-"


def is_reserved(key: str) -> bool:
    """Whether an ID field is for proxies, and so no part of what the client says it is."""
    key = key.lower()
    return key.startswith(FORWARD) or key in (
        "x-originating-ip", "x-connected-ip", "x-originating-port", "x-connected-port", "x-proxy-ttl", "x-session-id",
        "x-session-ext-id")
