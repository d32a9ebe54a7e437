"""The files: dovecot-acl, the administrator's ACLs, acl_shared_dict, one's own \\Seen."""

import os
import stat
import string
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsuite.acl.entries import Entry, Identifier, Kind, merged, parse, put, text
from mailsuite.acl.everywhere import Everywhere
from mailsuite.acl.file import AclFile
from mailsuite.acl.rights import LETTERS, parse_imap
from mailsuite.acl.shared import SharedBoxes
from mailsuite.base.errors import PeerError
from mailsuite.store.errors import StoreError
from mailsuite.store.private_seen import PrivateSeen

BOB = Identifier(False, Kind.USER, "bob")
rights = st.frozensets(st.sampled_from(LETTERS))
names = st.text(string.ascii_letters + string.digits + string.punctuation + " \t", min_size=1, max_size=12)
identifiers = st.builds(lambda kind, name: Identifier(False, kind, name if kind in (
    Kind.GROUP, Kind.USER, Kind.GROUP_OVERRIDE) else ""), st.sampled_from(Kind), names)


@given(st.lists(st.builds(Entry, identifiers, st.one_of(st.none(), rights), st.one_of(st.none(), rights)), max_size=6))
def test_what_is_written_is_read_again(entries: list[Entry]) -> None:
    entries = [entry for entry in merged(entries) if (entry.rights, entry.denied) != (None, None)]
    again = parse(text(entries))
    assert [(one.who, one.rights or frozenset(), one.denied or frozenset()) for one in again] == \
        [(one.who, one.rights or frozenset(), one.denied or frozenset()) for one in entries]


def test_a_file_keeps_its_mode_and_is_read_when_it_changes(tmp_path: Path) -> None:
    file = AclFile(str(tmp_path / "dovecot-acl"))
    assert file.entries() == [] and not file.there
    os.chmod(tmp_path, 0o770)
    assert file.change(lambda entries: put(entries, BOB, frozenset("lr"), denied=False))
    assert stat.S_IMODE(os.stat(file.path).st_mode) == 0o660          # as the folder has it
    os.chmod(file.path, 0o640)
    assert file.change(lambda entries: put(entries, BOB, frozenset("r"), denied=True))
    assert Path(file.path).read_text() == "user=bob lr\n-user=bob r\n"
    assert stat.S_IMODE(os.stat(file.path).st_mode) == 0o640
    assert not file.change(lambda entries: entries)
    Path(file.path).write_text("anyone l\n")
    assert [str(entry.who) for entry in file.entries()] == ["anyone"]
    Path(file.path).write_text("anyone lq\n")
    with pytest.raises(StoreError):
        file.entries()
    with pytest.raises(StoreError):                                     # and is not written over
        file.change(lambda entries: put(entries, BOB, frozenset("lr"), denied=False))
    assert Path(file.path).read_text() == "anyone lq\n"
    assert sorted(os.listdir(tmp_path)) == ["dovecot-acl"]


def test_a_folder_of_the_administrator(tmp_path: Path) -> None:
    (tmp_path / "Public").mkdir()
    (tmp_path / "Public/.DEFAULT").write_text("anyone l\n")
    (tmp_path / "Public/Board").write_text("anyone lr\n")
    acls = Everywhere(str(tmp_path))
    assert [len(acls.entries(name)) for name in ("Public", "Public/Board", "INBOX", "../x", "Public/../INBOX")] == \
        [1, 1, 0, 0, 0]
    assert acls.entries("Public/Board")[0].who.everywhere


@pytest.mark.parametrize("line", ["INBOX", '"INBOX owner lr', "INBOX owner lrQ", "INBOX nobody lr"])
def test_a_damaged_file_of_the_administrator(tmp_path: Path, line: str) -> None:
    (tmp_path / "acls").write_text(f"Work owner lr\n{line}\n")
    with pytest.raises(StoreError) as caught:
        Everywhere(str(tmp_path / "acls")).entries("Work")
    assert "line 2" in caught.value.detail


