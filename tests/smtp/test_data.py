"""The end of data and dot-unstuffing: every packet border, and against a slow reference."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsuite.smtp.data import ChunkDecoder, DotDecoder, FirstLine


def reference(octets: bytes) -> tuple[bytes, bytes | None]:
    """One octet at a time, straight from the rule: content and what follows the end (None: no end)."""
    content, line, at = bytearray(), bytearray(), 0
    proper = True               # the line before ended in CRLF
    while at < len(octets):
        line.append(octets[at])
        at += 1
        if line[-1] != 10:
            continue
        if line == b".\r\n" and proper:
            return bytes(content), octets[at:]
        proper = line.endswith(b"\r\n")
        text = bytes(line[:-2] if proper else line[:-1])
        if text != b".":
            content += (text[1:] if text.startswith(b".") else text) + b"\n"
        line.clear()
    return bytes(content + line.removeprefix(b".")), None


def decode(pieces: list[bytes]) -> tuple[bytes, bytes | None]:
    decoder, content = DotDecoder(), b""
    for number, piece in enumerate(pieces):
        content += decoder.feed(piece)
        if decoder.ended:
            return content, decoder.rest + b"".join(pieces[number + 1:])
    return content, None


@pytest.mark.parametrize(("octets", "content", "rest"), [
    pytest.param(b".\r\n", b"", b"", id="empty message"),
    pytest.param(b"a\r\n.\r\nQUIT\r\n", b"a\n", b"QUIT\r\n", id="what follows is left"),
    pytest.param(b"a\r\n..b\r\n.\r\n", b"a\n.b\n", b"", id="a dot is taken away"),
    pytest.param(b"..\r\n.\r\n", b".\n", b"", id="on the first line too"),
    pytest.param(b"a\n.\nb\r\n.\r\n", b"a\nb\n", b"", id="LF.LF does not end it"),
    pytest.param(b"a\n.\r\nb\r\n.\r\n", b"a\nb\n", b"", id="LF.CRLF does not end it"),
    pytest.param(b"a\r\n.\nb\r\n.\r\n", b"a\nb\n", b"", id="CRLF.LF does not end it"),
    pytest.param(b"a\r.\rb\r\n.\r\n", b"a\r.\rb\n", b"", id="CR.CR does not end it"),
    pytest.param(b"a\r\n.\rb\r\n.\r\n", b"a\n\rb\n", b"", id="CRLF.CR does not end it"),
    pytest.param(b"a\r\r\n.\r\n", b"a\r\n", b"", id="a bare CR is content"),
    pytest.param(b"a\n\r\n.\r\n", b"a\n\n", b"", id="an empty line before the end"),
])
def test_smuggling_variants(octets: bytes, content: bytes, rest: bytes) -> None:
    assert reference(octets) == (content, rest)
    for cut in range(len(octets) + 1):
        assert decode([octets[:cut], octets[cut:]]) == (content, rest), cut
    assert decode([bytes([octet]) for octet in octets]) == (content, rest)


NASTY = st.lists(st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"\r\n.\r\n", b"a", b"ab"]), max_size=24)


@given(NASTY, st.lists(st.integers(0, 60), max_size=6))
def test_same_as_reference_at_any_border(parts: list[bytes], cuts: list[int]) -> None:
    octets = b"".join(parts)
    want, want_rest = reference(octets)
    places = sorted({0, len(octets), *(min(cut, len(octets)) for cut in cuts)})
    got, rest = decode([octets[start:end] for start, end in zip(places, places[1:], strict=False)])
    assert rest == want_rest
    if want_rest is None:       # what may yet be part of the end is held back
        assert want.startswith(got)
        assert len(want) - len(got) <= 4
    else:
        assert got == want


@given(NASTY, st.integers(0, 60))
def test_chunks(parts: list[bytes], cut: int) -> None:
    octets = b"".join(parts)
    decoder = ChunkDecoder()
    got = decoder.feed(octets[:cut]) + decoder.feed(octets[cut:]) + decoder.finish()
    want = octets.replace(b"\r\n", b"\n")
    assert got == (want if want.endswith(b"\n") or not want else want + b"\n")


@pytest.mark.parametrize(("content", "want"), [
    (b"Subject: x\n", b"Subject: x\n"),
    (b"From me Mon\nSubject: x\n", b"X-Mailbox-Line: From me Mon\nSubject: x\n"),
    (b">From me\n", b"X-Mailbox-Line: >From me\n"),
    (b"From a\n>From b\n\nbody\n", b"X-Mailbox-Line: From a\nX-Mailbox-Line: >From b\n\nbody\n"),
    (b"From a\n folded\n", b"X-Mailbox-Line: From a\n\n folded\n"),
    (b"From a", b"X-Mailbox-Line: From a"),
    (b"From: me\n", b"From: me\n"),
    (b" folded\n", b"\n folded\n"),
    (b"", b""),
])
def test_first_line(content: bytes, want: bytes) -> None:
    for cut in range(len(content) + 1):
        first = FirstLine()
        assert first.feed(content[:cut]) + first.feed(content[cut:]) + first.finish() == want
