"""Maildir beside other programs: renames, deliveries, files that vanish or appear twice; Dovecot's own files."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsuite.store.api import FlagAction, Mailbox, MessageGone, StoreError
from mailsuite.store.maildir import scan
from mailsuite.store.maildir.filename import base_of, bits_of, in_order, letters_for, wire_size_of
from mailsuite.store.maildir.uidlist import UidList
from mailsuite.store.uid_validity import new_uid_validity
from tests.store.support import ONE, append, numbered, store_at


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    return tmp_path / "Maildir"


@pytest.fixture
def inbox(tmp_path: Path) -> Mailbox:
    return store_at(tmp_path, "maildir").open("INBOX")


def deliver(maildir: Path, name: str, text: bytes = b"Subject: delivered\n\nx\n", folder: str = "new") -> Path:
    path = maildir / folder / name
    path.write_bytes(text)
    return path


def files(maildir: Path) -> list[Path]:
    return sorted([*(maildir / "cur").iterdir(), *(maildir / "new").iterdir()])


def uidlist_lines(maildir: Path) -> list[str]:
    return (maildir / "dovecot-uidlist").read_text().splitlines()


def test_delivered_mail_gets_uids_in_order_of_time(maildir: Path, inbox: Mailbox) -> None:
    deliver(maildir, "1700000002.M5P1.mx")
    deliver(maildir, "1700000001.V1I2M3.mx", folder="cur")
    deliver(maildir, "1700000002.M40P1.mx")
    view = inbox.open_view(read_only=False)
    assert list(view.uids) == [1, 2, 3] and view.recent == {1, 2, 3}
    assert [line.partition(":")[2] for line in uidlist_lines(maildir)[1:]] == \
        ["1700000001.V1I2M3.mx", "1700000002.M5P1.mx", "1700000002.M40P1.mx"]
    assert not list((maildir / "new").iterdir())        # a session took notice of them
    deliver(maildir, "1700000000.M1P1.late")
    assert view.sync(expunges=True).exists == 4
    assert inbox.message(4).fields(b"Subject") == [b"delivered"]


def test_another_program_changes_flags(maildir: Path, inbox: Mailbox) -> None:
    append(inbox, *numbered(3))
    view = inbox.open_view(read_only=False)
    one, two, three = files(maildir)
    one.rename(maildir / "cur" / (base_of(os.fsencode(one.name)).decode() + ":2,FS"))
    changes = view.sync(expunges=True)
    assert (changes.flags, inbox.flags(1)) == ([1], ["\\Flagged", "\\Seen"])
    two.unlink()
    assert view.sync(expunges=False).expunged == [] and view.sync(expunges=True).expunged == [2]
    three.rename(three.with_name(three.name + "PX"))        # letters that mean nothing to us stay
    inbox.store_flags([3], FlagAction.ADD, ["\\Seen"])
    assert files(maildir)[-1].name.endswith(":2,PSX")


@pytest.mark.parametrize("use", ["message", "flags", "remove", "copy"])
def test_file_was_renamed_since_we_looked(maildir: Path, inbox: Mailbox, use: str,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    append(inbox, ONE)
    inbox.open_view(read_only=False)
    path = files(maildir)[0]
    look = scan.ScannedMaildir._stale_folders
    path.rename(path.with_name(path.name + "F"))
    blind = [use in ("flags", "copy")]        # as if nothing had changed, at the first look

    def stale(self: scan.ScannedMaildir) -> list[str]:
        return [] if blind and blind.pop() else look(self)
    monkeypatch.setattr(scan.ScannedMaildir, "_stale_folders", stale)
    if use == "message":
        assert inbox.message(1).octets == ONE
    elif use == "flags":
        assert inbox.store_flags([1], FlagAction.ADD, ["\\Seen"]).changed == [1]
        assert len(files(maildir)) == 1
    elif use == "remove":
        assert inbox.remove([1]) == [1] and not files(maildir)
    else:
        assert inbox.copy([1], inbox).target_uids == [2]


def test_message_that_is_gone(maildir: Path, inbox: Mailbox) -> None:
    append(inbox, ONE)
    files(maildir)[0].unlink()
    with pytest.raises(MessageGone):
        inbox.message(1)
    assert inbox.header_fields([1], [b"Subject"]) == [None] and inbox.sizes([1]) == [None]
    assert inbox.store_flags([1], FlagAction.ADD, ["\\Seen"]).changed == []


def test_same_file_twice_is_one_message(maildir: Path, inbox: Mailbox) -> None:
    path = deliver(maildir, "1.M1P1.mx")
    os.link(path, maildir / "cur" / "1.M1P1.mx:2,S")
    assert inbox.status().messages == 1
    inbox.refresh()
    assert len(files(maildir)) == 1


def test_two_messages_of_one_name_are_kept_both(maildir: Path, inbox: Mailbox) -> None:
    deliver(maildir, "1.M1P1.mx", b"Subject: a\n\n")
    deliver(maildir, "1.M1P1.mx:2,S", b"Subject: b\n\n", folder="cur")
    inbox.refresh()
    assert inbox.status().messages == 2
    assert {inbox.message(uid).fields(b"Subject")[0] for uid in (1, 2)} == {b"a", b"b"}


def test_second_process_agrees_on_uids(tmp_path: Path, maildir: Path, inbox: Mailbox) -> None:
    append(inbox, ONE)
    other = store_at(tmp_path, "maildir").open("INBOX")
    deliver(maildir, "1700000000.M1P1.mx")
    assert other.status().messages == 2
    assert append(inbox, ONE) == [3] and append(other, ONE) == [4]
    assert inbox.store_flags([4], FlagAction.ADD, ["\\Seen", "$Theirs"]).changed == [4]
    assert other.flags(4) == [] and other.status().unseen == 3 and other.flags(4) == ["\\Seen", "$Theirs"]


def test_another_uid_validity_is_another_mailbox(tmp_path: Path, maildir: Path, inbox: Mailbox) -> None:
    append(inbox, ONE)
    view = inbox.open_view(read_only=False)
    (maildir / "dovecot-uidlist").write_text("3 V77 N9 Gabc\n")
    assert view.sync(expunges=True).gone
    again = store_at(tmp_path, "maildir").open("INBOX")
    assert (again.uid_validity, again.uid_next, again.status().messages) == (77, 10, 1)


@pytest.mark.parametrize(("damage", "uids"), [
    pytest.param(lambda text: text[:-8], [1, 2, 4], id="last line cut off"),
    pytest.param(lambda text: text + b"2 :again\n", [1, 2, 3], id="a UID that does not ascend"),
    pytest.param(lambda text: text.replace(b"3 V", b"9 V", 1), [1, 2, 3], id="unknown version: all anew"),
    pytest.param(lambda text: b"", [1, 2, 3], id="empty: all anew"),
    pytest.param(lambda text: text.replace(b" N1 ", b" N4294967290 ", 1), [1, 2, 3], id="no UIDs left: all anew"),
    pytest.param(lambda text: text.replace(b"3 V", b"3 Xfoo V", 1), [1, 2, 3], id="a header field of a newer version"),
    pytest.param(lambda text: text.replace(b"\n2 ", b"\n2 Xnew Y:7 ", 1), [1, 2, 3], id="fields of a newer version"),
    pytest.param(lambda text: text + b"rubbish\0\n4 :later\n", [1, 2, 3], id="garbage: what is behind it is new"),
])
def test_damaged_uidlist(tmp_path: Path, maildir: Path, inbox: Mailbox, damage, uids: list[int]) -> None:
    append(inbox, *numbered(3))
    path = maildir / "dovecot-uidlist"
    if uids[-1] == 4:       # the header's next UID is behind the lines that were appended
        path.write_bytes(path.read_bytes().replace(b" N1 ", b" N4 ", 1))
    path.write_bytes(damage(path.read_bytes()))
    again = store_at(tmp_path, "maildir").open("INBOX")
    assert list(again.open_view(read_only=False).uids) == uids
    assert append(again, ONE) == [uids[-1] + 1]
    assert list(store_at(tmp_path, "maildir").open("INBOX").open_view(read_only=True).uids) == [*uids, uids[-1] + 1]


def test_fields_of_the_uidlist_are_kept(tmp_path: Path) -> None:
    (tmp_path / "dovecot-uidlist").write_bytes(b"3 V5 N3 Gaa\n1 W12 S10 :a\n2 Gold.name :b\n")
    uidlist = UidList(str(tmp_path), fsync=False)
    assert uidlist.load() and not uidlist.load()
    with uidlist.locked():
        assert uidlist.add([(b"c", b"G" + b"x")]) == [3]
        uidlist.rewrite({b"b", b"c"})
    assert (tmp_path / "dovecot-uidlist").read_bytes() == b"3 V5 N4 Gaa\n2 Gold.name :b\n3 Gx :c\n"
    entry = uidlist.entry(b"b")
    assert entry is not None and entry.guid() == b"old.name" and not (tmp_path / "dovecot-uidlist.lock").exists()


def test_uid_validity_is_never_given_twice(tmp_path: Path) -> None:
    values = [new_uid_validity(str(tmp_path)) for _ in range(3)]
    assert values == sorted(set(values))
    assert [path.name for path in tmp_path.iterdir()] == [f"dovecot-uidvalidity.{values[-1]:08x}"]
    # Dovecot gave one in the meantime.
    (tmp_path / f"dovecot-uidvalidity.{values[-1]:08x}").rename(tmp_path / f"dovecot-uidvalidity.{values[-1] + 5:08x}")
    assert new_uid_validity(str(tmp_path)) == values[-1] + 6
    assert [path.name for path in tmp_path.iterdir()] == [f"dovecot-uidvalidity.{values[-1] + 6:08x}"]


def test_link_out_of_the_mailbox_is_not_followed(tmp_path: Path, maildir: Path, inbox: Mailbox) -> None:
    (tmp_path / "secret").write_text("root:x:0:0\n")
    (maildir / "cur" / "1.M1P1.mx:2,").symlink_to(tmp_path / "secret")
    assert inbox.status().messages == 1
    with pytest.raises(MessageGone):
        inbox.message(1)
    assert inbox.status().messages == 0


def test_failed_append_leaves_nothing(maildir: Path, inbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    append(inbox, ONE)

    def full(*_: object) -> None:
        raise OSError(28, "disk full")
    transfer = inbox.begin_append()
    transfer.write(ONE)
    transfer.finish([], None)
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", full)
        with pytest.raises(StoreError):
            transfer.commit()
    transfer.abort()
    assert not list((maildir / "tmp").iterdir()) and inbox.status().messages == 1
    assert append(inbox, ONE) == [inbox.uid_next - 1]


def test_keywords_are_shared_with_dovecot(tmp_path: Path, maildir: Path, inbox: Mailbox) -> None:
    append(inbox, ONE, flags=["$A", "$B"])
    assert (maildir / "dovecot-keywords").read_text() == "0 $A\n1 $B\n"
    assert files(maildir)[0].name.endswith(",S=35,W=39:2,ab")
    (maildir / "dovecot-keywords").write_text("0 $A\n3 $D\n")
    path = files(maildir)[0]
    path.rename(path.with_name(path.name + "d"))
    assert store_at(tmp_path, "maildir").open("INBOX").flags(1) == ["$A", "unknown-1", "$D"]


def test_more_keywords_than_letters(tmp_path: Path, inbox: Mailbox) -> None:
    append(inbox, ONE)
    names = [f"key{number}" for number in range(30)]
    inbox.store_flags([1], FlagAction.ADD, names)
    inbox.store_flags([1], FlagAction.REMOVE, ["key3"])
    names.remove("key3")
    assert inbox.flags(1) == names
    assert store_at(tmp_path, "maildir").open("INBOX").flags(1) == names


def test_old_files_in_tmp_go(tmp_path: Path, maildir: Path, inbox: Mailbox) -> None:
    old, young = maildir / "tmp" / "old", maildir / "tmp" / "young"
    young.write_text("")
    os.utime(maildir / "tmp", (1, 1))
    old.write_text("")
    store_at(tmp_path, "maildir").open("INBOX")
    assert old.exists()         # its inode changed just now, whatever its age says


def test_file_that_left_and_came_back(tmp_path: Path, maildir: Path, inbox: Mailbox) -> None:
    """Under the same name, but another program gave it a new UID: nobody may see it under the old one."""
    append(inbox, ONE, flags=["\\Seen"])
    view = inbox.open_view(read_only=False)
    base = base_of(os.fsencode(files(maildir)[0].name))
    with (maildir / "dovecot-uidlist").open("ab") as listed:
        listed.write(b"2 :%b\n" % base)
    changes = view.sync(expunges=True)
    assert (changes.expunged_uids, list(view.uids), inbox.flags(2)) == ([1], [2], ["\\Seen"])
    assert list(store_at(tmp_path, "maildir").open("INBOX").open_view(read_only=True).uids) == [2]


def test_what_came_while_we_were_away_has_higher_modseqs(tmp_path: Path, maildir: Path) -> None:
    store = store_at(tmp_path, "maildir")
    append(store.open("INBOX"), *numbered(2))
    before = store.open("INBOX").highest_modseq
    store.close()
    with (maildir / "dovecot-uidlist").open("ab") as listed:
        listed.write(b"3 :1700000000.M1.mx\n")
    deliver(maildir, "1700000000.M1.mx:2,S", folder="cur")
    inbox = store_at(tmp_path, "maildir").open("INBOX")
    assert inbox.modseqs([1, 2, 3]) == [before, before, before + 1] and inbox.highest_modseq == before + 1


def test_modes_are_those_of_the_root(tmp_path: Path, maildir: Path) -> None:
    store = store_at(tmp_path, "maildir")
    store.open("INBOX")
    maildir.chmod(0o750)
    store.create("Box")
    append(store.open("Box"), ONE)
    assert (maildir / ".Box").stat().st_mode & 0o777 == 0o750
    assert files(maildir / ".Box")[0].stat().st_mode & 0o777 == 0o640


def test_mailbox_folder_that_vanishes(maildir: Path, inbox: Mailbox) -> None:
    append(inbox, ONE)
    view = inbox.open_view(read_only=False)
    shutil.rmtree(maildir)
    assert view.sync(expunges=True).gone


@pytest.mark.parametrize(("letters", "bits", "old", "want"), [
    pytest.param(b"FS", 2 | 8, b"", b"FS", id="system flags"),
    pytest.param(b"Tac", 4 | 32 | 128, b"P", b"PTac", id="keywords; foreign letters stay"),
    pytest.param(b"", 0, b"S", b"", id="none"),
])
def test_letters(letters: bytes, bits: int, old: bytes, want: bytes) -> None:
    assert bits_of(letters) == bits and letters_for(bits, old) == want


def test_names_of_files() -> None:
    assert wire_size_of(b"1.M2.mx,S=10,W=12:2,S") == 12 and wire_size_of(b"1.M2.mx,S=10") is None
    assert in_order([b"10.M1", b"9.M20", b"9.M3", b"x"]) == [b"x", b"9.M3", b"9.M20", b"10.M1"]
    alike = [b"1700000000.M000002P9.a", b"1700000000.M000001P10.b", b"1600000000.M999999P1.c",
             b"1700000000.M000001P2.\n"]
    assert in_order(alike) == in_order([*alike, b"x"])[1:] == [alike[2], alike[1], alike[3], alike[0]]


def test_a_disk_that_fails_among_many_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was renamed before counts, and the rest can be tried again."""
    store = store_at(tmp_path, "maildir")
    inbox = store.open("INBOX")
    append(inbox, *numbered(4))
    view = inbox.open_view(read_only=False)
    renamed, rename = [], os.rename

    def failing(*args: Any, **kwargs: Any) -> None:
        renamed.append(args)
        if len(renamed) == 3:
            raise OSError(28, "No space left on device")
        rename(*args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(StoreError):
        patch.setattr(os, "rename", failing)
        inbox.store_flags([1, 2, 3, 4], FlagAction.ADD, ["\\Seen"])
    assert inbox.with_flag([1, 2, 3, 4], "\\Seen") == {1, 2}
    assert inbox.store_flags([1, 2, 3, 4], FlagAction.ADD, ["\\Seen"]).changed == [3, 4]
    assert view.sync(expunges=True).flags == [1, 2, 3, 4]
    store.close()
    assert store_at(tmp_path, "maildir").open("INBOX").with_flag([1, 2, 3, 4], "\\Seen") == {1, 2, 3, 4}


odd_lists = st.lists(st.one_of(
    st.builds(lambda uid, fields, base: b"%d%b :%b\n" % (uid, fields, base), st.integers(0, 60),
              st.sampled_from([b"", b" ", b" W12", b" G1:2 P", b"  S1 "]),
              st.sampled_from([b"a", b"b", b"c d", b"e :f"])),
    st.sampled_from([b"", b"\n", b"x\n", b"7 b\n", b"12x :b\n", b"5 :cut"])), max_size=6).map(b"".join)


@given(odd_lists)
def test_a_uidlist_at_once_and_line_by_line(lines: bytes) -> None:
    whole, slow = UidList("/nowhere"), UidList("/nowhere")
    slow._parse_all = lambda content, start: False  # type: ignore[method-assign]
    for uidlist in (whole, slow):
        uidlist._parse(b"3 V5 N9 G0\n" + lines)
    assert (whole.uids, whole.fields, whole.next_uid) == (slow.uids, slow.fields, slow.next_uid)
    assert list(whole.uids.values()) == sorted(whole.uids.values())
    assert whole.damaged == slow.damaged


def test_files_come_after_the_tables_were_let_go(tmp_path: Path, maildir: Path) -> None:
    for name in ("cur", "new", "tmp"):
        (maildir / name).mkdir(parents=True)
    for number in range(3):
        (maildir / "cur" / f"170000000{number}.M1P1.mx:2,S").write_bytes(ONE)
    inbox = store_at(tmp_path, "maildir").open("INBOX")
    view = inbox.open_view(read_only=False)
    (maildir / "new" / "1600000000.M1P1.mx").write_bytes(ONE)               # older by its name, but it came later
    (maildir / "cur" / "1700000001.M1P1.mx:2,S").unlink()
    os.rename(maildir / "cur" / "1700000002.M1P1.mx:2,S", maildir / "cur" / "1700000002.M1P1.mx:2,FS")
    view.sync(expunges=True)
    assert list(view.uids) == [1, 3, 4] and inbox.with_flag([1, 3, 4], "\\Flagged") == {3}
    assert uidlist_lines(maildir)[1:] == ["1 :1700000000.M1P1.mx", "3 :1700000002.M1P1.mx", "4 :1600000000.M1P1.mx"]
