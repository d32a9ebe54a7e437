"""mbox beside other programs: appended, rewritten and broken files; state headers; what a crash leaves."""

import os
import tracemalloc
from pathlib import Path

import pytest

from mailsuite.store import opening
from mailsuite.store.api import FlagAction, Mailbox, MailStore, MessageGone, NotPossible, StoreError
from mailsuite.store.mbox.file import MboxFile, OpenFile
from mailsuite.store.mbox.headers import Wanted, compose, refit, strip_state
from mailsuite.store.mbox.parse import parse_from_line, read_state, scan
from mailsuite.store.options import StoreOptions
from tests.store.support import ONE, append, numbered, store_at

FROM = b"From a@b.test  Tue Nov 14 22:13:20 2023\n"
TWO = FROM + b"Subject: one\n\nfirst\n\n" + FROM + b"Subject: two\n\nsecond\n\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "inbox"


def open_store(tmp_path: Path) -> MailStore:
    return store_at(tmp_path, "mbox")


def open_inbox(tmp_path: Path) -> Mailbox:
    return open_store(tmp_path).open("INBOX")


def subjects(mailbox: Mailbox) -> list[bytes]:
    return [mailbox.message(uid).fields(b"Subject")[0] for uid in mailbox.open_view(read_only=True).uids]


def deliver(path: Path, text: bytes) -> None:
    with path.open("ab") as file:
        file.write(FROM + text + b"\n")


def test_session_writes_state_when_it_ends(tmp_path: Path, path: Path) -> None:
    path.write_bytes(TWO)
    inbox = open_inbox(tmp_path)
    view = inbox.open_view(read_only=False)
    inbox.store_flags([1], FlagAction.ADD, ["\\Seen", "\\Answered", "$Key"])
    assert path.read_bytes() == TWO
    view.close()
    assert path.read_bytes().replace(b" " * 50, b"") == (
        FROM + b"Subject: one\nX-IMAPbase: %d 0000000002 $Key\nX-UID: 1\nStatus: RO\nX-Status: A\nX-Keywords: $Key\n"
        b"\nfirst\n\n" % inbox.uid_validity + FROM + b"Subject: two\nX-UID: 2\nStatus: O\n\nsecond\n\n")
    before = path.stat()
    view = inbox.open_view(read_only=False)
    inbox.store_flags([2], FlagAction.ADD, ["\\Flagged", "Work"])
    inbox.checkpoint()
    assert (path.stat().st_size, path.stat().st_ino) == (before.st_size, before.st_ino)     # there was room
    assert open_inbox(tmp_path).flags(2) == ["\\Flagged", "Work"]


def test_examine_leaves_the_file_alone(tmp_path: Path, path: Path) -> None:
    path.write_bytes(TWO)
    inbox = open_inbox(tmp_path)
    view = inbox.open_view(read_only=True)
    assert inbox.columns(view.uids, [])[:] == [] and view.recent == {1, 2}
    view.close()
    assert path.read_bytes() == TWO


def test_uids_stay_though_the_file_does_not_show_them(tmp_path: Path, path: Path) -> None:
    path.write_bytes(TWO)
    first = open_store(tmp_path)
    inbox = first.open("INBOX")
    view = inbox.open_view(read_only=True)
    validity = inbox.uid_validity
    view.close()
    first.close()
    path.write_bytes(TWO[len(FROM + b"Subject: one\n\nfirst\n\n"):])        # another program deleted the first
    deliver(path, b"Subject: three\n\n")
    again = open_inbox(tmp_path)
    assert list(again.open_view(read_only=True).uids) == [2, 3] and again.uid_validity == validity
    assert subjects(again) == [b"two", b"three"]


