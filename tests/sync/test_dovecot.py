"""The real Dovecot as the other side: a whole account both ways, lost connections, kills, our doveadm."""

import contextlib
import datetime
import imaplib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from certs.authority import ensure_certificates
from mailsuite.base.errors import PeerError, PermanentError
from mailsuite.imapc.account import Account
from mailsuite.store.api import MailStore
from mailsuite.sync.engine import Run
from mailsuite.sync.local import StoreSide
from mailsuite.sync.options import Options
from mailsuite.sync.remote import ImapSide
from mailsuite.sync.report import Report
from tests.support.dovecot import NEEDED, PASSWORD, Dovecot, running_dovecot
from tests.support.suite import Suite, open_folder, running_suite, wait_for
from tests.sync.cutter import cutter
from tests.sync.support import BOTH, MIRROR, ONE_WAY, PULL, done, fill, message, store_at, subjects, sync, uids

pytestmark = NEEDED


@pytest.fixture(scope="module")
def certificates() -> Iterator[Path]:
    with open_folder() as folder:
        ensure_certificates(folder, ["localhost"], datetime.datetime.now(datetime.UTC))
        yield folder


@pytest.fixture(scope="module")
def dovecot(certificates: Path) -> Iterator[Dovecot]:
    with running_dovecot(certificate=certificates / "server.crt", key=certificates / "server.key") as server:
        yield server


def account(server: Dovecot, user: str, **options: object) -> Account:
    made = Account("127.0.0.1", server.port, user, PASSWORD, retry_s=0.0)
    return replace(made, **options)         # type: ignore[arg-type]


def far(server: Dovecot, user: str, options: Options = BOTH, **settings: object) -> ImapSide:
    return ImapSide(account(server, user, **settings), options)


def make_account(server: Dovecot, user: str, messages: int = 30) -> None:
    client = server.client(user)
    for name in ("Work", "Work.2024", "Entw&APw-rfe", "Sent Messages"):
        assert client.create(f'"{name}"')[0] == "OK"
    client.subscribe('"Work.2024"')
    for number in range(messages):
        date = f'"01-Jan-2020 00:{number % 60:02d}:00 +0100"'
        client.append("INBOX", "(\\Seen $Forwarded)" if number % 2 else "", date, message(number))
    client.append('"Work.2024"', "(\\Draft)", '"05-Mar-2021 10:11:12 +0000"', b"Subject: no id\r\n\r\nx\r\n")
    client.append('"Work.2024"', "", '"05-Mar-2021 10:11:12 +0000"', b"Subject: no id\r\n\r\nx\r\n")
    client.append('"Entw&APw-rfe"', "", '"05-Mar-2021 10:11:12 +0000"', message(1000, more=b"y" * 78 + b"\r\n") * 2)
    client.logout()


def account_of(server: Dovecot, user: str) -> list[str]:
    """All that Dovecot shows of an account."""
    fields = "mailbox flags date.received hdr.subject size.virtual"
    said = server.doveadm("-f", "tab", "fetch", "-u", user, fields, "ALL")
    assert said.returncode == 0, said.stderr
    return sorted("\t".join(" ".join(value.replace("\\Recent", "").split()) for value in line.split("\t"))
                  for line in said.stdout.splitlines())


def test_an_account_moves_here_and_on(dovecot: Dovecot, tmp_path: Path) -> None:
    make_account(dovecot, "alice")
    store = store_at(tmp_path)
    assert done(sync(store, far(dovecot, "alice", PULL), PULL)) == (33, 0, 0)
    assert [info.name for info in store.list_mailboxes()] == ["INBOX", "Entw&APw-rfe", "Sent Messages", "Work",
                                                              "Work.2024"]
    assert store.subscriptions() == ["Work.2024"]
    inbox = store.open("INBOX")
    assert uids(inbox) == list(range(1, 31)) and inbox.flags(2) == ["\\Seen", "$Forwarded"]
    assert inbox.uid_validity == int(dovecot.doveadm("mailbox", "status", "-u", "alice", "uidvalidity", "INBOX")
                                     .stdout.split("=")[1])
    assert done(sync(store, far(dovecot, "alice", PULL), PULL)) == (0, 0, 0)
    assert done(sync(store, far(dovecot, "bob", MIRROR), MIRROR)) == (33, 0, 0)
    assert account_of(dovecot, "bob") == account_of(dovecot, "alice")
    assert dovecot.doveadm("mailbox", "list", "-s", "-u", "bob").stdout == "Work.2024\n"
    assert done(sync(store, far(dovecot, "bob", MIRROR), MIRROR)) == (0, 0, 0)


