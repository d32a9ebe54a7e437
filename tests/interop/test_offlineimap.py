"""offlineimap3: an account in both directions: folders, messages, flags, deletions."""

import imaplib
import os
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest

from tests.interop.test_python_clients import imap
from tests.support.suite import Suite

pytestmark = [pytest.mark.system, pytest.mark.needs("offlineimap"), pytest.mark.xdist_group("interop")]

CONFIG = """\
[general]
accounts = here
metadata = {top}/state
socktimeout = 30

[Account here]
localrepository = near
remoterepository = far

[Repository near]
type = Maildir
localfolders = {top}/near
sep = .

[Repository far]
type = IMAP
remotehost = localhost
remoteport = {port}
remoteuser = {user}
remotepass = {password}
ssl = yes
sslcacertfile = {authority}
usecompression = yes
expunge = yes
folderfilter = lambda name: name.startswith({box!r})
"""
MESSAGE = "From: a@b.test\nTo: c@d.test\nSubject: {0}\nMessage-ID: <{0}.{1}@b.test>\n\ntext of {0}\n"


def sync(client: str, top: Path) -> None:
    done = subprocess.run([client, "-c", str(top / "offlineimaprc"), "-o", "-u", "basic"], capture_output=True,
                          text=True, check=False, timeout=120, env={**os.environ, "HOME": str(top)})
    assert done.returncode == 0 and "ERROR" not in done.stdout + done.stderr, done.stdout + done.stderr


def far(client: imaplib.IMAP4, box: str) -> dict[str, bytes]:
    """Subject -> the FETCH line with the flags."""
    assert client.select(box)[0] == "OK"
    found: dict[str, bytes] = {}
    for item in client.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]:
        if isinstance(item, tuple):
            found[item[1].decode().strip().partition(": ")[2]] = item[0]
    return found


def near(folder: Path) -> dict[str, Path]:
    return {next(line[9:] for line in path.read_text().splitlines() if line.startswith("Subject: ")): path
            for name in ("cur", "new") for path in (folder / name).iterdir()}


def test_two_ways(client: str, suite: Suite, tmp_path: Path) -> None:
    box = f"off-{uuid4().hex[:8]}"
    (tmp_path / "offlineimaprc").write_text(CONFIG.format(
        top=tmp_path, port=suite.ports["imaps"], user=suite.first, password=suite.users[suite.first],
        authority=suite.authority, box=box))
    reader = imap(suite, suite.first)
    reader.create(box)
    reader.create(f"{box}.sub")
    for number in range(5):
        text = MESSAGE.format(f"far {number}", box).replace("\n", "\r\n").encode()
        assert reader.append(box, "(\\Flagged)" if number == 0 else None, None, text)[0] == "OK"
    sync(client, tmp_path)
    folder = tmp_path / "near" / box
    assert set(near(folder)) == {f"far {number}" for number in range(5)} and (tmp_path / "near" / f"{box}.sub").is_dir()
    assert near(folder)["far 0"].name.endswith(":2,F")
    # Changes on both sides: new messages, flags, deletions, a new folder here.
    for number in range(3):
        (folder / "new" / f"17000000{number:02}.1.local").write_text(MESSAGE.format(f"near {number}", box))
    one, two = near(folder)["far 1"], near(folder)["far 2"]
    one.rename(folder / "cur" / (one.name.partition(":2,")[0] + ":2,RS"))
    two.unlink()
    for part in ("cur", "new", "tmp"):
        (tmp_path / "near" / f"{box}.made" / part).mkdir(parents=True)
    reader.select(box)
    reader.uid("STORE", "4", "+FLAGS", "(\\Deleted)")
    reader.uid("STORE", "5", "+FLAGS", "(\\Seen)")
    reader.expunge()
    sync(client, tmp_path)
    there = far(reader, box)
    assert set(there) == set(near(folder)) == {"far 0", "far 1", "far 4", "near 0", "near 1", "near 2"}
    assert b"\\Answered" in there["far 1"] and b"\\Seen" in there["far 1"] and near(folder)["far 4"].name.endswith("S")
    assert reader.select(f"{box}.made")[0] == "OK"
    reader.logout()
