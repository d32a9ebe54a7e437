"""What a login process tells the user's worker about a connection that has logged in.

The descriptor beside it is the client's own socket (plain) or one end of a socketpair on which the login process
passes on what it decrypts (TLS); both are non-blocking stream sockets, used alike.

The worker says the first word: for IMAP "TAG OK [CAPABILITY ...] Logged in", or an untagged CAPABILITY and
"TAG OK Logged in" when capability_asked; for POP3 "+OK Logged in.". Then it goes on with `octets`, which the client
had already sent behind its login.
"""

import zlib
from collections.abc import Mapping
from functools import lru_cache
from operator import itemgetter

from msgspec import Struct

from mailsuite.base.dialogue import Peer, TlsInfo

# Why a worker sends a hand-over back: it cannot read the grant; the user is another worker's.
GRANT, SHARE = "grant", "share"


class HandOver(Struct, frozen=True):
    """One logged-in connection. protocol: "imap" or "pop3". tls: None for a plain connection.

    secured: TLS, or a client on this host. mechanism: "PLAIN"... session_id: as in the log lines.
    """

    protocol: str
    user: str
    tag: bytes
    octets: bytes
    peer: Peer
    tls: TlsInfo | None
    session_id: str
    mechanism: str = "PLAIN"
    capability_asked: bool = False
    secured: bool = False
    utf8: bool = False               # POP3: the client said UTF8 (RFC 6856)
    way_back: str = ""               # of a connection that may come back (way_back.py)

    def to_message(self) -> dict[str, object]:
        """As JSON between our processes."""
        peer, tls = self.peer, self.tls
        return {
            "protocol": self.protocol, "user": self.user, "tag": self.tag.decode("latin-1"),
            "octets": self.octets.decode("latin-1") if self.octets else "", "session_id": self.session_id,
            "mechanism": self.mechanism, "capability_asked": self.capability_asked, "secured": self.secured,
            "utf8": self.utf8, "way_back": self.way_back,
            "peer": [peer.address, peer.port, peer.server_address, peer.server_port, peer.name, peer.reverse_name],
            "tls": tls and [tls.protocol, tls.cipher, tls.cipher_bits, tls.cipher_algorithm_bits, tls.server_name],
        }

    @classmethod
    def from_message(cls, message: Mapping[str, object]) -> "HandOver":
        """The reverse of to_message. Raises KeyError, TypeError, ValueError for what is none."""
        protocol, user, tag, octets, session_id, mechanism, way_back = texts = _TEXTS(message)
        for text in texts:
            if type(text) is not str:
                raise ValueError("no text")
        asked, secured, utf8, peer, tls = _OTHERS(message)
        return cls(protocol, user, tag.encode("latin-1"), octets.encode("latin-1") if octets else b"", _peer(peer),
                   None if tls is None else _tls(tls), session_id, mechanism, bool(asked), bool(secured), bool(utf8),
                   way_back)


_TEXTS = itemgetter("protocol", "user", "tag", "octets", "session_id", "mechanism", "way_back")
_OTHERS = itemgetter("capability_asked", "secured", "utf8", "peer", "tls")


@lru_cache(maxsize=4096)
def share_of(user: str, workers: int) -> int:
    """Which of the workers of some rights has this user: all sessions of a user meet in one process."""
    return zlib.crc32(user.encode("utf-8", "surrogateescape")) % workers


def _peer(value: object) -> Peer:
    if not isinstance(value, list) or len(value) != 6:
        raise ValueError("peer")
    address, port, server_address, server_port, name, reverse_name = value
    return Peer(str(address), int(port), str(server_address), int(server_port), str(name), str(reverse_name))


def _tls(value: object) -> TlsInfo:
    if not isinstance(value, list) or len(value) != 5:
        raise ValueError("tls")
    protocol, cipher, bits, algorithm_bits, server_name = value
    return TlsInfo(str(protocol), str(cipher), int(bits), int(algorithm_bits), str(server_name))
