"""mbsync (isync): 200 messages in both directions, flags and deletions."""

import subprocess
from pathlib import Path

import pytest

from tests.support.suite import Suite, running_suite

pytestmark = [pytest.mark.system, pytest.mark.needs("mbsync"), pytest.mark.xdist_group("mbsync")]

CONFIG = """\
IMAPStore far
Host localhost
Port {port}
User {user}
Pass {password}
{tls} IMAPS
CertificateFile {authority}

MaildirStore near
Path {top}/near/
Inbox {top}/near/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
"""


def sync(client: str, config: Path) -> None:
    done = subprocess.run([client, "-c", str(config), "all"], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_two_ways(client: str, tmp_path: Path) -> None:
    with running_suite() as suite:
        write_far(suite, 100)
        near = tmp_path / "near/INBOX"
        for folder in ("cur", "new", "tmp"):
            (near / folder).mkdir(parents=True)
        for number in range(100):
            (near / "new" / f"17000000{number:02}.1.local").write_text(message(f"near {number}"))
        config = tmp_path / "mbsyncrc"
        version = subprocess.run([client, "--version"], capture_output=True, text=True, check=False).stdout
        config.write_text(CONFIG.format(port=suite.ports["imaps"], user=suite.first, authority=suite.authority,
                                        password=suite.users[suite.first], top=tmp_path,
                                        tls="SSLType" if "1.4" in version else "TLSType"))
        config.chmod(0o600)
        sync(client, config)
        assert subjects(suite.messages(suite.first)) == {f"{side} {n}" for side in ("near", "far") for n in range(100)}
        assert len(local(near)) == 200
        # Flags and deletions go back.
        one, two = local(near)[:2]
        one.rename(near / "cur" / (one.name.partition(":")[0] + ":2,FS"))
        two.rename(near / "cur" / (two.name.partition(":")[0] + ":2,T"))
        sync(client, config)
        assert len(suite.messages(suite.first)) == 199
        flagged = [path for path in (suite.maildir(suite.first) / "cur").iterdir() if path.name.endswith(":2,FS")]
        assert len(flagged) == 1
        sync(client, config)
        assert len(local(near)) == len(suite.messages(suite.first)) == 199


def message(subject: str) -> str:
    return f"From: a@b.test\nTo: c@d.test\nSubject: {subject}\nMessage-ID: <{subject.replace(' ', '.')}@b.test>\n\nx\n"


def write_far(suite: Suite, count: int) -> None:
    import imaplib

    client = imaplib.IMAP4_SSL("localhost", suite.ports["imaps"], ssl_context=suite.tls(), timeout=20)
    client.login(suite.first, suite.users[suite.first])
    for number in range(count):
        octets = message(f"far {number}").replace("\n", "\r\n").encode()
        assert client.append("INBOX", None, None, octets)[0] == "OK"
    client.logout()


def subjects(messages: list[bytes]) -> set[str]:
    return {line[9:].decode() for m in messages for line in m.split(b"\n") if line.startswith(b"Subject: ")}


def local(near: Path) -> list[Path]:
    return sorted(path for folder in ("cur", "new") for path in (near / folder).iterdir())
