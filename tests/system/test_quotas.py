"""Quotas of a whole suite: quota-status asked as Postfix asks it, warnings by a script service, trash, autoexpunge.

What quota-status answers was compared with Dovecot 2.3.19's, question by question.
"""

import contextlib
import imaplib
import os
import pwd
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mailsuite.base.script import BEGINNING, call
from tests.support.suite import Suite, free_port, open_folder, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("quotas")]

CONF = """
recipient_delimiter = +
mail_plugins = quota trash
protocol imap {{
  mail_plugins = $mail_plugins imap_quota
}}
imap_logout_format = %{{autoexpunged}} went
plugin {{
  quota = maildir:User quota
  quota_rule = *:storage=10K
  quota_rule2 = Spam:storage=+5K
  quota_status_success = DUNNO
  quota_status_toolarge = 552 too large for %n
  quota_warning = storage=50%% warn 50 %u "a b"
  trash = {top}/trash
}}
service quota-status {{
  executable = quota-status -p postfix
  inet_listener {{
    address = 127.0.0.1
    port = {port}
  }}
}}
service warn {{
  executable = script {top}/warn fixed
  {user}
  unix_listener warn {{
    mode = 0666
  }}
}}
service echo {{
  executable = script /bin/sh -c "cat"
  unix_listener echo {{
    mode = 0600
  }}
}}
namespace inbox {{
  mailbox Many {{
    auto = create
    autoexpunge_max_mails = 2
  }}
}}
"""
WARN = """\
#!/bin/sh
echo "$#|$@|$(id -u)|$(pwd)" >> {top}/run/warned
"""


@dataclass
class Site:
    suite: Suite
    port: int

    def ask(self, *lines: str) -> list[str]:
        """Answers of quota-status to requests over one connection; "" ends a request."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as sock, sock.makefile("rw") as file:
            file.write("".join(f"{line}\n" for line in lines))
            file.flush()
            found = []
            for _ in range(lines.count("")):
                found.append(file.readline().rstrip("\n").removeprefix("action="))
                assert file.readline() == "\n"
        return found

    def client(self) -> imaplib.IMAP4:
        client = imaplib.IMAP4("127.0.0.1", self.suite.ports["imap"])
        client.login(self.suite.first, self.suite.users[self.suite.first])
        return client

    def put(self, client: imaplib.IMAP4, mailbox: str, octets: int) -> str:
        return client.append(mailbox, "", imaplib.Time2Internaldate(time.time()),
                             b"Subject: x\r\n\r\n" + b"x" * octets)[0]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with open_folder() as folder:
        made = Site(suite := Suite(folder), free_port())
        top, root = suite.top, os.geteuid() == 0
        (top / "trash").write_text("1 Spam\n2 Trash\n")
        (top / "warn").write_text(WARN.format(top=top))
        (top / "warn").chmod(0o755)
        conf = top / "dovecot.conf"
        conf.write_text(conf.read_text().replace("listen = 127.0.0.1, ::1", "listen = 127.0.0.1")
                        + CONF.format(top=top, port=made.port, user="user = vmail" if root else ""))
        warned = top / "run/warned"
        warned.parent.mkdir(exist_ok=True)
        warned.touch()
        warned.chmod(0o666)
        suite.start()
        try:
            yield made
        finally:
            suite.stop()


def test_what_is_answered(site: Site) -> None:
    anna = site.suite.first
    name, domain = anna.split("@")
    big = f"552 too large for {name}"
    for request, answer in (
            ((f"recipient={anna}", "size=100"), "DUNNO"),
            (("request=smtpd_access_policy", "protocol_state=RCPT", f"recipient={anna}", "size="), "DUNNO"),
            ((f"recipient={name}+Spam@{domain}", "size=12000"), big),       # INBOX counts, with the grace
            ((f"recipient={anna}", "size=10900"), "DUNNO"), ((f"recipient={anna}", "size=11300"), big),
            ((f"recipient=<{anna}>", "size=nonsense"), "DUNNO"),
            ((f"recipient=nobody@{domain}",), "REJECT Unknown user"),
            (("recipient=",), "DUNNO"), (("size=1",), "DUNNO"), ((), "DUNNO"), (("garbage",), "DUNNO"),
            (("recipient=a b@",), "DUNNO"), ((f"recipient={anna}", "protocol_state=DATA"), "DUNNO")):
        assert site.ask(*request, "") == [answer], request
    assert site.ask(f"recipient={anna}", "size=1", "", f"recipient={anna}", "size=90000", "") == ["DUNNO", big]
    log = site.suite.log()
    assert "Client sent invalid recipient address `a b@': " in log
    assert "Client sent invalid recipient address `': Path is empty string" in log
    assert "Received policy query from MTA in unexpected state DATA" in log


def test_a_client_that_talks_nonsense_harms_nobody(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as sock:
        sock.sendall(b"x" * 20000)
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(100) == b""
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as sock:
        sock.sendall(b"a=b\n" * 200)
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(100) == b""
    assert site.ask(f"recipient={site.suite.first}", "") == ["DUNNO"]


def test_a_full_mailbox_warns_and_makes_room(site: Site) -> None:
    client, anna = site.client(), site.suite.first
    client.create("Spam")
    for mailbox in ("Spam", "Trash", "INBOX"):
        assert site.put(client, mailbox, 2500) == "OK"
    warned = site.suite.top / "run/warned"
    wait_for(lambda: warned.read_text(), what="no warning")
    user = pwd.getpwnam("vmail").pw_uid if os.geteuid() == 0 else os.geteuid()
    assert warned.read_text() == f'5|fixed 50 {anna} "a b"|{user}|{site.suite.top}/run\n'
    assert site.put(client, "INBOX", 4000) == "OK"
    assert client.status("Spam", "(MESSAGES)")[1] == [b"Spam (MESSAGES 0)"]
    assert client.status("Trash", "(MESSAGES)")[1] == [b"Trash (MESSAGES 1)"]
    assert site.ask(f"recipient={anna}", "size=5000", "") == ["554 5.2.2 Quota exceeded (mailbox for user is full)"]
    client.logout()


def test_autoexpunge_when_a_session_ends(site: Site) -> None:
    client = imaplib.IMAP4("127.0.0.1", site.suite.ports["imap"])
    client.login(site.suite.second, site.suite.users[site.suite.second])
    for _ in range(5):
        assert site.put(client, "Many", 10) == "OK"
    client.logout()
    wait_for(lambda: "Disconnected: Logged out 3 went" in site.suite.log(), what=site.suite.log())
    assert len(list((site.suite.maildir(site.suite.second) / ".Many").glob("[nc]*/*"))) == 2


def test_a_script_that_is_answered(site: Site) -> None:
    path = str(site.suite.top / "run/echo")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(20)
        sock.connect(path)
        sock.sendall(BEGINNING + b"0\nalarm=10\n-\nfirst\n\nwhat it reads\n")
        sock.shutdown(socket.SHUT_WR)
        with sock.makefile("rb") as file:
            assert file.read() == b"what it reads\n+\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(20)
        sock.connect(path)
        sock.sendall(b"GET / HTTP/1.0\n\n")
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(100) == b""
    wait_for(lambda: "not script's protocol" in site.suite.log())


def test_the_client_escapes(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as entrance:
        entrance.bind(str(tmp_path / "s"))
        entrance.listen()
        call(str(tmp_path / "s"), ["a\tb", "c\nd"])
        with entrance.accept()[0] as sock, sock.makefile("rb") as file:
            assert file.read() == BEGINNING + b"0\nnoreply\na\x01tb\nc\x01nd\n\n"
