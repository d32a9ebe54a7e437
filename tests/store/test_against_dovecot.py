"""The same mailbox used by the real Dovecot and by us in turn: both have to see the same, whoever changed it last."""

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from mailsuite.store.api import Column, FlagAction, Mailbox, MailStore
from tests.message import dovecot
from tests.store.support import ONE, append, numbered, store_at

pytestmark = pytest.mark.skipif(bool(dovecot.WHY_NOT), reason=dovecot.WHY_NOT)

LOCATIONS = {"maildir": "maildir:~/Maildir", "fs": "maildir:~/Maildir:LAYOUT=fs", "mbox": "mbox:~/mail:INBOX=~/inbox"}
FLAGS = ["\\Seen", "\\Flagged", "\\Answered", "\\Draft", "$Key", "Work"]

State = tuple[int, int, dict[int, tuple[frozenset[str], int]]]


@pytest.fixture
def top() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        os.chmod(name, 0o755)
        Path(name, "home").mkdir()
        yield Path(name)


def theirs(top: Path, kind: str, *commands: bytes) -> State:
    """What Dovecot shows after it did these commands: UIDVALIDITY, UIDNEXT, flags and sizes by UID."""
    if commands:
        out = dovecot.dialogue(top, b"".join([b"a SELECT INBOX\r\n", *[b"c%d %b\r\n" % item for item in
                                                                     enumerate(commands)], b"z LOGOUT\r\n"]),
                               location=LOCATIONS[kind])
        bad = re.search(rb"^(?:c\d+|a) (?:NO|BAD).*", out, re.M)
        assert not bad, bad
    out = dovecot.dialogue(top, b"a SELECT INBOX\r\nf FETCH 1:* (UID FLAGS RFC822.SIZE)\r\nz LOGOUT\r\n",
                           location=LOCATIONS[kind])
    found = {int(uid): (frozenset(flags.decode().split()) - {"\\Recent"}, int(size)) for uid, flags, size in re.findall(
        rb"\* \d+ FETCH \(UID (\d+) FLAGS \(([^)]*)\) RFC822\.SIZE (\d+)\)", out)}
    validity, following = re.search(rb"UIDVALIDITY (\d+)", out), re.search(rb"UIDNEXT (\d+)", out)
    assert validity and following, out
    return int(validity[1]), int(following[1]), found


def ours(mailbox: Mailbox) -> State:
    view = mailbox.open_view(read_only=True)
    uids = list(view.uids)
    flags, sizes = mailbox.columns(uids, [Column.FLAGS, Column.SIZE])
    view.close()
    return mailbox.uid_validity, mailbox.uid_next, {
        uid: (frozenset(one.decode().split()), int(size)) for uid, one, size in zip(uids, flags, sizes, strict=True)
        if one is not None and size is not None}


def we_change(random: Random, store: MailStore) -> None:
    inbox = store.open("INBOX")
    view = inbox.open_view(read_only=False)
    uids = list(view.uids)
    if len(uids) < 3 or random.random() < 0.5:
        append(inbox, *numbered(random.randint(1, 3)), flags=random.sample(FLAGS, random.randint(0, 3)))
    for _ in range(random.randint(0, 3)):
        inbox.store_flags(random.sample(uids, min(2, len(uids))), random.choice(list(FlagAction)),
                          random.sample(FLAGS, random.randint(0, 2)))
    if uids and random.random() < 0.4:
        inbox.remove(random.sample(uids, 1))
    if uids and random.random() < 0.3:
        inbox.copy([uid for uid in uids[:1] if inbox.flags(uid) is not None], inbox)
    view.close()


def they_change(random: Random, present: list[int]) -> list[bytes]:
    commands = []
    if len(present) < 3 or random.random() < 0.5:
        flags = " ".join(random.sample(FLAGS, random.randint(0, 3))).encode()
        commands.append(b"APPEND INBOX (%b) {%d+}\r\n%b" % (flags, len(ONE), ONE))
    for uid in random.sample(present, min(2, len(present))):
        commands.append(b"UID STORE %d %bFLAGS (%b)" % (
            uid, random.choice([b"+", b"-", b""]), " ".join(random.sample(FLAGS, random.randint(0, 2))).encode()))
    if present and random.random() < 0.4:
        commands += [b"UID STORE %d +FLAGS (\\Deleted)" % random.choice(present), b"EXPUNGE"]
    return commands


@pytest.mark.parametrize("keep_open", [False, True], ids=["restarted", "running"])
@pytest.mark.parametrize("kind", list(LOCATIONS))
@pytest.mark.parametrize("seed", range(4))
def test_in_turn(top: Path, kind: str, seed: int, keep_open: bool) -> None:
    random = Random(seed)
    home = top / "home"
    store = store_at(home, kind)
    append(store.open("INBOX"), *numbered(3))
    for turn in range(6):
        we_change(random, store)
        subprocess.run(["chown", "-R", f"{dovecot.NOBODY}:{dovecot.NOBODY}", home], check=True)
        if kind == "mbox":          # Dovecot's index knows the file's time in seconds
            os.utime(home / "inbox", (time.time(), time.time() + 5 * turn))
        mine = ours(store.open("INBOX"))
        assert theirs(top, kind) == mine, f"turn {turn}: Dovecot sees other than we wrote"
        other = theirs(top, kind, *they_change(random, sorted(mine[2])))
        if not keep_open:
            store.close()
            store = store_at(home, kind)
        assert ours(store.open("INBOX")) == other, f"turn {turn}: we see other than Dovecot wrote"
