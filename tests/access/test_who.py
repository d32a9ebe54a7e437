"""doveadm who and kick on a running suite: sessions come, are ended, and vanish with their worker."""

import contextlib
import imaplib
import json
import os
import poplib
import signal
import subprocess
from collections.abc import Iterator

import pytest

from mailsuite.access.sessions import Metric, Session, Sessions
from tests.support.suite import BIN, Suite, running_suite, wait_for


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    with running_suite() as made:
        yield made


def imap(suite: Suite, user: str) -> imaplib.IMAP4:
    client = imaplib.IMAP4("127.0.0.1", suite.ports["imap"])
    client.starttls(suite.tls())
    client.login(user, suite.users[user])
    return client


def doveadm(suite: Suite, *words: str) -> subprocess.CompletedProcess[str]:
    return suite.program("doveadm", *words)


def rows(suite: Suite, *masks: str) -> list[list[str]]:
    said = doveadm(suite, "-f", "tab", "who", *masks)
    assert said.returncode == 0, said.stderr
    return [line.split("\t") for line in said.stdout.splitlines()[1:]]


def test_sessions_come_and_go(suite: Suite) -> None:
    first, second = suite.first, suite.second
    clients = [imap(suite, first), imap(suite, first), imap(suite, second)]
    pop = poplib.POP3_SSL("127.0.0.1", suite.ports["pop3s"], context=suite.tls())
    pop.user(second)
    pop.pass_(suite.users[second])
    found = rows(suite)
    assert [(user, count, proto, ips) for user, count, proto, _, ips in found] == sorted(
        [(first, "2", "imap", "(127.0.0.1)"), (second, "1", "imap", "(127.0.0.1)"),
         (second, "1", "pop3", "(127.0.0.1)")])
    assert rows(suite, "127.0.0.0/8") == found and not rows(suite, "10.1.2.3") and not rows(suite, "nobody*")
    assert {row[0] for row in rows(suite, first[:3] + "*", "127.0.0.1")} == {first}
    one_a_line = doveadm(suite, "who", "-1").stdout.splitlines()
    assert one_a_line[0].split() == ["username", "proto", "pid", "ip"] and len(one_a_line) == 5
    assert json.loads(doveadm(suite, "-f", "json", "who", second, "127.0.0.1").stdout)[0]["connections"] == "1"

    said = doveadm(suite, "kick", second)
    assert (said.returncode, said.stdout) == (0, f"{second} kicked connections from the following users:\n\n")
    assert clients[2].readline() == b"* BYE Server shutting down.\r\n" and clients[2].readline() == b""
    assert b"shutting down" in pop.file.readline() and pop.file.readline() == b""
    wait_for(lambda: {row[0] for row in rows(suite)} == {first})
    assert clients[0].noop()[0] == "OK"                 # in the same process, perhaps
    said = doveadm(suite, "kick", second)
    assert (said.returncode, said.stdout) == (68, "no users kicked\n")

    os.kill(int(rows(suite)[0][3].strip("()").split()[0]), signal.SIGKILL)
    wait_for(lambda: not rows(suite))
    for client in clients:
        with contextlib.suppress(OSError, imaplib.IMAP4.error):
            client.logout()
    dump = doveadm(suite, "stats", "dump")
    counts = {line.split("\t")[0]: line.split("\t")[2] for line in dump.stdout.splitlines()[1:]}
    assert counts == {"imap_session": "3", "pop3_session": "1"}


@pytest.mark.parametrize(("words", "status", "want"), [
    (["kick"], 64, "Error: user and/or ip[/bits] must be specified."),
    (["who", "a", "b"], 64, "Error: Multiple username masks not supported"),
    (["who", "-x"], 64, "who: invalid option -- 'x'"),
    (["who", "-a", "/nonexistent"], 75, "Fatal: net_connect_unix(/nonexistent) failed: No such file or directory"),
    (["stats", "dump", "-f", "nosuch"], 64, "Unknown field: nosuch"),
])
def test_what_is_wrong(suite: Suite, words: list[str], status: int, want: str) -> None:
    said = doveadm(suite, *words)
    assert said.returncode == status and want in said.stderr


def test_masks() -> None:
    sessions = Sessions()
    for user, address in (("a[b]", "::ffff:192.0.2.1"), ("anna", "2001:db8::1"), ("bob", "")):
        sessions.begin(Session(user, "imap", address, 1, user, None, "0", 0.0))
    assert [one.user for one in sessions.find("a*")] == ["a[b]", "anna"]
    assert [one.user for one in sessions.find("a[b]")] == ["a[b]"]
    assert [one.user for one in sessions.find("", "192.0.2.0/24")] == ["a[b]"]
    assert [one.user for one in sessions.find("?nn?", "2001:db8::/32")] == ["anna"]


