"""The file of full text: what it knows, forgets, and survives."""

import logging
import os
import sqlite3
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from mailsuite.fulltext import file
from mailsuite.fulltext.database import FullText
from mailsuite.fulltext.mailbox import MailboxText
from mailsuite.fulltext.rows import Entry


def entries(uids: Sequence[int], word: str = "WORD") -> list[Entry]:
    return [Entry(uid, {"SUBJECT:", f"HEAD{uid}"}, {word, f"BODY{uid}"}) for uid in uids]


def found(box: MailboxText, text: str, *, headers: bool = True) -> set[int]:
    return box.find([text.encode()], headers=headers)[1]


@pytest.fixture
def text(tmp_path: Path) -> FullText:
    return FullText(str(tmp_path / "text"))


def test_answers_for_what_it_knows(text: FullText) -> None:
    box = text.mailbox("INBOX", 7)
    assert box.known == set() and box.find([b"A"], headers=True) == (set(), set())
    box.add(entries([1, 2, 3]), left_out=[9])
    assert box.known == {1, 2, 3, 9} and box.left_out == {9}
    assert box.find([b"BODY2"], headers=True) == ({1, 2, 3}, {2})
    assert found(box, "HEAD3") == {3} and found(box, "HEAD3", headers=False) == set()
    assert box.find([b"WOR", b"BODY1", b"EAD"], headers=True)[1] == {1}
    assert text.mailbox("Other", 7).known == set()


def test_it_is_kept_and_private(text: FullText, tmp_path: Path) -> None:
    text.mailbox("INBOX", 7).add(entries([1]), left_out=[2])
    assert stat.S_IMODE(os.stat(text.path).st_mode) == 0o600
    text.close()
    again = FullText(str(tmp_path / "text")).mailbox("INBOX", 7)
    assert again.known == {1, 2} and again.left_out == {2} and found(again, "BODY1") == {1}


def test_what_is_known_is_not_added_again(text: FullText) -> None:
    box = text.mailbox("INBOX", 7)
    box.add(entries([1, 2]))
    box.add(entries([2, 3], "LATER"))
    assert found(box, "LATER") == {3} and box.known == {1, 2, 3}


def test_another_uid_validity_empties_it(text: FullText) -> None:
    text.mailbox("INBOX", 7).add(entries([1]))
    box = text.mailbox("INBOX", 8)
    assert box.known == set()
    box.add(entries([5]))
    assert box.known == {5} and text.mailbox("INBOX", 7).known == set()


def test_mailboxes_are_forgotten_and_renamed(text: FullText) -> None:
    text.mailbox("A", 7).add(entries([1]))
    text.mailbox("B", 7).add(entries([2]))
    text.rename("A", "C")
    text.forget("B")
    assert text.names() == ["C"]
    assert text.mailbox("C", 7).known == {1} and text.mailbox("A", 7).known == text.mailbox("B", 7).known == set()


def test_messages_that_are_gone_leave(text: FullText) -> None:
    box = text.mailbox("INBOX", 7)
    box.add(entries(range(1, 11)), left_out=[20])
    assert not box.tidy(set(range(2, 11)))          # one of ten may stay for a while
    assert box.tidy(set(range(6, 11)))
    assert box.known == set(range(6, 11)) and not box.tidy(set(range(6, 11)))
    assert found(box, "WORD") == set(range(6, 11))
    text.close()
    assert b"BODY3" not in b"".join(path.read_bytes() for path in Path(text.path).parent.glob("text*"))


def test_one_message_leaves_when_it_must(text: FullText) -> None:
    box = text.mailbox("INBOX", 7)
    box.add(entries(range(1, 11)))
    box.drop([4])
    assert box.known == set(range(1, 11)) - {4} and found(box, "BODY4") == set()


def test_small_segments_are_put_together(text: FullText) -> None:
    box = text.mailbox("INBOX", 7)
    everything = set(range(1, 201))
    for uid in sorted(everything):
        box.add(entries([uid]))
        box.tidy(everything)
    assert box.segments < 30
    assert box.known == found(box, "WORD") == everything and found(box, "BODY77") == {77}
    while box.tidy(everything, thorough=True):
        pass
    assert box.segments == 1 and found(box, "HEAD123") == {123}


@pytest.mark.parametrize("how", ["junk", "cut", "other version", "table"])
def test_a_damaged_file_is_built_anew(text: FullText, how: str, caplog: pytest.LogCaptureFixture) -> None:
    text.mailbox("INBOX", 7).add(entries([1]))
    path = Path(text.path)
    text.close()
    if how == "junk":
        path.write_bytes(b"no database" * 1000)
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:30000])
    else:
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA user_version = 99" if how == "other version" else "DROP TABLE segment")
        db.close()
    with caplog.at_level(logging.WARNING):
        box = FullText(str(path)).mailbox("INBOX", 7)
        assert found(box, "BODY1") == set()
        box.add(entries([1]))
        if not box.known:
            box.add(entries([1]))
    assert found(box, "BODY1") == {1}
    assert "built anew" in caplog.text


def test_octets_that_changed_are_noticed(text: FullText, caplog: pytest.LogCaptureFixture) -> None:
    text.mailbox("INBOX", 7).add(entries([1, 2]))
    text.close()
    with sqlite3.connect(text.path) as db:
        body = db.execute("SELECT body FROM segment").fetchone()[0]
        db.execute("UPDATE segment SET body = ?", (body.replace(b"BODY1", b"BODY7"),))
    db.close()
    box = FullText(text.path).mailbox("INBOX", 7)
    with caplog.at_level(logging.WARNING):
        assert box.find([b"BODY7"], headers=True) == (set(), set())
    assert "not as it was written" in caplog.text and box.known == set()


def test_a_deleted_file_is_made_anew(text: FullText) -> None:
    text.mailbox("INBOX", 7).add(entries([1]))
    for path in Path(text.path).parent.glob("text*"):
        path.unlink()
    box = text.mailbox("INBOX", 7)
    assert box.known == set()
    box.add(entries([4]))
    assert Path(text.path).exists() and box.known == {4}


def test_no_place_for_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    box = FullText(str(tmp_path / "none" / "text")).mailbox("INBOX", 7)
    box.add(entries([1]))
    assert box.known == set() and box.find([b"A"], headers=True) == (set(), set()) and not box.tidy({1})
    assert "searched without it" in caplog.text


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"precious")
    (tmp_path / "text").symlink_to(tmp_path / "target")
    FullText(str(tmp_path / "text")).mailbox("INBOX", 7).add(entries([1]))
    assert (tmp_path / "target").read_bytes() == b"precious"


def test_what_another_process_writes_is_seen(text: FullText) -> None:
    box = text.mailbox("INBOX", 7)
    box.add(entries([1]))
    other = FullText(text.path)
    other.mailbox("INBOX", 7).add(entries([2]))
    assert box.known == {1, 2}
    other.forget("INBOX")
    assert box.known == set()


def test_a_locked_file_is_no_damage(text: FullText, monkeypatch: pytest.MonkeyPatch,
                                    caplog: pytest.LogCaptureFixture) -> None:
    box = text.mailbox("INBOX", 7)
    box.add(entries([1]))
    monkeypatch.setattr(file, "BUSY_S", 0.0)
    text.close()
    quick = FullText(text.path).mailbox("INBOX", 7)
    holder = sqlite3.connect(text.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    quick.add(entries([2]))
    assert "locked" in caplog.text and quick.known == {1}
    holder.execute("ROLLBACK")
    holder.close()
    quick.add(entries([2]))
    assert quick.known == {1, 2}
