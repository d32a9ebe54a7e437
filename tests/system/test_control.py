"""start, stop, reload, status, check: exit statuses, all errors at once, nothing dropped."""

import imaplib
import os
import signal
import smtplib
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.processes import everything
from tests.support.suite import BIN, Suite, open_folder, running_suite, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("control")]


@pytest.fixture
def site() -> Iterator[Suite]:
    with open_folder() as folder:
        yield Suite(folder)


def mailsuite(suite: Suite, verb: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(BIN / "mailsuite"), "-c", str(suite.top), verb], capture_output=True, text=True,
                          check=False, timeout=60)


def test_start_returns_when_all_listeners_accept(site: Suite) -> None:
    site.start()
    try:
        for port in site.ports.values():
            socket.create_connection(("127.0.0.1", port), 5).close()
        done = mailsuite(site, "status")
        assert done.returncode == 0 and f"PID: {site.pid()}" in done.stdout
        assert mailsuite(site, "start").returncode == 1
    finally:
        site.stop()
    assert mailsuite(site, "status").returncode == 1
    assert mailsuite(site, "stop").returncode == 1
    for port in site.ports.values():
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", port), 5)


def test_all_errors_at_once(site: Suite) -> None:
    with open(site.top / "main.cf", "a") as file:
        file.write("message_size_limit = lots\nsmtpd_recipient_limt = 5\n")
    with open(site.top / "master.cf", "a") as file:
        file.write("2999 inet n - n - - nonsense\n")
    with open(site.top / "dovecot.conf", "a") as file:
        file.write("no_such_setting = 1\n")
    lines = {name: len((site.top / name).read_text().splitlines()) for name in ("main.cf", "master.cf", "dovecot.conf")}
    for verb in ("check", "start"):
        done = mailsuite(site, verb)
        assert done.returncode == 1
        for name, line, word in (("main.cf", lines["main.cf"] - 1, "message_size_limit"),
                                 ("main.cf", lines["main.cf"], "smtpd_recipient_limit"),
                                 ("master.cf", lines["master.cf"], "nonsense"),
                                 ("dovecot.conf", lines["dovecot.conf"], "no_such_setting")):
            found = [text for text in done.stderr.splitlines() if name in text and str(line) in text and word in text]
            assert found, (name, line, word, done.stderr)
    assert mailsuite(site, "status").returncode == 1


def test_a_port_that_is_taken_is_one_sentence(site: Suite) -> None:
    with socket.create_server(("127.0.0.1", site.ports["imaps"])):
        done = mailsuite(site, "start")
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if f"127.0.0.1 port {site.ports['imaps']} is taken" in line]
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 1


def test_reload_keeps_connections_and_takes_new_settings() -> None:
    with running_suite() as suite:
        idle = imaplib.IMAP4_SSL("localhost", suite.ports["imaps"], ssl_context=suite.tls(), timeout=20)
        idle.login(suite.first, suite.users[suite.first])
        idle.select("INBOX")
        old = smtplib.SMTP("localhost", suite.ports["smtp"], timeout=20)
        old.ehlo()
        suite.postconf("smtpd_banner=$myhostname ESMTP after reload", "message_size_limit=20480000")
        suite.command("reload")

        def banner() -> bool:
            with socket.create_connection(("127.0.0.1", suite.ports["smtp"]), 5) as sock:
                return b"after reload" in sock.recv(200)
        wait_for(banner)
        old.sendmail(suite.second, [suite.first], "Subject: over an old connection\r\n\r\nx\r\n")
        suite.wait_messages(suite.first, 1)
        assert idle.noop()[0] == "OK"
        old.quit()
        idle.logout()


def test_reload_with_errors_changes_nothing() -> None:
    with running_suite() as suite:
        good = (suite.top / "main.cf").read_text()
        (suite.top / "main.cf").write_text(good + "inet_interfaces = no.such.host.invalid\nmessage_size_limit = x\n")
        done = mailsuite(suite, "reload")
        assert done.returncode == 1 and "message_size_limit" in done.stderr
        os.kill(suite.pid(), signal.SIGHUP)         # as a script would that did not ask us first
        wait_for(lambda: "the old configuration stays in force" in suite.log())
        with smtplib.SMTP("localhost", suite.ports["smtp"], timeout=20) as smtp:
            smtp.sendmail(suite.second, [suite.first], "Subject: x\r\n\r\nx\r\n")
        suite.wait_messages(suite.first, 1)


def children(pid: int) -> dict[int, str]:
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(words[1]) == pid:
                    found[int(entry.name)] = (entry / "comm").read_text().strip()
            except OSError:
                continue
    return found


def test_a_killed_service_comes_back() -> None:
    with running_suite() as suite:
        for name in ("qmgr", "smtpd", "auth"):
            def named(name: str = name) -> list[int]:
                return [pid for pid, comm in children(suite.pid()).items() if comm.startswith(name)]
            victims = wait_for(named, what=name)        # a process takes its name when it begins
            assert isinstance(victims, list)
            for pid in victims:
                os.kill(pid, signal.SIGKILL)

            def again(old: list[int] = victims, named: Callable[[], list[int]] = named) -> bool:
                now = named()
                return len(now) >= 1 and not set(now) & set(old)
            wait_for(again)

        def sent() -> bool:
            try:
                with smtplib.SMTP("localhost", suite.ports["submission"], timeout=20) as smtp:
                    smtp.starttls(context=suite.tls())
                    smtp.login(suite.first, suite.users[suite.first])
                    smtp.sendmail(suite.first, [suite.second], "Subject: x\r\n\r\nx\r\n")
                return True
            except (OSError, smtplib.SMTPException):
                return False
        wait_for(sent)
        suite.wait_messages(suite.second, 1)


def test_nothing_is_left_when_the_master_is_killed() -> None:
    with open_folder() as folder:
        suite = Suite(folder).start()
        pid = suite.pid()
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not everything(suite))
        suite.start()
        suite.stop()


def test_run_in_the_foreground_ends_with_ctrl_c(site: Suite) -> None:
    process = subprocess.Popen([str(BIN / "mailsuite"), "demo", str(site.top)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        seen = ""
        deadline = time.monotonic() + 60
        while "Thunderbird" not in seen and time.monotonic() < deadline:
            seen += process.stdout.readline()
        assert site.first in seen and site.users[site.first] in seen and "openssl s_client" in seen
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.stdout.close()
    assert mailsuite(site, "status").returncode == 1


def test_a_stranger_may_not_relay() -> None:
    """COURSE section 2: outside of mynetworks, without a login."""
    with (running_suite("mynetworks=192.0.2.0/24") as suite,
          smtplib.SMTP("localhost", suite.ports["smtp"], timeout=20) as smtp):
        smtp.ehlo("stranger.example.org")
        smtp.docmd("mail from:<a@b.test>")
        assert smtp.docmd("rcpt to:<user@elsewhere.test>") == (454, b"4.7.1 <user@elsewhere.test>: Relay access denied")
        code, text = smtp.docmd(f"rcpt to:<{suite.first}>")         # ours; a stranger has to come back
        assert (code, text.split(b":")[0]) == (450, f"4.2.0 <{suite.first}>".encode())
        assert b"Greylisted" in text
