"""Deliveries and two processes with sessions on one mailbox at once: nothing lost, nothing twice, one UID each."""

import os
from collections import Counter
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from random import Random

import pytest

from mailsuite.store.api import FlagAction, MailStore, MessageGone
from mailsuite.store.locks import MailboxLock
from mailsuite.store.maildir_delivery import deliver_maildir
from tests.store.support import append, store_at

pytestmark = pytest.mark.system

DELIVERIES, TURNS = 60, 60
Told = tuple[set[bytes], set[bytes], dict[int, bytes]]      # subjects appended and removed, those seen by UID
FROM = b"From a@b.test  Tue Nov 14 22:13:20 2023\n"


def open_here(home: Path, kind: str) -> MailStore:
    return store_at(home, kind, lock_timeout_s=60.0)


def deliver(home: Path, kind: str) -> None:
    for number in range(DELIVERIES):
        text = b"Subject: d-%d\n\nbody\n" % number
        if kind == "maildir":
            deliver_maildir(str(home / "Maildir"), b"X: y\n", [text], host="mx", sync_directory=False)
            continue
        lock = MailboxLock(str(home / "inbox"), ("dotlock", "fcntl"), wait_s=60, delay_s=0.002)
        with lock.dotlock():
            fd = os.open(home / "inbox", os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            lock.descriptor(fd)
            os.write(fd, FROM + text + b"\n")
            os.close(fd)


def use(home: Path, kind: str, seed: int, results: "SimpleQueue[Told]") -> None:
    """A session that reads, flags, removes and appends; tells what it appended, removed and saw."""
    random = Random(seed)
    store = open_here(home, kind)
    inbox = store.open("INBOX")
    view = inbox.open_view(read_only=False)
    appended: set[bytes] = set()
    removed: set[bytes] = set()
    seen: dict[int, bytes] = {}
    for turn in range(TURNS):
        view.sync(expunges=True)
        uids = view.uids.tolist()
        for uid in uids[-10:]:
            try:
                seen.setdefault(uid, inbox.message(uid).fields(b"Subject")[0])
            except MessageGone:
                pass
        what = random.random()
        if what < 0.4 and uids:
            inbox.store_flags(random.sample(uids, min(5, len(uids))), FlagAction.ADD, [random.choice(["\\Seen", "$K"])])
        elif what < 0.6 and uids:
            uid = random.choice(uids)
            try:
                subject = inbox.message(uid).fields(b"Subject")[0]
            except MessageGone:
                continue
            if inbox.remove([uid]) == [uid]:
                removed.add(subject)
        elif what < 0.9:
            appended.add(subject := b"a%d-%d" % (seed, turn))
            append(inbox, b"Subject: %b\r\n\r\nx\r\n" % subject)
    view.close()
    store.close()
    results.put((appended, removed, seen))


@pytest.mark.parametrize("kind", ["maildir", "mbox"])
def test_nothing_is_lost(tmp_path: Path, kind: str) -> None:
    open_here(tmp_path, kind).open("INBOX")
    context = get_context("fork")
    results: SimpleQueue[Told] = context.SimpleQueue()
    processes = [context.Process(target=deliver, args=(tmp_path, kind)),
                 *[context.Process(target=use, args=(tmp_path, kind, seed, results)) for seed in (1, 2)]]
    for process in processes:
        process.start()
    told = [results.get(), results.get()]
    for process in processes:
        process.join()
    inbox = open_here(tmp_path, kind).open("INBOX")
    have = Counter(inbox.message(uid).fields(b"Subject")[0] for uid in inbox.open_view(read_only=True).uids)
    removed = told[0][1] | told[1][1]
    put_in = {b"d-%d" % number for number in range(DELIVERIES)} | told[0][0] | told[1][0]
    assert put_in - removed <= set(have) and set(have) <= put_in and max(have.values(), default=1) == 1
    for uid, subject in told[0][2].items():
        assert told[1][2].get(uid, subject) == subject
