"""The trash plugin, as Dovecot 2.3.19 was seen to do it: lowest number first, oldest first, all or nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mailsuite.quota.roots import quota_settings
from mailsuite.quota.trash import Trash
from mailsuite.quota.user_quota import UserQuota
from mailsuite.store.api import MailStore, OverQuota
from mailsuite.store.opening import open_store
from mailsuite.store.options import StoreOptions

KINDS = {"maildir": "maildir:~/Maildir", "mbox": "mbox:~/mail:INBOX=~/inbox"}
Make = Callable[..., MailStore]


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    def made(rule: str = "*:storage=10K", *, conf: str = "1 Spam\n2 Trash\n2 Junk\n", **values: str) -> MailStore:
        path = tmp_path / "trash.conf"
        path.write_text(conf)
        settings = quota_settings({"quota": "count:x", "quota_rule": rule, **values}, {}, lambda text: text)
        assert settings is not None
        store = open_store("a", home=str(tmp_path), location=KINDS[request.param], options=StoreOptions(fsync="never"),
                           quota=UserQuota(settings, lambda words: None, Trash(str(path))))
        for name in ("Spam", "Trash", "Junk"):
            store.create(name)
        return store
    return made


def put(store: MailStore, mailbox: str, octets: int, *, date: float = 1600000000.0) -> int:
    append = store.open(mailbox).begin_append()
    try:
        append.write(b"Subject: x\n\n" + b"x" * (octets - 13) + b"\n")
        append.finish([], date)
        return append.commit()[1][0]
    finally:
        append.abort()


def held(store: MailStore) -> dict[str, list[int]]:
    return {name: list(store.open(name).open_view(read_only=True).uids) for name in ("INBOX", "Spam", "Trash", "Junk")}


def fill(store: MailStore) -> None:
    for name, date in (("Spam", 5), ("Trash", 4), ("Junk", 3), ("Trash", 2)):
        put(store, name, 2000, date=1600000000.0 + date)


def test_the_lowest_number_goes_first_then_the_oldest(make: Make) -> None:
    store = make()
    fill(store)
    put(store, "INBOX", 1000)
    assert held(store) == {"INBOX": [1], "Spam": [1], "Trash": [1, 2], "Junk": [1]}
    put(store, "INBOX", 1500)
    assert held(store) == {"INBOX": [1, 2], "Spam": [], "Trash": [1, 2], "Junk": [1]}
    put(store, "INBOX", 3000)
    assert held(store) == {"INBOX": [1, 2, 3], "Spam": [], "Trash": [1], "Junk": [1]}
    put(store, "INBOX", 2100)
    assert held(store) == {"INBOX": [1, 2, 3, 4], "Spam": [], "Trash": [1], "Junk": []}


def test_nothing_goes_where_all_would_not_be_enough(make: Make) -> None:
    store = make()
    fill(store)
    put(store, "INBOX", 1000)
    with pytest.raises(OverQuota):
        put(store, "INBOX", 9500)
    with pytest.raises(OverQuota):
        put(store, "INBOX", 20000)
    assert held(store) == {"INBOX": [1], "Spam": [1], "Trash": [1, 2], "Junk": [1]}


def test_numbers_of_messages_count_too(make: Make) -> None:
    store = make("*:messages=5")
    fill(store)
    put(store, "INBOX", 100)
    put(store, "INBOX", 100)
    assert held(store) == {"INBOX": [1, 2], "Spam": [], "Trash": [1, 2], "Junk": [1]}


def test_copies_make_room_but_not_of_what_is_copied(make: Make) -> None:
    store = make("*:storage=11K")
    fill(store)
    inbox = store.open("INBOX")
    store.open("Trash").copy([1, 2], inbox)
    assert held(store) == {"INBOX": [1, 2], "Spam": [], "Trash": [1, 2], "Junk": [1]}
    store.open("Trash").copy([1], inbox, move=True)         # needs no room
    assert held(store) == {"INBOX": [1, 2, 3], "Spam": [], "Trash": [2], "Junk": [1]}


@pytest.mark.parametrize("conf", ["Spam\n", "x Spam\n", "1 Nowhere\n", ""])
def test_a_damaged_file_makes_no_room(make: Make, conf: str) -> None:
    store = make(conf=conf)
    fill(store)
    with pytest.raises(OverQuota):
        put(store, "INBOX", 4000)
    assert held(store)["Spam"] == [1]