def test_mail_delivered_during_a_session(tmp_path: Path, path: Path) -> None:
    path.write_bytes(TWO)
    inbox = open_inbox(tmp_path)
    view = inbox.open_view(read_only=False)
    inbox.store_flags([2], FlagAction.ADD, ["\\Flagged"])
    deliver(path, b"Subject: three\n\nthird\n")
    changes = view.sync(expunges=True)
    assert (changes.exists, changes.recent) == (3, 3)
    assert inbox.remove([1]) == [1] and view.sync(expunges=True).expunged == [1]
    deliver(path, b"Subject: four\n\n")
    view.close()
    again = open_inbox(tmp_path)
    assert subjects(again) == [b"two", b"three", b"four"] and list(again.open_view(read_only=True).uids) == [2, 3, 4]
    assert again.flags(2) == ["\\Flagged"] and again.message(3).body == b"third\r\n"


def test_another_program_rewrote_the_file(tmp_path: Path, path: Path) -> None:
    append(open_inbox(tmp_path), *numbered(3), flags=["\\Seen"])
    inbox = open_inbox(tmp_path)
    view = inbox.open_view(read_only=False)
    inbox.store_flags([3], FlagAction.ADD, ["\\Flagged"])       # not in the file yet
    text = path.read_bytes()
    second = text.index(b"From ", 10)
    third = text.index(b"From ", second + 10)
    path.write_bytes(text[:second].replace(b"Status: R", b"Status: ") + text[third:])
    changes = view.sync(expunges=True)
    assert (changes.expunged, changes.flags) == ([2], [1, 2])
    assert (inbox.flags(1), inbox.flags(3)) == ([], ["\\Flagged", "\\Seen"])
    view.close()
    assert b"X-Status: F" in path.read_bytes()


@pytest.mark.parametrize(("options", "late"), [({}, True), ({"dirty_syncs": False}, True),
                                               ({"very_dirty_syncs": True}, False)])
def test_flags_that_others_changed_before_new_mail(tmp_path: Path, path: Path, options: dict[str, bool],
                                                   late: bool) -> None:
    append(open_inbox(tmp_path), *numbered(2))
    inbox = store_at(tmp_path, "mbox", **options).open("INBOX")
    view = inbox.open_view(read_only=True)
    path.write_bytes(path.read_bytes().replace(b"Status: ", b"Status:R", 1))
    deliver(path, b"Subject: three\n\n")
    view.sync(expunges=True)
    assert (inbox.flags(1), len(view.uids)) == (["\\Seen"] if options == {"dirty_syncs": False} else [], 3)
    assert inbox.open_view(read_only=True) and (inbox.flags(1) == ["\\Seen"]) == late
    inbox.remove([3])
    assert inbox.flags(1) == ["\\Seen"]


def test_another_uid_validity_is_another_mailbox(tmp_path: Path, path: Path) -> None:
    append(open_inbox(tmp_path), ONE)
    inbox = open_inbox(tmp_path)
    view = inbox.open_view(read_only=False)
    path.write_bytes(FROM + b"X-IMAPbase: 77 0000000009\nX-UID: 9\nSubject: x\n\n\n")
    assert view.sync(expunges=True).gone
    assert list(open_inbox(tmp_path).open_view(read_only=True).uids) == [9]


def test_pseudo_message_is_no_message(tmp_path: Path, path: Path) -> None:
    path.write_bytes(FROM + b"Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 99 0000000005 $Key\n"
                     b"Status: RO\n\ninternal\n\n" + TWO)
    inbox = open_inbox(tmp_path)
    assert (inbox.uid_validity, subjects(inbox), inbox.keywords) == (99, [b"one", b"two"], ["$Key"])


@pytest.mark.parametrize("size", [0, 7])
def test_messages_that_moved_up_are_not_taken_for_the_old_ones(tmp_path: Path, path: Path, size: int) -> None:
    """Another program expunges the first and a delivery comes: the file looks as if it had only grown."""
    for number in range(4):
        deliver(path, b"Subject: %d\n\nbody\n" % number)
    inbox = open_inbox(tmp_path)
    view = inbox.open_view(read_only=True)
    text = path.read_bytes()
    one = len(text) // 4
    # What stands where the file ended is a From line, or looks like the beginning of one.
    path.write_bytes(text[one:])
    deliver(path, b"Subject: new\n\n" + b"x" * size + b"\nFrom here to there\n" * 20)
    deliver(path, b"Subject: end\n\n")
    view.sync(expunges=True)
    assert [inbox.message(uid).fields(b"Subject")[0] for uid in view.uids] == [b"1", b"2", b"3", b"new", b"end"]
    assert list(view.uids) == [2, 3, 4, 5, 6]


