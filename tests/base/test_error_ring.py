"""The ring of errors: bounded, shared by processes, never in the way."""

import logging
import os
import sys
from pathlib import Path

from mailsuite.base.error_ring import SLOTS, ErrorRing


def kept(path: Path) -> list[tuple[str, str, str]]:
    return [(one.prefix, one.kind, one.text) for one in ErrorRing.read(str(path))]


def record(level: int, text: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord("mailsuite.dovecot.imap", level, "", 0, text, args, None)


def ring_at(path: Path) -> ErrorRing:
    return ErrorRing(ErrorRing.create(str(path)), lambda record: record.name.rpartition(".")[2])


def test_only_what_is_serious(tmp_path: Path) -> None:
    ring = ring_at(tmp_path / "ring")
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        assert ring.filter(record(level, "level %d", level))
    assert kept(tmp_path / "ring") == [("imap", "Warning", "level 30"), ("imap", "Error", "level 40"),
                                       ("imap", "Fatal", "level 50")]
    assert (tmp_path / "ring").stat().st_mode & 0o777 == 0o600


def test_the_oldest_go_and_long_ones_are_cut(tmp_path: Path) -> None:
    ring = ring_at(tmp_path / "ring")
    for number in range(SLOTS + 5):
        ring.filter(record(logging.ERROR, f"{number}"))
    found = kept(tmp_path / "ring")
    assert len(found) == SLOTS and found[0][2] == "5" and found[-1][2] == str(SLOTS + 4)
    ring.filter(record(logging.ERROR, "\u00e4" * 5000))
    assert kept(tmp_path / "ring")[-1][2] == "\u00e4" * 128
    again = ring_at(tmp_path / "ring")                  # after a restart
    again.filter(record(logging.ERROR, "again"))
    assert kept(tmp_path / "ring")[-2:][1] == ("imap", "Error", "again")


def test_a_traceback_is_one_line(tmp_path: Path) -> None:
    ring = ring_at(tmp_path / "ring")
    try:
        raise ValueError("x\ny")
    except ValueError:
        made = logging.LogRecord("a.b", logging.ERROR, "", 0, "unforeseen\nthing", None, sys.exc_info())
    ring.filter(made)
    assert kept(tmp_path / "ring") == [("b", "Error", "unforeseen: ValueError('x\\ny')")]


def test_two_processes(tmp_path: Path) -> None:
    ring = ring_at(tmp_path / "ring")
    child = os.fork()
    for number in range(200):
        ring.filter(record(logging.ERROR, f"{number}"))
    if child == 0:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    found = [text for _, _, text in kept(tmp_path / "ring")]
    assert len(found) == 400 and sorted(found) == sorted([str(number) for number in range(200)] * 2)


def test_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    path.write_bytes(b"errring1" + b"\xff" * 100)
    assert isinstance(kept(path), list)
    path.write_bytes(b"something else")
    assert kept(path) == []
    ring_at(path).filter(record(logging.ERROR, "new"))
    assert len(kept(path)) == 1
    os.close(os.open(path, os.O_RDONLY))
    closed = ErrorRing(-1, lambda record: "x")
    assert closed.filter(record(logging.ERROR, "a log that is gone must not stop the mail"))
