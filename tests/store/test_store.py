"""Names, listing, creation, renaming, subscriptions, mail_location, and what dovecot.conf says of mailboxes."""

import os
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsuite.base.errors import ConfigError, MailError
from mailsuite.fulltext.params import FullTextOptions
from mailsuite.store.api import (
    BadEncoding,
    InvalidName,
    MailboxExists,
    MailStore,
    NoSuchMailbox,
    NotPossible,
    NotSelectable,
    Refused,
)
from mailsuite.store.index import Index
from mailsuite.store.location import parse_location
from mailsuite.store.names import Naming, from_mutf7, to_mutf7
from mailsuite.store.options import MailboxRule, StoreOptions, seconds
from mailsuite.store.subscriptions import Subscriptions
from mailsuite.store.watch import CREATED, Inotify
from tests.store.support import ONE, append, numbered, store_at


def names(store: MailStore) -> dict[str, str]:
    """Name -> flags as letters: n not selectable, c children, i no inferiors."""
    return {box.name: ("" if box.selectable else "n") + ("c" if box.has_children else "")
            + ("i" if box.no_inferiors else "") for box in store.list_mailboxes()}


@pytest.mark.parametrize("kind", ["fs", "mbox"])
def test_rename_onto_a_parent(tmp_path: Path, kind: str) -> None:
    store = store_at(tmp_path, kind)
    for name in ("a/one", "b/two", "c"):
        store.create(name)
    for old in ("a", "c", "b/two"):
        with pytest.raises(MailboxExists):
            store.rename(old, "b" if old != "b/two" else "a")
    assert {"a/one", "b/two", "c"} <= set(names(store))


@pytest.mark.parametrize(("kind", "separator", "leaf", "parent"), [
    pytest.param("maildir", ".", "", "nc", id="maildir++"),
    pytest.param("fs", "/", "", "nc", id="maildir, LAYOUT=fs"),
    pytest.param("mbox", "/", "i", "nc", id="mbox"),
])
def test_create_list_rename_delete(tmp_path: Path, kind: str, separator: str, leaf: str, parent: str) -> None:
    store = store_at(tmp_path, kind)
    assert names(store) == {"INBOX": ""} and store.separator == separator
    deep = separator.join(("Work", "2024", "Q1"))
    store.create(deep)
    store.create("&AOQ-pfel")
    assert names(store) == {"INBOX": "", "&AOQ-pfel": leaf, "Work": parent, f"Work{separator}2024": parent, deep: leaf}
    with pytest.raises(NotSelectable if kind == "mbox" else NoSuchMailbox):
        store.open("Work")
    with pytest.raises(MailboxExists):
        store.create(deep)
    append(store.open(deep), ONE)
    validity = store.open(deep).uid_validity
    store.rename("Work", "Old")
    moved = store.open(separator.join(("Old", "2024", "Q1")))
    assert (moved.uid_validity, moved.message(1).octets) == (validity, ONE)
    assert not store.exists(deep)
    store.delete("&AOQ-pfel")
    store.delete(separator.join(("Old", "2024", "Q1")))
    for name in ("&AOQ-pfel", "none"):
        with pytest.raises(NoSuchMailbox):
            store.delete(name)
    with pytest.raises(Refused):
        store.delete("inbox")
    with pytest.raises(NotPossible if kind != "mbox" else NoSuchMailbox):
        store.rename("INBOX", "Kept")
    store.create("a")
    for new, error in (("a", MailboxExists), (f"a{separator}b", Refused), ("INBOX", MailboxExists)):
        append(store.open("INBOX"), ONE)
        with pytest.raises(error):
            store.rename("a", new)
    with pytest.raises(NoSuchMailbox):
        store.rename("none", "other")
    with pytest.raises(MailboxExists):
        store.create("INBOX")


def test_recreated_mailbox_is_empty_and_another(tmp_path: Path) -> None:
    store = store_at(tmp_path, "maildir")
    store.create("Box")
    append(store.open("Box"), *numbered(3), flags=["$Key"])
    old = store.open("Box").uid_validity
    store.delete("Box")
    store.create("Box")
    box = store.open("Box")
    assert box.uid_validity > old and box.status().messages == 0 and box.keywords == []


def test_mbox_files_with_unread_mail_are_marked(tmp_path: Path) -> None:
    store = store_at(tmp_path, "mbox")
    for name in ("old", "new", "folder/x"):
        store.create(name)
    os.utime(store.path("old"), (2000, 1000))
    os.utime(store.path("new"), (1000, 2000))
    told = {info.name: (info.marked, info.folder) for info in store.list_mailboxes()}
    assert told["old"] == (False, False) and told["new"] == (True, False) and told["folder"] == (False, True)


