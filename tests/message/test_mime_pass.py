"""What Postfix 3.7 makes of MIME, also of broken MIME: recorded with checks that warn of every header and line."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsuite.message.mime_pass import MimeLimits, MimePass, Problem


class Seen:

    """A visitor that changes nothing. log: what it saw: "m:" mime, "n:" nested header, "h:" header, "b:" body."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.problems: list[Problem] = []
        self.offsets: list[int] = []

    async def header(self, field: bytes, kind: str) -> list[bytes]:
        self.log.append(kind[0] + ":" + field.decode("latin-1"))
        return [field]

    async def body(self, line: bytes, offset: int) -> list[bytes]:
        self.log.append("b:" + line.decode("latin-1"))
        self.offsets.append(offset)
        return [line]

    def problem(self, problem: Problem, text: bytes) -> None:
        self.problems.append(problem)


def read(message: str, limits: MimeLimits | None = None, cut: int = 0) -> tuple[Seen, bytes]:
    """What was seen of the body, and what came out of it."""
    header, _, body = message.partition("\n\n")
    return asyncio.run(_read(header, body, limits or MimeLimits(), cut))


async def _read(header: str, body: str, limits: MimeLimits, cut: int) -> tuple[Seen, bytes]:
    seen = Seen()
    run = MimePass(seen, limits)
    for field in header.split("\n"):
        run.field(field.encode("latin-1"))
    octets = b"\n" + body.encode("latin-1")
    pieces = [octets[at:at + cut] for at in range(0, len(octets), cut)] if cut else [octets]
    out = b"".join([await run.lines(piece) for piece in pieces])
    return seen, out + await run.end()


MULTI = "Content-Type: multipart/mixed; boundary=abc\n\n"


@pytest.mark.parametrize(("message", "want"), [
    pytest.param("S: x\n\nplain\n\nend\n", ["b:plain", "b:end"], id="empty lines are not looked at"),
    pytest.param(MULTI + "pre\n--abc\nX-A: 1\n two\n\none\n--abc--\nepi\n",
                 ["b:pre", "b:--abc", "m:X-A: 1\n two", "b:one", "b:--abc--", "b:epi"], id="a part"),
    pytest.param(MULTI + "--abc\nno header\n--abc\nX-A: 1\nbody\n--abcx\nX-C: 1\n\n--abc--x\nrest\n",
                 ["b:--abc", "b:no header", "b:--abc", "m:X-A: 1", "b:body", "b:--abcx", "m:X-C: 1", "b:--abc--x",
                 "b:rest"],
                 id="missing empty lines, more behind a boundary"),
    pytest.param(MULTI + "--abc \n  X-A: 1\nX-B : 2\n", ["b:--abc ", "b:  X-A: 1", "b:X-B : 2"], id="starts indented"),
    pytest.param(MULTI + "--abc\nX-A: 1\n--abc--\n--abc\nX-C: 1\n",
                 ["b:--abc", "m:X-A: 1", "b:--abc--", "b:--abc", "b:X-C: 1"], id="closed is closed"),
    pytest.param("Content-Type: message/rfc822\n\nFrom: a\nMime-Version: 1.0\nContent-Type: multipart/x; boundary=d\n\n"
                 "--d\nX-Y: 1\n\nhtml\n--d--\n",
                 ["n:From: a", "m:Mime-Version: 1.0", "m:Content-Type: multipart/x; boundary=d", "b:--d", "m:X-Y: 1",
                  "b:html", "b:--d--"], id="attached message"),
    pytest.param("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nX-N: 1\n\nb\n", ["n:X-N: 1",
                 "b:b"],
                 id="an encoding does not hide a message"),
    pytest.param("Content-Type: message/partial; number=1\n\nX-N: 1\n", ["b:X-N: 1"], id="partial is body"),
    pytest.param("Content-Type: message\n\nX-N: 1\n", ["b:X-N: 1"], id="message without a subtype"),
    pytest.param("Content-Type: multipart; boundary=a\n\n--a\nX-M: 1\n", ["b:--a", "m:X-M: 1"], id="only multipart"),
    pytest.param("Content-Type: multipart/digest; boundary=a\n\n--a\n\nS: x\n\nb\n--a\nContent-Type: text/plain\n\nt\n",
                 ["b:--a", "n:S: x", "b:b", "b:--a", "m:Content-Type: text/plain", "b:t"], id="digest"),
    pytest.param(MULTI + "--abc\nContent-Type: multipart/x; boundary=abcdef\n\n--abcdef\nX-I: 1\n\ni\n--abcdef--\n"
                 "--abc\nX-A: 1\n",
                 ["b:--abc", "m:Content-Type: multipart/x; boundary=abcdef", "b:--abcdef", "m:X-I: 1", "b:i",
                 "b:--abcdef--",
                  "b:--abc", "m:X-A: 1"], id="one boundary begins another"),
    pytest.param("Content-Type: multipart/mixed boundary=abc\n\n--abc\nX-A: 1\n", ["b:--abc", "b:X-A: 1"],
                 id="no semicolon"),
    pytest.param('Content-Type: multipart/mixed (a; boundary=no) ; x=y; Boundary = "a\\"bc" (c)\n\n--a"bc\nX-A: 1\n',
                 ['b:--a"bc', "m:X-A: 1"], id="comments and quotes"),
    pytest.param('Content-Type: multipart/x; boundary=""\n\n--\nX-M: 1\n', ["b:--", "b:X-M: 1"], id="empty boundary"),
    pytest.param("Content-Type: multipart/x; boundary=a\nContent-Type: text/plain\n\n--a\nX-M: 1\n", ["b:--a",
                 "m:X-M: 1"],
                 id="a second type does not take the boundary away"),
    pytest.param("Content-Type: multipart/x; boundary=a; boundary=b\n\n--b\nX-N: 1\n", ["b:--b", "b:X-N: 1"],
                 id="the first boundary counts"),
])
def test_as_postfix_reads_it(message: str, want: list[str]) -> None:
    seen, out = read(message)
    assert seen.log == want
    assert out == b"\n" + message.partition("\n\n")[2].encode()


