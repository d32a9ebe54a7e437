"""dovecot-lda: mail into a Maildir, and the exit statuses that Postfix's pipe and local understand.

Recorded from Dovecot 2.3.19's own: no header is added, a "From " line goes, a missing mailbox means INBOX.
"""

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from mailsuite.base.errors import TemporaryError
from mailsuite.cli import dovecot_lda
from mailsuite.sasl.master_client import AuthMaster
from mailsuite.sasl.user import UserInfo

MESSAGE = b"Subject: x\n\nhi\n"
Lda = Callable[..., int]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "dovecot.conf"
    path.write_text(f"mail_location = maildir:{tmp_path}/mail\nbase_dir = {tmp_path}/run\n"
                    "first_valid_uid = 1\nfirst_valid_gid = 1\n")
    return path


@pytest.fixture
def lda(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lda:
    """Runs it in this process, as if not root (root would give up its rights), without touching this process's log."""
    monkeypatch.setattr(dovecot_lda, "_open_log", lambda settings: None)
    monkeypatch.setattr(os, "geteuid", os.getuid if os.getuid() else lambda: 4242)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USER", "anna")

    def run(*words: str, content: bytes = MESSAGE) -> int:
        monkeypatch.setattr(sys, "argv", ["dovecot-lda", "-c", str(config), *words])
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        before = os.umask(0o022)
        try:
            return dovecot_lda.main()
        except SystemExit as end:
            return int(end.code or 0)
        finally:
            os.umask(before)

    return run


def stored(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("new/*"))]


@pytest.mark.parametrize("content", [MESSAGE, b"From a@b Mon Jan  1 00:00:00 2024\n" + MESSAGE])
def test_into_inbox_as_it_is(lda: Lda, tmp_path: Path, content: bytes) -> None:
    assert lda("-f", "a@b.test", "-a", "anna+x@c.test", "-e", content=content) == 0
    assert stored(tmp_path / "mail") == [MESSAGE]


def test_a_message_of_several_blocks(lda: Lda, tmp_path: Path) -> None:
    content = b"Subject: x\n\n" + b"0123456789abcde\n" * 40_000
    assert lda(content=content) == 0
    assert stored(tmp_path / "mail") == [content]


def test_a_file(lda: Lda, tmp_path: Path) -> None:
    (tmp_path / "message").write_bytes(MESSAGE)
    assert lda("-p", str(tmp_path / "message"), content=b"") == 0
    assert stored(tmp_path / "mail") == [MESSAGE]
    assert lda("-p", str(tmp_path / "nothing")) == 75


def test_a_mailbox(lda: Lda, tmp_path: Path, config: Path) -> None:
    assert lda("-m", "Work") == 0
    assert len(stored(tmp_path / "mail")) == 1          # there is no such mailbox
    config.write_text(config.read_text() + "lda_mailbox_autocreate = yes\n")
    assert lda("-m", "Work") == 0
    assert stored(tmp_path / "mail/.Work") == [MESSAGE] and len(stored(tmp_path / "mail")) == 1


def test_over_quota(lda: Lda, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(config.read_text() + "mail_plugins = quota\nplugin {\n  quota = count:User quota\n"
                      "  quota_rule = *:messages=1\n  quota_grace = 0\n}\n")
    assert lda() == 0
    assert lda() == 77 and "lda(anna): Quota exceeded" in capsys.readouterr().err
    config.write_text(config.read_text() + "quota_full_tempfail = yes\n")
    assert lda() == 75


@pytest.mark.parametrize("words", [["-x"], ["more"], ["-d"]])
def test_a_wrong_command_line(lda: Lda, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert lda(*words) == 64
    assert capsys.readouterr().out.startswith("Usage: dovecot-lda [-c <config file>] [-d <username>]")


def test_nothing_is_lost_for_lack_of_a_configuration(lda: Lda, config: Path) -> None:
    config.write_text("nosuch = 1\n")
    assert lda() == 75
    config.unlink()
    assert lda() == 75


@pytest.mark.parametrize(("found", "status"), [
    (UserInfo("ben", 4242), 0), (UserInfo("ben"), 0), (UserInfo("ben", 4243), 75), (None, 67),
    (TemporaryError("no", detail="auth-userdb is away"), 75)])
def test_the_userdb_decides(lda: Lda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: UserInfo | None,
                            status: int) -> None:
    asked: list[tuple[str, str]] = []

    async def userdb(self: AuthMaster, user: str, *, service: str) -> UserInfo | None:
        asked.append((self.path, user))
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(AuthMaster, "userdb", userdb)
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    monkeypatch.setattr(os, "getuid", lambda: 4242)
    assert lda("-d", "ben") == status
    assert asked == [(f"{tmp_path}/run/auth-userdb", "ben")]
    assert stored(tmp_path / "mail") == ([MESSAGE] if status == 0 else [])


def test_as_a_command_with_a_log() -> None:
    """As the account that delivers; as root with the rights that mail_uid and mail_gid name."""
    owner = os.getuid() or 65534
    with tempfile.TemporaryDirectory(prefix="mailsuite-lda-") as name:
        home = Path(name)
        (home / "mail").mkdir()
        for folder in (home, home / "mail"):
            os.chown(folder, owner, -1)
        config = home / "dovecot.conf"
        config.write_text(f"mail_location = maildir:{home}/mail\nlog_path = {home}/lda.log\nmail_uid = {owner}\n"
                          f"mail_gid = {os.getgid() or 65534}\nfirst_valid_uid = 1\nfirst_valid_gid = 1\n")
        done = subprocess.run([sys.executable, "-m", "mailsuite.cli.dovecot_lda", "-c", str(config)], input=MESSAGE,
                              capture_output=True, timeout=60, env={**os.environ, "HOME": name, "USER": "anna"})
        log = (home / "lda.log").read_text()
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), log
        new, = (home / "mail").glob("new/*")
        assert new.read_bytes() == MESSAGE and new.stat().st_uid == owner
    assert " lda(anna)<" in log and ": Info: msgid=unspecified: saved mail to INBOX" in log
