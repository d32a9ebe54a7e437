"""What a protocol session and the driver that runs it say to each other.

A session takes octets and returns actions; it has no sockets, clocks or files. `mailsuite.net.driver` runs it on
asyncio, `mailsuite.net.twisted` on Twisted, a test by calling it.

The contract:
  * After an `Ask`, a session returns no action until `answered` is called: it keeps what is fed meanwhile in its own
    (limited) buffer, and goes on with it inside `answered`. One question is outstanding at a time.
  * After a `StartTls` it returns no action until `secured`; octets fed before `secured` are forgotten
    (RFC 3207 section 4.2).
  * After a `Close` nothing follows.
  * `backlog` is how many octets wait unprocessed; the driver stops reading while it is over its limit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from msgspec import Struct


class Send(Struct, frozen=True):
    """Octets for the peer. Sessions hand over large output in blocks of 16-64 KB."""

    octets: bytes


class StartTls(Struct, frozen=True):
    """Do the handshake now, after what was sent before it."""


class Close(Struct, frozen=True):
    """End the connection after what was sent before it. reason is for the log."""

    reason: str = ""


class Ask(Struct, frozen=True):
    """A question that needs the world (tables, disk, other processes); `answered` brings what came of it."""

    question: object


class Body(Struct, frozen=True):
    """Message content for the sink that the server opened; never answered, so it costs no round trip."""

    octets: bytes


Action = Send | StartTls | Close | Ask | Body


@dataclass(slots=True)
class Pace:
    """A session that wants whole requests within its timeout_s, not just an octet now and then, has one as `pace`.

    requests: how many came so far. content: message content is under way: each min_rate octets of it gain a second.
    """

    min_rate: float
    requests: int = 0
    content: bool = False


class NameUse(Enum):
    """What became of the name that a client asked for, where tables have certificates by name."""

    NONE = "no tables"
    MATCHED = "matched"
    UNMATCHED = "unmatched"     # the default certificate was shown
    INVALID = "invalid"         # not a host name; likewise


@dataclass(frozen=True, slots=True)
class TlsInfo:
    """What a handshake agreed on, as logs and Received headers tell it."""

    protocol: str = ""            # "TLSv1.3"
    cipher: str = ""              # "TLS_AES_256_GCM_SHA384"
    cipher_bits: int = 0
    cipher_algorithm_bits: int = 0
    server_name: str = ""         # SNI
    name_use: NameUse = NameUse.NONE
    peer_certificate: bytes = b""  # DER, empty when none was given
    peer_verified: bool = False
    resumed: bool = False         # a session that was agreed on earlier
    bindings: Mapping[str, bytes] = field(default_factory=dict, repr=False)    # channel bindings, see tls/binding.py


@dataclass(frozen=True, slots=True)
class Proxied:
    """What stood beside the client's addresses in a PROXY header, and the ends of the real connection.

    tls: the client speaks TLS with the proxy; host_name: the name that it asked for there; certificate_name: the common
    name of its certificate. "" where the header did not say.
    """

    address: str
    port: int
    server_address: str
    server_port: int
    tls: bool = False
    host_name: str = ""
    certificate_name: str = ""


class Peer(Struct, frozen=True):
    """Both ends of a connection; after a PROXY header, the ends that it named.

    address "" for a Unix socket. name: the verified host name or "unknown"; reverse_name: the unverified one.
    proxied: only when there was a PROXY header.
    """

    address: str
    port: int = 0
    server_address: str = ""
    server_port: int = 0
    name: str = "unknown"
    reverse_name: str = "unknown"
    proxied: Proxied | None = None


class Session(Protocol):
    """One end of one dialogue. Raises Bug, nothing else."""

    timeout_s: float      # how long the peer may be silent now

    @property
    def backlog(self) -> int:
        """Octets fed and not yet looked at."""
        ...

    def opened(self) -> list[Action]:
        """The connection is there (and, for implicit TLS, the handshake done): say what comes first."""
        ...

    def feed(self, octets: bytes) -> list[Action]:
        """Take octets from the peer; return what to do, in order."""
        ...

    def answered(self, result: object) -> list[Action]:
        """Take the answer to the last Ask."""
        ...

    def failed(self, error: BaseException) -> list[Action]:
        """The last Ask ended with an exception nobody foresaw (already logged): answer temporarily."""
        ...

    def secured(self, tls: TlsInfo) -> list[Action]:
        """The handshake that StartTls asked for is done."""
        ...

    def timed_out(self) -> list[Action]:
        """timeout_s passed without an octet."""
        ...

    def lost(self) -> list[Action]:
        """The peer closed or broke the connection; only Ask and Body make sense as actions."""
        ...