def test_from_server_to_server(dovecot: Dovecot) -> None:
    make_account(dovecot, "carol")
    for want in ((33, 0, 0), (0, 0, 0)):
        assert done(sync(far(dovecot, "carol"), far(dovecot, "dave"), ONE_WAY)) == want
    assert account_of(dovecot, "carol") == account_of(dovecot, "dave")


def test_two_way_with_a_state(dovecot: Dovecot, tmp_path: Path) -> None:
    store = store_at(tmp_path)
    fill(store.open("INBOX"), *range(1, 8), flags=["\\Seen"])
    store.create("Old")
    state = sync(store, far(dovecot, "erin")).state
    client = dovecot.client("erin")
    client.select("INBOX")
    client.store("3", "-FLAGS", "(\\Seen)")
    client.store("1", "+FLAGS", "(\\Deleted)")
    client.expunge()
    client.append("INBOX", "", None, message(50))
    client.close()
    client.delete("Old")
    store.open("INBOX").remove([7])
    run = sync(store, far(dovecot, "erin"), BOTH, state)
    assert done(run) == (1, 1, 2) and subjects(store.open("INBOX")) == ["2", "3", "4", "5", "6", "50"]
    assert store.open("INBOX").flags(3) == [] and not store.exists("Old")
    client.select("INBOX")
    assert client.search(None, "SUBJECT", "7")[1] == [b""]
    client.logout()
    assert done(sync(store, far(dovecot, "erin"), BOTH, run.state)) == (0, 0, 0)


@pytest.mark.parametrize("push", [False, True], ids=["pull", "push"])
def test_lost_connections_neither_lose_nor_double(dovecot: Dovecot, tmp_path: Path, push: bool) -> None:
    user = "frank-push" if push else "frank"
    store = store_at(tmp_path)
    numbers = list(range(1, 151))
    if push:
        fill(store.open("INBOX"), *numbers)
    else:
        other = store_at(tmp_path / "other")
        fill(other.open("INBOX"), *numbers)
        sync(other, far(dovecot, user), MIRROR)
    options = replace(MIRROR if push else PULL, batch_messages=10, retries=8, retry_s=0)
    cuts = [100, 900, 1500, 1800, 2200, 3000] if push else [100, 2000, 12_000, 14_000, 14_500, 18_000]
    with cutter(dovecot.port, cuts) as wire:
        side = far(dovecot, user, options, port=wire.port)
        sync(store, side, options)
        assert wire.connections > len(cuts)
    assert done(sync(store, far(dovecot, user, options), options)) == (0, 0, 0)
    assert subjects(store.open("INBOX")) == [str(number) for number in numbers]
    assert dovecot.doveadm("mailbox", "status", "-u", user, "messages", "INBOX").stdout == "INBOX messages=150\n"


CHILD = """\
import sys
from pathlib import Path
from mailsuite.imapc.account import Account
from mailsuite.sync.remote import ImapSide
from tests.sync.support import store_at, sync, PULL, MIRROR
from dataclasses import replace
folder, port, user, password, push = sys.argv[1:]
options = replace(MIRROR if push == "push" else PULL, batch_messages=5)
print("begin", flush=True)
sync(store_at(Path(folder)), ImapSide(Account("127.0.0.1", int(port), user, password), options), options)
"""


@pytest.mark.parametrize("push", [False, True], ids=["pull", "push"])
def test_killed_at_any_instant(dovecot: Dovecot, tmp_path: Path, push: bool) -> None:
    user = "grace-push" if push else "grace"
    source: MailStore = store_at(tmp_path / "source")
    numbers = list(range(1, 121))
    fill(source.open("INBOX"), *numbers)
    if not push:
        sync(source, far(dovecot, user), MIRROR)
    folder = tmp_path / ("source" if push else "target")
    source.close()
    arguments = [str(folder), str(dovecot.port), user, PASSWORD, "push" if push else "pull"]
    for pause_s in (0.05, 0.12, 0.2, 0.3):
        child = subprocess.Popen([sys.executable, "-c", CHILD, *arguments], stdout=subprocess.PIPE)
        assert child.stdout is not None and child.stdout.readline() == b"begin\n"
        try:
            child.wait(pause_s)
        except subprocess.TimeoutExpired:
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
        child.stdout.close()
    store = store_at(folder)
    options = MIRROR if push else PULL
    sync(store, far(dovecot, user, options), options)
    assert subjects(store.open("INBOX")) == [str(number) for number in numbers]
    assert dovecot.doveadm("mailbox", "status", "-u", user, "messages", "INBOX").stdout == "INBOX messages=120\n"
    assert done(sync(store, far(dovecot, user, options), options)) == (0, 0, 0)


