"""A mail system as an administrator finds it after installing a package, and what a course does with it.

    with site("mailsuite") as mx:                       or "postfix": the real one, installed and started as root
        mx.command("postconf", "-e", "mydestination = one.test")
        mx.start()
        mx.send("games@one.test"); mx.wait_mailbox("games", 1)

The same test runs against both systems, so what it expects is what the courses' own mail system does. main.cf begins
as Debian's; the commands are the console scripts, or Debian's Postfix's.
System accounts: as root, accounts that every Debian has; else one's own account stands for all of them.
"""

import os
import pwd
import shutil
import smtplib
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.suite import BIN, free_port, open_folder, wait_for

ROOT = os.geteuid() == 0
ME = pwd.getpwuid(os.geteuid())
# Two system accounts, and who writes virtual mailboxes (uid and gid).
FIRST, SECOND = ("games", "news") if ROOT else (ME.pw_name, ME.pw_name)
NOBODY = pwd.getpwnam("nobody") if ROOT else ME
OUTSIDE = "127.0.0.2"           # a client that is not in mynetworks

MAIN_CF = """\
# See /usr/share/postfix/main.cf.dist for a commented, more complete version

smtpd_banner = $myhostname ESMTP $mail_name (Debian/GNU)
biff = no

# appending .domain is the MUA's job.
append_dot_mydomain = no

readme_directory = no

# See http://www.postfix.org/COMPATIBILITY_README.html -- default to 3.6 on
# fresh installs.
compatibility_level = 3.6

smtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated defer_unauth_destination
myhostname = {host}
alias_maps = hash:{etc}/aliases
alias_database = hash:{etc}/aliases
mydestination = $myhostname, localhost
relayhost =
mynetworks = 127.0.0.1/32
mailbox_size_limit = 0
recipient_delimiter = +
inet_interfaces = 127.0.0.1
inet_protocols = ipv4

queue_directory = {top}/spool
data_directory = {top}/data
mail_spool_directory = {top}/mail
maillog_file = {top}/mail.log
maillog_file_prefixes = {top}
queue_run_delay = 300s
"""
MASTER_CF = """\
127.0.0.1:{port} inet n  -       n       -       -       smtpd
pickup    unix  n       -       n       1       1       pickup
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
verify    unix  -       -       n       -       1       verify
flush     unix  n       -       n       1000?   0       flush
proxymap  unix  -       -       n       -       -       proxymap
proxywrite unix -       -       n       -       1       proxymap
smtp      unix  -       -       n       -       -       smtp
relay     unix  -       -       n       -       -       smtp
showq     unix  n       -       n       -       -       showq
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
discard   unix  -       -       n       -       -       discard
local     unix  -       n       n       -       -       local
virtual   unix  -       n       n       -       -       virtual
lmtp      unix  -       -       n       -       -       lmtp
anvil     unix  -       -       n       -       1       anvil
scache    unix  -       -       n       -       1       scache
postlog   unix-dgram n  -       n       -       1       postlogd
"""


