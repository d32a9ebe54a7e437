"""Who sends, and the ledger of what was accepted.

    ledger = Ledger()
    senders = [SmtpSender(world, ledger, seed) ...]; each is a thread: start(), stop(), join()

Each attempt has an id of its own, so what arrives twice was delivered twice by us. An attempt counts as accepted when
the whole answer 250 (exit status 0, IMAP's OK) was read. A message's body ends with its id and a checksum.
"""

import imaplib
import random
import re
import smtplib
import subprocess
import threading
import time
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from tests.support.suite import BIN

if TYPE_CHECKING:
    from tests.faults.world import World

MARK = "X-Fault-Id"
PAUSE_S = 0.05                  # after a refusal: the suite may be down
_MARK = re.compile(rb"^X-Fault-Id: (\S+)\r?$", re.M)
_FINAL = re.compile(rb"^Final-Recipient: rfc822; *(\S+)\nOriginal-Recipient: rfc822; *(\S+)|"
                    rb"^Final-Recipient: rfc822; *(\S+)", re.M)


@dataclass
class Ledger:
    """What was accepted: id -> recipients, and when. refusals: answers that were no acceptance, counted by text."""

    accepted: dict[str, list[str]] = field(default_factory=dict)
    accepted_at: dict[str, float] = field(default_factory=dict)
    attempts: int = 0
    refusals: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def accept(self, ident: str, recipients: list[str]) -> None:
        with self.lock:
            self.accepted[ident], self.accepted_at[ident] = recipients, time.time()

    def refuse(self, error: object) -> None:
        with self.lock:
            text = str(error)[:80]
            self.refusals[text] = self.refusals.get(text, 0) + 1

    def next_id(self, kind: str) -> str:
        with self.lock:
            self.attempts += 1
            return f"{kind}-{self.attempts}"


