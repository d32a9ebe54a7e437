"""Lines of mail logs: time stamps of both kinds, queue ids, the year that nobody wrote down."""

import time

import pytest

from mailsuite.trace.lines import Clock, queue_id_of


def epoch(year: int, month: int, day: int, hour: int = 0) -> float:
    return time.mktime((year, month, day, hour, 0, 0, 0, 0, -1))


@pytest.mark.parametrize(("line", "program", "queue_id", "text"), [
    (b"Nov 21 04:00:05 mx postfix/smtpd[1]: 4A2F1C83D: client=c[1.2.3.4]", "smtpd", "4A2F1C83D", "client=c[1.2.3.4]"),
    (b"Nov  1 04:00:05 mx postfix/submission/smtpd[1]: NOQUEUE: reject: x", "smtpd", "NOQUEUE", "reject: x"),
    (b"Nov  1 04:00:05 mx postfix-out/smtp[1]: 4Fz1Qx3c9Tz7W: to=<a@b>", "smtp", "4Fz1Qx3c9Tz7W", "to=<a@b>"),
    (b"<22>Nov  1 04:00:05 mx postfix/cleanup[1]: warning: 3176AA2: message rejected", "cleanup", "3176AA2",
     "warning: message rejected"),
    (b"Nov  1 04:00:05 mx postfix/smtpd[1]: warning: x", "smtpd", "", "warning: x"),
    (b"Nov  1 04:00:05 mx postfix/anvil[1]: statistics: x", "anvil", "", "statistics: x"),
    (b"2026-11-21T04:00:05.123456+00:00 mx postfix/qmgr[9]: 4A2F1C83D: removed", "qmgr", "4A2F1C83D", "removed"),
    (b"2026-11-21 04:00:05 mx postfix/qmgr[9]: 4A2F1C83D: \xff", "qmgr", "4A2F1C83D", "\ufffd"),
])
def test_a_line(line: bytes, program: str, queue_id: str, text: str) -> None:
    found = Clock().parse(line)
    assert found is not None and (found.program, found.queue_id, found.text) == (program, queue_id, text)
    assert (queue_id_of(line) or b"").decode() == queue_id


@pytest.mark.parametrize("line", [b"", b"junk", b"Nov 21 04:00", b"Foo 21 04:00:05 mx a[1]: b", b"\x00" * 50,
                                  b"2026-99-99T99:99:99Z mx a[1]: b"])
def test_what_is_no_line(line: bytes) -> None:
    assert Clock().parse(line) is None


def stamps(lines: list[bytes], last_change: float) -> list[float]:
    clock = Clock()
    found = [clock.parse(line) for line in lines]
    return [clock.epoch(one.stamp, last_change) for one in found if one is not None]


def line(day: str) -> bytes:
    return f"{day} 00:00:00 mx postfix/qmgr[1]: 4A2F1C83D: removed".encode()


def test_the_year_turns() -> None:
    days = ["Nov 30", "Dec 31", "Jan  1", "Feb  3", "Dec 30", "Jan  5"]
    assert stamps([line(day) for day in days], epoch(2026, 1, 5, 12)) == [
        epoch(2024, 11, 30), epoch(2024, 12, 31), epoch(2025, 1, 1), epoch(2025, 2, 3), epoch(2025, 12, 30),
        epoch(2026, 1, 5)]


def test_the_turn_is_seen_among_lines_nobody_wants() -> None:
    clock = Clock()
    first = clock.parse(line("Dec 31"))
    clock.see(line("Jan  1"))
    clock.see(b"junk")
    last = clock.parse(line("Jan  2"))
    assert first is not None and last is not None
    assert (clock.epoch(first.stamp, epoch(2026, 1, 2, 1)), clock.epoch(last.stamp, epoch(2026, 1, 2, 1))) == (
        epoch(2025, 12, 31), epoch(2026, 1, 2))


def test_a_clock_that_was_set_back_turns_no_year() -> None:
    assert stamps([line("Nov 21"), line("Nov 20"), line("Nov 22")], epoch(2026, 11, 22, 1)) == [
        epoch(2026, 11, 21), epoch(2026, 11, 20), epoch(2026, 11, 22)]


def test_a_file_that_was_copied_later() -> None:
    assert stamps([line("Nov 21")], epoch(2026, 12, 24)) == [epoch(2026, 11, 21)]
    assert stamps([line("Dec 30")], epoch(2026, 2, 1)) == [epoch(2025, 12, 30)]
