"""mail_location's variants: what lies where, as Dovecot 2.3.19 makes it, so that either finds the other's mail."""

import os
from pathlib import Path

import pytest

from mailsuite.base.errors import ConfigError
from mailsuite.store.location import parse_location
from mailsuite.store.names import to_mutf7
from mailsuite.store.opening import open_store
from mailsuite.store.options import StoreOptions
from tests.store.support import append

GRUESSE = to_mutf7("Grüße")


def made(home: Path, location: str, separator: str = "/") -> set[str]:
    """Folders of Maildirs and control files, and mbox files, after some commands."""
    store = open_store("alice", home=str(home), location=location, options=StoreOptions(separator=separator))
    store.create(f"Work{separator}sub")
    store.create(f"{GRUESSE}{separator}sub")
    store.subscribe(GRUESSE, True, missing=True)
    for name in ("INBOX", f"Work{separator}sub", f"{GRUESSE}{separator}sub"):
        append(store.open(name), b"Subject: x\n\nx\n")
    listed = {info.name for info in store.list_mailboxes() if info.selectable}
    assert listed >= {f"Work{separator}sub", f"{GRUESSE}{separator}sub"}
    assert store.subscriptions() == [GRUESSE]
    store.close()
    found = set()
    for folder, folders, files in os.walk(home):
        where = os.path.relpath(folder, home)
        if "cur" in folders:
            found.add(f"{where}/cur")
        found.update(f"{where}/{name}" for name in files
                     if name in ("dovecot-uidlist", "maildirfolder", "sub", "inbox"))
        assert "cur" not in folders or len(os.listdir(f"{folder}/new")) == 1, folder
    return found


@pytest.mark.parametrize(("location", "want"), [
    pytest.param("maildir:~/M", {
        "M/cur", "M/dovecot-uidlist", "M/.Work.sub/cur", "M/.Work.sub/maildirfolder", "M/.Work.sub/dovecot-uidlist",
        f"M/.{GRUESSE}.sub/cur", f"M/.{GRUESSE}.sub/maildirfolder", f"M/.{GRUESSE}.sub/dovecot-uidlist"}, id="plain"),
    pytest.param("maildir:~/M:INBOX=~/in:CONTROL=~/ctl", {
        "in/cur", "in/maildirfolder", "ctl/.INBOX/dovecot-uidlist", "M/.Work.sub/cur", "M/.Work.sub/maildirfolder",
        "ctl/.Work.sub/dovecot-uidlist", f"M/.{GRUESSE}.sub/cur", f"M/.{GRUESSE}.sub/maildirfolder",
        f"ctl/.{GRUESSE}.sub/dovecot-uidlist"}, id="INBOX elsewhere, and no root yet"),
    pytest.param("maildir:~/M:LAYOUT=fs:CONTROL=~/ctl", {
        "M/cur", "ctl/INBOX/dovecot-uidlist", "M/Work/sub/cur", "ctl/Work/sub/dovecot-uidlist",
        f"M/{GRUESSE}/sub/cur", f"ctl/{GRUESSE}/sub/dovecot-uidlist"}, id="two folders of one name have two uidlists"),
    pytest.param("maildir:~/M:LAYOUT=fs:DIRNAME=mBoX", {
        "M/INBOX/mBoX/cur", "M/INBOX/mBoX/dovecot-uidlist", "M/Work/sub/mBoX/cur", "M/Work/sub/mBoX/dovecot-uidlist",
        f"M/{GRUESSE}/sub/mBoX/cur", f"M/{GRUESSE}/sub/mBoX/dovecot-uidlist"}, id="DIRNAME"),
    pytest.param("maildir:~/M:LAYOUT=fs:MAILBOXDIR=all:DIRNAME=mBoX:CONTROL=~/ctl:UTF-8", {
        "M/all/INBOX/mBoX/cur", "ctl/INBOX/dovecot-uidlist", "M/all/Work/sub/mBoX/cur", "ctl/Work/sub/dovecot-uidlist",
        "M/all/Grüße/sub/mBoX/cur", "ctl/Grüße/sub/dovecot-uidlist"}, id="all of it"),
    pytest.param("maildir:~/M:UTF-8", {
        "M/cur", "M/dovecot-uidlist", "M/.Work.sub/cur", "M/.Work.sub/maildirfolder", "M/.Work.sub/dovecot-uidlist",
        "M/.Grüße.sub/cur", "M/.Grüße.sub/maildirfolder", "M/.Grüße.sub/dovecot-uidlist"}, id="UTF-8"),
    pytest.param("mbox:~/M:UTF-8", {"M/inbox", "M/Work/sub", "M/Grüße/sub"}, id="mbox in UTF-8"),
])
def test_what_lies_where(tmp_path: Path, location: str, want: set[str]) -> None:
    assert made(tmp_path, location) == want
    assert made(tmp_path / "dots", location, ".") == want or "fs" in location or "mbox" in location


@pytest.mark.parametrize("location", [
    "maildir:~/M:DIRNAME=x", "mbox:~/M:DIRNAME=x", "mbox:~/M:MAILBOXDIR=x", "maildir:~/M:FULLDIRNAME=x", "sdbox:~/M",
    "mdbox:~/M", "maildir:~/M:LAYOUT=index", "maildir:~/M:FOO=x", "maildir:M", ""])
def test_what_is_refused(tmp_path: Path, location: str) -> None:
    with pytest.raises(ConfigError):
        parse_location("alice", str(tmp_path), location)


def test_dirname_is_no_mailbox(tmp_path: Path) -> None:
    store = open_store("alice", home=str(tmp_path), location="maildir:~/M:LAYOUT=fs:DIRNAME=mBoX",
                       options=StoreOptions(separator="/"))
    store.create("A/B")
    store.rename("A", "C")
    assert store.exists("C/B") and not store.exists("A/B")
    store.create("C")
    store.delete("C")                       # its child stays
    assert store.exists("C/B") and not store.exists("C")
    store.delete("C/B")
    for name in ("mBoX", "x/mBoX/y"):
        with pytest.raises(Exception, match="reserved name"):
            store.create(name)
    store.close()
