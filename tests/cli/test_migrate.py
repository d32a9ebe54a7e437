"""mailsuite migrate: the list, the options; two accounts from the real Dovecot."""

import os
import subprocess
from pathlib import Path

import click
import pytest

from mailsuite.cli.migrate import OldAccount, overrides, read_list, size_text
from tests.support.dovecot import NEEDED, PASSWORD, running_dovecot
from tests.support.suite import BIN, running_suite


def listed(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "list"
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(("line", "want"), [
    ("a@new, a@old, secret", OldAccount("a@new", "a@old", "secret", "old.test")),
    ('a@new;a@old;"se;cret";imap.test:1993', OldAccount("a@new", "a@old", "se;cret", "imap.test:1993")),
    ("a@new\ta@old\tse,cret ", OldAccount("a@new", "a@old", "se,cret", "old.test")),
])
def test_lines(tmp_path: Path, line: str, want: OldAccount) -> None:
    assert read_list(listed(tmp_path, f"# new, old\n\n{line}\n"), "old.test") == [want]


@pytest.mark.parametrize(("text", "why"), [
    ("", "no accounts"), ("a b c\n", "line 1: not new login"), ("a,b,c\na,b,c\n", "a stands there more than once"),
    ("x\ny,z\n", "line 2: not new login"),
])
def test_all_that_is_wrong_is_said(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(click.ClickException, match=why):
        read_list(listed(tmp_path, text), "old.test")
    with pytest.raises(click.ClickException, match="no host here"):
        read_list(listed(tmp_path, "a,b,c\n"), "")


@pytest.mark.parametrize(("host", "want"), [
    ("imap.test", ("imap.test", "993")), ("imap.test:1143", ("imap.test", "1143")),
    ("2001:db8::1", ("2001:db8::1", "993")), ("[2001:db8::1]:143", ("2001:db8::1", "143")),
])
def test_hosts(host: str, want: tuple[str, str]) -> None:
    values = dict(word.split("=", 1) for word in overrides(
        OldAccount("a", "b", "c=d", host), port=993, tls="imaps", verify=True, ca_file="", master_user="m"))
    assert (values["imapc_host"], values["imapc_port"]) == want
    assert values["imapc_password"] == "c=d" and values["imapc_master_user"] == "m"


def test_sizes() -> None:
    assert [size_text(octets) for octets in (0, 999, 1500, 2_500_000)] == ["0 B", "999 B", "1.5 KB", "2.5 MB"]


@NEEDED
def test_two_accounts_move(tmp_path: Path) -> None:
    with running_suite() as suite, running_dovecot() as old:
        for user in ("anna.old", "otto.old"):
            client = old.client(user)
            client.create('"Sent Messages"')
            client.append('"Sent Messages"', "(\\Seen)", None, b"Message-ID: <s@x>\r\nSubject: sent\r\n\r\nx\r\n")
            client.append("INBOX", "", None, b"Message-ID: <i@x>\r\nSubject: in\r\n\r\nx\r\n")
            client.logout()
        path = listed(tmp_path, f"{suite.first}, anna.old, {PASSWORD}\n{suite.second}, otto.old, {PASSWORD}\n"
                                f"nobody@demo.test, otto.old, {PASSWORD}\n")

        def migrate(*words: str, status: int = 0, password: str = PASSWORD) -> str:
            done = subprocess.run(
                [str(BIN / "mailsuite"), "-c", str(suite.top), "migrate", "--host", f"127.0.0.1:{old.port}", "--tls",
                 "no", *words], capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL,
                env={**os.environ, "MAILSUITE_OLD_PASSWORD": password})
            assert done.returncode == status, done.stderr + done.stdout
            return done.stdout + done.stderr

        dry = migrate("--old-user", "anna.old", "--dry-run", suite.first)
        assert "Nothing was changed" in dry and not suite.messages(suite.first)
        said = migrate("--accounts", str(path), "--jobs", "2", status=67)
        rows = {row.split()[0]: row for row in said.replace("│", " ").splitlines()
                if "@" in row and "doveadm" not in row}
        assert rows[suite.first].split()[1:3] != ["0", "0"] and "done" in rows[suite.first]
        assert "no such user" in rows["nobody@demo.test"]
        status = suite.program("doveadm", "mailbox", "status", "-u", suite.first, "messages", "*").stdout
        assert "Sent messages=1\n" in status and "INBOX messages=1\n" in status and "Sent Messages" not in status
        assert "done" in migrate("--old-user", "anna.old", suite.first)
        assert suite.program("doveadm", "mailbox", "status", "-u", suite.first, "messages", "*").stdout == status
        assert "Authentication failed" in migrate("--old-user", "anna.old", suite.first, status=75, password="bad")
        assert PASSWORD not in suite.log()
