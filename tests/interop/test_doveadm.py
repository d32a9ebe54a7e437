"""doveadm beside IMAP sessions: both work on the same mailbox, in the process where the user's sessions are."""

import os
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest

from tests.interop.test_python_clients import imap
from tests.support.suite import Suite

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("interop")]


def doveadm(suite: Suite, *words: str, stdin: str = "", status: int = 0) -> str:
    done = suite.program("doveadm", *words, input=stdin)
    assert done.returncode == status, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def test_a_session_sees_what_doveadm_does(suite: Suite) -> None:
    box, user = f"doveadm-{uuid4().hex[:8]}", suite.first
    doveadm(suite, "mailbox", "create", "-u", user, "-s", box)
    client = imap(suite, user)
    try:
        assert client.select(box)[0] == "OK"
        doveadm(suite, "save", "-u", user, "-m", box, stdin="Subject: one\n\nby doveadm\n")
        doveadm(suite, "save", "-u", user, "-m", box, stdin="Subject: two\n\nby doveadm\n")
        client.noop()
        assert client.response("EXISTS")[1][-1] == b"2"
        doveadm(suite, "flags", "add", "-u", user, "\\Flagged $Seenby", "mailbox", box, "uid", "1")
        assert b"\\Flagged" in client.fetch("1", "(FLAGS)")[1][0]
        assert doveadm(suite, "-f", "tab", "fetch", "-u", user, "uid flags hdr.subject", "mailbox", box) == (
            "uid\tflags\thdr.subject\n1\t\\Flagged $Seenby\tone\n2\t\ttwo\n")
        client.uid("STORE", "2", "+FLAGS", r"(\Seen)")
        assert doveadm(suite, "search", "-u", user, "mailbox", box, "seen").split()[1:] == ["2"]
        doveadm(suite, "expunge", "-u", user, "mailbox", box, "uid", "1")
        client.noop()
        assert client.response("EXPUNGE")[1] == [b"1"]
        assert client.uid("SEARCH", "ALL")[1] == [b"2"]
        doveadm(suite, "mailbox", "update", "-u", user, "--min-next-uid", "100", box)
        assert doveadm(suite, "mailbox", "status", "-u", user, "messages uidnext", box) == \
            f"{box} messages=1 uidnext=100\n"
    finally:
        client.logout()
        doveadm(suite, "mailbox", "delete", "-u", user, "-s", box)


def test_two_users(suite: Suite, tmp_path: Path) -> None:
    """copy ... user OTHER: of the same uid, as all virtual users of a site are; and several users at once."""
    mark = uuid4().hex
    doveadm(suite, "save", "-u", suite.second, stdin=f"Subject: {mark}\n\nx\n")
    doveadm(suite, "move", "-u", suite.first, "INBOX", "user", suite.second, "mailbox", "INBOX", "subject", mark)
    names = tmp_path / "names"
    names.write_text(f"{suite.first}\n{suite.second}\n")
    listed = doveadm(suite, "-f", "tab", "fetch", "-F", str(names), "hdr.subject", "mailbox", "INBOX", "subject", mark)
    assert listed == f"Username\thdr.subject\n{suite.first}\t{mark}\n"
    doveadm(suite, "expunge", "-u", suite.first, "mailbox", "INBOX", "subject", mark)
    assert doveadm(suite, "search", "-F", str(names), "subject", mark) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="another account is wanted, which needs root")
def test_who_is_neither_administrator_nor_owner(suite: Suite) -> None:
    script = (f"import json, socket; s = socket.socket(socket.AF_UNIX); s.connect({str(suite.top / 'run/imap')!r}); "
              f"s.sendall(json.dumps({{'doveadm': {{'command': 'mailbox list', 'arguments': [], 'options': {{}}, "
              f"'user': {suite.first!r}}}}}).encode() + b'\\n'); print(s.recv(100))")
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = subprocess.run([*nobody, "/usr/bin/python3", "-c", script], capture_output=True, text=True, check=False,
                          timeout=30)
    assert "PermissionError" in done.stderr or done.stdout == "b''\n", done.stdout + done.stderr
