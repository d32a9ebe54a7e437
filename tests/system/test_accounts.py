"""mailsuite user, domain and alias beside a running suite: mail and logins follow without a restart."""

import imaplib
import poplib
import smtplib
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from mailsuite.cli.mailsuite import cli
from mailsuite.maps import table
from tests.support.suite import Suite, open_folder, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("accounts")]
NO_PENALTY = "auth_failure_delay = 0\nservice anvil {\n  unix_listener anvil-auth-penalty {\n    mode = 0\n  }\n}\n"
PASSWORD = "wurzel-Kl33"


@pytest.fixture(autouse=True)
def _tables_are_looked_at_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are called in this process, which would keep a table for a second; each has a process of its own."""
    monkeypatch.setattr(table, "CHECK_INTERVAL_S", 0.0)


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    with open_folder() as folder:
        suite = Suite(folder)
        with (suite.top / "dovecot.conf").open("a") as conf:
            conf.write(NO_PENALTY)
        suite.postconf("mynetworks = 192.0.2.1", "smtpd_recipient_restrictions =")     # strangers only
        suite.start()
        try:
            yield suite
        finally:
            suite.stop()


def run(suite: Suite, *words: str, password: str = "", status: int = 0) -> str:
    done = CliRunner().invoke(cli, ["-c", str(suite.top), *words], input=password + "\n")
    assert done.exit_code == status, done.output
    return done.output


def add_user(suite: Suite, address: str, password: str = PASSWORD) -> None:
    run(suite, "user", "add", address, "--password-stdin", password=password)


def send(suite: Suite, to: str, text: str) -> None:
    with smtplib.SMTP("127.0.0.1", suite.ports["smtp"]) as client:
        client.sendmail("a@far.test", [to], f"Subject: {text}\r\n\r\n{text}\r\n")


def refused(suite: Suite, to: str) -> bool:
    try:
        send(suite, to, "x")
    except smtplib.SMTPRecipientsRefused:
        return True
    return False


def imap_login(suite: Suite, address: str, password: str) -> bool:
    with imaplib.IMAP4_SSL("localhost", suite.ports["imaps"], ssl_context=suite.tls()) as client:
        try:
            client.login(address, password)
        except imaplib.IMAP4.error:
            return False
        return True


def smtp_login(suite: Suite, address: str, password: str) -> bool:
    with smtplib.SMTP_SSL("localhost", suite.ports["smtps"], context=suite.tls()) as client:
        try:
            client.login(address, password)
        except smtplib.SMTPAuthenticationError:
            return False
        return True


def explained(suite: Suite, address: str, status: int) -> None:
    done = CliRunner().invoke(cli, ["-c", str(suite.top), "explain", address, "--client", "127.0.0.1"])
    assert done.exit_code == status, done.output


def test_a_user_from_first_mail_to_the_trash(suite: Suite) -> None:
    address = "clara@demo.test"
    explained(suite, address, 1)
    add_user(suite, address)
    explained(suite, address, 0)
    send(suite, address, "first")
    suite.wait_messages(address, 1)
    wait_for(lambda: imap_login(suite, address, PASSWORD))
    assert smtp_login(suite, address, PASSWORD)
    pop = poplib.POP3_SSL("localhost", suite.ports["pop3s"], context=suite.tls())
    pop.user(address)
    pop.pass_(PASSWORD)
    assert pop.stat()[0] == 1
    pop.quit()
    run(suite, "user", "passwd", address, "--password-stdin", password="other-W0rd.")
    wait_for(lambda: imap_login(suite, address, "other-W0rd."), what="the new password works")
    assert not imap_login(suite, address, PASSWORD)
    out = run(suite, "user", "del", address)
    assert ".trash/clara@demo.test." in out and not suite.maildir(address).exists()
    trash = list((suite.top / "vmail/demo.test/.trash").iterdir())
    assert len(trash) == 1 and len([*trash[0].glob("cur/*"), *trash[0].glob("new/*")]) == 1
    explained(suite, address, 1)
    wait_for(lambda: refused(suite, address), what="smtpd looks at a table once a second")


def test_a_disabled_user_gets_mail_but_never_in(suite: Suite) -> None:
    address = "dora@demo.test"
    add_user(suite, address)
    wait_for(lambda: imap_login(suite, address, PASSWORD), what="the file is looked at every 0.2 seconds")
    run(suite, "user", "disable", address)
    wait_for(lambda: not imap_login(suite, address, PASSWORD), what="no IMAP")
    assert not smtp_login(suite, address, PASSWORD)
    send(suite, address, "still here")
    suite.wait_messages(address, 1)
    assert "disabled" in run(suite, "user", "list")
    run(suite, "user", "enable", address)
    wait_for(lambda: imap_login(suite, address, PASSWORD), what="IMAP again")
    assert smtp_login(suite, address, PASSWORD)


def test_a_domain_with_users_and_aliases(suite: Suite) -> None:
    run(suite, "user", "add", "emil@new.test", "--password-stdin", password=PASSWORD, status=1)
    assert "reads main.cf again" in run(suite, "domain", "add", "new.test")
    add_user(suite, "emil@new.test")
    run(suite, "alias", "add", "info@new.test", "emil@new.test", "ben@demo.test")

    wait_for(lambda: not refused(suite, "info@new.test"), what="mail for the new domain is taken")
    suite.wait_messages("emil@new.test", 1)
    suite.wait_messages("ben@demo.test", 1)
    explained(suite, "info@new.test", 0)
    assert "1 mailbox" in run(suite, "domain", "del", "new.test", status=1)
    out = run(suite, "domain", "del", "new.test", "--force")
    assert "deleted emil@new.test" in out and "deleted the alias info@new.test" in out
    assert list((suite.top / "vmail/new.test/.trash").glob("emil@new.test.*/*/*"))
    assert "new.test" not in run(suite, "domain", "list") + run(suite, "user", "list") + run(suite, "alias", "list")
