"""make soak: a suite under mixed load for some minutes, with reloads and killed services.

    python tests/soak.py [--minutes 10]

Senders submit, readers fetch and delete over IMAP and POP3, a disturber reloads and kills services. At the end: every
accepted message was seen, no traceback in the logs, memory has not grown by more than GROWTH after the first minute.
Exit status: 0, or 1 with what was wrong.
"""

import argparse
import imaplib
import os
import random
import signal
import smtplib
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.support.suite import Suite, open_folder  # the project's root is not on the path of a script
from tests.system.test_control import children

GROWTH = 1.5


def memory_kib(pid: int) -> int:
    """PSS of a process and all below it."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:         # ended meanwhile
        return 0
    total = next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
    return total + sum(memory_kib(child) for child in children(pid))


class Load:
    """What was sent and seen, shared by all threads."""

    def __init__(self, suite: Suite, until: float) -> None:
        self.suite, self.until = suite, until
        self.lock = threading.Lock()
        self.sent: set[str] = set()
        self.seen: set[str] = set()

    def send(self, number: int) -> None:
        count = 0
        while time.monotonic() < self.until:
            try:
                with smtplib.SMTP("localhost", self.suite.ports["submission"], timeout=30) as smtp:
                    smtp.starttls(context=self.suite.tls())
                    smtp.login(self.suite.first, self.suite.users[self.suite.first])
                    for _ in range(20):
                        mark = f"soak-{number}-{count}"
                        count += 1
                        body = "x" * random.randrange(10, 60_000)
                        smtp.sendmail(self.suite.first, [self.suite.second], f"Subject: {mark}\r\n\r\n{body}\r\n")
                        with self.lock:
                            self.sent.add(mark)
            except (OSError, smtplib.SMTPException):
                time.sleep(0.1)

    def read(self) -> None:
        while time.monotonic() < self.until + 60 and not (time.monotonic() > self.until and self.sent <= self.seen):
            try:
                client = imaplib.IMAP4_SSL("localhost", self.suite.ports["imaps"], ssl_context=self.suite.tls(),
                                           timeout=30)
                client.login(self.suite.second, self.suite.users[self.suite.second])
                client.select("INBOX")
                uids = client.uid("SEARCH", "UNDELETED")[1][0].split()[:50]
                for uid in uids:
                    parts = client.uid("FETCH", uid, "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
                    if parts and isinstance(parts[0], tuple):
                        with self.lock:
                            self.seen.add(parts[0][1].split(b": ", 1)[1].strip().decode())
                        client.uid("STORE", uid, "+FLAGS", r"(\Deleted)")
                client.expunge()
                client.logout()
            except (OSError, imaplib.IMAP4.error, ValueError):
                pass
            time.sleep(0.2)

    def disturb(self) -> None:
        while time.monotonic() < self.until:
            time.sleep(15)
            self.suite.command("reload")
            time.sleep(5)
            victims = [pid for pid, name in children(self.suite.pid()).items()
                       if name.split(":")[0] in ("smtpd", "qmgr", "virtual")]
            if victims:
                os.kill(random.choice(victims), signal.SIGKILL)


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    args = parser.parse_args()
    wrong: list[str] = []
    with open_folder("mailsuite-soak.") as folder:
        suite = Suite(folder)
        suite.postconf("minimal_backoff_time=1s", "maximal_backoff_time=2s", "queue_run_delay=1s")
        suite.start()
        load = Load(suite, time.monotonic() + args.minutes * 60)
        threads = [threading.Thread(target=load.send, args=(n,), daemon=True) for n in range(4)]
        threads += [threading.Thread(target=load.read, daemon=True), threading.Thread(target=load.disturb, daemon=True)]
        for thread in threads:
            thread.start()
        time.sleep(min(60, args.minutes * 20))
        before = memory_kib(suite.pid())
        for thread in threads:
            thread.join()
        after = memory_kib(suite.pid())
        print(f"{len(load.sent)} accepted, {len(load.seen)} seen; memory {before} KiB, later {after} KiB")
        if lost := load.sent - load.seen:
            wrong.append(f"{len(lost)} messages lost, such as {min(lost)}")
        if after > before * GROWTH:
            wrong.append(f"memory grew from {before} to {after} KiB")
        if "Traceback" in suite.log():
            wrong.append("a traceback in the log:\n" + suite.log().partition("Traceback")[2][:3000])
        suite.stop()
    print("\n".join(wrong) or "nothing wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
