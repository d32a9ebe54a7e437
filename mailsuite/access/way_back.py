"""Connections that come back to the login process that had them: IMAP's UNAUTHENTICATE (RFC 8437).

    seals = Seals();  handover = seals.sealed(handover)         the login process, before it hands a connection over
    seals.checked(message) -> HandOver                          and when it comes back; raises ValueError
    returns = Returns();  returns.add(channel, pid);  returns.give(worker, message, fds)        the access service

A worker gives the descriptor and what the client sent behind the command to the access service, which passes both on
over the channel of the login process. That one believes nobody else about the connection: what it had said itself
(address, TLS, session) comes back with its seal. So a worker cannot make up where a client comes from.
Limits: OCTETS_LIMIT behind the command. A login process that is gone, or another one by now, gets nothing back: the
descriptor is closed, and the client sees the end.
"""

import os
import secrets
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from hmac import compare_digest
from typing import Any, Protocol

from msgspec.structs import replace

from mailsuite.access.handover import HandOver
from mailsuite.base.log import access_logger
from mailsuite.net import packets

OCTETS_LIMIT = 1 << 20

log = access_logger("access")


@dataclass(frozen=True, slots=True)
class GivenBack:
    """What a session leaves that goes on without a user. fd: who has this closes it."""

    fd: int
    octets: bytes

    def message(self, handover: HandOver) -> dict[str, object]:
        """For the access service and the login process: HandOver's, with what the client sent since."""
        return {**handover.to_message(), "octets": self.octets.decode("latin-1")}


class Channel(Protocol):
    """login_channel.LoginChannel."""

    def answer(self, message: Mapping[str, Any], fd: int = -1) -> None: ...


class Seals:
    """One login process's."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def _seal(self, handover: HandOver) -> str:
        peer, tls = handover.peer, handover.tls
        told = repr((handover.protocol, handover.session_id, handover.secured, peer.address, peer.port,
                     peer.server_address, peer.server_port, peer.name, peer.reverse_name, tls and (
                         tls.protocol, tls.cipher, tls.cipher_bits, tls.cipher_algorithm_bits, tls.server_name)))
        return f"{os.getpid()}.{blake2b(told.encode(), key=self._key, digest_size=16).hexdigest()}"

    def sealed(self, handover: HandOver) -> HandOver:
        """With what makes it come back to us."""
        return replace(handover, way_back=self._seal(handover))

    def checked(self, message: Mapping[str, object]) -> HandOver:
        """Raises KeyError, TypeError, ValueError."""
        handover = HandOver.from_message(message)
        if not compare_digest(self._seal(handover), handover.way_back):
            raise ValueError("not sealed by this process")
        return handover


class Returns:
    """The access service's: which login process is at the end of which channel."""

    def __init__(self) -> None:
        self._channels: dict[int, Channel] = {}

    def add(self, channel: Channel, pid: int) -> None:
        self._channels[pid] = channel

    def drop(self, pid: int) -> None:
        self._channels.pop(pid, None)

    def give(self, worker: int, message: Any, fds: list[int]) -> None:
        """What a worker gave. The descriptors are closed here, or by the channel."""
        try:
            back = message["back"]
            pid = int(str(back["way_back"]).partition(".")[0])
            if len(fds) != 1 or len(back["octets"]) > OCTETS_LIMIT:
                raise ValueError("more than one connection")
            if (channel := self._channels.get(pid)) is None:
                log.info("a connection cannot go back: its login process is gone")
                return
            channel.answer({"back": back}, fds.pop())
        except (KeyError, TypeError, ValueError) as error:
            log.error("worker %d gave something back that is no connection: %s", worker, error)
        finally:
            packets.close_all(fds)


def maker_of(sock: socket.socket) -> int:
    """The process that made the pair which this is one end of."""
    packed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid: int = struct.unpack("3i", packed)[0]
    return pid
