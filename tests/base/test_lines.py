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


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_all_whole_lines_at_once(cut: int) -> None:
    buffer = LineBuffer(100)
    assert buffer.take_lines(STREAM[:cut]) + buffer.take_lines(STREAM[cut:]) == [b"one", b"two", b"three\r", b""]
    assert buffer.take_lines(b"a\nb\n") == [b"a", b"b"]
    assert buffer.take_lines(b"c") == [] and buffer.take_lines(b"d\ne") == [b"cd"]
    assert buffer.take_rest() == b"e" and buffer.take_rest() == b""


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


@pytest.mark.parametrize(("octets", "line"), [
    (b"one\n", b"one"), (b"one\r\n", b"one"), (b"\n", b""), (b"\r\n", b""), (b"on\re\r\r\n", b"on\re\r"),
    (b"one", None), (b"", None), (b"one\ntwo\n", None), (b"one\ntwo", None), (b"x" * 9 + b"\n", b"x" * 9),
    (b"x" * 10 + b"\n", None)])
def test_a_line_that_comes_alone(octets: bytes, line: bytes | None) -> None:
    buffer = LineBuffer(10)
    assert buffer.only_line(octets) == line and not len(buffer)
    buffer.feed(b"a")
    assert buffer.only_line(octets) is None
