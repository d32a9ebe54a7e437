"""IMAP libraries of other languages and styles do real work: imapclient, aioimaplib, Mail::IMAPClient, imapflow.

Each has a program in clients/ that does the same: two folders, messages with flags and dates, IDLE, flags, keywords,
search, move, copy, expunge, rename. They run in processes of their own (aioimaplib is GPL) and tell each step in a line
of JSON; what they did is looked at through imaplib. imapflow comes back by QRESYNC after another client made changes.
"""

import imaplib
import json
import os
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from tests.interop.test_python_clients import imap
from tests.support.exim import folders
from tests.support.suite import Suite

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("interop")]

CLIENTS = Path(__file__).parent / "clients"
MESSAGE = ("From: Anna <anna@b.test>\r\nTo: ben@b.test\r\nSubject: number {number}\r\nMIME-Version: 1.0\r\n"
           "Content-Type: text/plain; charset=utf-8\r\n\r\ntext {number}\r\n")
LIMIT_S = 60


def peers(name: str) -> Path:
    """Where scripts/install-peers put Python's or Node's packages."""
    return next((folder / name for folder in folders() if (folder / name).is_dir()), Path("/nonexistent"))


def perl_has_it() -> bool:
    words = ["perl", "-MMail::IMAPClient", "-MIO::Socket::SSL", "-e", "1"]
    return shutil.which("perl") is not None and subprocess.run(
        words, check=False, stderr=subprocess.DEVNULL).returncode == 0


LIBRARIES = {
    "imapclient": ([sys.executable, str(CLIENTS / "imapclient_work.py")], (peers("python") / "imapclient").is_dir()),
    "aioimaplib": ([sys.executable, str(CLIENTS / "aioimaplib_work.py")], (peers("python") / "aioimaplib").is_dir()),
    "Mail::IMAPClient": (["perl", str(CLIENTS / "mail_imapclient.pl")], perl_has_it()),
    "imapflow": (["node", str(CLIENTS / "imapflow_work.js")],
                 shutil.which("node") is not None and (peers("node") / "node_modules/imapflow").is_dir()),
}


class Worker:
    """A client at work."""

    def __init__(self, words: list[str], task: dict[str, object]) -> None:
        # Unbuffered: a second line read together with the first would be in no pipe for select to see.
        self.process = subprocess.Popen(
            words, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "TASK": json.dumps(task), "PYTHONPATH": str(peers("python")),
                 "NODE_PATH": str(peers("node") / "node_modules")})

    def expect(self, step: str) -> dict[str, object]:
        """The line of a step."""
        assert self.process.stdout and self.process.stderr
        ready, _, _ = select.select([self.process.stdout], [], [], LIMIT_S)
        line = self.process.stdout.readline() if ready else b""
        if not line:
            self.process.kill()
            pytest.fail(f"no {step}: {self.process.stderr.read().decode()[-3000:]}")
        told = json.loads(line)
        assert told["step"] == step, told
        return told

    def go_on(self) -> None:
        assert self.process.stdin
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()


@contextmanager
def working(suite: Suite, library: str, box: str) -> Iterator[Worker]:
    words, there = LIBRARIES[library]
    if not there:
        pytest.skip(f"{library} is not installed (scripts/install-peers)")
    worker = Worker(words, {
        "host": "localhost", "port": suite.ports["imaps"], "user": suite.first, "password": suite.users[suite.first],
        "authority": str(suite.authority), "box": box, "other": f"{box}-other", "third": f"{box}-third",
        "message": MESSAGE})
    try:
        yield worker
        assert worker.process.wait(LIMIT_S) == 0
    finally:
        worker.process.kill()
        worker.process.communicate()


def flags_of(client: imaplib.IMAP4, box: str) -> dict[int, set[str]]:
    """UID -> flags."""
    assert client.select(box)[0] == "OK"
    lines = client.uid("FETCH", "1:*", "(FLAGS)")[1]
    return {int(uid[1]): set(flags[1].decode().split()) - {"\\Recent"} for line in lines if isinstance(line, bytes)
            and (uid := re.search(rb"UID (\d+)", line)) and (flags := re.search(rb"FLAGS \(([^)]*)\)", line))}


@pytest.mark.parametrize("library", list(LIBRARIES))
def test_real_work(suite: Suite, library: str) -> None:
    box = f"box-{uuid4().hex[:8]}"
    watcher = imap(suite, suite.first)
    with working(suite, library, box) as worker:
        ready = worker.expect("ready")
        assert {"INBOX", box, f"{box}-other"} <= set(ready["listed"])           # type: ignore[call-overload]
        assert box in ready["subscribed"]                                       # type: ignore[operator]
        assert flags_of(watcher, box) == {1: {"$Kept"}, 2: set(), 3: set()}
        worker.expect("idling")
        assert watcher.append(box, None, None, MESSAGE.format(number=4).encode())[0] == "OK"
        assert worker.expect("heard")["exists"] == 4
        done = worker.expect("done")
        assert (done["search"], done["subject"], done["day"]) == ([1], "number 1", 1)
        assert str(done["text"]).strip() == "text 1"
        assert flags_of(watcher, box) == {1: {"$Kept", "\\Seen", "\\Flagged"}, 4: set()}
        assert sorted(map(sorted, flags_of(watcher, f"{box}-third").values())) == [
            ["$Kept", "\\Flagged", "\\Seen"], ["$Label1"]]
        if library == "imapflow":
            comes_back(watcher, worker, box, done)
    watcher.logout()


def comes_back(watcher: imaplib.IMAP4, worker: Worker, box: str, done: dict[str, object]) -> None:
    """QRESYNC: what another client expunged, flagged and appended meanwhile, and nothing else."""
    assert "QRESYNC" in done["enabled"]                                         # type: ignore[operator]
    worker.expect("away")
    flags_of(watcher, box)
    assert watcher.append(box, None, None, MESSAGE.format(number=5).encode())[0] == "OK"
    assert watcher.append(box, None, None, MESSAGE.format(number=6).encode())[0] == "OK"
    watcher.uid("STORE", "4", "+FLAGS", "(\\Deleted)")
    watcher.expunge()
    watcher.uid("STORE", "5", "+FLAGS", "(\\Answered later)")
    worker.go_on()
    back = worker.expect("back")
    assert back["newer"] and back["qresync"]
    assert 4 in back["vanished"] and not {1, 5, 6} & set(back["vanished"])      # type: ignore[operator, call-overload]
    assert back["changed"] == [{"uid": 5, "flags": ["\\Answered", "later"]}, {"uid": 6, "flags": []}]