def test_a_boundary_is_cut() -> None:
    body = "--0123456789zzzz\nX-A: 1\n\n--0123456789--\ny\n"
    seen, _ = read("Content-Type: multipart/x; boundary=0123456789abcdef\n\n" + body, MimeLimits(boundary=10))
    assert seen.log == ["b:--0123456789zzzz", "m:X-A: 1", "b:--0123456789--", "b:y"]


def test_offsets_count_line_ends_from_each_header() -> None:
    seen, _ = read(MULTI + "0123456789\n012\n--abc\nX-A: 1\n\n0123\nyy\n--abc--\n0\nz\n")
    assert seen.offsets == [1, 12, 16, 1, 6, 0, 8, 10]


@pytest.mark.parametrize(("message", "want"), [
    pytest.param("S: \xe4\n\nb\n", [Problem.EIGHT_IN_HEADER], id="header"),
    pytest.param("S: x\n\n\xe4\n\xe4\n", [Problem.EIGHT_IN_BODY], id="body, told once"),
    pytest.param("Content-Transfer-Encoding: 8bit\n\n\xe4\n", [], id="announced"),
    pytest.param("Content-Transfer-Encoding: quoted-printable\n\n\xe4\n", [], id="encoded"),
    pytest.param("Content-Transfer-Encoding: 8bit\n" + MULTI + "--abc\n\n\xe4\n", [Problem.EIGHT_IN_BODY],
                 id="not in the part"),
    pytest.param(MULTI + "--abc\nContent-Transfer-Encoding: 8bit\n\n\xe4\n", [], id="only in the part"),
    pytest.param("Content-Type: message/rfc822\n\nX: \xe4\n\n\n", [Problem.EIGHT_IN_HEADER], id="attached header"),
    pytest.param("Content-Transfer-Encoding: base64\n" + MULTI, [Problem.ENCODING], id="encoded multipart"),
    pytest.param("Content-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable\n\n", [Problem.ENCODING],
                 id="message"),
    pytest.param("Content-Type: message/global\nContent-Transfer-Encoding: base64\n\n", [], id="global may be"),
    pytest.param("Content-Type: message/partial\nContent-Transfer-Encoding: 8bit\n\n", [Problem.ENCODING],
                 id="partial is 7bit"),
    pytest.param("Content-Type: message/partial\nContent-Transfer-Encoding: base64\n\n", [], id="or encoded"),
])
def test_problems(message: str, want: list[Problem]) -> None:
    assert read(message)[0].problems == want


@pytest.mark.parametrize(("deep", "want"), [(5, []), (6, [Problem.NESTING])])
def test_nesting(deep: int, want: list[Problem]) -> None:
    inner = "".join(f"Content-Type: multipart/x; boundary=b{level}\n\n--b{level}\n" for level in range(deep))
    assert read(inner, MimeLimits(nesting=3))[0].problems == want


def test_long_lines_come_in_pieces() -> None:
    seen, out = read("S: x\n\n" + "a" * 5000 + "\nb\n")
    assert [len(line) - 2 for line in seen.log] == [2048, 2048, 904, 1]
    assert out == b"\n" + b"a" * 5000 + b"\nb\n"


_LINES = st.lists(st.sampled_from(["--abc", "--abc--", "X-A: 1", " more", "", "text", "Content-Type: message/rfc822",
"x" * 70,
                                   "Content-Type: multipart/x; boundary=\"d\"", "--d", "--d--"]), max_size=30)


@given(_LINES, st.integers(1, 40), st.booleans())
def test_nothing_is_lost_wherever_packets_end(lines: list[str], cut: int, ended: bool) -> None:
    message = MULTI + "\n".join(lines) + ("\n" if ended else "")
    seen, out = read(message)
    again, other = read(message, cut=cut)
    assert (seen.log, out) == (again.log, other)
    want = ("\n" + message.partition("\n\n")[2]).encode()
    assert out in (want, want + b"\n")
    small, out = read(message, MimeLimits(header=64), cut=cut)
    assert len(out) <= len(want) + 1


def test_a_line_without_end_takes_no_memory() -> None:
    seen, out = read("S: x\n\n" + "a" * 300_000 + "\n" + "b: c\n", cut=10_000)
    assert out == b"\n" + b"a" * 300_000 + b"\nb: c\n" and max(map(len, seen.log)) <= 2050
    _, out = read(MULTI + "--abc\nX-A: " + "a" * 300_000 + "\n more\nX-B: 1\n\nb\n", cut=10_000)
    assert len(out) < 120_000 and out.endswith(b"\nX-B: 1\n\nb\n")
