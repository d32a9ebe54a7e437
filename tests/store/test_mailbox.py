"""What holds for every kind of mailbox: APPEND, flags, views, EXPUNGE, COPY, and that all of it is there again."""

from pathlib import Path

import pytest

from mailsuite.store.api import Changes, Column, FlagAction, Mailbox, MailStore, MessageGone, Refused
from tests.store.support import ONE, append, numbered, store_at


@pytest.fixture(params=["maildir", "fs", "mbox"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(tmp_path: Path, kind: str) -> MailStore:
    return store_at(tmp_path, kind)


@pytest.fixture
def inbox(store: MailStore) -> Mailbox:
    return store.open("INBOX")


def column(mailbox: Mailbox, uids: list[int], which: Column) -> list[bytes | None]:
    return mailbox.columns(uids, [which])[0]


def test_append_is_there_again(tmp_path: Path, kind: str, store: MailStore, inbox: Mailbox) -> None:
    uids = append(inbox, ONE, flags=["\\Seen", "$Key"], date=1641031200.0) + append(inbox, *numbered(2))
    assert uids == [1, 2, 3]
    validity = inbox.uid_validity
    store.close()
    again = store_at(tmp_path, kind).open("inbox")
    assert (again.uid_validity, again.uid_next, again.keywords) == (validity, 4, ["$Key"])
    assert column(again, [1, 2], Column.FLAGS) == [b"\\Seen $Key", b""]
    assert column(again, [1], Column.INTERNALDATE)[0] == b'"01-Jan-2022 10:00:00 +0000"'
    assert again.message(1).octets == ONE
    assert again.sizes([1, 2, 3]) == [len(ONE), 22, 22]
    assert column(again, [1], Column.ENVELOPE)[0] == \
        b'(NIL "one" ((NIL NIL "a" "b.test")) ((NIL NIL "a" "b.test")) ((NIL NIL "a" "b.test")) NIL NIL NIL NIL NIL)'


@pytest.mark.parametrize("octets", [
    pytest.param(b"no header end", id="no empty line"),
    pytest.param(b"\r\n", id="an empty line"),
    pytest.param(b"Subject: x\r\n\r\nFrom here\r\nFrom a@b.test  Tue Nov 14 22:13:20 2023\r\n", id="From lines"),
    pytest.param(b"Subject: x\r\n\r\n\r\n\r\n", id="empty lines at the end"),
    pytest.param(b"\r\nbody only\r\n", id="no header"),
    pytest.param(b"Subject: nul\r\n\r\n\x00\xff\r\n", id="any octets"),
])
def test_octets_come_back(tmp_path: Path, kind: str, inbox: Mailbox, octets: bytes) -> None:
    append(inbox, octets, ONE)
    for mailbox in (inbox, store_at(tmp_path, kind).open("INBOX")):
        got = mailbox.message(1).crlf           # an mbox adds the line ends that are missing
        assert got == octets if kind != "mbox" else got.rstrip(b"\r\n") == octets.rstrip(b"\r\n")
        assert mailbox.sizes([1]) == [len(got)] and mailbox.message(2).octets == ONE


def test_literal_in_pieces_is_the_message(inbox: Mailbox) -> None:
    transfer = inbox.begin_append()
    for at in range(len(ONE)):
        transfer.write(ONE[at: at + 1])
    transfer.finish([], None)
    transfer.commit()
    assert inbox.message(1).octets == ONE


def test_nothing_is_visible_before_commit(inbox: Mailbox) -> None:
    transfer = inbox.begin_append()
    transfer.write(ONE)
    transfer.finish([], None)
    assert inbox.status().messages == 0
    transfer.abort()
    with pytest.raises(Refused):
        inbox.begin_append().finish([], None)
    assert inbox.status().messages == 0 and append(inbox, ONE) == [1]


def test_two_sessions_see_each_others_changes(inbox: Mailbox) -> None:
    append(inbox, *numbered(4))
    mine, other = inbox.open_view(read_only=False), inbox.open_view(read_only=False)
    assert (mine.recent, other.recent) == ({1, 2, 3, 4}, set())
    inbox.store_flags([2], FlagAction.ADD, ["\\Deleted", "Work"], silent_for=mine)
    assert mine.sync(expunges=True) == Changes(keywords=True)
    assert other.sync(expunges=False) == Changes(flags=[2], keywords=True)
    assert inbox.expunge() == [2]
    append(inbox, *numbered(1))
    assert other.sync(expunges=False) == Changes(exists=5, recent=1)
    assert column(inbox, [1, 2], Column.FLAGS) == [b"", b"\\Deleted Work"]      # still shown to the other
    assert other.sync(expunges=True) == Changes([2], [2])
    assert mine.sync(expunges=True) == Changes([2], [2], exists=4, recent=3)
    assert list(other.uids) == list(mine.uids) == [1, 3, 4, 5]


def test_expunges_are_announced_so_that_numbers_are_right(inbox: Mailbox) -> None:
    append(inbox, *numbered(5))
    view = inbox.open_view(read_only=False)
    numbers = dict(enumerate(view.uids, 1))
    assert inbox.remove([1, 2, 4]) == [1, 2, 4]
    changes = view.sync(expunges=True)
    for number, uid in zip(changes.expunged, changes.expunged_uids, strict=True):
        assert numbers[number] == uid
        numbers = dict(enumerate([one for one in numbers.values() if one != uid], 1))
    assert list(view.uids) == list(numbers.values()) == [3, 5]


@pytest.mark.parametrize(("action", "flags", "want"), [
    pytest.param(FlagAction.ADD, ["\\Flagged", "New"], b"\\Flagged \\Seen $Key New", id="add"),
    pytest.param(FlagAction.REMOVE, ["\\SEEN", "$key", "Unknown"], b"", id="remove, in any case"),
    pytest.param(FlagAction.REPLACE, ["\\Draft"], b"\\Draft", id="replace"),
    pytest.param(FlagAction.REPLACE, [], b"", id="clear"),
])
def test_flags(tmp_path: Path, kind: str, store: MailStore, inbox: Mailbox, action: FlagAction, flags: list[str],
               want: bytes) -> None:
    append(inbox, ONE, flags=["\\Seen", "$Key"])
    view = inbox.open_view(read_only=False)
    before = inbox.modseqs([1])[0]
    assert inbox.store_flags([1, 99], action, flags).changed == [1]
    assert inbox.store_flags([1], action, flags).changed == []
    assert column(inbox, [1], Column.FLAGS) == [want] and inbox.modseqs([1]) > [before]
    view.close()
    store.close()
    assert column(store_at(tmp_path, kind).open("INBOX"), [1], Column.FLAGS) == [want]


def test_flags_survive_without_the_index(tmp_path: Path, kind: str, store: MailStore, inbox: Mailbox) -> None:
    append(inbox, *numbered(3))
    view = inbox.open_view(read_only=False)
    inbox.store_flags([2], FlagAction.ADD, ["\\Answered", "Work"])
    inbox.remove([1])
    view.close()
    state = (inbox.uid_validity, inbox.uid_next)
    store.close()
    for path in tmp_path.rglob("dovecot.index.mailsuite*"):
        path.unlink()
    again = store_at(tmp_path, kind).open("INBOX")
    assert (again.uid_validity, again.uid_next) == state
    assert column(again, [1, 2, 3], Column.FLAGS) == [None, b"\\Answered Work", b""]


def test_damaged_index_is_made_anew(tmp_path: Path, kind: str, store: MailStore, inbox: Mailbox) -> None:
    append(inbox, *numbered(2), flags=["\\Seen"])
    inbox.open_view(read_only=False).close()
    store.close()
    for path in tmp_path.rglob("dovecot.index.mailsuite*"):
        path.write_bytes(b"SQLite format 3\0" + b"rubbish" * 1000)
    again = store_at(tmp_path, kind).open("INBOX")
    assert column(again, [1, 2], Column.FLAGS) == [b"\\Seen", b"\\Seen"]


def test_unchanged_since(inbox: Mailbox) -> None:
    append(inbox, *numbered(2))
    since = inbox.highest_modseq
    inbox.store_flags([1], FlagAction.ADD, ["\\Seen"])
    result = inbox.store_flags([1, 2], FlagAction.ADD, ["\\Flagged"], unchanged_since=since)
    assert (result.changed, result.refused) == ([2], [1])


def test_copy_and_move(store: MailStore, inbox: Mailbox) -> None:
    append(inbox, ONE, *numbered(2), flags=["\\Flagged", "Work"], date=1641031200.0)
    store.create("Box")
    box = store.open("Box")
    append(box, ONE, flags=["Other"])
    result = inbox.copy([1, 3], box)
    assert (result.source_uids, result.target_uids, result.uid_validity) == ([1, 3], [2, 3], box.uid_validity)
    assert inbox.copy([1], box).target_uids == [4]
    assert inbox.copy([2, 77], box, move=True).target_uids == [5]
    assert inbox.status().messages == 2 and box.status().messages == 5
    assert column(box, [2, 5], Column.FLAGS) == [b"\\Flagged Work"] * 2
    assert box.message(4).octets == ONE and box.dates([2]) == [1641031200]
    with pytest.raises(MessageGone):
        inbox.copy([1, 2], box)
    assert box.status().messages == 5
    assert inbox.copy([1], inbox).target_uids == [4]


def test_recent_is_given_once(inbox: Mailbox) -> None:
    append(inbox, *numbered(2))
    looker = inbox.open_view(read_only=True)
    assert looker.recent == {1, 2} and inbox.status().recent == 2
    assert inbox.open_view(read_only=False).recent == {1, 2}
    assert inbox.open_view(read_only=False).recent == set() and inbox.status().recent == 0


def test_header_fields_and_search_helpers(inbox: Mailbox) -> None:
    append(inbox, ONE, flags=["\\Seen", "Work"])
    append(inbox, *numbered(1))
    for _ in range(2):      # from the message, then from the index
        assert inbox.header_fields([1, 2, 9], [b"Subject"]) == [b"Subject: one\r\n\r\n", b"Subject: 1\r\n\r\n", None]
    assert inbox.with_flag([1, 2], "work") == inbox.with_flag([1, 2], "\\seen") == {1}
    assert inbox.with_flag([1, 2], "none") == set()
    view = inbox.open_view(read_only=True)
    assert view.positions([range(2, 9), range(1, 2)], uid=True) == [0, 1] and view.positions([], uid=True) == []
    assert inbox.first_unseen(view) == 2


def test_deleted_mailbox_ends_its_views(store: MailStore) -> None:
    store.create("Box")
    view = store.open("Box").open_view(read_only=False)
    store.delete("Box")
    assert view.sync(expunges=True).gone
    view.close()


def test_listeners_hear_of_changes(inbox: Mailbox) -> None:
    heard: list[int] = []
    stop = inbox.listen(lambda: heard.append(1))
    append(inbox, ONE)
    inbox.store_flags([1], FlagAction.ADD, ["\\Seen"])
    stop()
    inbox.remove([1])
    assert len(heard) == 2


def test_many_messages(inbox: Mailbox) -> None:
    append(inbox, *numbered(300))
    view = inbox.open_view(read_only=False)
    inbox.store_flags(view.uids, FlagAction.ADD, ["\\Seen"])
    assert inbox.status().unseen == 0
    assert len(inbox.remove(list(view.uids)[::2])) == 150
    changes = view.sync(expunges=True)
    assert len(changes.expunged) == 150 and list(view.uids) == list(range(2, 301, 2))
    assert inbox.message(300).octets == numbered(1, 300)[0]
