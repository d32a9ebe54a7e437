"""The pure parts of the delivery agents."""

import asyncio
import email
import os
import quopri
from collections.abc import AsyncIterable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsuite.base.errors import ConfigError
from mailsuite.config.settings import Settings
from mailsuite.deliver import command, pipe
from mailsuite.deliver.aliases import Destination, Kind, parse_destinations, parse_file
from mailsuite.deliver.content import Outgoing
from mailsuite.deliver.error import split_code
from mailsuite.deliver.exits import Ended, judge
from mailsuite.deliver.headers import delivered_to, delivery_header
from mailsuite.message.quoted_printable import quoted_line
from mailsuite.queue.agent import DeliveryRequest
from mailsuite.queue.envelope import Recipient

A, C, F, INCLUDE = Kind.ADDRESS, Kind.COMMAND, Kind.FILE, Kind.INCLUDE


@pytest.mark.parametrize(("line", "want"), [
    ("alice", [(A, "alice")]),
    ("alice, bob,   carol@example.test", [(A, "alice"), (A, "bob"), (A, "carol@example.test")]),
    ('"|/bin/cmd a b", /var/x, :include:/etc/list', [(C, "/bin/cmd a b"), (F, "/var/x"), (INCLUDE, "/etc/list")]),
    ('"|/bin/sh -c \'echo sorry >&2; exit 67\'"', [(C, "/bin/sh -c 'echo sorry >&2; exit 67'")]),
    ("|/bin/cmd -u", [(C, "/bin/cmd"), (A, "-u")]),
    ("x:alice, bob;", [(A, "alice"), (A, "bob")]),
    ('""', [(A, "")]),
    ("a @ b.test c", [(A, "a@b.test"), (A, "c")]),
    ("\\alice, bob@b.test", [(A, "alice"), (A, "bob@b.test")]),
    ('Bob "the" B <bob@b.test>, (comment) x', [(A, "bob@b.test"), (A, "x")]),
    ('"odd name"@b.test', [(A, "odd name@b.test")]),
    ('"|say \\"hi\\""', [(C, 'say "hi"')]),
    (" , ,", []),
    ('"unclosed', [(A, "unclosed")]), ("error:no", [(A, "error:no")]), ("<>", []), ("a\\,b", [(A, "a,b")]),
    ('"alice, bob"', [(A, "alice, bob")]), ('"| cat"', [(C, " cat")]), ("alice,,bob,", [(A, "alice"), (A, "bob")]),
])
def test_destinations(line: str, want: list[tuple[Kind, str]]) -> None:
    assert parse_destinations(line) == [Destination(*entry) for entry in want]


def test_comments_in_files() -> None:
    assert list(parse_file("# one, two\n\nalice\nbob, carol\n")) == [
        Destination(A, name) for name in ("alice", "bob", "carol")]


@pytest.mark.parametrize(("ended", "want"), [
    (Ended(), ("sent", "2.0.0", "")),
    (Ended(exit=75), ("deferred", "4.3.0", "temporary failure")),
    (Ended(exit=67, output="sorry\n"), ("bounced", "5.1.1", "user unknown. Command output: sorry\n")),
    (Ended(exit=77, output="5.7.5 own status\n"), ("bounced", "5.7.5", "own status\n")),
    (Ended(exit=77, output="4.7.5 own"), ("deferred", "4.7.5", "own")),
    (Ended(exit=3), ("bounced", "5.3.0", 'Command died with status 3: "cmd"')),
    (Ended(signal=9), ("deferred", "4.3.0", 'Command died with signal 9: "cmd"')),
    (Ended(timeout=True), ("bounced", "5.3.0", 'Command time limit exceeded: "cmd"')),
])
def test_exits(ended: Ended, want: tuple[str, str, str]) -> None:
    verdict = judge(ended, "cmd")
    assert (verdict.status, verdict.dsn, verdict.reason) == want


@pytest.mark.parametrize(("text", "default", "want"), [
    ("5.7.9 not here", "5.0.0", ("5.7.9", "not here")), ("gone", "5.0.0", ("5.0.0", "gone")),
    ("5.1.1 later", "4.0.0", ("4.0.0", "later"))])
def test_error_codes(text: str, default: str, want: tuple[str, str]) -> None:
    assert split_code(text, default) == want


