"""Where the header ends, however it arrives."""

import pytest

from mailsuite.queue.headers import name_of, split_header, value_of

BODY = b"\nbody\n\nmore\n"


@pytest.mark.parametrize(("block", "fields", "body"), [
    pytest.param(b"A: 1\nB: 2\n" + BODY, [b"A: 1", b"B: 2"], BODY, id="plain"),
    pytest.param(b"A: 1\n 2\n\t3\n" + BODY, [b"A: 1\n 2\n\t3"], BODY, id="continuation"),
    pytest.param(BODY, [], BODY, id="no header"),
    pytest.param(b"A: 1\nno header\n\nx\n", [b"A: 1"], b"\nno header\n\nx\n", id="body without empty line"),
    pytest.param(b" odd\nA: 1\n", [], b"\n odd\nA: 1\n", id="begins with white space"),
    pytest.param(b"A: 1\n", [b"A: 1"], b"", id="header only"),
    pytest.param(b"A: 1", [b"A: 1"], b"", id="no line end"),
    pytest.param(b"", [], b"", id="nothing"),
    pytest.param(b"A : 1\n" + BODY, [b"A : 1"], BODY, id="blank before the colon"),
    pytest.param(b"From x y\nA: 1\n\n", [], b"\nFrom x y\nA: 1\n\n", id="mbox line"),
])
def test_split_header(block: bytes, fields: list[bytes], body: bytes) -> None:
    assert split_header(block, whole=True) == (fields, body, b"")


@pytest.mark.parametrize("cut", range(40))
def test_borders_do_not_matter(cut: int) -> None:
    block = b"A: 1\nB: 2\n 3\nC: 4\n\nbody\nD: 5\n\nx\n"
    first, body, rest = split_header(block[:cut], whole=False)
    if body is None:
        second, body, rest = split_header(rest + block[cut:], whole=True)
    else:
        second, body = [], body + block[cut:]
    assert (first + second, body) == ([b"A: 1", b"B: 2\n 3", b"C: 4"], b"\nbody\nD: 5\n\nx\n")


def test_name_and_value() -> None:
    assert name_of(b"Message-ID : <1>") == b"message-id"
    assert name_of(b"no header") == b""
    assert value_of(b"A:  b\n c ") == b"b\n c"
