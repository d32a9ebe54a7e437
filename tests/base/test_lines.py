"""LineBuffer: framing, limits, and the cost of slow peers."""

import pytest

from mailsuite.base.errors import PeerError
from mailsuite.base.lines import LineBuffer

STREAM = b"one\r\ntwo\nthree\r\r\n\r\n"


def lines_of(pieces: list[bytes], limit: int = 100) -> list[bytes]:
    buffer, found = LineBuffer(limit), []
    for piece in pieces:
        buffer.feed(piece)
        while (line := buffer.take_line()) is not None:
            found.append(line)
    return found


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_packet_borders_do_not_matter(cut: int) -> None:
    assert lines_of([STREAM[:cut], STREAM[cut:]]) == [b"one", b"two", b"three\r", b""]


@pytest.mark.parametrize("octets", [
    pytest.param(b"x" * 11, id="no end in sight"),
    pytest.param(b"x" * 9 + b"\r\n", id="with its end one octet over"),
])
def test_a_long_line_is_refused(octets: bytes) -> None:
    with pytest.raises(PeerError):
        lines_of([octets], limit=10)


def test_octets_between_lines() -> None:
    buffer = LineBuffer(100)
    buffer.feed(b"a\r\nliteral")
    assert (buffer.take_line(), buffer.take_octets(3), buffer.take_octets(100)) == (b"a", b"lit", b"eral")
