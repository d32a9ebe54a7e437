"""Dovecot and we serve the same mailboxes in turn: the fast part of `make swap`, and what Dovecot's log tells us."""

import struct
from pathlib import Path

import pytest

from mailsuite.store.dovecot_log import NOTHING, Known, read_log
from tests.message import dovecot
from tests.store.swapping import run

needs_dovecot = pytest.mark.skipif(bool(dovecot.WHY_NOT), reason=dovecot.WHY_NOT)


@needs_dovecot
@pytest.mark.parametrize(("kind", "seed", "keep"), [
    ("maildir", 1, False), ("maildir", 2, True), ("fs", 3, False), ("mbox", 6, False), ("mbox", 3, True)])
def test_each_sees_what_the_other_did(kind: str, seed: int, keep: bool) -> None:
    """keep: our store stays open while Dovecot works."""
    run(kind, seed, 8, keep=keep)


HEADER = struct.pack("<BBHIIIIIQ", 1, 3, 40, 7, 2, 0, 0, 1700000000, 90) + bytes(8)
INDEX = struct.pack("<BBHIIB3xIIII", 7, 3, 120, 120, 8, 1, 7, 0, 5, 30)


def record(kind: int, body: bytes) -> bytes:
    size = len(body) + 8
    packed = bytes(0x80 | size >> shift & 0x7F for shift in (23, 16, 9, 2))
    return packed + struct.pack("<I", 0x10000000 | kind) + body


def update(offset: int, *values: int) -> bytes:
    return record(0x20, struct.pack(f"<HH{len(values)}I", offset, 4 * len(values), *values))


@pytest.mark.parametrize(("log", "index", "want"), [
    pytest.param(HEADER, b"", Known(90), id="header only"),
    pytest.param(HEADER + record(0x2, struct.pack("<IIII", 3, 0, 9, 8)), b"", Known(93, 10), id="messages were added"),
    pytest.param(HEADER + update(24, 55, 12) + update(0, 1), b"", Known(94, 12, 55), id="UIDVALIDITY, next UID"),
    pytest.param(HEADER + update(28, 12), INDEX, Known(92, 30, 5), id="the index knows more"),
    pytest.param(HEADER + record(0x2, b"odd") + b"\0" * 9, INDEX, Known(92, 30, 5), id="rubbish behind it"),
    pytest.param(HEADER + update(28, 0xFFFFFFFF), b"", Known(92), id="a next UID that leaves no room"),
    pytest.param(b"\2" + HEADER[1:], INDEX, NOTHING, id="another version"),
    pytest.param(HEADER[:20], INDEX, NOTHING, id="cut off"),
])
def test_log_of_dovecot(tmp_path: Path, log: bytes, index: bytes, want: Known) -> None:
    (tmp_path / "dovecot.index.log").write_bytes(log)
    (tmp_path / "dovecot.index").write_bytes(index)
    assert read_log(str(tmp_path / "dovecot.index.log"), uids=True) == want
    assert read_log(str(tmp_path / "dovecot.index.log")).modseq == want.modseq
    assert read_log(str(tmp_path / "none"), uids=True) == NOTHING
