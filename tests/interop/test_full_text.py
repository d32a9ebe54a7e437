"""Full text in a running suite: made after the first search, while other sessions are served."""

import imaplib
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.interop.test_doveadm import doveadm
from tests.interop.test_python_clients import imap
from tests.support.suite import Suite, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("interop")]
COUNT = 260                 # more than fts_least_messages


@pytest.fixture
def box(suite: Suite) -> Iterator[str]:
    """A mailbox with COUNT messages."""
    name = f"text-{uuid4().hex[:8]}"
    doveadm(suite, "mailbox", "create", "-u", suite.first, name)
    folder = suite.maildir(suite.first) / f".{name}"
    owner = folder.stat()
    for number in range(1, COUNT + 1):
        path = folder / "cur" / f"{1700000000 + number}.M{number}.test:2,"
        path.write_text(f"Subject: s{number}\n\nsome words, Übung{number} here\n")
        os.chown(path, owner.st_uid, owner.st_gid)
    yield name
    doveadm(suite, "mailbox", "delete", "-u", suite.first, name)


def found(client: imaplib.IMAP4, *words: str) -> list[int]:
    client.literal = words[-1].encode()
    status, lines = client.uid("SEARCH", "CHARSET", "UTF-8", *words[:-1])
    assert status == "OK"
    return [int(word) for word in (lines[0] or b"").split()]


def lookup(suite: Suite, box: str, text: str) -> str:
    """UIDs and perhapses, as the full text tells them."""
    lines = doveadm(suite, "-f", "tab", "fts", "lookup", "-u", suite.first, "mailbox", box, "text", text).splitlines()
    assert lines[0] == "mailbox\tuids\tmaybe"
    return lines[1].partition("\t")[2]


def path_of(suite: Suite, box: str) -> Path:
    folder = doveadm(suite, "mailbox", "path", "-u", suite.first, "-t", "index", box).strip()
    return Path(folder) / "dovecot.fulltext.mailsuite"


def test_the_first_search_has_it_made(suite: Suite, box: str) -> None:
    assert lookup(suite, box, "übung7") == f"\t1:{COUNT}"
    client, other = imap(suite, suite.first), imap(suite, suite.first)
    try:
        client.select(box)
        other.select(box)
        want = [number for number in range(1, COUNT + 1) if str(number).startswith("7")]
        assert found(client, "TEXT", "übung7") == want
        wait_for(lambda: lookup(suite, box, "bung25") == "25,250:259\t" and other.noop()[0] == "OK", limit_s=60)
        assert found(other, "BODY", "ÜBUNG7") == want and found(other, "BODY", "s7") == []
        assert found(other, "OR", "TEXT", "s77", "NOT", "TEXT", "words") == [77]
        assert other.uid("SORT", "(REVERSE SUBJECT)", "UTF-8", "TEXT", "bung25")[1][0].split()[:2] == [b"259", b"258"]
        assert other.uid("THREAD", "REFERENCES", "UTF-8", "BODY", "bung77")[1] == [b"(77)"]
        other.uid("SEARCH", "RETURN", "(COUNT MIN)", "BODY", "bung25")
        assert b"UID MIN 25 COUNT 11" in other.response("ESEARCH")[1][-1]
        assert os.stat(path_of(suite, box)).st_mode & 0o777 == 0o600
        client.append(box, "", "", b"Subject: late\r\n\r\nnewly come words\r\n")
        other.noop()
        assert found(other, "TEXT", "newly") == [COUNT + 1]
        client.uid("STORE", "7", "+FLAGS", r"(\Deleted)")
        client.expunge()
        doveadm(suite, "index", "-u", suite.first, box)
        doveadm(suite, "fts", "optimize", "-u", suite.first)
        assert lookup(suite, box, "newly") == f"{COUNT + 1}\t" and lookup(suite, box, "übung7").startswith("70:")
    finally:
        client.logout()
        other.logout()


def test_a_file_that_is_spoilt_or_deleted_is_no_loss(suite: Suite, box: str) -> None:
    doveadm(suite, "index", "-u", suite.first, box)
    path = path_of(suite, box)
    for how in ("deleted", "spoilt"):
        for end in ("", "-wal", "-shm"):
            Path(f"{path}{end}").unlink(missing_ok=True)
        if how == "spoilt":
            path.write_bytes(b"what is this" * 1000)
            os.chown(path, path.parent.stat().st_uid, path.parent.stat().st_gid)
        client = imap(suite, suite.first)
        client.select(box)
        assert found(client, "TEXT", "übung31") == [31] and found(client, "TEXT", f"x{how}") == []
        client.logout()
        doveadm(suite, "index", "-u", suite.first, box)
        assert lookup(suite, box, "übung31") == "31\t"


def test_a_client_that_leaves_during_a_search(suite: Suite, box: str) -> None:
    for _ in range(5):
        client = imap(suite, suite.first)
        client.select(box)
        client.send(b"x UID SEARCH OR OR TEXT one TEXT two OR TEXT three TEXT four\r\n")
        client.shutdown()
    client = imap(suite, suite.first)
    client.select(box)
    assert found(client, "TEXT", "s31") == [31]
    client.logout()


def test_fts_commands(suite: Suite) -> None:
    assert doveadm(suite, "fts", "tokenize", "-u", suite.first, "Two words") == "TWO\nWORDS\n"
    done = suite.program("doveadm", "fts", "optimize", "-u", suite.first, "a", "b")
    assert done.returncode == 64 and "Extraneous arguments found: b" in done.stderr
    done = suite.program("doveadm", "fts", "rescan", "-u", suite.first, "nowhere/")
    assert done.returncode == 68 and "Namespace prefix not found: nowhere/" in done.stderr