def test_change_of_one_size_whose_time_was_put_back(tmp_path: Path, path: Path) -> None:
    path.write_bytes(TWO)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    inbox = open_inbox(tmp_path)
    view = inbox.open_view(read_only=True)
    with path.open("r+b") as file:
        file.write(TWO.replace(b"Subject: one\n\nfirst", b"Status: R\n\nfirst..."))
    os.utime(path, (1_700_000_000, 1_700_000_000))
    view.sync(expunges=True)
    assert inbox.flags(view.uids[0]) == ["\\Seen"] and inbox.message(view.uids[0]).body.startswith(b"first...")


def test_a_large_message_that_moves_takes_little_memory(tmp_path: Path, path: Path) -> None:
    large = b"x" * 79 + b"\n" + (b"y" * 79 + b"\n") * 400_000
    path.write_bytes(TWO + FROM + b"Subject: large\n\n" + large + b"\n" + TWO)
    inbox = open_inbox(tmp_path)
    tracemalloc.start()
    try:
        assert inbox.remove([1]) == [1]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000 and inbox.sizes([3]) == [81 * 400_001 + 18] and subjects(inbox)[-1] == b"two"


def test_empty_file_keeps_its_uids(tmp_path: Path, path: Path) -> None:
    """The last message leaves a pseudo message, as with Dovecot; mail that comes again goes on behind it."""
    store = open_store(tmp_path)
    inbox = store.open("INBOX")
    append(inbox, *numbered(3), flags=["$Key"])
    validity = inbox.uid_validity
    assert inbox.remove([1, 2, 3]) == [1, 2, 3]
    assert b"\nX-IMAP: %d 0000000003 $Key " % validity in path.read_bytes() and inbox.status().messages == 0
    store.close()
    (tmp_path / "mail/.imap/dovecot.index.mailsuite").unlink()
    deliver(path, b"Subject: new\n\n")
    again = open_store(tmp_path)
    inbox = again.open("INBOX")
    view = inbox.open_view(read_only=False)
    assert (inbox.uid_validity, list(view.uids), inbox.keywords) == (validity, [4], ["$Key"])
    many = [f"long-keyword-{number}" for number in range(20)]         # do not fit into the blanks
    inbox.store_flags([4], FlagAction.ADD, many)
    view.close()
    text = path.read_bytes()
    assert text.count(b"\nX-IMAP: %d 0000000004 $Key long-keyword-0" % validity) == 1 and b"X-IMAPbase" not in text
    assert open_inbox(tmp_path).flags(4) == many and subjects(open_inbox(tmp_path)) == [b"new"]


