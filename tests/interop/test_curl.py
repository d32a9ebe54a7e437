"""curl: submission by smtps, reading by imaps and pop3s."""

import subprocess
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.suite import Suite, wait_for

pytestmark = [pytest.mark.system, pytest.mark.needs("curl"), pytest.mark.xdist_group("interop")]


def curl(client: str, suite: Suite, *words: str) -> str:
    done = subprocess.run([client, "-sS", "--max-time", "30", "--cacert", str(suite.authority), "--user",
                           f"{suite.first}:{suite.users[suite.first]}", *words], capture_output=True, text=True,
                          check=False, timeout=60)
    assert done.returncode == 0, done.stderr + suite.log()[-2000:]
    return done.stdout


def test_send_and_read(client: str, suite: Suite, tmp_path: Path) -> None:
    mark = uuid4().hex
    head = f"From: {suite.first}\r\nTo: {suite.first}\r\nSubject: {mark}\r\n"
    (tmp_path / "mail").write_text(f"{head}\r\nbody {mark}\r\n")
    curl(client, suite, f"smtps://localhost:{suite.ports['smtps']}", "--mail-from", suite.first, "--mail-rcpt",
         suite.first, "--upload-file", str(tmp_path / "mail"))
    wait_for(lambda: any(mark.encode() in m for m in suite.messages(suite.first)))
    found = curl(client, suite, f"imaps://localhost:{suite.ports['imaps']}/INBOX?SUBJECT%20{mark}")
    number = found.split()[-1]
    assert number.isdigit()
    text = curl(client, suite, f"imaps://localhost:{suite.ports['imaps']}/INBOX;MAILINDEX={number}")
    assert f"body {mark}" in text
    listing = curl(client, suite, f"pop3s://localhost:{suite.ports['pop3s']}/")
    last = listing.splitlines()[-1].split()[0]
    assert "Subject: " in curl(client, suite, f"pop3s://localhost:{suite.ports['pop3s']}/{last}")


def test_append_by_imap(client: str, suite: Suite, tmp_path: Path) -> None:
    mark = uuid4().hex
    (tmp_path / "mail").write_text(f"From: a@b.test\r\nSubject: {mark}\r\n\r\nx\r\n")
    curl(client, suite, f"imaps://localhost:{suite.ports['imaps']}/Drafts", "-T", str(tmp_path / "mail"))
    assert "SEARCH 1" in curl(client, suite, f"imaps://localhost:{suite.ports['imaps']}/Drafts", "-X",
                              f"SEARCH SUBJECT {mark}")
