"""Quotas over real stores: who may bring in mail, what maildirsize says, what other programs do meanwhile."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mailsuite.quota.maildirsize import NAME
from mailsuite.quota.roots import quota_settings
from mailsuite.quota.user_quota import UserQuota
from mailsuite.store.api import FlagAction, MailStore, OverQuota, TooLarge
from mailsuite.store.opening import open_store
from mailsuite.store.options import StoreOptions
from mailsuite.store.quota import Quota

Make = Callable[..., MailStore]
KINDS = {"maildir": "maildir:~/Maildir", "tree": "maildir:~/Maildir:LAYOUT=fs", "mbox": "mbox:~/mail:INBOX=~/inbox"}


@pytest.fixture
def called() -> list[Sequence[str]]:
    return []


@pytest.fixture
def make(tmp_path: Path, called: list[Sequence[str]]) -> Make:
    def made(kind: str = "maildir", **values: str) -> MailStore:
        settings = quota_settings({"quota_exceeded_message": "Full", **values}, {}, lambda text: text)
        assert settings is not None
        return open_store("a", home=str(tmp_path), location=KINDS[kind], options=StoreOptions(fsync="never"),
                          quota=UserQuota(settings, called.append))
    return made


def quota_of(store: MailStore) -> Quota:
    assert store.quota is not None
    return store.quota


def put(store: MailStore, mailbox: str, octets: int, *, delivery: bool = False) -> int:
    """A message of so many octets as stored, LF line ends counted."""
    head = b"Subject: x\n\n"
    append = store.open(mailbox).begin_append(delivery=delivery)
    try:
        append.write(head + b"x" * (octets - len(head) - 1) + b"\n")
        append.finish([], None)
        return append.commit()[1][0]
    finally:
        append.abort()


def used(store: MailStore, mailbox: str = "INBOX") -> list[tuple[int, int | None]]:
    return [(one.used, one.limit) for root in quota_of(store).state(mailbox) for one in root.resources]


@pytest.mark.parametrize("kind", ["maildir", "tree"])
def test_the_file_of_maildir(make: Make, tmp_path: Path, kind: str) -> None:
    store = make(kind, quota="maildir:x", quota_rule="*:storage=10K:messages=5")
    put(store, "INBOX", 3000)
    put(store, "INBOX", 2000)
    assert (tmp_path / "Maildir" / NAME).read_text() == "10240S,5C\n0 0\n3000 1\n2000 1\n"
    assert used(store) == [(5, 10), (2, 5)]
    mailbox = store.open("INBOX")
    mailbox.store_flags([1], FlagAction.ADD, ["\\Deleted"])
    mailbox.expunge()
    assert used(store) == [(2, 10), (1, 5)]
    quota_of(store).recalculate()
    assert (tmp_path / "Maildir" / NAME).read_text() == "10240S,5C\n2000 1\n"


@pytest.mark.parametrize("backend", ["maildir", "count", "dirsize"])
@pytest.mark.parametrize("kind", KINDS)
def test_full_is_full_until_something_goes(make: Make, kind: str, backend: str) -> None:
    store = make(kind, quota=f"{backend}:x", quota_rule="*:messages=3", quota_rule2="Junk:ignore")
    store.create("Junk")
    store.create("Other")
    uids = [put(store, "INBOX", 300), put(store, "Other", 300), put(store, "Junk", 300), put(store, "INBOX", 300)]
    for mailbox in ("INBOX", "Other"):
        with pytest.raises(OverQuota, match="Full"):
            put(store, mailbox, 100)
    inbox, junk, other = store.open("INBOX"), store.open("Junk"), store.open("Other")
    with pytest.raises(OverQuota):
        inbox.copy([uids[0]], other)
    inbox.copy([uids[0]], junk)
    inbox.copy([uids[0]], other, move=True)
    assert used(store)[1] == (3, 3)
    junk.copy([uids[2]], inbox, move=True)              # no MOVE is refused, as with Dovecot
    assert used(store)[1] == (4, 3)
    inbox.remove([uids[3]])
    inbox.remove([max(inbox.open_view(read_only=True).uids)])
    assert used(store)[1] == (2, 3)
    put(store, "INBOX", 100)
    store.delete("Other")
    assert used(store)[1] == (1, 3)


def test_grace_is_for_new_mail_that_passes_the_limit_once(make: Make) -> None:
    store = make(quota="maildir:x", quota_rule="*:storage=10K", quota_grace="3K")
    put(store, "INBOX", 9000)
    with pytest.raises(OverQuota):
        put(store, "INBOX", 2000)
    with pytest.raises(OverQuota):
        put(store, "INBOX", 5000, delivery=True)
    put(store, "INBOX", 2000, delivery=True)
    with pytest.raises(OverQuota):
        put(store, "INBOX", 100, delivery=True)


def test_sizes_with_crlf(make: Make) -> None:
    store = make(quota="count:x", quota_rule="*:storage=1M", quota_vsizes="yes")
    append = store.open("INBOX").begin_append()
    append.write(b"A: b\n\n" + b"\n" * 1000)
    append.finish([], None)
    append.commit()
    assert used(store)[0] == (2, 1024)


def test_what_others_delivered_counts(make: Make, tmp_path: Path) -> None:
    store = make(quota="count:x", quota_rule="*:storage=1M", quota_vsizes="yes")
    put(store, "INBOX", 1000)
    (tmp_path / "Maildir/new/1.foreign").write_bytes(b"A: b\n\n" + b"x" * 1013 + b"\n")
    assert [one[0] for one in used(store)] == [2, 2]
    (tmp_path / "Maildir/new/1.foreign").unlink()
    assert [one[0] for one in used(store)] == [1, 1]


@pytest.mark.parametrize("text", [
    "", "junk", "10240S\n1 2 3\n", "10240S\nx y\n", "20480S\n0 0\n", "10240S\n-5 -1\n", "10240S\n0 0",
    "10240S\n" + "1 1\n" * 2000])
def test_a_file_that_cannot_be_believed_is_made_anew(make: Make, tmp_path: Path, text: str) -> None:
    store = make(quota="maildir:x", quota_rule="*:storage=10K")
    put(store, "INBOX", 3000)
    (tmp_path / "Maildir" / NAME).write_text(text)
    assert used(store)[0] == (3, 10)
    assert (tmp_path / "Maildir" / NAME).read_text() == "10240S\n3000 1\n"


def test_nobody_is_refused_for_a_file_that_has_grown(make: Make, tmp_path: Path) -> None:
    """Another program removed mail and did not say so."""
    store = make(quota="maildir:x", quota_rule="*:storage=10K")
    put(store, "INBOX", 5000)
    with (tmp_path / "Maildir" / NAME).open("a") as file:
        file.write("6000 1\n")
    put(store, "INBOX", 1000)
    assert used(store)[0] == (6, 10)


def test_a_link_in_the_place_of_the_file_is_not_followed(make: Make, tmp_path: Path) -> None:
    store = make(quota="maildir:x", quota_rule="*:storage=10K")
    put(store, "INBOX", 5000)
    (tmp_path / "precious").write_text("10240S\n0 0\n")
    (tmp_path / "Maildir" / NAME).unlink()
    (tmp_path / "Maildir" / NAME).symlink_to(tmp_path / "precious")
    quota_of(store).changed("INBOX", octets=5, messages=1)
    assert (tmp_path / "precious").read_text() == "10240S\n0 0\n"


def test_large_messages(make: Make) -> None:
    store = make(quota="maildir:x", quota_max_mail_size="2k")
    put(store, "INBOX", 2048)
    with pytest.raises(TooLarge):
        put(store, "INBOX", 2049)


def test_roots_that_refuse_nobody(make: Make) -> None:
    store = make(quota="count:x:noenforcing", quota_rule="*:messages=1")
    put(store, "INBOX", 100)
    put(store, "INBOX", 100)
    assert used(store)[1] == (2, 1)


def test_a_warning_is_given_when_its_limit_is_passed(make: Make, called: list[Sequence[str]]) -> None:
    store = make(quota="maildir:x", quota_rule="*:messages=10", quota_warning="messages=80% quota-warning 80",
                 quota_warning2="messages=50% quota-warning 50", quota_warning3="-messages=50% quota-warning below")
    uids = [put(store, "INBOX", 100) for _ in range(9)]
    assert called == [("quota-warning", "50"), ("quota-warning", "80")]
    store.open("INBOX").remove(uids[:3])
    assert called[2:] == []
    store.open("INBOX").remove(uids[3:6])
    assert called[2:] == [("quota-warning", "below")]
