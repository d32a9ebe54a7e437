"""What a large queue costs, and whether a dead host delays a live one: figures for docs/queue.md.

    bench_queue.py [--deferred 100000] [--dead 5000] [--output docs/queue.md]

Fills the deferred queue of a site of its own with messages that are not due, starts the site, and measures the start,
a look through the queue, the listing, `postqueue -s` of one message, and new mail meanwhile. Then a host that refuses
connections, and one that never answers, get --dead messages, while mail for a live one goes on. Exit status: 0.
"""

import argparse
import os
import re
import smtplib
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from mailsuite.queue import ids
from mailsuite.queue.envelope import Envelope, Origin, Recipient
from mailsuite.queue.file import Writer
from mailsuite.queue.store import QueueStore
from tests.support.remote_hosts import refusing_port, silent_host, taking_host
from tests.support.suite import BIN, Suite, open_folder, wait_for
from tests.system.test_control import children

TITLE = "### A large queue, measured"
CONTENT = b"Subject: waiting\nFrom: a@far.test\n\n" + b"text of a letter that waits\n" * 40
LIMIT_S = 300.0
LOOK_LINES = 1000           # of a listing, between two looks at its program's memory


def fill(suite: Suite, count: int) -> None:
    """Put messages into deferred/ that are due in two hours, and one for site.test with a flush log."""
    suite.start().stop()                # makes the folders
    directory = str(suite.top / "spool")
    store = QueueStore(directory)
    owner = os.stat(f"{directory}/incoming")
    now = time.time()
    for number in range(count):
        temp = f"{directory}/deferred/.new-bench"
        fd = os.open(temp, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        queue_id = ids.new_id(now // 1 - 1000 + number * 7919 % 1_000_000 / 1e6, os.fstat(fd).st_ino)
        path = store.path("deferred", queue_id)
        store.make_folder(os.path.dirname(path))
        writer = Writer(fd)
        writer.add(CONTENT)
        envelope = Envelope(sender="a@far.test", origin=Origin(), arrival_time=now - 1000)
        domain = "site.test" if number == count // 2 else f"d{number % 1000}.test"
        writer.finish(envelope.facts(), [Recipient(f"user{number}@{domain}")])
        writer.complete()
        os.fchown(fd, owner.st_uid, owner.st_gid)
        os.utime(fd, (now + 3000, now + 3000))
        os.close(fd)
        os.rename(temp, path)
        if domain == "site.test":
            log = Path(directory, "flush", "site_test")
            log.write_text(f"{queue_id}\n")
            os.chown(log, owner.st_uid, owner.st_gid)


def process(suite: Suite, name: str) -> int:
    return next(pid for pid, command in children(suite.pid()).items() if command.split(":")[0] == name)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def kib(pid: int, what: str, file: str = "status") -> int:
    """0: it has ended."""
    return int(next((line for line in Path(f"/proc/{pid}/{file}").read_text().splitlines()
                     if line.startswith(what)), "- 0").split()[1])


def settled_cpu_s(pid: int) -> float:
    """CPU time once the process has been idle for a second."""
    last, since = cpu_s(pid), time.monotonic()
    while time.monotonic() - since < 1.0:
        time.sleep(0.1)
        if (now := cpu_s(pid)) - last > 0.01:
            last, since = now, time.monotonic()
    return last


def timed(act: Callable[[], object]) -> float:
    start = time.monotonic()
    act()
    return time.monotonic() - start


def send(suite: Suite, recipients: list[str]) -> None:
    """A message to each, over one connection."""
    with smtplib.SMTP("127.0.0.1", suite.ports["smtp"], timeout=120) as smtp:
        for recipient in recipients:
            smtp.sendmail(suite.first, [recipient], f"Subject: {time.monotonic()}\r\n\r\ntext\r\n")


def listing(suite: Suite) -> tuple[float, float, int, int]:
    """Seconds to the first line and to the last, lines, KiB that postqueue needed."""
    start, peak = time.monotonic(), 0
    with subprocess.Popen([BIN / "postqueue", "-c", suite.top, "-p"], stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        running.stdout.readline()
        first = time.monotonic() - start
        lines = 1
        for lines, _ in enumerate(running.stdout, 2):
            if not lines % LOOK_LINES:      # ru_maxrss of children would tell of the largest of all
                peak = max(peak, kib(running.pid, "VmHWM:"))
    return first, time.monotonic() - start, lines, peak


def large_queue(count: int) -> list[str]:
    """The rows of a deferred queue of `count` messages."""
    with open_folder("mailsuite-bench.") as folder, taking_host() as live:
        suite = Suite(folder)
        suite.postconf(f"transport_maps=inline:{{ {{site.test=smtp:[127.0.0.1]:{live.port}}} }}",
                       "fast_flush_domains=site.test")
        fill(suite, count)
        start_s = timed(suite.start)
        try:
            qmgr = process(suite, "qmgr")
            mail_s = timed(lambda: (send(suite, [suite.first]), suite.wait_messages(suite.first, 1, LIMIT_S)))
            scan_s = settled_cpu_s(qmgr)
            memory = kib(qmgr, "Pss:", "smaps_rollup")
            before = cpu_s(qmgr)
            suite.program("postkick", "public", "qmgr", "D")
            again_s = settled_cpu_s(qmgr) - before
            first_s, all_s, lines, command = listing(suite)
            showq = kib(process(suite, "showq"), "VmHWM:")
            site_s = timed(lambda: (suite.program("postqueue", "-s", "site.test"),
                                    wait_for(lambda: live.arrived, LIMIT_S)))
            assert lines > count, "the listing is not complete"
        finally:
            suite.stop()
    return [f"| `mailsuite start` with {count:,} deferred messages | {start_s:.1f} s |",
            f"| the first new message, sent at once after the start, is delivered | {mail_s:.2f} s |",
            f"| CPU time of qmgr: its start and first look; each further look | {scan_s:.1f} s; {again_s:.2f} s |",
            f"| memory of qmgr (PSS) | {memory // 1024} MB |",
            f"| `mailq`: first line, last line | {first_s:.2f} s, {all_s:.1f} s |",
            "| memory (largest RSS, most of it shared code): postqueue, showq | "
            f"{command // 1024} MB, {showq // 1024} MB |",
            f"| `postqueue -s SITE`: its one message is delivered | {site_s:.2f} s |"]


def dead_host(kind: str, count: int) -> str:
    """The row of one kind of dead host."""
    with ExitStack() as stack:
        live, folder = stack.enter_context(taking_host()), stack.enter_context(open_folder("mailsuite-bench."))
        port = stack.enter_context(silent_host()) if kind == "silent" else refusing_port()
        suite = Suite(folder)
        suite.postconf(f"transport_maps=inline:{{ {{dead.test=smtp:[127.0.0.1]:{port}}}, "
                       f"{{live.test=smtp:[127.0.0.1]:{live.port}}} }}", "smtp_connect_timeout=5s",
                       "smtpd_client_connection_count_limit=0")
        suite.start()
        try:
            feeders = [threading.Thread(target=send, args=(suite, ["x@dead.test"] * (count // 5))) for _ in range(5)]
            for feeder in feeders:
                feeder.start()
            waits = []
            while any(feeder.is_alive() for feeder in feeders) or suite.log().count("status=deferred") < count:
                number = len(live.arrived)
                waits.append(timed(lambda seen=number: (      # type: ignore[misc]
                    send(suite, ["x@live.test"]), wait_for(lambda: len(live.arrived) > seen, LIMIT_S))))
                time.sleep(0.1)
        finally:
            suite.stop()
    waits.sort()
    what = "never answers" if kind == "silent" else "refuses"
    return (f"| a message for a live host, from MAIL to its arrival, while {count:,} wait for one that {what} "
            f"({len(waits)} messages) | median {waits[len(waits) // 2]:.2f} s, longest {waits[-1]:.2f} s |")


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--deferred", type=int, default=100_000)
    parser.add_argument("--dead", type=int, default=5000)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    rows = [*large_queue(args.deferred), dead_host("refusing", args.dead), dead_host("silent", args.dead)]
    text = (f"{TITLE}\n\n`make bench-queue`, on {os.cpu_count()} cores, the load included.\n\n"
            "| what | figure |\n|---|---|\n" + "\n".join(rows) + "\n")
    print(text)
    if args.output is not None:
        page = args.output.read_text()
        page = re.sub(rf"\n*{TITLE}.*?(?=\n#|\Z)", "", page, flags=re.S).rstrip("\n")
        args.output.write_text(f"{page}\n\n{text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