def test_mbox_has_no_children(tmp_path: Path) -> None:
    store = store_at(tmp_path, "mbox")
    store.create("Work")
    store.create("dir/")
    assert names(store) == {"INBOX": "", "Work": "i", "dir": "n"}
    with pytest.raises(NotPossible, match="doesn't allow inferior"):
        store.create("Work/2024")
    store.create("dir/box")
    with pytest.raises(Refused, match="has children"):
        store.delete("dir")
    store.create("INBOX/x")
    assert names(store)["INBOX"] == "c"


@pytest.mark.parametrize(("kind", "name", "error"), [
    ("maildir", "", InvalidName), ("maildir", ".x", InvalidName), ("maildir", "x..y", InvalidName),
    ("maildir", "a/b", InvalidName), ("maildir", "~x", InvalidName), ("maildir", "bad & name", BadEncoding),
    ("maildir", "x" * 300, InvalidName), ("maildir", "&AOQ", BadEncoding), ("maildir", "\x01", BadEncoding),
    ("mbox", "../x", InvalidName), ("mbox", "/etc/x", InvalidName), ("mbox", "~bob/x", InvalidName),
    ("mbox", "a/../../b", InvalidName), ("mbox", "a/./b", InvalidName), ("fs", "a/..", InvalidName),
    ("mbox", "a//b", InvalidName), ("fs", "a/cur", InvalidName)])
def test_bad_names(tmp_path: Path, kind: str, name: str, error: type[MailError]) -> None:
    store = store_at(tmp_path, kind)
    for method in (store.create, store.open, store.delete, lambda one: store.rename("INBOX", one),
                   lambda one: store.subscribe(one, True)):
        with pytest.raises(error):
            method(name)
    assert names(store) == {"INBOX": ""}


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30))
def test_mutf7_there_and_back(text: str) -> None:
    coded = to_mutf7(text)
    assert coded.isascii() and from_mutf7(coded) == text


@pytest.mark.parametrize("name", ["&", "&AOQ", "&AOQ-&AOQ-", "a\tb", "ä", "&AA-", "&AGE-", "&2D0-"])
def test_what_is_no_mutf7(name: str) -> None:
    assert from_mutf7(name) is None


@pytest.mark.parametrize(("name", "parts"), [
    ("INBOX/Sent/2024", ("Sent", "2024")), ("inbox", ("INBOX",)), ("inbox/Sent", ("Sent",)), ("Sent/", ("Sent",))])
def test_namespace_with_prefix(name: str, parts: tuple[str, ...]) -> None:
    naming = Naming(own=".", separator="/", prefix="INBOX/")
    assert naming.parts(name) == parts
    assert naming.name(("Sent", "2024")) == "INBOX/Sent/2024" and naming.name(("INBOX",)) == "INBOX"


def test_mailboxes_made_at_first_use(tmp_path: Path) -> None:
    rules = (MailboxRule("Drafts", "create", ("\\Drafts",)), MailboxRule("Sent", "subscribe", ("\\Sent",)),
             MailboxRule("Junk", "no", ("\\Junk",)))
    store = store_at(tmp_path, "maildir", mailboxes=rules)
    assert set(names(store)) == {"INBOX", "Drafts", "Sent"} and store.subscriptions() == ["Sent"]
    assert store.special_use("Drafts") == ("\\Drafts",) and store.exists("Drafts") and not store.exists("Junk")
    append(store.open("Sent"), ONE)
    assert (tmp_path / "Maildir" / "subscriptions").read_text() == "V\t2\n\nSent\n"
    store.delete("Sent")
    assert "Sent" in names(store)


def test_subscriptions(tmp_path: Path) -> None:
    store = store_at(tmp_path, "maildir")
    store.create("Work.2024")
    for name in ("Work.2024", "INBOX", "Work.2024"):
        store.subscribe(name, True)
    assert (tmp_path / "Maildir" / "subscriptions").read_text() == "V\t2\n\nWork\t2024\nINBOX\n"
    with pytest.raises(NoSuchMailbox):
        store.subscribe("none", True)
    store.delete("Work.2024")
    assert store.subscriptions() == ["Work.2024", "INBOX"]
    store.subscribe("Work.2024", False)
    store.subscribe("none", False)
    assert store.subscriptions() == ["INBOX"] and not list(tmp_path.rglob("*.lock"))


