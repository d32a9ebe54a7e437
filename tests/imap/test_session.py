"""imap/session.py: framing, literals, APPEND, IDLE, limits; without any mailbox."""

from random import Random

import pytest

from mailsuite.base.dialogue import Action, Ask, Body, Close, Send
from mailsuite.imap.session import AppendEnd, AppendPart, Command, Done, Go, IdleEnd, Session

STREAM = (b"a1 NOOP\r\na2 SELECT {5}\r\nINBOX\r\na3 UID FETCH 1:* (FLAGS BODY[HEADER.FIELDS ({4+}\r\nFROM)])\n"
          b"a4 APPEND INBOX (\\Seen) {11+}\r\nhello\r\na NO {3}\r\nabc\r\na5 IDLE\r\nDONE\r\n"
          b"a6 FOO )\r\na7 APPEND x {3+}\r\nabc {4+}\r\na LO\r\n* BAD\r\na8 LOGOUT\r\n")


def answer(question: object) -> object:
    match question:
        case Command(name="IDLE"):
            return Go(b"+ idling\r\n")
        case AppendPart(arguments=[b"x", *_]):
            return Done(question.tag + b" NO\r\n")
        case AppendPart():
            return Go(b"+ OK\r\n" if question.literal.sync else b"")
        case Command(name="LOGOUT"):
            return Done(question.tag + b" OK\r\n", close=True)
    return Done(question.tag + b" OK\r\n")  # type: ignore[attr-defined]


def play(parts: list[bytes], session: Session | None = None) -> list[Action]:
    """Everything that is said and asked; neighbouring Bodies and Sends joined."""
    session = session or Session()
    said: list[Action] = []
    for part in parts:
        waiting = session.feed(part)
        while waiting:
            said += waiting
            last = waiting[-1]
            waiting = session.answered(answer(last.question)) if isinstance(last, Ask) else []
    joined: list[Action] = []
    for action in said:
        if joined and isinstance(action, Body) and isinstance(joined[-1], Body):
            joined[-1] = Body(joined[-1].octets + action.octets)
        elif joined and isinstance(action, Send) and isinstance(joined[-1], Send):
            joined[-1] = Send(joined[-1].octets + action.octets)
        else:
            joined.append(action)
    return joined


def test_whole_stream() -> None:
    said = play([STREAM])
    questions = [action.question for action in said if isinstance(action, Ask)]
    assert [each.name if isinstance(each, Command) else type(each).__name__ for each in questions] == [
        "NOOP", "SELECT", "UID FETCH", "AppendPart", "AppendPart", "AppendEnd", "IDLE", "IdleEnd", "AppendPart",
        "LOGOUT"]
    assert questions[1] == Command(b"a2", "SELECT", [b"INBOX"])
    assert questions[2].arguments == [b"1:*", [b"FLAGS", b"BODY[HEADER.FIELDS", [b"FROM"], b"]"]]
    assert questions[3].arguments == [b"INBOX", [b"\\Seen"]] and questions[3].first
    assert questions[4].arguments == [] or not questions[4].first
    assert questions[5] == AppendEnd(b"a4", [])
    assert questions[7] == IdleEnd(b"a5", True)
    assert b"".join(action.octets for action in said if isinstance(action, Body)) == b"hello\r\na NOabc"
    assert isinstance(said[-1], Close)


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_packet_borders_do_not_matter(cut: int) -> None:
    assert play([STREAM[:cut], STREAM[cut:]]) == play([STREAM])


def test_octet_by_octet() -> None:
    assert play([STREAM[at:at + 1] for at in range(len(STREAM))]) == play([STREAM])


@pytest.mark.parametrize("seed", range(100))
def test_noise_is_answered(seed: int) -> None:
    random = Random(seed)
    pieces = [b"a ", b"{3}", b"{2+}\r\n", b"\r\n", b"(", b")", b'"', b"APPEND ", b"IDLE\r\n", b"UID ", b"INBOX ", b"\n",
              b"DONE"]
    noise = b"".join(random.choice([*pieces, random.randbytes(3)]) for _ in range(120))
    assert all(action.octets.endswith(b"\r\n") for action in play([noise]) if isinstance(action, Send))


