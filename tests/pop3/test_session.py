"""pop3: session, arguments, UIDL formats; without a mailbox."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsuite.base.dialogue import Action, Ask, Close, Send
from mailsuite.base.errors import PeerError
from mailsuite.pop3.reply import slices, stuffed, top_of
from mailsuite.pop3.session import Command, Done, Session
from mailsuite.pop3.syntax import lang_reply, message_number, number_and_lines, split_command
from mailsuite.pop3.uidl import NotAvailable, Uidl, renamed

STREAM = b"STAT\r\nretr  1\nTOP 1 2\r\n\r\nQUIT\r\n"


def play(parts: list[bytes]) -> list[Action]:
    session, said = Session(), []
    for part in parts:
        waiting = session.feed(part)
        while waiting:
            said += waiting
            last = waiting[-1]
            if not isinstance(last, Ask):
                break
            name = last.question.name  # type: ignore[attr-defined]
            waiting = session.answered(Done(b"+OK\r\n", bad=not name, close=name == "QUIT"))
    return said


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_packet_borders_do_not_matter(cut: int) -> None:
    assert play([STREAM[:cut], STREAM[cut:]]) == play([STREAM])


def test_questions() -> None:
    asked = [action.question for action in play([STREAM]) if isinstance(action, Ask)]
    assert asked == [Command("STAT", ""), Command("RETR", "1"), Command("TOP", "1 2"), Command("", ""),
                     Command("QUIT", "")]


@pytest.mark.parametrize("seed", range(100))
def test_noise_is_answered(seed: int) -> None:
    said = play([Random(seed).randbytes(600)])
    assert all(action.octets.endswith(b"\r\n") for action in said if isinstance(action, Send))


def test_too_many_bad_commands() -> None:
    said = play([b"\r\n" * 30])
    assert said[-2] == Send(b"-ERR Too many bad commands.\r\n") and isinstance(said[-1], Close)


def test_too_long_a_line() -> None:
    said = play([b"x" * 10_000])
    assert said[0] == Send(b"-ERR Input line too long.\r\n") and isinstance(said[1], Close)


@pytest.mark.parametrize(("text", "problem"), [
    ("", "Invalid message number: "), ("x", "Invalid message number: x"), ("-1", "Invalid message number: -1"),
    ("0", "There's no message 0."), ("4", "There's no message 4."), ("1 2", "Noise after message number:  2"),
    ("99999999999999999999", "Message number too large: 99999999999999999999"),
    ("4294967296", "Message number too large: "),
])
def test_bad_message_numbers(text: str, problem: str) -> None:
    with pytest.raises(PeerError) as raised:
        message_number(text, 3)
    assert raised.value.public == problem


def test_arguments() -> None:
    assert message_number("3", 3) == 3 and number_and_lines("2  10", 3) == (2, 10)
    assert split_command(b"list") == ("LIST", "")


@pytest.mark.parametrize(("octets", "want"), [
    (b"a\r\n", b"a\r\n"), (b".a\r\n..\r\n", b"..a\r\n...\r\n"), (b"no end", b"no end\r\n"), (b"", b"\r\n"),
])
def test_stuffing(octets: bytes, want: bytes) -> None:
    for size in (1, 2, 3, 5, 100):
        assert b"".join(stuffed(slices(octets, size))) == want


@given(st.lists(st.sampled_from([b".", b"..", b"a", b"\r\n"]), max_size=40), st.integers(1, 9), st.integers(0, 80))
def test_stuffing_does_not_depend_on_blocks(parts: list[bytes], size: int, end: int) -> None:
    octets = b"".join(parts)
    end = min(end, len(octets))
    blocks = list(stuffed(slices(octets, size, end)))
    lines = octets[:end].split(b"\n")
    want = b"\n".join([b"." + line if line.startswith(b".") else line for line in lines])
    assert b"".join(blocks) == want + (b"" if want.endswith(b"\n") else b"\r\n")


@given(st.lists(st.sampled_from([b"a", b"\r\n"]), max_size=40), st.integers(1, 9), st.integers(0, 20))
def test_the_top_does_not_depend_on_blocks(parts: list[bytes], size: int, count: int) -> None:
    octets = b"".join(parts)
    lines = octets.splitlines(keepends=True)
    assert b"".join(top_of(slices(octets, size), count)) == b"".join(lines[:count])


class FakeMailbox:
    uid_validity = 0x6B0112A1

    def identities(self, uids: list[int], kind: str) -> list[str] | None:
        return [f"file{uid}" for uid in uids] if kind == "filename" else None


@pytest.mark.parametrize(("text", "want"), [
    ("%08Xu%08Xv", [b"000000016b0112a1", b"0000000a6b0112a1"]),
    ("%u-%v-%08Xu", [b"1-1795232417-00000001", b"10-1795232417-0000000a"]),
    ("%f", [b"file1", b"file10"]),
    ("%u%%", [b"1%", b"10%"]),
    ("%Mu", [b"c4ca4238a0b923820dcc509a6f75849b", b"d3d9446802a44259755d38e6d163e820"]),
    ("%2.3f-%010u", [b"le1-0000000001", b"le1-0000000010"]),
    ("%Nu", [b"a0b92382", b"2a44259"]),
    ("%-3f", [b"fil", b"fil"]),
])
def test_uidl_formats(text: str, want: list[bytes] | None) -> None:
    """%N, %-3 and offsets: as Dovecot 2.3.19 expands them."""
    assert Uidl(text).render(FakeMailbox(), [1, 10]) == want  # type: ignore[arg-type]


def test_uidl_format_the_mailbox_has_no_value_for() -> None:
    with pytest.raises(NotAvailable, match="Header MD5 not found"):
        Uidl("%u%m").render(FakeMailbox(), [1])  # type: ignore[arg-type]


def test_equal_uidls_get_numbers() -> None:
    assert renamed([b"a", b"b", b"a", b"a"]) == [b"a", b"b", b"a-2", b"a-3"]


@pytest.mark.parametrize(("arguments", "first"), [
    ("", "+OK Language listing follows:"), ("*", "+OK en Language is English."),
    ("en-GB", "+OK en Language is English."),
    ("mul", "-ERR There are texts in English only."),
])
def test_languages(arguments: str, first: str) -> None:
    assert lang_reply(arguments)[0] == first