def test_the_dictionary_of_who_shares(tmp_path: Path) -> None:
    path = tmp_path / "boxes"
    boxes = SharedBoxes(str(path))
    group, anyone = Identifier(False, Kind.GROUP, "staff"), Identifier(False, Kind.ANYONE)
    assert boxes.owners("bob", ()) == []
    boxes.tell("alice", {BOB, group, Identifier(False, Kind.OWNER), Identifier(False, Kind.USER, "alice")})
    boxes.tell("carol", {anyone})
    assert path.read_text() == ("shared/shared-boxes/group/staff/alice\n1\nshared/shared-boxes/user/bob/alice\n1\n"
                                "shared/shared-boxes/anyone/carol\n1\n")
    assert boxes.owners("bob", ()) == ["alice", "carol"] and boxes.owners("eve", {"staff"}) == ["alice", "carol"]
    os.chmod(path, 0o660)
    boxes.tell("alice", {group})
    assert boxes.owners("bob", ()) == ["carol"] and stat.S_IMODE(os.stat(path).st_mode) == 0o660
    SharedBoxes(str(path)).tell("carol", ())
    assert boxes.owners("bob", ()) == []


def test_rights_of_setacl() -> None:
    assert parse_imap("+lc") == ("+", frozenset("lkx")) and parse_imap("d") == ("", frozenset("et"))
    assert parse_imap("") == ("", frozenset()) and parse_imap("-") == ("-", frozenset())
    with pytest.raises(PeerError):
        parse_imap("lrL")


@given(st.sets(st.integers(1, 500)))
def test_seen_uids_are_kept(tmp_path_factory: pytest.TempPathFactory, uids: set[int]) -> None:
    folder = str(tmp_path_factory.mktemp("seen"))
    PrivateSeen(folder, ("Work",)).change([], on=True)
    seen = PrivateSeen(folder, ("Work",))
    seen.load(0)
    seen.change(uids, on=True, there=range(1, 501))
    again = PrivateSeen(folder, ("Work",))
    again.load(0)
    assert again.uids == uids
    again.load(7)
    assert again.uids == set()                  # another mailbox of that name


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take a group without being in it")
def test_mail_of_a_group_stays_the_groups(tmp_path: Path) -> None:
    """New folders and files take the mode and the group of what they are in, also copies of private mail."""
    code = """
import os, sys
from mailsuite.store.opening import open_store
os.setgroups([54321]); os.setgid(54322); os.setuid(54323); os.umask(0o077)
store = open_store("a", home=sys.argv[1], location="maildir:" + sys.argv[1] + "/box")
for name in ("INBOX", "Private", "Private/Below"):
    if name != "INBOX": store.create(name.replace("/", "."))
box = store.open("INBOX")
append = box.begin_append(); append.write(b"Subject: x\\n\\nbody\\n"); append.finish(["k1"], None); append.commit()
os.chmod(sys.argv[1] + "/box/.Private", 0o700)
private = store.open("Private")
append = private.begin_append(); append.write(b"Subject: y\\n\\nbody\\n"); append.finish([], None)
private.copy(append.commit()[1], box)
store.close()
"""
    box = tmp_path / "box"
    for folder in (tmp_path, box):
        folder.mkdir(exist_ok=True)
        os.chown(folder, 54323, 54321)
        os.chmod(folder, 0o770)
    for parent in tmp_path.parents:
        if not stat.S_IMODE(parent.stat().st_mode) & 0o001:
            pytest.skip(f"{parent} keeps other users out")
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60)
    found = [box / "cur", box / ".Private.Below", *box.glob("new/*"), *box.glob("cur/*"), box / "dovecot-uidlist",
             box / "dovecot-keywords"]
    assert len(found) == 6
    assert {(path.stat().st_gid, stat.S_IMODE(path.stat().st_mode) & 0o060) for path in found
            if path.name != ".Private.Below"} == {(54321, 0o060)}
