"""What stays with mailboxes and messages through renames, copies and the loss of the index."""

from pathlib import Path

import pytest

from mailsuite.imap.objectid import email_ids
from mailsuite.store.api import Mailbox, MailStore
from mailsuite.store.opening import open_store
from mailsuite.store.options import StoreOptions

LOCATIONS = ["maildir:{home}/Maildir", "maildir:{home}/Maildir:LAYOUT=fs", "mbox:{home}/mail:INBOX={home}/inbox"]


def opened(home: Path, location: str) -> MailStore:
    return open_store("alice", home=str(home), location=location.format(home=home), options=StoreOptions(fsync="never"))


def put(mailbox: Mailbox, *texts: bytes) -> list[int]:
    append = mailbox.begin_append()
    for text in texts:
        append.write(text)
        append.finish([], None)
    return append.commit()[1]


@pytest.mark.parametrize("location", LOCATIONS)
def test_identifiers_outlive_the_index_and_renames(location: str, tmp_path: Path) -> None:
    store = opened(tmp_path, location)
    store.create("one")
    mailbox = store.open("one")
    uids = put(mailbox, b"Subject: a\r\nDate: x\r\n\r\na\r\n", b"Subject: b\r\nDate: x\r\n\r\nb\r\n")
    guid, ids = mailbox.guid, email_ids(mailbox, uids)
    assert len(set(ids)) == 2 and None not in ids
    store.close()
    for path in tmp_path.rglob("dovecot.index.mailsuite*"):
        path.unlink()
    store = opened(tmp_path, location)
    store.rename("one", "two")
    mailbox = store.open("two")
    assert (mailbox.guid, email_ids(mailbox, uids)) == (guid, ids)
    inbox = store.open("INBOX")
    assert email_ids(inbox, mailbox.copy(uids, inbox).target_uids) == ids
    assert email_ids(mailbox, [99]) == [None]
    store.close()


@pytest.mark.parametrize("location", LOCATIONS)
def test_special_uses_stay_with_their_mailboxes(location: str, tmp_path: Path) -> None:
    store = opened(tmp_path, location)
    store.create("Kept", ("\\Archive", "\\Important"))
    store.create("Old", ("\\Junk",))
    store.close()
    store = opened(tmp_path, location)
    assert store.special_use("Kept") == ("\\Archive", "\\Important")
    store.rename("Kept", "Renamed")
    store.delete("Old")
    store.create("Old")
    uses = {info.name: info.special_use for info in store.list_mailboxes()}
    assert uses == {"INBOX": (), "Renamed": ("\\Archive", "\\Important"), "Old": ()}
    store.close()


def test_a_damaged_file_of_special_uses_is_passed_over(tmp_path: Path) -> None:
    store = opened(tmp_path, LOCATIONS[0])
    store.create("Good", ("\\Sent",))
    file = tmp_path / "Maildir/dovecot-special-use"
    file.write_bytes(file.read_bytes() + b"\xff\xfe\nno tab\n\t\n\\Junk\t\n")
    assert store.special_use("Good") == ("\\Sent",)
    assert [info.special_use for info in store.list_mailboxes()] == [(), ("\\Sent",)]
    store.close()
