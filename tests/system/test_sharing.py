"""Two users of a running suite share a folder: imaplib, doveadm, mail by SMTP into what is watched."""

import imaplib
import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.suite import Suite, open_folder, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("accounts")]
CONF = """
auth_failure_delay = 0
mail_plugins = acl
protocol imap {{
  mail_plugins = $mail_plugins imap_acl
}}
namespace inbox {{
  separator = /
}}
namespace shared {{
  type = shared
  separator = /
  prefix = shared/%%u/
  location = maildir:{site}/vmail/%%d/%%n:INDEXPVT=~/shared/%%u
  subscriptions = no
  list = children
}}
plugin {{
  acl = vfile
  acl_shared_dict = file:{site}/vmail/shared-mailboxes
}}
"""


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    with open_folder() as folder:
        suite = Suite(folder)
        with (suite.top / "dovecot.conf").open("a") as conf:
            conf.write(CONF.format(site=suite.top))
        suite.start()
        try:
            yield suite
        finally:
            suite.stop()


def login(suite: Suite, user: str) -> imaplib.IMAP4_SSL:
    client = imaplib.IMAP4_SSL("localhost", suite.ports["imaps"], ssl_context=suite.tls())
    client.login(user, suite.users[user])
    return client


def test_a_folder_of_two_users(suite: Suite) -> None:
    first, second = suite.first, suite.second
    theirs = f"shared/{first}/Plans"
    with login(suite, first) as owner, login(suite, second) as guest:
        assert "ACL" in owner.capabilities or b"ACL" in owner.capability()[1][0]
        owner.create("Plans")
        assert guest.select(theirs)[0] == "NO"
        assert owner.setacl("Plans", second, "lrsi")[0] == "OK"
        assert owner.getacl("Plans")[1][0].decode().split()[:3] == ["Plans", second, "ilrs"]
        assert guest.myrights(theirs)[1] == [f"{theirs} lrsi".encode()]
        assert any(theirs.encode() in line for line in guest.list()[1])
        owner.append("Plans", "", "", b"Subject: first\r\n\r\nbody\r\n")
        assert guest.select(theirs)[1] == [b"1"]
        guest.store("1", "+FLAGS", r"(\Seen \Flagged)")
        flags = guest.fetch("1", "(FLAGS)")[1][0]
        assert b"\\Seen" in flags and b"\\Flagged" not in flags
        owner.select("Plans")
        assert b"Seen" not in owner.fetch("1", "(FLAGS)")[1][0]
        assert guest.append(theirs, "", "", b"Subject: second\r\n\r\nbody\r\n")[0] == "OK"
        owner.noop()
        assert owner.uid("SEARCH", "ALL")[1] == guest.uid("SEARCH", "ALL")[1] == [b"1 2"]
        assert guest.expunge() == ("OK", [None]) and guest.delete(theirs)[0] == "NO"
        owner.deleteacl("Plans", second)
        assert guest.status(theirs, "(MESSAGES)")[0] == "NO"


def test_doveadm_gives_rights(suite: Suite) -> None:
    first, second = suite.first, suite.second

    def doveadm(*words: str) -> str:
        done = suite.program("doveadm", *words)
        assert done.returncode == 0, done.stderr
        return str(done.stdout + done.stderr)

    doveadm("mailbox", "create", "-u", first, "Board")
    doveadm("acl", "set", "-u", first, "Board", f"user={second}", "lookup", "read")
    assert f"ID=user={second} Global= Rights=lookup read" in doveadm("-f", "flow", "acl", "get", "-u", first, "Board")
    told = doveadm("acl", "debug", "-u", second, f"shared/{first}/Board")
    assert "visible in LIST" in told and f"User {second} has rights: lookup read" in told
    assert f"shared/{first}/Board" in doveadm("mailbox", "list", "-u", second)
    assert suite.program("doveadm", "acl", "set", "-u", first, "Board", "bob", "read").returncode == 64
    assert suite.program("doveadm", "acl", "get", "-u", first, "Nope").returncode == 68


def test_new_mail_shows_to_the_guest(suite: Suite) -> None:
    first, second = suite.first, suite.second
    with login(suite, first) as owner, login(suite, second) as guest:
        owner.select("INBOX")
        assert owner.setacl("INBOX", second, "lr")[0] == "OK"
        before = int(guest.select(f"shared/{first}", readonly=True)[1][0])
        with smtplib.SMTP("127.0.0.1", suite.ports["smtp"]) as client:
            client.sendmail("a@far.test", [first], "Subject: new\r\n\r\nbody\r\n")

        def arrived() -> bool:
            guest.noop()
            return any(int(line) > before for line in guest.response("EXISTS")[1] if line)

        wait_for(arrived, what="the guest sees the message")
    assert Path(suite.top / "vmail/shared-mailboxes").exists()
