"""What other programs leave in a Maildir and should not: one odd thing must not keep the user from all the others.

What a case expects was compared with Dovecot 2.3.19's IMAP server on the same files, where its answer is sound.
"""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mailsuite.base.cached import read_cached
from mailsuite.store.api import Column, FlagAction, Mailbox, MailStore, MessageGone
from mailsuite.store.errors import StoreError
from mailsuite.store.maildir import scan
from mailsuite.store.maildir.filename import letters_of, rest_of
from mailsuite.store.opening import open_store
from mailsuite.store.options import StoreOptions
from mailsuite.store.subscriptions import Subscriptions
from tests.store.support import append, store_at

MAIL = b"Subject: one\n\nbody\n"
LAYOUTS = {"maildir++": "maildir:~/M", "fs": "maildir:~/M:LAYOUT=fs", "mbox": "mbox:~/M:INBOX=~/inbox"}


def maildir(folder: Path, *names: str) -> Path:
    for part in ("cur", "new", "tmp"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(MAIL)
    return folder


def shown(mailbox: Mailbox) -> dict[int, str]:
    """Flags by UID."""
    view = mailbox.open_view(read_only=True)
    uids = list(view.uids)
    flags = mailbox.columns(uids, [Column.FLAGS])[0]
    view.close()
    return {uid: (one or b"").decode() for uid, one in zip(uids, flags, strict=True)}


@pytest.fixture
def store(tmp_path: Path) -> MailStore:
    return store_at(tmp_path, "maildir")


# --- what is no message ---------------------------------------------------------------------------------------------

def a_folder(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def a_circle(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("make", [a_folder, a_pipe, a_link, a_circle])
@pytest.mark.parametrize("use", ["message", "read_many", "whole", "headers", "columns"])
def test_what_is_no_message(tmp_path: Path, store: MailStore, make: Callable[[Path], None], use: str) -> None:
    folder = maildir(tmp_path / "Maildir", "cur/1700000000.M1P1.x:2,", "cur/1700000002.M3P1.x:2,S")
    make(folder / "cur/1700000001.M2P1.x:2,F")
    inbox = store.open("INBOX")
    view = inbox.open_view(read_only=False)
    assert list(view.uids) == [1, 2, 3]
    assert inbox.message_at_once(2) is None
    done: list[object] = []

    def work() -> None:
        if use == "message":
            with pytest.raises(MessageGone):
                inbox.message(2)
        elif use == "read_many":
            done.append([each is not None for each in inbox.read_some([1, 2, 3], 100)])
        elif use == "whole":
            done.append([each is not None for each in inbox.columns([1, 2, 3], [Column.BODYSTRUCTURE])[0]])
        elif use == "headers":
            done.append([each is not None for each in inbox.header_fields([1, 2, 3], [b"SUBJECT"])])
        else:
            done.append([each is not None for each in inbox.columns([1, 2, 3], [Column.ENVELOPE])[0]])
        done.append(True)

    worker = threading.Thread(target=work, daemon=True)     # a pipe that is opened the plain way waits for ever
    worker.start()
    worker.join(20)
    assert done and done[-1] is True
    if len(done) > 1:
        assert done[0] == [True, False, True]
    assert list(view.sync(expunges=True).expunged) == [2]
    assert list(shown(inbox)) == [1, 3]
    append(inbox, MAIL)
    assert list(shown(inbox)) == [1, 3, 4]
    view.close()


def test_pipes_and_folders_are_not_read_in_an_event_loop(tmp_path: Path) -> None:
    a_pipe(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(MAIL)
    assert read_cached(os.fsencode(tmp_path / "pipe"), 1000) is None
    assert read_cached(os.fsencode(tmp_path), 100_000) is None
    assert read_cached(os.fsencode(tmp_path / "file"), 1000) in (MAIL, None)


# --- names of files -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("name", "letters", "rest"), [
    (b"1.x:2,FS", b"FS", b""), (b"1.x:2,FS,more", b"FS", b",more"), (b"1.x:2,,S", b"", b",S"), (b"1.x:1,S", b"", b""),
    (b"1.x:2", b"", b""), (b"1.x", b"", b""), (b"1.x,S=3:2,R,a,b", b"R", b",a,b"),
])
def test_letters_end_at_a_comma(name: bytes, letters: bytes, rest: bytes) -> None:
    assert (letters_of(name), rest_of(name)) == (letters, rest)


def test_odd_names(tmp_path: Path, store: MailStore) -> None:
    folder = maildir(tmp_path / "Maildir", "cur/1700000000.M1P1.x", "cur/1700000001.M1P1.x:", "cur/1700000002.M1P1.x:2",
                     "cur/1700000003.M1P1.x:1,S", "cur/1700000004.M1P1.x:2,FSRTD,more", "cur/1700000005.M1P1.x:2,SZ9",
                     "cur/1700000006.M1P1.x,S=abc:2,", "cur/1700000007.M1P1.x,S=99999999999999999999:2,",
                     "new/1700000008 a b", "cur/1700000009.M1P1.x\ny:2,F", "cur/.hidden", "new/1700000010.M1P1.x:2,S")
    Path(os.fsdecode(os.fsencode(folder) + b"/cur/1700000011.\xff\xfe:2,R")).write_bytes(MAIL)
    inbox = store.open("INBOX")
    assert shown(inbox) == {
        1: "", 2: "", 3: "", 4: "", 5: "\\Answered \\Flagged \\Deleted \\Seen \\Draft", 6: "\\Seen", 7: "", 8: "",
        9: "", 10: "\\Seen", 11: "\\Answered", 12: "\\Flagged"}
    assert inbox.columns(range(1, 13), [Column.SIZE])[0] == [b"22"] * 12
    inbox.store_flags(list(range(1, 13)), FlagAction.ADD, ["\\Flagged"])
    inbox.store_flags([5], FlagAction.REMOVE, ["\\Deleted"])
    names = sorted(os.listdir(os.fsencode(folder / "cur")))
    assert b"1700000004.M1P1.x:2,DFRS,more" in names and b"1700000005.M1P1.x:2,9FSZ" in names
    assert b"1700000011.\xff\xfe:2,FR" in names and not any(b"\n" in name for name in names)
    store.close()
    again = store_at(tmp_path, "maildir")
    assert list(shown(again.open("INBOX"))) == list(range(1, 13))
    assert all("\\Flagged" in flags for flags in shown(again.open("INBOX")).values())
    again.close()


@pytest.mark.parametrize("missing", [["new"], ["tmp"], ["new", "tmp"]])
@pytest.mark.parametrize("when", ["before", "while open"])
def test_folders_that_a_copy_left_out_are_made(tmp_path: Path, store: MailStore, missing: list[str], when: str,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "MAKING_S", 0.0)
    folder = maildir(tmp_path / "Maildir", "cur/1700000000.M1P1.x:2,")
    (folder / "cur").chmod(0o770)
    inbox = store.open("INBOX") if when != "before" else None
    for name in missing:
        (folder / name).rmdir()
    inbox = inbox or store.open("INBOX")
    if when != "before" and missing == ["tmp"]:
        (folder / "tmp").mkdir()                    # who has it open does not look for it
    assert list(shown(inbox)) == [1]
    assert append(inbox, MAIL) == [2] and list(shown(inbox)) == [1, 2]
    if when == "before":
        assert all((folder / name).stat().st_mode & 0o777 == 0o770 for name in missing)
    store.close()


def test_a_folder_that_is_being_made_is_left_to_its_maker(tmp_path: Path, store: MailStore) -> None:
    folder = tmp_path / "Maildir"
    (folder / "cur").mkdir(parents=True)
    with pytest.raises(StoreError):
        shown(store.open("INBOX"))
    (folder / "new").mkdir()
    (folder / "tmp").mkdir()                        # it would fail had somebody else made them
    assert list(shown(store.open("INBOX"))) == []
    store.close()


# --- dovecot-keywords, subscriptions --------------------------------------------------------------------------------

def test_odd_keywords(tmp_path: Path, store: MailStore) -> None:
    folder = maildir(tmp_path / "Maildir", *(f"cur/170000000{number}.M1P1.x:2,{letter}"
                                            for number, letter in enumerate("abcdef")))
    (folder / "dovecot-keywords").write_text(
        "0 One\n1 \nx Two\n2 Thr ee\n99 Big\n1 Second\n3 one\n4 a\"b\n1 Third\n² x\n")
    inbox = store.open("INBOX")
    assert list(shown(inbox).values()) == ["One", "Second", "unknown-2", "unknown-3", "unknown-4", "unknown-5"]
    inbox.store_flags([1], FlagAction.ADD, ["New"])
    assert "cur/1700000000.M1P1.x:2,ag" in {f"cur/{name}" for name in os.listdir(folder / "cur")}
    assert (folder / "dovecot-keywords").read_text().splitlines()[-1] == "6 New"
    store.close()


def test_odd_subscriptions(tmp_path: Path) -> None:
    path = tmp_path / "subscriptions"
    path.write_bytes(b"V\t2\n\nA\n\n..\n.\nb\xff\nA\nx\ty\n\tq\nq\t\nc\x7f\nlast")
    listed = Subscriptions(str(path), ".")
    assert listed.read() == [("A",), ("x", "y"), ("last",)]
    listed.change(("new",), on=True)
    assert listed.read() == [("A",), ("x", "y"), ("last",), ("new",)]
    assert b"b\xff\n" in path.read_bytes()          # not ours to throw away


@pytest.mark.parametrize("make", [a_link, a_circle, a_folder])
def test_subscriptions_that_cannot_be_read_are_not_written_anew(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "subscriptions")
    listed = Subscriptions(str(tmp_path / "subscriptions"), ".")
    assert listed.read() == []
    with pytest.raises(StoreError):
        listed.change(("new",), on=True)
    assert (tmp_path / "subscriptions").is_symlink() or (tmp_path / "subscriptions").is_dir()


# --- folders --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", list(LAYOUTS))
def test_links_and_files_among_the_folders(tmp_path: Path, kind: str) -> None:
    def open_it() -> MailStore:
        return open_store("alice", home=str(tmp_path), location=LAYOUTS[kind], options=StoreOptions(separator="/"))

    store, dot = open_it(), "." if kind == "maildir++" else ""
    store.create("Work")
    store.create("Deep/er")
    top = tmp_path / "M"
    (top / f"{dot}Loop").symlink_to(top / f"{dot}Loop")
    (top / f"{dot}Dangling").symlink_to("/nonexistent")
    if kind == "mbox":
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere/Inner").touch()
    else:
        maildir(tmp_path / "elsewhere", "cur/1700000000.M1P1.x:2,")
        (top / f"{dot}File").write_text("x")
    (top / f"{dot}Link").symlink_to(tmp_path / "elsewhere")
    if kind != "maildir++":
        for name in ("again", "once-more"):
            (top / name).symlink_to(top)
            (top / "Deep" / name).symlink_to("..")
    names = {info.name for info in store.list_mailboxes() if info.selectable}
    assert {"INBOX", "Work", "Deep/er", "Link/Inner" if kind == "mbox" else "Link"} <= names
    assert not names & {"Loop", "Dangling", "File"} and len(names) < 30, names
    store.create("Other")
    store.rename("Work", "Done")
    store.delete("Done")
    if kind != "mbox":
        store.delete("Link")
        assert (tmp_path / "elsewhere/cur").is_dir()            # the link goes, not what it leads to
    store.close()