def test_uid_validity_is_another_when_a_mailbox_is_made_again(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    values = []
    for _ in range(3):
        store.create("box")
        values.append(store.open("box").uid_validity)
        store.delete("box")
    assert values == sorted(set(values))


def test_uids_that_leave_no_room_are_not_believed(tmp_path: Path, path: Path) -> None:
    path.write_bytes(FROM + b"X-IMAPbase: 77 4294967290\nX-UID: 4294967290\nSubject: x\n\n\n")
    inbox = open_inbox(tmp_path)
    assert list(inbox.open_view(read_only=True).uids) == [1] and append(inbox, ONE) == [2]


@pytest.mark.parametrize("instead", ["nothing", "folder", "fifo"])
def test_file_that_is_something_else_now(tmp_path: Path, path: Path, instead: str) -> None:
    append(inbox := open_inbox(tmp_path), *numbered(2))
    view = inbox.open_view(read_only=False)
    inbox.store_flags([1], FlagAction.ADD, ["\\Seen"])
    path.unlink()
    if instead == "folder":
        path.mkdir()
    elif instead == "fifo":
        os.mkfifo(path)
        with pytest.raises(NotPossible):
            view.sync(expunges=True)
        return
    assert view.sync(expunges=True).gone
    view.close()
    assert path.is_dir() == (instead == "folder") and path.exists() == (instead == "folder")


@pytest.mark.parametrize(("text", "want"), [
    pytest.param(TWO, [(b"Subject: one\n\n", b"first\n"), (b"Subject: two\n\n", b"second\n")], id="two"),
    pytest.param(FROM + b"A: b\n\nFrom here\nFrom a@b.test\n", [(b"A: b\n\n", b"From here\nFrom a@b.test\n")],
                 id="From without a date"),
    pytest.param(FROM + b"A: b\nContent-Length: 45\n\n" + FROM + b"line\n\n" + TWO[:60], None, id="Content-Length"),
    pytest.param(FROM + b"A: b\nContent-Length: 3\n\nlonger\n", [(b"A: b\nContent-Length: 3\n\n", b"longer\n")],
                 id="wrong Content-Length"),
    pytest.param(FROM + b"A: b\n", [(b"A: b\n", b"")], id="header only"),
    pytest.param(FROM + b"\n\n", [(b"\n", b"")], id="nothing"),
    pytest.param(FROM + b"A: b\n" + TWO, None, id="header that no empty line ends"),
    pytest.param(FROM + b"A: b\n\nno end", [(b"A: b\n\n", b"no end")], id="last line without an end"),
    pytest.param(b"", [], id="empty"),
])
def test_messages_of_a_file(text: bytes, want: list[tuple[bytes, bytes]] | None) -> None:
    spans = [span for span, _ in scan(text)]
    assert [span.start for span in spans[1:]] == [span.next for span in spans[:-1]]
    if want is None:
        assert len(spans) > 1 and text[spans[1].start:].startswith(b"From a@b.test  Tue")
    else:
        assert [(text[span.header: span.body], text[span.body: span.end]) for span in spans] == want


def test_content_length_hides_from_lines() -> None:
    body = FROM + b"line\n"
    text = FROM + b"A: b\nContent-Length: %d\n\n" % len(body) + body + b"\n" + TWO
    assert [text[span.body: span.end] for span, _ in scan(text)] == [body, b"first\n", b"second\n"]


@pytest.mark.parametrize(("line", "sender"), [
    (b"From a@b.test  Tue Nov 14 22:13:20 2023", b"a@b.test"), (b"From a@b.test Tue Nov  4 22:13 2023", b"a@b.test"),
    (b'From "a b"@c Tue Nov 14 22:13:20 CET 2023', b'"a b"@c'), (b"From - Tue Nov 14 22:13:20 2023 +0100", b"-"),
    (b"From a@b.test Tue, 14 Nov 2023 22:13:20", b"a@b.test"), (b"From here to there", None), (b"From ", None),
    (b"From me Tue Foo 14 22:13:20 2023", None), (b"From a@b.test 14 Nov 2023 22:13:20", None),
    (b"From me Tue Nov 14 2:13:20 2023", None), (b"From me Tue Nov 14 22:13:20 MET DST 2023", None),
    (b"From me\tTue Nov 14 22:13:20 2023", None), (b"From me Tue, Nov 14 22:13:20 2023", None),
    (b"From me Tue Nov 32 25:13:20 2023", b"me"), (b"From  Tue Nov 14 22:13:20 ABCDEF 2023", b""),
    (b"From " + b'""' * 1000 + b"x y", None)])
def test_from_line(line: bytes, sender: bytes | None) -> None:
    parsed = parse_from_line(line)
    assert (parsed[0] if parsed else None) == sender


@pytest.mark.parametrize("text", [b"no mbox\n", b"\n" + TWO, b"From nobody\n\n"])
def test_file_that_is_no_mbox(tmp_path: Path, path: Path, text: bytes) -> None:
    path.write_bytes(text)
    with pytest.raises(NotPossible):
        open_inbox(tmp_path)
    assert path.read_bytes() == text


HEADER = b"Subject: x\nStatus: RO\nX-Other: kept\n\n"


def test_state_headers_stay_where_they_are() -> None:
    wanted = Wanted(3, 8 | 2, True, (b"$Key",), b"5 0000000003 $Key")
    new = compose(HEADER, wanted, padding=4)
    assert new == (b"Subject: x\nStatus: RO\nX-Other: kept\nX-IMAPbase: 5 0000000003 $Key\nX-UID: 3\nX-Status: F\n"
                   b"X-Keywords: $Key    \n\n")
    assert strip_state(new) == b"Subject: x\nX-Other: kept\n\n"
    state = read_state(b"\n" + new)
    assert (state.uid, state.bits, state.old, state.keywords, state.base) == (3, 10, True, (b"$Key",),
                                                                              (5, 3, (b"$Key",)))
    less = refit(new, wanted._replace(bits=0, keywords=()))
    assert less is not None and len(less) == len(new) and read_state(b"\n" + less).keywords == ()
    assert refit(new, wanted._replace(keywords=(b"$Key", b"longer"))) is None


class Crash(Exception):
    pass


@pytest.mark.parametrize("grows", [True, False], ids=["grows", "shrinks"])
@pytest.mark.parametrize("late", [b"", FROM + b"Subject: late\n\n\n"], ids=["alone", "delivered after"])
@pytest.mark.parametrize("steps", range(14))
def test_crash_at_any_step_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, late: bytes,
                                         grows: bool) -> None:
    """Before the journal is whole the old file stays, afterwards the new one comes; what was appended is kept."""
    path, journal = tmp_path / "box", tmp_path / "journal"
    old = TWO + TWO
    path.write_bytes(old)
    tail = b"X" * 300 + b"\n" if grows else b"Y\n"
    new = old[:50] + tail
    left = [steps]

    def counting(name: str) -> None:
        real = getattr(os, name)

        def step(*arguments: object, **named: object) -> object:
            if not left[0]:
                raise Crash
            left[0] -= 1
            return real(*arguments, **named)
        monkeypatch.setattr(os, name, step)

    file = MboxFile(str(path), StoreOptions(fsync="always", write_locks=("fcntl",)), str(journal))
    crashed = False
    with monkeypatch.context(), file.writing() as opened:
        for name in ("pwrite", "fsync", "ftruncate", "unlink", "posix_fallocate"):
            counting(name)
        try:
            opened.replace_tail(50, iter([tail[:1], tail[1:]]))
        except Crash:
            crashed = True
    monkeypatch.undo()
    assert crashed == (steps < 13) or not crashed
    with path.open("ab") as appended:
        appended.write(late)
    with file.reading() as data:
        assert data is not None
        assert data[0][:] in (old + late, new + late)
    assert not journal.exists()