class Site:
    """One mail system. system: "mailsuite" or "postfix". etc: its configuration folder."""

    def __init__(self, system: str, top: Path, host: str) -> None:
        self.system, self.top, self.host, self.port = system, top, host, free_port()
        self.etc, self.out = top / "etc", top / "out"
        self._running = False
        for name, mode in (("etc", 0o755), ("spool", 0o755), ("data", 0o755), ("mail", 0o1777), ("out", 0o1777)):
            (top / name).mkdir()
            (top / name).chmod(mode)
        self.write("main.cf", MAIN_CF.format(top=top, etc=self.etc, host=host))
        self.write("master.cf", MASTER_CF.format(port=self.port))
        self.write("aliases", "# See man 5 aliases for format\npostmaster:    root\n")
        if system == "postfix":
            shutil.chown(top / "data", "postfix")
        elif ROOT:
            self._mailsuite("accounts")
        if not ROOT:
            group = str(ME.pw_gid)
            self.command("postconf", "-e", f"mail_owner = {ME.pw_name}", f"setgid_group = {group}",
                         f"default_privs = {ME.pw_name}")
        self.command("newaliases")

    # --- what the administrator types ---------------------------------------------------------------------------

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        """A file below etc/; "out/name" below the site."""
        path = self.top / name if "/" in name else self.etc / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def run(self, name: str, *words: str, text: str = "") -> "subprocess.CompletedProcess[str]":
        """A command with -c DIR (-C for sendmail, newaliases, mailq)."""
        flag = "-C" if name in ("sendmail", "newaliases", "mailq") else "-c"
        folder = BIN if self.system == "mailsuite" else Path(
            "/usr/bin" if name in ("newaliases", "mailq") else "/usr/sbin")
        return subprocess.run([str(folder / name), flag, str(self.etc), *words], input=text, text=True, check=False,
                              capture_output=True, timeout=60)

    def command(self, name: str, *words: str, text: str = "") -> str:
        """What it prints; it must succeed and complain of nothing."""
        done = self.run(name, *words, text=text)
        assert done.returncode == 0 and not done.stderr, f"{name} {' '.join(words)}: {done.stderr}"
        return done.stdout

    def postconf(self, *settings: str) -> None:
        self.command("postconf", "-e", *settings)

    def table(self, name: str, text: str) -> str:
        """Write etc/NAME, run postmap; returns "hash:.../NAME"."""
        self.write(name, text)
        spec = f"hash:{self.etc / name}"
        self.command("postmap", spec)
        return spec

    def service(self, line: str) -> None:
        """Add to master.cf."""
        with open(self.etc / "master.cf", "a") as file:
            file.write(line + "\n")

    # --- running ------------------------------------------------------------------------------------------------

    def _mailsuite(self, verb: str) -> None:
        with tempfile.TemporaryFile("w+") as output:       # a pipe would stay open in the daemons
            done = subprocess.run(
                [str(BIN / "mailsuite" if self.system == "mailsuite" else "/usr/sbin/postfix"), "-c", str(self.etc),
                 verb], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False, timeout=60)
            output.seek(0)
            assert done.returncode == 0, f"{verb}: {output.read()}\n{self.log()[-3000:]}"

    def start(self) -> "Site":
        self._mailsuite("start")
        self._running = True

        def accepts() -> bool:
            try:
                with smtplib.SMTP("127.0.0.1", self.port, timeout=5):
                    return True
            except (OSError, smtplib.SMTPException):
                return False

        wait_for(accepts, what="smtpd does not listen")
        return self

    def stop(self) -> None:
        if self._running:
            self._running = False
            self._mailsuite("stop")

    def log(self) -> str:
        path = self.top / "mail.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # --- mail ---------------------------------------------------------------------------------------------------

    def send(self, *recipients: str, sender: str = "sender@far.test", subject: str = "test", body: str = "body",
             client: str = "127.0.0.1") -> None:
        """A message by SMTP. Raises smtplib.SMTPException."""
        text = f"From: {sender}\r\nTo: {', '.join(recipients)}\r\nSubject: {subject}\r\n\r\n{body}\r\n"
        with smtplib.SMTP("127.0.0.1", self.port, timeout=30, source_address=(client, 0)) as smtp:
            refused = smtp.sendmail(sender, list(recipients), text)
            assert not refused

    def answer(self, recipient: str, *, sender: str = "sender@far.test", client: str = "127.0.0.1") -> str:
        """The reply to RCPT TO."""
        with smtplib.SMTP("127.0.0.1", self.port, timeout=30, source_address=(client, 0)) as smtp:
            smtp.ehlo("c.test")
            smtp.mail(sender)
            code, text = smtp.rcpt(recipient)
            return f"{code} {text.decode()}"

    def mbox(self, path: Path) -> list[str]:
        """The messages of an mbox file."""
        if not path.exists():
            return []
        return [("From " + one).removesuffix("\n") for one in ("\n" + path.read_text()).split("\nFrom ")[1:]]

    def mailbox(self, user: str) -> list[str]:
        """The messages of a system account."""
        return self.mbox(self.top / "mail" / user)

    def wait_mailbox(self, user: str, count: int = 1) -> list[str]:
        return self.wait(lambda: self.mailbox(user), count)

    def wait(self, look: Callable[[], Sequence[str]], count: int = 1) -> list[str]:
        """What look finds once it is that many."""
        try:
            wait_for(lambda: len(look()) >= count)
        except TimeoutError:
            raise AssertionError(f"{len(look())} of {count}\n{self.log()[-4000:]}") from None
        found = list(look())
        assert len(found) == count
        return found

    def wait_log(self, text: str) -> None:
        try:
            wait_for(lambda: text in self.log())
        except TimeoutError:
            raise AssertionError(f"not logged: {text}\n{self.log()[-4000:]}") from None


@contextmanager
def site(system: str = "mailsuite", host: str = "mx.example.test") -> Iterator[Site]:
    """A site that is stopped and removed at the end."""
    if system == "postfix":
        if not ROOT:
            pytest.skip("the real Postfix is started as root")
        if not os.path.exists("/usr/sbin/postfix"):
            pytest.skip("postfix is not installed")
    with open_folder("site.") as top:
        made = Site(system, top, host)
        try:
            yield made
        finally:
            made.stop()


both_systems = pytest.mark.parametrize("system", [pytest.param(name, marks=pytest.mark.xdist_group(f"sites-{name}"))
                                                  for name in ("mailsuite", "postfix")])
