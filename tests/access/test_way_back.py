"""access/way_back.py: what a login process believes of a connection that comes back."""

import os
import socket
from typing import Any

import pytest
from msgspec.structs import replace

from mailsuite.access.handover import HandOver
from mailsuite.access.way_back import OCTETS_LIMIT, GivenBack, Returns, Seals, maker_of
from mailsuite.base.dialogue import Peer, TlsInfo

PLAIN = HandOver("imap", "alice", b"a1", b"", Peer("192.0.2.9", 4321, "192.0.2.1", 143), None, "session", secured=False)
TLS = replace(PLAIN, tls=TlsInfo("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256, 256, "mx.test"), secured=True)


@pytest.mark.parametrize("handover", [PLAIN, TLS])
def test_what_was_sealed_comes_back(handover: HandOver) -> None:
    seals = Seals()
    message = GivenBack(-1, b"a2 NOOP\r\n\xff").message(seals.sealed(handover))
    back = seals.checked(message)
    assert (back.peer, back.tls, back.secured) == (handover.peer, handover.tls, handover.secured)
    assert back.octets == b"a2 NOOP\r\n\xff"


@pytest.mark.parametrize("changed", [
    {"peer": ["127.0.0.1", 4321, "192.0.2.1", 143, "", ""]}, {"secured": True}, {"session_id": "another"},
    {"tls": ["TLSv1.3", "x", 256, 256, ""]}, {"way_back": ""}, {"way_back": f"{os.getpid()}.{'0' * 32}"},
    {"protocol": "pop3"}])
def test_what_somebody_else_says_is_refused(changed: dict[str, Any]) -> None:
    seals = Seals()
    with pytest.raises(ValueError, match="not sealed"):
        seals.checked({**seals.sealed(PLAIN).to_message(), **changed})
    with pytest.raises(ValueError, match="not sealed"):
        Seals().checked(seals.sealed(PLAIN).to_message())


class Channel:
    def __init__(self) -> None:
        self.said: list[tuple[Any, int]] = []

    def answer(self, message: Any, fd: int = -1) -> None:
        self.said.append((message, fd))
        os.close(fd)


def pipe_end() -> int:
    reading, writing = os.pipe()
    os.close(writing)
    return reading


@pytest.mark.parametrize("message", [
    {}, None, {"back": {}}, {"back": {"way_back": "x.y", "octets": ""}}, {"back": {"way_back": "1.ab", "octets": ""}},
    {"back": {"way_back": f"{os.getpid()}.ab", "octets": "x" * (OCTETS_LIMIT + 1)}}])
def test_what_is_no_connection_is_dropped(message: Any) -> None:
    returns, channel, fd = Returns(), Channel(), pipe_end()
    returns.add(channel, os.getpid())
    returns.give(17, message, [fd])
    assert not channel.said
    with pytest.raises(OSError):
        os.fstat(fd)


def test_a_connection_goes_to_its_login_process() -> None:
    returns, channel = Returns(), Channel()
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with left, right:
        returns.add(channel, maker_of(left))
    message = {"back": Seals().sealed(PLAIN).to_message()}
    returns.give(17, message, [pipe_end()])
    assert channel.said[0][0] == message
    returns.drop(os.getpid())
    returns.give(17, message, [pipe_end()])
    assert len(channel.said) == 1
