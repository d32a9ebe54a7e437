"""Two stores made alike: what is copied, kept, removed in each mode; twice does nothing twice."""

from dataclasses import replace
from pathlib import Path

import pytest

from mailsuite.store.api import FlagAction
from mailsuite.sync.state import State
from tests.sync.support import BOTH, MIRROR, ONE_WAY, PULL, done, fill, store_at, subjects, sync, uids


@pytest.mark.parametrize("kinds", [("maildir", "maildir"), ("maildir", "mbox"), ("mbox", "maildir")])
def test_a_copy_keeps_uids_flags_dates_and_uid_validity(tmp_path: Path, kinds: tuple[str, str]) -> None:
    one, other = store_at(tmp_path / "a", kinds[0]), store_at(tmp_path / "b", kinds[1])
    fill(one.open("INBOX"), 1, 2, 3, 4, flags=["\\Seen", "$Work"])
    one.open("INBOX").remove([2])
    assert done(sync(one, other, MIRROR)) == (3, 0, 0)
    copy = other.open("INBOX")
    assert uids(copy) == [1, 3, 4] and copy.uid_validity == one.open("INBOX").uid_validity
    assert copy.flags(3) == ["\\Seen", "$Work"]
    assert copy.dates([1, 3, 4]) == one.open("INBOX").dates([1, 3, 4])
    assert done(sync(one, other, MIRROR)) == (0, 0, 0)
    fill(one.open("INBOX"), 5)
    assert done(sync(one, other, MIRROR)) == (1, 0, 0) and uids(other.open("INBOX")) == [1, 3, 4, 5]


def test_what_a_mailbox_gave_already_is_not_given_again(tmp_path: Path) -> None:
    one, other = store_at(tmp_path / "a"), store_at(tmp_path / "b")
    fill(one.open("INBOX"), 1, 2)
    sync(one, other, MIRROR)
    fill(other.open("INBOX"), 90)               # delivered meanwhile: has UID 3
    fill(one.open("INBOX"), 3, 4)
    sync(one, other, ONE_WAY)
    assert subjects(other.open("INBOX")) == ["1", "2", "90", "3", "4"] and uids(other.open("INBOX")) == [1, 2, 3, 4, 5]
    assert done(sync(one, other, ONE_WAY)) == (0, 0, 0)


def test_backup_makes_the_target_equal(tmp_path: Path) -> None:
    one, other = store_at(tmp_path / "a"), store_at(tmp_path / "b")
    fill(one.open("INBOX"), 1, 2, flags=["\\Seen"])
    one.create("Work")
    one.create("Work.2024")
    one.subscribe("Work", True)
    fill(one.open("Work.2024"), 7)
    fill(other.open("INBOX"), 2, 8)
    other.create("Old")
    run = sync(one, other, MIRROR)
    assert done(run) == (2, 1, 1) and run.report.result.folders_removed == 1
    assert subjects(other.open("INBOX")) == ["2", "1"] and subjects(other.open("Work.2024")) == ["7"]
    assert [info.name for info in other.list_mailboxes()] == ["INBOX", "Work", "Work.2024"]
    assert other.subscriptions() == ["Work"]
    assert done(sync(other, one, PULL)) == (0, 0, 0)        # the other way round: the same


def test_one_way_removes_nothing(tmp_path: Path) -> None:
    one, other = store_at(tmp_path / "a"), store_at(tmp_path / "b")
    fill(one.open("INBOX"), 1)
    fill(other.open("INBOX"), 2)
    other.create("Old")
    assert done(sync(one, other, ONE_WAY)) == (1, 0, 0)
    assert subjects(other.open("INBOX")) == ["2", "1"] and subjects(one.open("INBOX")) == ["1"]
    assert other.exists("Old") and not one.exists("Old")


def test_two_way_is_a_union_without_a_state(tmp_path: Path) -> None:
    one, other = store_at(tmp_path / "a"), store_at(tmp_path / "b")
    fill(one.open("INBOX"), 1, 2, flags=["\\Flagged"])
    fill(other.open("INBOX"), 2, 3, flags=["\\Seen"])
    one.create("A")
    other.create("B")
    run = sync(one, other)
    assert sorted(subjects(one.open("INBOX"))) == sorted(subjects(other.open("INBOX"))) == ["1", "2", "3"]
    assert one.open("INBOX").flags(2) == ["\\Flagged", "\\Seen"]
    assert one.exists("B") and other.exists("A") and run.report.result.folders_made == 2
    assert done(sync(one, other)) == (0, 0, 0)