def refused(line: bytes, session: Session | None = None) -> bytes:
    said = play([line], session)
    return b"".join(action.octets for action in said if isinstance(action, Send))


@pytest.mark.parametrize(("line", "want"), [
    (b"\r\n", b"* BAD Error in IMAP tag: Invalid tag (0.001 + 0.000 secs).\r\n"),
    (b"a1\r\n", b"a1 BAD Error in IMAP command: Invalid command name (0.001 + 0.000 secs).\r\n"),
    (b"a1 UID\r\n", b"a1 BAD Error in IMAP command: Invalid command name (0.001 + 0.000 secs).\r\n"),
    (b"a1 fetch (\r\n", b"a1 BAD Error in IMAP command FETCH: Missing ')' (0.001 + 0.000 secs).\r\n"),
])
def test_mistakes_are_told(line: bytes, want: bytes) -> None:
    assert refused(line) == want


def test_too_long_a_line_is_skipped_whole() -> None:
    session = Session(max_line_length=1000)
    assert refused(b"a1 SELECT " + b"x" * 5000 + b"\r\n", session).startswith(
        b"a1 BAD Error in IMAP command SELECT: Too long argument")
    assert refused(b"a2 NOOP\r\n", session) == b"a2 OK\r\n"


def test_too_long_a_literal_ends_the_session() -> None:
    said = play([b"a1 SELECT {70000}\r\n"])
    assert said[0] == Send(b"* BYE Literal size too large\r\n") and isinstance(said[1], Close)


def test_literals_add_up() -> None:
    said = play([b"a SEARCH TEXT {600+}\r\n" + b"x" * 600 + b" TEXT {600+}\r\n" + b"x" * 600 + b"\r\n"],
                Session(max_line_length=1000))
    assert isinstance(said[-1], Close)


def test_too_many_bad_commands() -> None:
    said = play([b"a )\r\n" * 30])
    assert sum(action.octets.count(b"a BAD") for action in said if isinstance(action, Send)) == 20
    assert said[-2:-1] == [said[-2]] and said[-2].octets.endswith(b"* BYE Too many invalid IMAP commands.\r\n")  # type: ignore[union-attr]
    assert isinstance(said[-1], Close)


def test_a_good_command_resets_the_count() -> None:
    assert not any(isinstance(action, Close) for action in play([(b"a )\r\n" * 15 + b"b NOOP\r\n") * 4]))


def test_refused_append_skips_what_was_sent_already() -> None:
    said = play([b"a1 APPEND x {8+}\r\na2 EVIL\n {4+}\r\nevil\r\na3 NOOP\r\n"])
    assert [action.question.tag for action in said if isinstance(action, Ask)] == [b"a1", b"a3"]  # type: ignore[attr-defined]


def test_refused_append_that_waits() -> None:
    said = play([b"a1 APPEND x {8}\r\na2 NOOP\r\n"])
    assert [action.question.tag for action in said if isinstance(action, Ask)] == [b"a1", b"a2"]  # type: ignore[attr-defined]


def test_nothing_follows_a_question_until_its_answer() -> None:
    session = Session()
    assert len(session.feed(b"a NOOP\r\nb NOOP\r\n")) == 1
    assert session.feed(b"c NOOP\r\n") == [] and session.backlog > 0


def test_a_failure_is_told_and_survived() -> None:
    session = Session()
    session.feed(b"a1 NOOP\r\n")
    (said,) = session.failed(RuntimeError())
    assert isinstance(said, Send) and said.octets.startswith(b"a1 NO [SERVERBUG] Internal error occurred.")
    assert isinstance(session.feed(b"a2 NOOP\r\n")[0], Ask)


def test_inactivity() -> None:
    said = Session().timed_out()
    assert said[0] == Send(b"* BYE Disconnected for inactivity.\r\n") and isinstance(said[1], Close)
