"""Headers for readers of ASCII: RFC 2047 words, addresses kept, nothing beyond ASCII."""

from email import message_from_bytes, policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsuite.message.surrogate import ascii_header


@pytest.mark.parametrize(("field", "want"), [
    ("Subject: Grüße", "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?="),
    ("From: Jørn <joern@x.test>, ann@x.test", "From: =?utf-8?q?J=C3=B8rn?= <joern@x.test>,\r\n ann@x.test"),
    ("To: jørn@x.test", "To: =?utf-8?q?j=C3=B8rn=40x=2Etest?= :;"),
    ("X-Plain: as it is", "X-Plain: as it is"),
    ("Ünknown: x", ""),
])
def test_fields(field: str, want: str) -> None:
    header = ascii_header(f"A: é\r\n{field}\r\n\r\n".encode())
    assert header == b"A: =?utf-8?b?w6k=?=\r\n".replace(b"b?w6k=", b"q?=C3=A9") + (
        want.encode() + b"\r\n" if want else b"") + b"\r\n"


def test_what_a_reader_gets_back() -> None:
    header = ascii_header("Subject: Größe überall, lang genug für mehr als eine Zeile: äöüäöüäöüäöüäöüäöüäöü\r\n"
                          "From: \"Æ, B\" <a@x.test>\r\n\r\n".encode())
    read = message_from_bytes(header, policy=policy.default)
    assert read["subject"].startswith("Größe überall, lang genug") and read["subject"].endswith("äöü")
    assert [(one.display_name, one.addr_spec) for one in read["from"].addresses] == [("Æ, B", "a@x.test")]
    assert max(map(len, header.split(b"\r\n"))) <= 78


def test_ascii_is_not_touched() -> None:
    assert ascii_header(b"Subject: x\r\n  y\r\n\r\n") == b"Subject: x\r\n  y\r\n\r\n"


@given(st.binary(max_size=200))
def test_any_octets(octets: bytes) -> None:
    header = octets.replace(b"\n", b"\r\n")
    assert ascii_header(header).isascii()
