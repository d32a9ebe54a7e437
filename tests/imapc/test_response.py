"""What servers say, as values: tables, and noise."""

from random import Random
from typing import Any

import pytest

from mailsuite.base.errors import PeerError
from mailsuite.imapc import response
from mailsuite.imapc.response import code_of, format_date, internal_date, tokenize, uid_set, values


@pytest.mark.parametrize(("line", "want"), [
    (b'LIST (\\HasNoChildren \\Sent) "/" "a \\"b\\\\"', [b"LIST", [b"\\HasNoChildren", b"\\Sent"], b"/", b'a "b\\']),
    (b"5 FETCH (UID 7 FLAGS (\\Seen $x) INTERNALDATE \" 1-Jan-2020 00:00:00 +0000\")",
     [b"5", b"FETCH", [b"UID", b"7", b"FLAGS", [b"\\Seen", b"$x"], b"INTERNALDATE", b" 1-Jan-2020 00:00:00 +0000"]]),
    (b"1 FETCH (UID 1 BODY[HEADER.FIELDS (DATE TO)] NIL)",
     [b"1", b"FETCH", [b"UID", b"1", b"BODY[HEADER.FIELDS (DATE TO)]", None]]),
    (b'NAMESPACE (("INBOX." ".")) NIL (("#p/" "/")("x" NIL))',
     [b"NAMESPACE", [[b"INBOX.", b"."]], None, [[b"#p/", b"/"], [b"x", None]]]),
    (b"SEARCH", [b"SEARCH"]),
])
def test_values(line: bytes, want: list[Any]) -> None:
    assert values(tokenize(line)) == want


@pytest.mark.parametrize("line", [b'"open', b"(a", b"a)", b"(" * 60 + b")" * 60, b'x "a\\'])
def test_no_imap(line: bytes) -> None:
    with pytest.raises(PeerError):
        values(tokenize(line))


@pytest.mark.parametrize("seed", range(100))
def test_noise_is_a_peer_error_or_a_value(seed: int) -> None:
    random = Random(seed)
    line = bytes(random.choices(b'()"\\[]{} aNIL*1\r\xff\x00', k=random.randrange(60)))
    try:
        assert isinstance(values(tokenize(line)), list)
    except PeerError:
        pass


@pytest.mark.parametrize(("text", "want"), [
    (b" 1-Jan-2020 01:00:00 +0100", 1577836800), (b"01-jan-2020 00:00:00 +0000", 1577836800),
    (b"99-Jan-2020 00:00:00 +0000", None), (b"1-Foo-2020 00:00:00 +0000", None), (None, None), ([], None),
])
def test_dates(text: Any, want: int | None) -> None:
    assert internal_date(text) == want
    if want is not None:
        assert internal_date(format_date(want).strip(b'"')) == want


@pytest.mark.parametrize(("text", "want"), [
    (b"[UIDVALIDITY 5] Ok", (b"UIDVALIDITY", b"5", b"Ok")), (b"Ok [x", (b"", b"", b"Ok [x")),
    (b"[alert] hear", (b"ALERT", b"", b"hear")), (b"[open", (b"", b"", b"[open")),
])
def test_codes(text: bytes, want: tuple[bytes, bytes, bytes]) -> None:
    assert code_of(text) == want


def test_sets_are_not_larger_than_what_was_asked() -> None:
    assert uid_set(b"3:5,9,12:11", most=10) == [3, 4, 5, 9, 12, 11]
    with pytest.raises(PeerError):
        uid_set(b"1:4294967295", most=100)
    with pytest.raises(PeerError):
        response.number(b"99999999999999999999999")