def message(ident: str, size: int, *, sender: str) -> bytes:
    """CRLF ends. The last line of the body proves that the whole of it is there."""
    chance = random.Random(ident)
    lines = [bytes(chance.choices(b"abcdefgh ijkl.,", k=70)).strip(b". ") for _ in range(max(1, size // 72))]
    body = b"\n".join(lines) + b"\n"
    head = f"From: <{sender}>\r\nSubject: {ident}\r\n{MARK}: {ident}\r\n\r\n".encode()
    return head + body.replace(b"\n", b"\r\n") + b"END %s %08x\r\n" % (ident.encode(), zlib.crc32(body))


def ident_of(content: bytes) -> str:
    """The id of a message or of the original within a report; "" for other mail."""
    found = _MARK.search(content)
    return found[1].decode() if found else ""


def is_whole(content: bytes) -> bool:
    """Whether a delivered message (LF or CRLF ends) is all that was sent."""
    content = content.replace(b"\r\n", b"\n")
    body = content.partition(b"\n\n")[2].rstrip(b"\n")
    before, _, last = body.rpartition(b"\n")
    words = last.split()
    return len(words) == 3 and words[0] == b"END" and int(words[2], 16) == zlib.crc32(before + b"\n")


class Arrival(NamedTuple):
    """What became of a message for one recipient. when: epoch seconds, 0: not known. reported: it failed, and this is
    the report."""

    ident: str
    address: str
    when: float
    whole: bool = True
    reported: bool = False


def arrivals_of(content: bytes, address: str, when: float) -> list[Arrival]:
    """What a message in the mailbox of `address` proves; a report tells of recipients, other notices of nothing."""
    content = content.replace(b"\r\n", b"\n")
    if b"\nContent-Type: multipart/report" not in content:
        return [Arrival(ident_of(content), address, when, is_whole(content))]
    if b"\nAction: failed" not in content:
        return []
    return [Arrival(ident_of(content), (found[2] or found[1] or found[3]).decode(), 0.0, reported=True)
            for found in _FINAL.finditer(content)]


class Sender(threading.Thread):
    """Sends until it is stopped, whatever happens. most: messages to be accepted, 0: no end."""

    kind = ""

    def __init__(self, world: "World", ledger: Ledger, seed: int, *, most: int = 0, pause_s: float = 0.0) -> None:
        super().__init__(daemon=True, name=f"{self.kind}-{seed}")
        self.world, self.ledger, self.chance = world, ledger, random.Random(seed)
        self.most, self.pause_s, self.count = most, pause_s, 0
        self.stopped = threading.Event()

    def stop(self) -> None:
        self.stopped.set()

    @property
    def wanted(self) -> bool:
        return not self.stopped.is_set() and (not self.most or self.count < self.most)

    def run(self) -> None:
        while self.wanted:
            try:
                self.session()
            except (OSError, smtplib.SMTPException, imaplib.IMAP4.error, subprocess.SubprocessError) as error:
                self.ledger.refuse(error)
                self.stopped.wait(PAUSE_S)

    def session(self) -> None:
        raise NotImplementedError

    def took(self, ident: str, recipients: list[str]) -> None:
        self.ledger.accept(ident, recipients)
        self.count += 1
        if self.pause_s:
            self.stopped.wait(self.pause_s)

    def some_recipients(self) -> list[str]:
        return self.chance.sample(self.world.addresses, self.chance.choice((1, 1, 1, 2, 3)))

    sizes = (200, 2000, 2000, 60_000)

    def text(self, ident: str) -> bytes:
        return message(ident, self.chance.choice(self.sizes), sender=self.world.sender)


class SmtpSender(Sender):
    """Port 25, from this machine."""

    kind = "smtp"

    def connect(self) -> smtplib.SMTP:
        return smtplib.SMTP("127.0.0.1", self.world.suite.ports["smtp"], timeout=30)

    def session(self) -> None:
        with self.connect() as smtp:
            smtp.ehlo()
            for _ in range(20):
                if not self.wanted:
                    return
                self.send(smtp)

    def send(self, smtp: smtplib.SMTP) -> None:
        ident, recipients = self.ledger.next_id(self.kind), self.some_recipients()
        refused = smtp.sendmail(self.world.sender, recipients, self.text(ident))
        self.took(ident, [address for address in recipients if address not in refused])


class BurstSender(SmtpSender):
    """Small mail for one Maildir, one after the other: qmgr brings most of it straight to the worker."""

    kind = "burst"
    sizes = (200, 2000)

    def some_recipients(self) -> list[str]:
        return [self.world.suite.second]

    def send(self, smtp: smtplib.SMTP) -> None:
        super().send(smtp)
        if self.count % 20 == 0:
            self.stopped.wait(10 * self.pause_s)

    def took(self, ident: str, recipients: list[str]) -> None:
        self.ledger.accept(ident, recipients)
        self.count += 1


class SubmissionSender(SmtpSender):
    """Port 587: TLS and a password."""

    kind = "submission"

    def connect(self) -> smtplib.SMTP:
        suite = self.world.suite
        smtp = smtplib.SMTP("localhost", suite.ports["submission"], timeout=30)
        try:
            smtp.starttls(context=suite.tls())
            smtp.login(suite.first, suite.users[suite.first])
        except BaseException:
            smtp.close()
            raise
        return smtp


class CommandSender(Sender):
    """sendmail(1): maildrop and pickup."""

    kind = "command"

    def session(self) -> None:
        ident, recipients = self.ledger.next_id(self.kind), self.some_recipients()
        done = subprocess.run(
            [str(BIN / "sendmail"), "-C", str(self.world.suite.top), "-i", "-f", self.world.sender, *recipients],
            input=self.text(ident).replace(b"\r\n", b"\n"), capture_output=True, check=False, timeout=60)
        if done.returncode:
            raise OSError(done.stderr.decode(errors="replace")[-200:])
        self.took(ident, recipients)


class ImapSender(Sender):
    """APPEND to a mailbox of its own: "Kept" of the first user."""

    kind = "imap"
    ADDRESS = "IMAP Kept"

    def session(self) -> None:
        suite = self.world.suite
        client = imaplib.IMAP4_SSL("localhost", suite.ports["imaps"], ssl_context=suite.tls(), timeout=30)
        try:
            client.login(suite.first, suite.users[suite.first])
            client.create("Kept")
            for _ in range(20):
                if not self.wanted:
                    break
                ident = self.ledger.next_id(self.kind)
                status, said = client.append("Kept", "", "", self.text(ident))     # type: ignore[arg-type]
                if status != "OK":
                    raise OSError(f"{status} {said}")
                self.took(ident, [self.ADDRESS])
            client.logout()
        finally:
            client.shutdown()