def test_a_state_tells_removed_from_new(tmp_path: Path) -> None:
    one, other = store_at(tmp_path / "a"), store_at(tmp_path / "b")
    fill(one.open("INBOX"), 1, 2, 3, flags=["\\Seen"])
    one.create("Gone")
    state = State.decode(sync(one, other).state.encode())
    one.open("INBOX").remove([1])
    other.open("INBOX").remove([2])
    other.open("INBOX").store_flags([3], FlagAction.REPLACE, ["\\Answered"])
    one.open("INBOX").store_flags([3], FlagAction.ADD, ["\\Flagged"])
    one.delete("Gone")
    fill(one.open("INBOX"), 4)
    fill(other.open("INBOX"), 5)
    run = sync(one, other, BOTH, state)
    assert sorted(subjects(one.open("INBOX"))) == sorted(subjects(other.open("INBOX"))) == ["3", "4", "5"]
    assert one.open("INBOX").flags(3) == other.open("INBOX").flags(3) == ["\\Answered", "\\Flagged"]
    assert not other.exists("Gone")
    again = sync(one, other, BOTH, State.decode(run.state.encode()))
    assert done(again) == (0, 0, 0)
    last = sync(one, other, BOTH, again.state)
    assert done(last) == (0, 0, 0) and last.state.encode() == again.state.encode()


def test_new_mail_in_a_folder_that_was_removed_elsewhere_stays(tmp_path: Path) -> None:
    one, other = store_at(tmp_path / "a"), store_at(tmp_path / "b")
    one.create("Work")
    fill(one.open("Work"), 1)
    state = sync(one, other).state
    other.delete("Work")
    fill(one.open("Work"), 2)
    sync(one, other, BOTH, state)
    assert subjects(one.open("Work")) == subjects(other.open("Work")) == ["2"]


def test_equal_messages_stay_as_many_as_they_are(tmp_path: Path) -> None:
    one, other = store_at(tmp_path / "a"), store_at(tmp_path / "b", "mbox")
    fill(one.open("INBOX"), 1, 1, 1)
    fill(other.open("INBOX"), 1)
    assert done(sync(one, other, ONE_WAY)) == (2, 0, 0)
    assert done(sync(one, other, BOTH)) == (0, 0, 0) and subjects(other.open("INBOX")) == ["1", "1", "1"]


@pytest.mark.parametrize(("options", "want"), [
    pytest.param({"since": 1_500_000_003.0}, ["3", "4"], id="-t"),
    pytest.param({"until": 1_500_000_002.0}, ["1", "2"], id="-e"),
    pytest.param({"max_size": 10}, [], id="-I"),
    pytest.param({"flag": "\\seen"}, ["1", "2", "3", "4"], id="-O"),
    pytest.param({"flag": "-\\Seen"}, [], id="-O without"),
    pytest.param({"mailboxes": ("Wo*",)}, [], id="-m another"),
    pytest.param({"mailboxes": ("inbox",)}, ["1", "2", "3", "4"], id="-m INBOX"),
    pytest.param({"exclude": ("I?BOX",)}, [], id="-x"),
    pytest.param({"dry_run": True}, [], id="dry run"),
])
def test_only_some(tmp_path: Path, options: dict[str, object], want: list[str]) -> None:
    one, other = store_at(tmp_path / "a"), store_at(tmp_path / "b")
    fill(one.open("INBOX"), 1, 2, 3, 4, flags=["\\Seen"])
    for _ in range(2):
        sync(one, other, replace(ONE_WAY, **options))       # type: ignore[arg-type]
        assert subjects(other.open("INBOX")) == want


def test_names_that_the_other_side_cannot_have(tmp_path: Path) -> None:
    one, other = store_at(tmp_path / "a", separator="/"), store_at(tmp_path / "b", "mbox")
    (tmp_path / "a/Maildir").mkdir(exist_ok=True)
    other.create("a.b")
    other.create("Entw&APw-rfe")
    fill(other.open("a.b"), 1)
    for _ in range(2):
        run = sync(one, other)
    assert [info.name for info in one.list_mailboxes()] == ["INBOX", "Entw&APw-rfe", "a_b"]
    assert subjects(one.open("a_b")) == ["1"] and run.report.result.folders_made == 0


def test_a_uid_validity_is_only_taken_by_what_nobody_has_seen(tmp_path: Path) -> None:
    for kind in ("maildir", "mbox"):
        store = store_at(tmp_path / kind, kind)
        inbox = store.open("INBOX")
        before = inbox.uid_validity
        view = inbox.open_view(read_only=True)
        assert not inbox.adopt(77) and inbox.uid_validity == before
        view.close()
        assert inbox.adopt(77) and inbox.uid_validity == 77
        fill(inbox, 1)
        inbox.remove([1])
        assert not inbox.adopt(78)
        store.close()
        again = store_at(tmp_path / kind, kind).open("INBOX")
        assert again.uid_validity == 77 and again.uid_next == 2
