"""Guessing through SMTP, IMAP and POP3 together: the guesser waits, the owner does not, and fail2ban sees it."""

import imaplib
import poplib
import shutil
import smtplib
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.support.suite import Suite, open_folder, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("brute_force")]
GUESSER, OWNER = "127.0.0.2", "127.0.0.3"


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    with open_folder() as folder:
        made = Suite(folder)
        conf = made.top / "dovecot.conf"
        # Half of the usual pauses: what they are by default is tried with a clock that is turned (test_penalty).
        conf.write_text(conf.read_text() + "\nauth_failure_delay = 0\nauth_penalty_delay = 1 secs\n")
        made.start()
        try:
            yield made
        finally:
            made.stop()


def smtp(suite: Suite, source: str, user: str, password: str) -> bool:
    with smtplib.SMTP("127.0.0.1", suite.ports["submission"], timeout=60, source_address=(source, 0)) as client:
        client._host = "localhost"        # type: ignore[attr-defined]  # the name the certificate is checked for
        client.starttls(context=suite.tls())
        try:
            client.login(user, password)
        except smtplib.SMTPAuthenticationError:
            return False
        return True


def imap(suite: Suite, source: str, user: str, password: str) -> bool:
    import socket

    class Client(imaplib.IMAP4_SSL):
        def _create_socket(self, timeout: float | None = None) -> socket.socket:
            plain = socket.create_connection((self.host, self.port), timeout, (source, 0))
            return self.ssl_context.wrap_socket(plain, server_hostname="localhost")

    client = Client("127.0.0.1", suite.ports["imaps"], ssl_context=suite.tls(), timeout=60)
    try:
        client.login(user, password)
    except imaplib.IMAP4.error:
        return False
    finally:
        client.logout()
    return True


def pop3(suite: Suite, source: str, user: str, password: str) -> bool:
    import socket

    class Client(poplib.POP3_SSL):
        def _create_socket(self, timeout: float | None) -> socket.socket:
            plain = socket.create_connection((self.host, self.port), timeout, (source, 0))
            return self.context.wrap_socket(plain, server_hostname="localhost")

    client = Client("127.0.0.1", suite.ports["pop3s"], context=suite.tls(), timeout=60)
    try:
        client.user(user)
        client.pass_(password)
    except poplib.error_proto:
        client.close()
        return False
    client.quit()
    return True


def test_guesses_add_up_over_protocols_and_owners_come_in(suite: Suite) -> None:
    anna, ben = suite.first, suite.second
    assert imap(suite, OWNER, anna, suite.users[anna])
    began = time.monotonic()
    assert not smtp(suite, GUESSER, anna, "guess1")
    assert not imap(suite, GUESSER, anna, "guess2")         # waits 1 s
    assert not pop3(suite, GUESSER, anna, "guess3")         # waits 2 s
    spent = time.monotonic() - began
    assert spent > 3
    waiting = [threading.Thread(target=guess, args=(suite, anna, f"guess{number}"), daemon=True) for number in (4, 5)]
    for thread in waiting:
        thread.start()                                      # they wait 4 and 8 s more, and nobody with them
    for source, user in ((OWNER, anna), (OWNER, ben), ("127.0.0.4", anna)):
        for log_in in (smtp, imap, pop3):
            assert log_in(suite, source, user, suite.users[user])
    assert any(thread.is_alive() for thread in waiting) or time.monotonic() - began > 15
    wait_for(lambda: "penalty(" in suite.log(), 60)
    if shutil.which("fail2ban-regex") is not None:          # scripts/install-peers
        fail2ban_reads_the_lines(suite)


def guess(suite: Suite, user: str, password: str) -> None:
    with suppress(OSError, smtplib.SMTPException):      # the suite may be stopped before it is judged
        assert not smtp(suite, GUESSER, user, password)


def fail2ban_reads_the_lines(suite: Suite) -> None:
    lines = [line for line in suite.log().splitlines() if " auth: " in line and "penalty(" in line]
    assert lines
    copy = suite.top / "log/syslog"
    stamp = time.strftime("%b %e %H:%M:%S")
    copy.write_text("".join(f"{stamp} host dovecot: {line.split(' ', 3)[3].replace('Info: ', '')}\n" for line in lines))
    done = subprocess.run(["fail2ban-regex", str(copy), "dovecot"], capture_output=True, text=True, check=False,
                          timeout=60)
    assert f"{len(lines)} matched" in done.stdout, done.stdout
