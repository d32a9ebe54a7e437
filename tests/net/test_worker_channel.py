"""A worker's end of its connection, in this process."""

import logging
import os
import socket
from collections.abc import Iterator

import pytest

from mailsuite.net import packets
from mailsuite.net.privileges import Identity
from mailsuite.net.worker_channel import WorkerChannel, serve_requests


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, WorkerChannel]]:
    """The parent's socket and the worker's channel."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, WorkerChannel(theirs, Identity(os.geteuid(), os.getegid()))


def test_the_parent_dies_during_a_request(ends: tuple[socket.socket, WorkerChannel],
                                          caplog: pytest.LogCaptureFixture) -> None:
    """That is no fault of the worker: no traceback."""
    ours, channel = ends
    packets.send(ours, {"n": 1, "m": {}}, [])

    def last(message: object, fds: list[int]) -> dict[str, object]:
        ours.close()
        return {}
    with caplog.at_level(logging.INFO), pytest.raises(BrokenPipeError):
        serve_requests(last)(channel)
    assert not caplog.records


def test_a_request_that_lost_its_descriptors_fails_for_now(ends: tuple[socket.socket, WorkerChannel]) -> None:
    """The kernel drops those for which the receiver has no room (EMFILE); the other requests are served."""
    ours, channel = ends
    with open(os.devnull, "rb") as file:
        packets.send(ours, {"n": 1, "f": 2, "m": {}}, [file.fileno()])
        packets.send(ours, {"n": 2, "f": 1, "m": {}}, [file.fileno()])
    request = channel.receive()
    assert request is not None and request.number == 2 and len(request.fds) == 1
    packets.close_all(request.fds)
    answers, _ = packets.receive(ours)
    assert answers is not None
    assert answers[0]["n"] == 1 and answers[0]["error"]["status"] == "4.3.0"