def test_old_subscriptions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "subscriptions"
    path.write_text("INBOX\nWork.2024\n")
    file = Subscriptions(str(path), ".")
    file.change(("Tab\there",), on=True)
    assert file.read() == [("INBOX",), ("Work", "2024"), ("Tab\there",)]
    assert path.read_text() == "V\t2\n\nINBOX\nWork\t2024\nTab\x01there\n"


@pytest.mark.parametrize(("location", "want"), [
    ("maildir:~/Maildir", ("maildir", "/h/Maildir", "/h/Maildir", "/h/Maildir", "/h/Maildir/subscriptions")),
    ("mbox:~/mail:INBOX=/var/mail/alice", ("mbox", "/h/mail", "/var/mail/alice", "/h/mail/.imap",
                                           "/h/mail/.subscriptions")),
    ("maildir:/m/x/:LAYOUT=fs:INDEX=MEMORY:CONTROL=/c", ("maildir", "/m/x", "/m/x", None, "/c/subscriptions")),
    ("mbox:~/mail:INDEX=/i/x:UTF-8", ("mbox", "/h/mail", "/h/mail/inbox", "/i/x", "/h/mail/.subscriptions"))])
def test_location(location: str, want: tuple[str | None, ...]) -> None:
    got = parse_location("alice", "/h", location)
    assert (got.kind, got.root, got.inbox, got.index, got.subscriptions) == want


@pytest.mark.parametrize("location", ["dbox:~/x", "maildir:relative", "maildir:~/x:FOO=1", "mbox:~/x:LAYOUT=maildir++",
                                      ""])
def test_bad_location(location: str) -> None:
    with pytest.raises(ConfigError):
        parse_location("nobody-here", "/nonexistent" if location else "", location)


def test_index_elsewhere_or_nowhere(tmp_path: Path) -> None:
    from mailsuite.store.opening import open_store
    for setting, there in ((f"INDEX={tmp_path}/idx", True), ("INDEX=MEMORY", False)):
        store = open_store("a", home=str(tmp_path), location=f"maildir:~/M{there}:{setting}")
        append(store.open("INBOX"), ONE)
        store.close()
        assert any((tmp_path / f"M{there}").glob("dovecot.index*")) is False
    assert any((tmp_path / "idx").iterdir())


def test_index_that_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "index"
    path.symlink_to("/etc/passwd")
    index = Index(str(path))
    box = index.mailbox("INBOX", 5)
    box.save([(1, 8, 2)], [], highest_modseq=2, first_recent=1)
    assert box.load() == {1: (8, 2)} and os.path.getsize("/etc/passwd") > 0
    index.close()


@pytest.mark.parametrize(("text", "want"), [("300", 300), ("5 mins", 300), ("2min", 120), ("1 hour", 3600),
                                            ("500 msecs", 0.5), ("2 weeks", 1209600)])
def test_times(text: str, want: float) -> None:
    assert seconds(text) == want


def test_options_from_a_configuration() -> None:
    class Section:
        def __init__(self, name: str = "", **values: object) -> None:
            self.name, self._values = name, values

        def text(self, name: str) -> str:
            return str(self._values.get(name, ""))

        plugin: ClassVar[dict[str, str]] = {"fts_autoindex": "yes"}

        def sections(self, kind: str) -> list["Section"]:
            found = self._values.get(kind, [])
            assert isinstance(found, list)
            return found

    sent = Section("Sent", special_use="\\Sent", auto="create")
    inbox = Section(inbox="yes", separator="/", prefix="", mailbox=[sent])
    options = StoreOptions.of(Section(namespace=[Section(prefix="x/"), inbox], mbox_lock_timeout="10 secs",
                                      mbox_write_locks="fcntl", mail_fsync="never"))
    assert options == StoreOptions(fsync="never", write_locks=("fcntl",), lock_timeout_s=10, separator="/",
                                   mailboxes=(MailboxRule("Sent", "create", ("\\Sent",)),),
                                   fulltext=FullTextOptions(autoindex=True))


def test_inotify_tells_of_a_delivery(tmp_path: Path) -> None:
    inbox = store_at(tmp_path, "maildir").open("INBOX")
    try:
        inotify = Inotify()
    except OSError as error:
        pytest.skip(f"no inotify here: {error}")
    numbers = [inotify.add(path) for path in inbox.watch_paths()]
    assert inotify.read() == [] and None not in numbers
    (tmp_path / "Maildir" / "new" / "1.M1P1.mx").write_text("Subject: x\n\n")
    assert [(event.number, event.name) for event in inotify.read() if event.mask & CREATED] == [
        (numbers[0], "1.M1P1.mx")]
    assert inotify.add(str(tmp_path / "none")) is None
    inotify.close()
