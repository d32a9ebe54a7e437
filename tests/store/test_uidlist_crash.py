"""What a crash leaves of a uidlist that was never synced: no UID means two messages to a client that remembers it."""

import os
from pathlib import Path

import pytest

from mailsuite.store.mailbox import BaseMailbox
from tests.store.support import append, store_at

COUNT = 30


def filled(home: Path) -> Path:
    for name in ("cur", "new", "tmp"):
        (home / "Maildir" / name).mkdir(parents=True)
    for number in range(COUNT):
        (home / f"Maildir/cur/1700000000.M{number:06d}P1.mx:2,S").write_bytes(b"Subject: %d\n\nx\n" % number)
    return home / "Maildir/dovecot-uidlist"


def known(home: Path) -> tuple[int, int, dict[str, int]]:
    """UIDVALIDITY, next UID, UIDs by name."""
    store = store_at(home, "maildir", fsync="optimized")
    inbox = store.open("INBOX")
    assert isinstance(inbox, BaseMailbox)
    uids = list(inbox.open_view(read_only=True).uids)
    names = inbox.identities(uids, "filename")
    assert names is not None
    found = inbox.uid_validity, inbox.uid_next, dict(zip(names, uids, strict=True))
    store.close()
    return found


@pytest.mark.parametrize("left", [0, 1, 20, 60, 200, 500, 900])
def test_part_of_a_new_list_gives_no_uid_twice(left: int, tmp_path: Path) -> None:
    uidlist = filled(tmp_path)
    validity, following, before = known(tmp_path)
    assert following == COUNT + 1
    octets = uidlist.read_bytes()
    uidlist.write_bytes(octets[:left])
    for index in (tmp_path / "Maildir").glob("dovecot.index*"):
        index.unlink()
    (tmp_path / "Maildir/cur/1600000000.M1P1.mx:2,").write_bytes(b"Subject: earlier than all\n\nx\n")
    new_validity, _, after = known(tmp_path)
    assert len(after) == COUNT + 1
    if new_validity == validity:
        assert all(uid == before.get(name) or uid >= following for name, uid in after.items())
    else:
        assert left < octets.index(b"\n") + 1


def test_only_what_comes_later_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uidlist = filled(tmp_path)
    synced: list[str] = []
    fdatasync = os.fdatasync

    def noted(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        fdatasync(fd)

    monkeypatch.setattr(os, "fdatasync", noted)
    store = store_at(tmp_path, "maildir", fsync="optimized")
    inbox = store.open("INBOX")
    assert str(uidlist) not in synced
    append(inbox, b"Subject: new\r\n\r\nx\r\n")
    assert str(uidlist) in synced
    store.close()