def test_figures() -> None:
    metric = Metric()
    from random import Random
    for value in range(1, 101):
        metric.add(value, Random(1))
    assert metric.row() == ["100", "5050", "1", "100", "50.50", "51", "28.87", "96"]
    assert Metric().row() == ["0", "0", "0", "0", "0.00", "0", "0.00", "0"]


def test_processes_and_the_log(suite: Suite) -> None:
    said = doveadm(suite, "-f", "tab", "process", "status")
    names = {line.split("\t")[0] for line in said.stdout.splitlines()[1:]}
    assert said.returncode == 0 and {"auth", "access", "qmgr"} <= names
    services = doveadm(suite, "service", "status", "auth").stdout.splitlines()
    assert services[:2] == ["name: auth", "process_count: 1"]
    assert doveadm(suite, "service", "stop", "nosuch").returncode == 68
    assert doveadm(suite, "service", "stop").returncode == 75

    log = suite.top / "log/dovecot.log"
    assert doveadm(suite, "log", "find").stdout.splitlines() == [
        f"{kind}: {log}" for kind in ("Debug", "Info", "Warning", "Error", "Fatal")]
    assert doveadm(suite, "log", "test").returncode == 0
    lines = [line[16:].rpartition(" (")[0] for line in log.read_text().splitlines() if "This is Dovecot's" in line]
    assert lines == [f"doveadm: {kind}: This is Dovecot's {kind.lower()} log"
                     for kind in ("Debug", "Info", "Warning", "Error", "Fatal")]
    assert doveadm(suite, "log", "reopen").returncode == 0
    assert doveadm(suite, "log", "errors", "-s", "x").returncode == 64

    with pytest.raises(OSError):                        # a request that makes no sense is an error in the log
        from mailsuite.cli.access_link import ask
        for _ in ask(str(suite.top / "run/imap"), {"nonsense": 1}):
            pass
        raise OSError
    wait_for(lambda: "broken request" in doveadm(suite, "log", "errors").stdout)
    line = doveadm(suite, "log", "errors").stdout.splitlines()[-1]
    assert line[16:].startswith("Error: access: broken request of a login process")
    assert "broken request" not in doveadm(suite, "log", "errors", "-s", "4000000000").stdout
    assert doveadm(suite, "-f", "tab", "log", "errors").stdout.startswith("timestamp\tprefix\ttype\ttext\n")


def test_guessing_shows_in_penalty(suite: Suite) -> None:
    for number in range(3):
        words = ["auth", "test", "-x", "rip=192.0.2.77", suite.second, f"wrong{number}"]
        assert doveadm(suite, *words).returncode == 77
    lines = doveadm(suite, "-f", "tab", "penalty").stdout.splitlines()
    assert lines[0] == "IP\tpenalty\tlast_penalty\tlast_update" and lines[1].startswith("192.0.2.77\t3\t")
    assert len(doveadm(suite, "-f", "tab", "penalty", "192.0.2.0/24").stdout.splitlines()) == 2
    assert len(doveadm(suite, "-f", "tab", "penalty", "10.0.0.0/8").stdout.splitlines()) == 1
    said = doveadm(suite, "penalty", "x/y")
    assert (said.returncode, said.stderr) == (64, "Error: Invalid netmask 'x/y' given\n")


@pytest.mark.parametrize(("words", "status", "out", "err"), [
    (["auth", "test", "anna", "secret", "x"], 64, "", "Error: Extraneous arguments found: x\n"),
    (["auth", "lookup", "-a", "/nonexistent", "anna"], 75, "",
     "Error: auth-master: passdb lookup(anna): connect(/nonexistent) failed: No such file or directory\n"
     "Error: passdb lookup failed for anna\n"),
    (["auth", "cache", "flush", "-a", "/nonexistent"], 0, "0 cache entries flushed\n",
     "Error: auth-master: auth cache flush: connect(/nonexistent) failed: No such file or directory\n"),
    (["reload", "x"], 64, "", "Error: Extraneous arguments found: x\n"),
    (["stop", "x"], 64, "", "Error: Extraneous arguments found: x\n"),
])
def test_words_of_dovecots_doveadm(suite: Suite, words: list[str], status: int, out: str, err: str) -> None:
    said = doveadm(suite, *words)
    assert (said.returncode, said.stdout, said.stderr) == (status, out, err)


@pytest.mark.skipif(os.geteuid() != 0, reason="another user's process needs root to be made")
@pytest.mark.parametrize("word", ["reload", "stop"])
def test_who_may_not(suite: Suite, word: str) -> None:
    said = subprocess.run([str(BIN / "doveadm"), "-c", str(suite.top / "dovecot.conf"), word], capture_output=True,
                          text=True, check=False, timeout=60, user=65534, group=65534, extra_groups=[])
    assert said.returncode in (75, 89) and said.stderr.startswith("Fatal: ") and "Traceback" not in said.stderr
    assert doveadm(suite, "auth", "cache", "flush").returncode == 0         # it runs on