@pytest.mark.parametrize("tls", ["imaps", "starttls"])
def test_tls_and_its_verification(dovecot: Dovecot, certificates: Path, tls: str) -> None:
    port = dovecot.tls_port if tls == "imaps" else dovecot.port
    trusted = {"port": port, "tls": tls, "ca_file": str(certificates / "ca.crt"), "host": "localhost"}
    assert far(dovecot, "tls", **trusted).folders()
    assert far(dovecot, "tls", port=port, tls=tls, verify=False).folders()
    with pytest.raises(PeerError, match="is not trusted"):
        far(dovecot, "tls", port=port, tls=tls).folders()
    with pytest.raises(PeerError, match="is not trusted"):
        far(dovecot, "tls", **{**trusted, "host": "127.0.0.1"}).folders()


def test_logins(dovecot: Dovecot) -> None:
    for mechanisms in ((), ("PLAIN",), ("LOGIN",), ("XOAUTH2", "PLAIN")):
        assert far(dovecot, "logins", mechanisms=mechanisms).folders()
    with pytest.raises(PermanentError, match="Authentication failed on 127.0.0.1 for logins: Authentication failed."):
        far(dovecot, "logins", password="wrong").folders()
    with pytest.raises(PermanentError, match="none of the mechanisms XOAUTH2"):
        far(dovecot, "logins", mechanisms=("XOAUTH2",)).folders()


def test_a_prefix_of_all_names(tmp_path: Path) -> None:
    with running_dovecot(separator=".", prefix="INBOX.") as server:
        client = server.client("henry")
        client.create("INBOX.Sent.2020")
        client.append("INBOX.Sent.2020", "", None, message(1))
        client.logout()
        store = store_at(tmp_path)
        sync(store, far(server, "henry", PULL), PULL)
        assert [info.name for info in store.list_mailboxes()] == ["INBOX", "Sent", "Sent.2020"]
        store.create("Work")
        sync(store, far(server, "henry", BOTH))
        assert "INBOX.Work\n" in server.doveadm("mailbox", "list", "-u", "henry").stdout


def test_what_the_server_refuses_is_told_and_counted(dovecot: Dovecot, tmp_path: Path) -> None:
    store = store_at(tmp_path)
    fill(store.open("INBOX"), 1, 2, 3)
    side = far(dovecot, "ivan", MIRROR)
    real = side.client.append

    def refuse_two(name: str, messages: object) -> object:
        from mailsuite.imapc.client import Appended, Refusal
        from mailsuite.imapc.wire_client import Tagged

        results = []
        for one in messages:                            # type: ignore[attr-defined]
            if b"Subject: 2" in b"".join(one.blocks()):
                results.append(Appended(error=Refusal(Tagged(b"a", b"NO", b"", b"", b"too bad"), "APPEND")))
            else:
                results += real(name, [one])
        return results

    side.client.append = refuse_two                     # type: ignore[method-assign,assignment]
    run = Run(StoreSide(store, "local"), side, MIRROR, Report())
    result = run.run()
    assert (result.copied, result.skipped, result.status) == (2, 1, 2)
    assert result.refusals == ["Mailbox INBOX: UID 2: APPEND: too bad"]


# --- our doveadm ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    with running_suite() as made:
        yield made


