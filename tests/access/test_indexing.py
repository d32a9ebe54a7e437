"""Full text built in the background."""

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from mailsuite.access import indexing
from mailsuite.access.indexing import Indexer, Pace
from mailsuite.fulltext.params import FullTextOptions
from mailsuite.store.api import Mailbox, MailStore
from tests.store.support import append, numbered, store_at


def wait_for(condition: Callable[[], bool], limit_s: float = 30) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MailStore]:
    store = store_at(tmp_path, "maildir", fulltext=FullTextOptions(autoindex=True))
    yield store
    store.close()


def known(mailbox: Mailbox) -> set[int]:
    assert mailbox.fulltext is not None
    return mailbox.fulltext.known


def test_mailboxes_are_looked_at(store: MailStore) -> None:
    indexer = Indexer(delay_s=0)
    store.text_wanted = partial(indexer.want, store)
    store.create("Other")
    for name in ("INBOX", "Other"):
        append(store.open(name), *numbered(30))
        store.open(name).open_view(read_only=True).close()
    wait_for(lambda: not indexer.works_on(store))
    assert known(store.open("INBOX")) == known(store.open("Other")) == set(range(1, 31))
    indexer.leave(store)


def test_a_mailbox_that_is_gone_harms_nothing(store: MailStore) -> None:
    indexer = Indexer(delay_s=0)
    indexer.want(store, "Nowhere")
    indexer.want(store, "INBOX")
    append(store.open("INBOX"), *numbered(3))
    wait_for(lambda: not indexer.works_on(store))
    indexer.want(store, "INBOX")
    wait_for(lambda: known(store.open("INBOX")) == {1, 2, 3})
    indexer.leave(store)


def test_what_nobody_foresaw_ends_one_mailbox_only(store: MailStore, monkeypatch: pytest.MonkeyPatch,
                                                   caplog: pytest.LogCaptureFixture) -> None:
    def fails(*_: object) -> Iterator[None]:
        raise RuntimeError("boom")
        yield

    indexer = Indexer(delay_s=0)
    with monkeypatch.context() as patched:
        patched.setattr(indexing, "looked_at", fails)
        indexer.want(store, "INBOX")
        wait_for(lambda: not indexer.works_on(store))
    assert "unforeseen" in caplog.text
    append(store.open("INBOX"), *numbered(3))
    indexer.want(store, "INBOX")
    wait_for(lambda: known(store.open("INBOX")) == {1, 2, 3})
    indexer.leave(store)


def test_leaving_in_the_middle_keeps_what_was_done(store: MailStore) -> None:
    started, inbox = threading.Event(), store.open("INBOX")
    append(inbox, *numbered(300))

    def busy() -> bool:             # asked at each rest
        started.set()
        return True

    indexer = Indexer(busy, delay_s=0)
    indexer.want(store, "INBOX")
    assert started.wait(30)
    indexer.leave(store)
    assert not indexer.works_on(store)
    there = known(inbox)
    assert there == set(range(1, len(there) + 1))
    for _ in indexing.looked_at(inbox):
        pass
    assert known(inbox) == set(range(1, 301))


def test_leaving_before_the_beginning(store: MailStore) -> None:
    indexer = Indexer(delay_s=3600)
    indexer.want(store, "INBOX")
    assert indexer.works_on(store)
    indexer.leave(store)
    assert not indexer.works_on(store)


def test_pace_rests_longer_while_others_work(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    clock = [0.0]
    monkeypatch.setattr(indexing.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(indexing.time, "sleep", slept.append)
    hurry, busy = [False], [False]
    pace = Pace(lambda: hurry[0], lambda: busy[0])
    pace()
    clock[0] += indexing.SLICE_S
    pace()
    busy[0] = True
    clock[0] += indexing.SLICE_S
    pace()
    hurry[0] = True
    clock[0] += 1
    pace()
    assert slept == [indexing.SLICE_S * indexing.IDLE_RESTS, indexing.SLICE_S * indexing.BUSY_RESTS]
