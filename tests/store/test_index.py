"""The index: what waits to be written, what a damaged or lost one costs."""

import logging
import sqlite3
from pathlib import Path

import pytest

from mailsuite.store.api import Column, FlagAction
from mailsuite.store.index import Index
from mailsuite.store.index_box import LISTS, MANY
from mailsuite.store.index_later import Cached
from tests.store.support import append, numbered, store_at
from tests.store.test_mailbox import column
from tests.support.suite import wait_for


def rows_of(path: Path, table: str) -> int:
    with sqlite3.connect(path) as db:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_what_waits_is_read_as_if_written(tmp_path: Path) -> None:
    index = Index(str(tmp_path / "index"))
    box = index.mailbox("INBOX", 5)
    box.store([(1, Cached(envelope=b"(1)")), (2, Cached(size=2))])
    box.store_fields(b"date", [(1, b"Date: x\r\n\r\n")])
    assert index.mailbox("INBOX", 5).cached([1, 2, 3]) == {1: Cached(envelope=b"(1)"), 2: Cached(size=2)}
    assert box.fields(b"date", [1, 2]) == {1: b"Date: x\r\n\r\n"} and box.sizes([1, 2]) == {2: 2}
    box.forget_cached([1])
    assert box.cached([1]) == {} and box.fields(b"date", [1]) == {}
    index.close()
    assert Index(str(tmp_path / "index")).mailbox("INBOX", 5).cached([1, 2]) == {2: Cached(size=2)}


def test_what_waits_is_written_in_a_pause(tmp_path: Path) -> None:
    index = Index(str(tmp_path / "index"))
    index.mailbox("INBOX", 5).store([(uid, Cached(size=uid)) for uid in range(1, 3001)])
    wait_for(lambda: rows_of(tmp_path / "index", "cache") == 3000, what="rows written")
    index.close()


def test_too_much_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailsuite.store.index_later.MAX_OCTETS", 1000)
    monkeypatch.setattr("mailsuite.store.index_later.PAUSE_S", 3600)
    index = Index(str(tmp_path / "index"))
    index.mailbox("INBOX", 5).store([(1, Cached(envelope=b"x" * 1001))])
    assert rows_of(tmp_path / "index", "cache") == 1
    index.close()


def test_a_forgotten_mailbox_leaves_nothing(tmp_path: Path) -> None:
    index = Index(str(tmp_path / "index"))
    box = index.mailbox("INBOX", 5)
    box.store([(1, Cached(size=1))])
    index.forget("INBOX")
    box.store([(2, Cached(size=2))])        # by who still has it open
    index.close()
    assert rows_of(tmp_path / "index", "cache") == rows_of(tmp_path / "index", "mailbox") == 0


def test_few_lists_of_names(tmp_path: Path) -> None:
    index = Index(str(tmp_path / "index"))
    box = index.mailbox("INBOX", 5)
    for number in range(LISTS + 5):
        box.store_fields(b"x-%02d" % number, [(1, b"\r\n")])
        index.write_waiting()
    assert rows_of(tmp_path / "index", "fields") == LISTS
    index.close()


def test_flags_of_many_wait_and_later_ones_win(tmp_path: Path) -> None:
    index = Index(str(tmp_path / "index"))
    box = index.mailbox("INBOX", 5)
    box.save_later(range(1, MANY + 1), [0] * MANY, [7] * MANY, highest_modseq=7, first_recent=1)
    box.save([(1, 4, 8)], [2], highest_modseq=8, first_recent=1)
    assert rows_of(tmp_path / "index", "message") == 1
    index.close()
    again = Index(str(tmp_path / "index")).mailbox("INBOX", 5)
    assert again.load() == {1: (4, 8)} | dict.fromkeys(range(3, MANY + 1), (0, 7)) and again.highest_modseq == 8


def test_modseqs_after_the_process_died(tmp_path: Path) -> None:
    """The rows that waited are lost: what changed has a MODSEQ above all that a client may have seen before."""
    store = store_at(tmp_path, "maildir")
    inbox = store.open("INBOX")
    append(inbox, *numbered(MANY + 1))
    view = inbox.open_view(read_only=False)
    before = inbox.highest_modseq
    store.close()
    store = store_at(tmp_path, "maildir")
    inbox = store.open("INBOX")
    view = inbox.open_view(read_only=False)
    inbox.store_flags(list(view.uids), FlagAction.ADD, ["\\Seen"])
    assert inbox.highest_modseq == before + 1
    inbox._database.later.clear()  # type: ignore[attr-defined]  # as the kernel does it with kill -9
    store.close()
    again = store_at(tmp_path, "maildir").open("INBOX")
    again.refresh()
    assert again.highest_modseq > before and column(again, [1], Column.FLAGS) == [b"\\Seen"]
    assert all(modseq is not None and modseq > before for modseq in again.modseqs(range(1, MANY + 2)))


def test_damaged_while_open(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two mailboxes go on with numbers of their own in the new index, and the log tells of it."""
    store = store_at(tmp_path, "maildir")
    store.create("Box")
    inbox, box = store.open("INBOX"), store.open("Box")
    for mailbox, count in ((inbox, 2), (box, 1)):
        append(mailbox, *numbered(count))
        mailbox.open_view(read_only=False)
    index = inbox._database  # type: ignore[attr-defined]
    with caplog.at_level(logging.WARNING), index.transaction():
        raise sqlite3.DatabaseError("database disk image is malformed")
    assert "the index is made anew" in caplog.text
    before = inbox.highest_modseq, box.highest_modseq
    column(box, [1], Column.ENVELOPE)
    inbox.store_flags([1, 2], FlagAction.ADD, ["\\Seen"])
    box.store_flags([1], FlagAction.ADD, ["\\Flagged"])
    store.close()
    store = store_at(tmp_path, "maildir")
    inbox, box = store.open("INBOX"), store.open("Box")
    assert column(inbox, [1, 2], Column.FLAGS) == [b"\\Seen"] * 2 and column(box, [1], Column.FLAGS) == [b"\\Flagged"]
    assert (inbox.highest_modseq, box.highest_modseq) == (before[0] + 1, before[1] + 1)