def test_delivery_header_and_loop_marks(tmp_path: Path) -> None:
    header = delivery_header("odd user@b.test", "Team@a.test", "alice@a.test")
    assert header == (b'Return-Path: <"odd user"@b.test>\nX-Original-To: Team@a.test\nDelivered-To: alice@a.test\n')
    (tmp_path / "q").write_bytes(b"XX" + header + b"DELIVERED-TO:  Bob@A.test \n\nDelivered-To: no@a.test\n")
    fd = os.open(tmp_path / "q", os.O_RDONLY)
    try:
        assert delivered_to(fd, 2, (tmp_path / "q").stat().st_size - 2) == {"alice@a.test", "bob@a.test"}
    finally:
        os.close(fd)


# --- commands -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("text", "want"), [
    ("/bin/cat -u", ["/bin/cat", "-u"]), ("exit 69", ["sh", "-c", "exit 69"]),
    ("cat > x", ["sh", "-c", "cat > x"])])
def test_shell_only_where_needed(text: str, want: list[str]) -> None:
    assert command.arguments(text) == want


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def act(text: str | list[str], content: bytes = b"line\n.dot\nFrom x\n", **options: Any) -> dict[str, Any]:
        (tmp_path / "q").write_bytes(content)
        fd = os.open(tmp_path / "q", os.O_RDONLY)
        try:
            question = command.ask_command(text, env={"PATH": "/usr/bin:/bin"}, cwd=str(tmp_path),
                                           head=options.pop("head", b""), offset=0, size=len(content),
                                           time_limit_s=options.pop("time_limit_s", 10),
                                           output_limit=options.pop("output_limit", 100), **options)
            return dict(command.handle(question, [fd]))
        finally:
            os.close(fd)

    return act