def test_journal_of_another_file_is_not_used(tmp_path: Path) -> None:
    path, journal = tmp_path / "box", tmp_path / "journal"
    path.write_bytes(TWO)
    journal.write_bytes(b"rubbish")
    with MboxFile(str(path), StoreOptions(), str(journal)).writing() as opened:
        assert isinstance(opened, OpenFile)
    assert path.read_bytes() == TWO and not journal.exists()


def test_append_that_fails_is_cut_off(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(TWO)
    inbox = open_inbox(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "disk full")
    with monkeypatch.context() as patch, pytest.raises(StoreError):
        patch.setattr(OpenFile, "sync", full)
        append(inbox, ONE)
    assert path.read_bytes() == TWO
    assert append(inbox, ONE)[0] > 2 and subjects(inbox) == [b"one", b"two", b"one"]


def test_link_is_not_followed(tmp_path: Path, path: Path) -> None:
    (tmp_path / "secret").write_bytes(TWO)
    path.symlink_to(tmp_path / "secret")
    with pytest.raises(StoreError):
        open_inbox(tmp_path)


def test_mail_brings_no_state_that_matters(tmp_path: Path, path: Path) -> None:
    """Postfix delivers these headers as they come."""
    inbox = open_inbox(tmp_path)
    append(inbox, *numbered(3))
    view = inbox.open_view(read_only=False)
    inbox.remove([2, 3])
    words = b" ".join(b"w%d" % number for number in range(5000))
    deliver(path, b"Subject: evil\nX-UID: 2\nX-IMAPbase: 7 0000000009\nX-Keywords: " + words + b"\n\n")
    assert view.sync(expunges=True).exists == 2
    assert list(view.uids) == [1, 4] and len(inbox.keywords) <= 1000
    view.close()
    again = open_inbox(tmp_path)
    assert list(again.open_view(read_only=True).uids) == [1, 4] and again.uid_validity == inbox.uid_validity


def test_mail_into_an_empty_mailbox_is_not_its_first_word(tmp_path: Path, path: Path) -> None:
    inbox = open_inbox(tmp_path)
    append(inbox, ONE)
    view = inbox.open_view(read_only=False)
    inbox.remove([1])
    deliver(path, b"Subject: evil\nX-IMAPbase: 7 0000000009\nX-UID: 1\n\n")
    changes = view.sync(expunges=True)
    assert not changes.gone and list(view.uids) == [2] and inbox.uid_validity != 7


# --- large messages, in blocks ----------------------------------------------------------------------------------------

LARGE = b"Subject: large\n\n" + b"".join(b"line %d\n" % number for number in range(250_000)) + b"\rlast\r\n"


def test_a_large_message_comes_in_blocks(tmp_path: Path, path: Path) -> None:
    path.write_bytes(TWO)
    deliver(path, LARGE)
    deliver(path, b"Subject: four\n\nbody\n")
    inbox = open_inbox(tmp_path)
    inbox.open_view(read_only=True)
    assert inbox.message(3).size > 2 << 20
    assert [b"".join(inbox.blocks(uid) or ()) for uid in (1, 2, 3, 4)] == [
        inbox.message(uid).crlf for uid in (1, 2, 3, 4)]
    assert max(map(len, inbox.blocks(3) or ())) < 1.2 * (1 << 20)


def test_a_large_message_is_followed_where_it_goes(tmp_path: Path, path: Path) -> None:
    """Another session expunges and changes flags, others deliver, while somebody reads slowly."""
    path.write_bytes(TWO)
    deliver(path, LARGE)
    inbox = open_inbox(tmp_path)
    view = inbox.open_view(read_only=False)
    whole = inbox.message(3).crlf
    blocks = inbox.blocks(3)
    assert blocks is not None
    found = [next(blocks), next(blocks)]
    inbox.store_flags([3], FlagAction.ADD, ["\\Seen", "$Key"])
    inbox.remove([1])
    found.append(next(blocks))
    deliver(path, b"Subject: five\n\nbody\n")
    assert b"".join([*found, *blocks]) == whole
    view.close()


def test_a_large_message_that_goes_is_cut_short(tmp_path: Path, path: Path) -> None:
    path.write_bytes(TWO)
    deliver(path, LARGE)
    inbox = open_inbox(tmp_path)
    inbox.open_view(read_only=False)
    blocks = inbox.blocks(3)
    assert blocks is not None
    next(blocks)
    next(blocks)
    inbox.remove([3])
    with pytest.raises(StoreError):
        list(blocks)
    with pytest.raises(MessageGone):
        inbox.blocks(3)


CRLF = (FROM + b"Subject: one\n\nfirst\n\n" + FROM + b"Subject: two\nX: y\n\nsecond\n\n").replace(b"\n", b"\r\n")


@pytest.mark.parametrize(("text", "want"), [
    pytest.param(CRLF, [b"Subject: one\r\n\r\nfirst\r\n", b"Subject: two\r\nX: y\r\n\r\nsecond\r\n"], id="CRLF"),
    pytest.param(TWO + CRLF, [b"Subject: one\n\nfirst\n", b"Subject: two\n\nsecond\n",
                              b"Subject: one\r\n\r\nfirst\r\n", b"Subject: two\r\nX: y\r\n\r\nsecond\r\n"], id="both"),
    pytest.param(CRLF.replace(FROM[:-1] + b"\r\n", FROM), [
        b"Subject: one\r\n\r\nfirst\r\n", b"Subject: two\r\nX: y\r\n\r\nsecond\r\n"], id="From lines in LF"),
    pytest.param(FROM[:-1] + b"\r\nA: b\n\nx\r\n\r\n", [b"A: b\n\nx\r\n"], id="header in LF"),
    pytest.param(FROM[:-1] + b"\r\n\r\nx\r\n", [b"\r\nx\r\n"], id="no header"),
])
def test_lines_that_end_in_crlf(tmp_path: Path, path: Path, text: bytes, want: list[bytes]) -> None:
    assert [text[span.header: span.end] for span, _ in scan(text)] == want
    path.write_bytes(text)
    store = open_store(tmp_path)
    inbox = store.open("INBOX")
    view = inbox.open_view(read_only=False)
    uids = list(view.uids)
    inbox.store_flags(uids[:1], FlagAction.ADD, ["\\Flagged", "Work"])
    view.close()
    store.close()
    store = open_store(tmp_path)
    inbox = store.open("INBOX")
    octets = [inbox.message(uid).octets for uid in inbox.open_view(read_only=True).uids]
    assert octets == [one.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for one in want]
    assert inbox.flags(uids[0]) == ["\\Flagged", "Work"]
    store.close()


def test_a_header_that_was_cut_off_is_not_glued_to_ours(tmp_path: Path, path: Path) -> None:
    path.write_bytes(TWO + FROM + b"Subject: three")
    store = open_store(tmp_path)
    inbox = store.open("INBOX")
    view = inbox.open_view(read_only=False)
    inbox.store_flags(list(view.uids), FlagAction.ADD, ["\\Flagged"])
    view.close()
    store.close()
    lines = path.read_bytes().split(b"\n")
    assert b"Subject: three" in lines and lines.count(b"X-Status: F") == 3


def test_keywords_that_imap_cannot_say_are_not_told(tmp_path: Path, path: Path) -> None:
    path.write_bytes(FROM + b"Subject: one\nX-IMAPbase: 1700000000 0000000005 $A b (x) c) \"d e%\nX-UID: 3\n"
                     b"X-Keywords: $A (x) zz c) \\Seen\n\nfirst\n\n")
    store = open_store(tmp_path)
    inbox = store.open("INBOX")
    assert inbox.flags(3) == ["$A", "zz"] and inbox.keywords == ["$A", "b", "zz"]
    store.close()


@pytest.mark.parametrize("use", ["append", "refresh"])
def test_a_uid_that_another_gave_and_took_back_is_not_given_again(tmp_path: Path, path: Path, use: str) -> None:
    """Between two looks a message came, went, and another stands in its place: the file seems to have only grown."""
    path.write_bytes(FROM + b"Subject: one\nX-IMAPbase: 1700000000 0000000002\nX-UID: 1\n\nfirst\n\n"
                     + FROM + b"Subject: two\nX-UID: 2\n\nsecond\n\n")
    ours, theirs = open_store(tmp_path), opening.open_store(
        "alice", home=str(tmp_path), location="mbox:~/mail:INBOX=~/inbox:INDEX=MEMORY",
        options=StoreOptions(fsync="never"))
    inbox, other = ours.open("INBOX"), theirs.open("INBOX")
    append(inbox, b"Subject: mine\r\n\r\n")
    view = other.open_view(read_only=False)
    other.store_flags([1, 2, 3], FlagAction.ADD, ["\\Flagged"])
    view.close()                                    # now the headers have room
    inbox.refresh()
    size = path.stat().st_size
    [given] = append(other, b"Subject: given\r\n\r\n")
    other.remove([given])
    assert path.stat().st_size == size
    deliver(path, b"Subject: late\n\nlate\n")
    if use == "append":
        [last] = append(inbox, b"Subject: last\r\n\r\n")
    else:
        inbox.refresh()
        last = max(inbox.open_view(read_only=True).uids)
    assert last > given and given not in inbox.open_view(read_only=True).uids
    other.refresh()
    assert inbox.message(last).fields(b"Subject") == other.message(last).fields(b"Subject")
    ours.close()
    theirs.close()
