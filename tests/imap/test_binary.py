"""BINARY: what Dovecot 2.3.19 gives of encodings and NULs."""

import pytest

from mailsuite.imap.binary import BrokenEncoding, Content, UnknownEncoding, binary_content
from mailsuite.message.message import Message
from mailsuite.message.section import parse_section

QP = b"Subject: qp\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nhe=6Clo\r\n"
NUL = b"Su\0bject: nul\r\n\r\nbo\0dy\r\n"
INNER = (b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
         b"Content-Type: multipart/alternative; boundary=c\r\n\r\n"
         b"--c\r\n\r\ninner\0one\r\n--c\r\n\r\ntwo\r\n--c--\r\n--b--\r\n")


@pytest.mark.parametrize(("octets", "section", "want"), [
    pytest.param(QP, b"1", Content(b"hello\r\n", True), id="an encoding counts without MIME-Version"),
    pytest.param(QP, b"", Content(QP[:13] + b"Content-Transfer-Encoding: binary\r\n\r\nhello\r\n", True), id="whole"),
    pytest.param(QP.replace(b"quoted-printable", b"8bit"), b"1", Content(b"he=6Clo\r\n", False), id="plain"),
    pytest.param(QP.replace(b"quoted-printable", b"8bit (x)"), b"1", Content(b"he=6Clo\r\n", False), id="a comment"),
    pytest.param(NUL, b"", Content(NUL, True), id="NULs stay"),
    pytest.param(NUL, b"1", Content(b"bo\0dy\r\n", True), id="NULs of a part"),
    pytest.param(NUL, b"TEXT", Content(b"bo\0dy\r\n", True), id="NULs of TEXT"),
    pytest.param(NUL, b"HEADER", Content(b"Su\x80bject: nul\r\n\r\n", False), id="a header never has them"),
    pytest.param(INNER, b"1.1", Content(b"inner\0one", True), id="NULs deep inside"),
    pytest.param(INNER, b"0.0", Content(b"inner\0one", True), id="0 is the first part"),
    pytest.param(INNER, b"0.2", Content(b"two", False), id="behind 0"),
    pytest.param(QP, b"0", Content(b"", False), id="a plain message has no part 0"),
])
def test_binary(octets: bytes, section: bytes, want: Content) -> None:
    assert binary_content(Message(octets), parse_section(section)) == want


@pytest.mark.parametrize(("encoding", "body", "error"), [
    ("foo", "x", UnknownEncoding),
    ("base64", "QUJD!!!", BrokenEncoding),
    ("base64", "QUJDRA==\r\nREVG", BrokenEncoding),
    ("base64", "QUJ", BrokenEncoding),
    ("quoted-printable", "a=ZZb", BrokenEncoding),
])
def test_what_cannot_be_decoded(encoding: str, body: str, error: type[Exception]) -> None:
    message = Message(f"Content-Transfer-Encoding: {encoding}\r\n\r\n{body}\r\n".encode())
    with pytest.raises(error):
        binary_content(message, parse_section(b"1"))
    with pytest.raises(error):
        binary_content(message, parse_section(b""))