def test_a_command_gets_the_message(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    answer = run("cat > out", head=b"Head: 1\n", quote=True, dots=True, blank=True, eol="\r\n")
    assert answer == {"ok": True, "exit": 0, "signal": 0, "timeout": False, "output": "", "fatal": ""}
    assert (tmp_path / "out").read_bytes() == b"Head: 1\r\nline\r\n..dot\r\n>From x\r\n\r\n"


def test_a_command_that_does_not_read(run: Callable[..., dict[str, Any]]) -> None:
    assert run("echo hi; exit 3", b"x\n" * 500_000)["output"] == "hi\n"


def test_output_is_limited_while_input_flows(run: Callable[..., dict[str, Any]]) -> None:
    assert run(["/bin/cat"], b"0123456789\n" * 100_000)["output"] == ("0123456789\n" * 10)[:100]


def test_time_limit_kills_the_whole_group(run: Callable[..., dict[str, Any]]) -> None:
    assert run("sleep 100 & sleep 100", time_limit_s=0.2)["timeout"]


def test_what_a_command_leaves_running_keeps_nobody(run: Callable[..., dict[str, Any]]) -> None:
    answer = run("echo done; sleep 30 & exit 0", time_limit_s=20)
    assert answer["exit"] == 0 and answer["output"] == "done\n"


def test_missing_command(run: Callable[..., dict[str, Any]]) -> None:
    why = "execvp /no/such/command: No such file or directory"
    assert run("/no/such/command") == {"ok": True, "exit": 75, "signal": 0, "timeout": False,
                                       "output": f"local: fatal: {why}\n", "fatal": why}
    assert run(["/no/such"], program="pipe")["output"] == "pipe: fatal: pipe_command: execvp /no/such: " \
                                                          "No such file or directory\n"
    assert run("nosuchcommand x")["output"] == "sh: 1: nosuchcommand: not found\n"


# --- pipe -----------------------------------------------------------------------------------------------------------

USER = "daemon"
REQUEST = DeliveryRequest(1, "4ABC", "/q", 0, 5, "bob@example.test", "tool", "Hop.test", [
    Recipient("Al.Ice+Ext@Pipe.test", "Orig@Pipe.test", number=0), Recipient("x@pipe.test", number=1)])


@pytest.mark.parametrize(("flags", "argv", "want"), [
    ("hu", ["/x", "${sender}", "${recipient}"], ["/x", "bob@example.test", "al.ice+ext@pipe.test", "x@pipe.test"]),
    ("", ["/x", "-u$user-${extension}", "$(nexthop)"], ["/x", "-uAl.Ice-Ext", "-ux-", "Hop.test"]),
    ("h", ["/x", "$domain", "$$x", "${size}"], ["/x", "pipe.test", "$x", "5"]),
    ("", ["/x", "${original_recipient}"], ["/x", "Orig@Pipe.test", "x@pipe.test"]),
])
def test_pipe_arguments(flags: str, argv: list[str], want: list[str]) -> None:
    options = pipe.parse_options([f"flags={flags}", f"user={USER}", f"argv={argv[0]}", *argv[1:]])
    assert options.arguments(REQUEST, "+") == want


@pytest.mark.parametrize("words", [
    [f"user={USER}"], ["argv=/x"], [f"user={USER}", "flags=Z", "argv=/x"],
    pytest.param(["user=nosuchuser", "argv=/x"], marks=pytest.mark.skipif(
        os.geteuid() != 0, reason="without root everything runs as one user, and user= is not looked up")),
    [f"user={USER}", "argv=/x", "${nonsense}"], [f"user={USER}", "wrong=1", "argv=/x"]])
def test_pipe_mistakes(words: list[str]) -> None:
    with pytest.raises(ConfigError):
        pipe.parse_options(words)


# --- headers of mail that leaves --------------------------------------------------------------------------------------

HEADER = (b"Received: by x\n\tid 1\nFrom: \"Bob, B\" <bob@in.test>, (c@in.test) x@far.test\nTo: c@in.test\n"
          b"Subject: a@in.test\n\nTo: bob@in.test\n")


@pytest.mark.parametrize(("size", "settings", "want"), [
    (1000, {"smtp_generic_maps": "inline:{ bob@in.test=b@isp.test, @in.test=us@isp.test }"},
     HEADER.replace(b"bob@in.test>, (c@in.test) x@far.test", b"b@isp.test>, x@far.test (c@in.test)").replace(
         b"To: c@in.test\n", b"To: us@isp.test\n")),
    (7, {"smtp_generic_maps": "inline:{ @in.test=@isp.test }"},
     HEADER.replace(b"bob@in.test>, (c@in.test) x@far.test", b"bob@isp.test>, x@far.test (c@in.test)").replace(
         b"To: c@in.test\n", b"To: c@isp.test\n")),
    (9, {"smtp_header_checks": "regexp:{ {/^Received:/ IGNORE}, {/^Subject:/ REPLACE Subject: new}, "
                               "{/^To:/ PREPEND X: y} }"},
     HEADER.replace(b"Received: by x\n\tid 1\n", b"").replace(b"Subject: a@in.test", b"Subject: new").replace(
         b"To: c@in", b"X: y\nTo: c@in")),
    (9, {}, HEADER),
])
def test_outgoing_headers(size: int, settings: dict[str, str], want: bytes) -> None:
    assert outgoing(HEADER, size, **settings) == want


def outgoing(content: bytes, size: int = 1000, *, to_7bit: bool = False, **settings: str) -> bytes:
    """What a remote server gets of a message that is read in blocks of so many octets."""
    blocks = [content[at:at + size] for at in range(0, len(content), size)]
    found = Outgoing(Settings.of(settings), "smtp").blocks(blocks, "4ABC", to_7bit=to_7bit)

    async def joined() -> bytes:
        return b"".join([block async for block in found] if isinstance(found, AsyncIterable) else list(found))

    return asyncio.run(joined())


# --- 8 bits to 7: more in far_ends/content.yaml -----------------------------------------------------------------------

@pytest.mark.parametrize("size", [1, 7, 100000])
def test_quoted_printable_round_trip(size: int) -> None:
    body = "grüße = x \n" + "ü" * 200 + "\n" + "a" * 300 + "\ntrailing \n"
    text = f"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n{body}"
    out = outgoing(text.encode(), size, to_7bit=True)
    assert max(map(len, out.split(b"\n"))) <= 76 and out.isascii()
    message = email.message_from_bytes(out)
    assert message.get_payload(decode=True) == body.encode()
    assert out.split(b"\n\n")[0].endswith(b"\nContent-Transfer-Encoding: quoted-printable")


@given(st.lists(st.binary(max_size=200).map(lambda line: line.replace(b"\n", b"").replace(b"\r", b"")), min_size=1))
def test_quoted_lines_read_back(lines: list[bytes]) -> None:
    coded = [line for each in lines for line in quoted_line(each)]
    assert max(map(len, coded)) <= 76
    assert quopri.decodestring(b"\n".join(coded)) == b"\n".join(lines)