def test_doveadm(suite: Suite, dovecot: Dovecot) -> None:
    make_account(dovecot, "judy")
    user = suite.first

    def doveadm(*words: str, status: int = 0, **settings: object) -> tuple[str, str]:
        values = {"imapc_host": "127.0.0.1", "imapc_port": dovecot.port, "imapc_user": "judy",
                  "imapc_password": PASSWORD, **settings}
        overrides = [word for name, value in values.items() for word in ("-o", f"{name}={value}")]
        said = suite.program("doveadm", *overrides, *words)
        assert said.returncode == status, said.stderr
        return said.stdout, said.stderr

    assert doveadm("backup", "-R", "-u", user, "imapc:") == ("", "")
    out, err = doveadm("-v", "backup", "-R", "-u", user, "imapc:")
    assert not out and "0 messages copied" in err and "0 removed" in err
    state = str(suite.top / "state")
    assert doveadm("sync", "-u", user, "-s", state, "imapc:") == ("", "")
    assert suite.program("doveadm", "expunge", "-u", user, "mailbox", "INBOX", "uid", "1:5").returncode == 0
    assert "5 removed" in doveadm("-v", "sync", "-u", user, "-s", state, "imapc:")[1]
    assert dovecot.doveadm("mailbox", "status", "-u", "judy", "messages", "INBOX").stdout == "INBOX messages=25\n"
    out, err = doveadm("sync", "-u", user, "-s", "nonsense", "imapc:")
    assert len(out) > 20 and "Saved sync state is invalid, falling back to full sync" in err
    assert "messages copied" not in err
    for words, status, want in (
            (["sync", "-u", user], 64, "doveadm sync [-1fPRU]"),
            (["sync", "-u", user, "-y", "imapc:"], 64, "sync: invalid option -- 'y'"),
            (["sync", "-u", user, "-t", "nonsense", "imapc:"], 75, "Fatal: Invalid -t parameter: nonsense"),
            (["sync", "-u", user, "-g", "xyz", "imapc:"], 75, "Fatal: Invalid -g parameter: xyz"),
            (["sync", "-u", user, "-d"], 68, "Error: User has no mail_replica in userdb"),
            (["sync", "-u", "nobody@demo.test", "imapc:"], 67, "Error: User doesn't exist"),
            (["sync", "-u", user, "remote:x@y"], 75, "use imapc:"),
            (["sync", "-F", "/nonexistent", "imapc:"], 75, "open(/nonexistent) failed: No such file or directory"),
            (["sync", "-u", user, "foo:~/x"], 75, "unknown mailbox format: foo"),
            (["sync", "-u", user, f"maildir:{suite.maildir(user)}"], 75, "points to same directory")):
        assert want in doveadm(*words, status=status)[1]
    assert "Authentication failed" in doveadm("sync", "-u", user, "imapc:", status=75, imapc_password="x")[1]
    assert "Connection refused" in doveadm("sync", "-u", user, "imapc:", status=75, imapc_port=1)[1]
    assert "missing imapc_host" in doveadm("sync", "-u", user, "imapc:", status=75, imapc_host="")[1]
    assert "Invalid port number bar" in doveadm("sync", "-u", user, "imapc:", status=75, imapc_port="bar")[1]
    assert PASSWORD not in suite.log()
    assert doveadm("backup", "-u", user, "mbox:~/mbox:INBOX=~/mbox/inbox", status=75)[1].count("\n") == 1   # Work/2024
    wait_for(lambda: "messages copied" in suite.log())


def test_without_the_suite_and_import(dovecot: Dovecot, certificates: Path) -> None:
    make_account(dovecot, "kate", messages=4)
    with open_folder() as folder:
        suite = Suite(folder)
        settings = {"imapc_host": "127.0.0.1", "imapc_port": dovecot.port, "imapc_user": "kate",
                    "imapc_password": PASSWORD}
        overrides = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]

        def doveadm(*words: str) -> str:
            said = suite.program("doveadm", *overrides, *words)
            assert said.returncode == 0, said.stderr
            return said.stdout + said.stderr

        assert "7 messages copied" in doveadm("-v", "backup", "-R", "-u", suite.first, "imapc:")
        assert "0 messages copied" in doveadm("-v", "backup", "-R", "-u", suite.first, "imapc:")
        assert doveadm("import", "-u", suite.second, "-s", "imapc:", "Old", "SUBJECT", "no id") == ""
        assert doveadm("mailbox", "status", "-u", suite.second, "messages", "Old.Work.2024") == \
            "Old.Work.2024 messages=2\n"
        assert not list(suite.maildir(suite.second).glob(".import-*"))
        # From one server to another account of it, by way of our doveadm.
        assert "7 messages copied" in doveadm("-v", "-o", "mail_location=imapc:", "sync", "-1", "-u", suite.first,
                                              "maildir:~/copy")


def test_a_bar_on_a_terminal_and_sessions_that_see_the_mail(suite: Suite, dovecot: Dovecot) -> None:
    make_account(dovecot, "liz", messages=5)
    user = suite.second
    client = imaplib.IMAP4("127.0.0.1", suite.ports["imap"])
    client.starttls(suite.tls())
    client.login(user, suite.users[user])
    client.select("INBOX")
    ours, theirs = os.openpty()
    values = {"imapc_host": "127.0.0.1", "imapc_port": dovecot.port, "imapc_user": "liz", "imapc_password": PASSWORD}
    overrides = [word for name, value in values.items() for word in ("-o", f"{name}={value}")]
    said = suite.program("doveadm", *overrides, "sync", "-1", "-R", "-u", user, "imapc:", capture_output=False,
                         stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):              # the terminal's end
        while octets := os.read(ours, 65536):
            shown += octets
    os.close(ours)
    assert (said.returncode, said.stdout) == (0, "") and b"messages" in shown and user.encode() in shown
    assert client.noop()[0] == "OK" and client.response("EXISTS")[1][-1] == b"5"
    client.logout()
