"""One Maildir with a million messages, one account with ten thousand folders: time and memory, for docs/performance.md.

    bench_scale.py [--messages 1000000] [--folders 10000] [--output docs/performance.md]

The messages are hard links to a few hundred files, so they take directory entries but little disk. A site of its own is
started; a client of sockets and nothing else asks over IMAP and throws the answers away. For each step: seconds by the
clock, processor seconds of the user's worker, octets of the answer, and the worker's peak of memory until then.
"""

import argparse
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.faults import processes
from tests.support.suite import Suite, open_folder

TITLE = "## A million messages, ten thousand folders"
LINKS = 20_000              # names of one file; ext4 has room for 65,000
LIMIT_S = 900.0
INTRO = """
`make bench-scale`: a Maildir of {messages:,} messages (4 KB) that we see for the first time, and an account of
{folders:,} folders with three messages each. Seconds by the clock and of the processor, the size of the answer, the
peak of memory of the user's worker.
"""


def message(number: int) -> bytes:
    return (f"From: Sender {number} <s{number}@far.test>\nTo: anna@site.test\nSubject: message {number}\n"
            f"Date: Tue, 14 Nov 2023 22:13:{number % 60:02} +0000\nMessage-ID: <{number}@far.test>\n\n"
            + "text of a letter that nobody reads\n" * 105).encode()


def fill(folder: Path, messages: int, owner: os.stat_result) -> None:
    """A Maildir as other programs leave one: no uidlist, three of four messages are seen."""
    for name in ("new", "cur", "tmp"):
        make(folder / name, owner)
    source, sizes = b"", ""
    for number in range(messages):
        flags = "S" if number % 4 else ""
        base = f"{1_600_000_000 + number // 10}.M{number % 10}P1.bench"
        if number % LINKS == 0:
            octets = message(number)
            wire = len(octets) + octets.count(b"\n")
            sizes = f",S={len(octets)},W={wire}"
            path = folder / "cur" / f"{base}{sizes}:2,{flags}"
            path.write_bytes(octets)
            os.chown(path, owner.st_uid, owner.st_gid)
            source = os.fsencode(path)
        else:
            os.link(source, os.fsencode(folder / "cur" / f"{base}{sizes}:2,{flags}"))


def make(folder: Path, owner: os.stat_result) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    os.chown(folder, owner.st_uid, owner.st_gid)


def fill_folders(top: Path, folders: int, owner: os.stat_result) -> None:
    """Three levels: .F012.F034.F056; parents come with their first child."""
    names = []
    for number in range(folders):
        name = f"F{number // 1000:02}.F{number // 10:04}.F{number:05}"
        folder = top / f".{name}"
        make(folder, owner)
        fill(folder, 3, owner)
        (folder / "maildirfolder").touch()
        names.append(name)
    subscribed = top / "subscriptions"
    subscribed.write_text("V\t2\n\n" + "".join(name.replace(".", "\t") + "\n" for name in names))
    os.chown(subscribed, owner.st_uid, owner.st_gid)


class Client:
    """Says commands and counts octets."""

    def __init__(self, suite: Suite) -> None:
        self._sock = socket.create_connection(("127.0.0.1", suite.ports["imap"]), timeout=LIMIT_S)
        self._sock = suite.tls().wrap_socket(self._start_tls(self._sock), server_hostname="localhost")
        self.size = 0
        self.last = b""
        self.say(f"LOGIN {suite.first} {suite.users[suite.first]}")

    @staticmethod
    def _start_tls(sock: socket.socket) -> socket.socket:
        sock.recv(4096)
        sock.sendall(b"s STARTTLS\r\n")
        assert sock.recv(4096).startswith(b"s OK")
        return sock

    def say(self, command: str) -> None:
        """Until the tagged answer, which has to be OK."""
        self._sock.sendall(f"x {command}\r\n".encode())
        self.size, tail = 0, b"\r\n"
        while True:
            octets = self._sock.recv(1 << 20)
            assert octets, f"{command}: the connection was closed"
            self.size += len(octets)
            tail = (tail + octets)[-4096:]
            if tail.endswith(b"\r\n") and (at := tail.rfind(b"\r\nx ")) >= 0:
                assert tail[at + 4:].startswith(b"OK"), tail[at:]
                self.last = tail
                return

    def close(self) -> None:
        self.say("LOGOUT")
        self._sock.close()


def workers(suite: Suite) -> list[int]:
    return [pid for kind, pids in processes.by_kind(suite).items() if kind.endswith(" worker") for pid in pids]


def peak_mib(suite: Suite) -> float:
    """Of the largest worker, since it was started."""
    found = [re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()) for pid in workers(suite)]
    return max((int(match[1]) for match in found if match), default=0) / 1024


def cpu_s(suite: Suite) -> float:
    ticks = sum(sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
                for pid in workers(suite))
    return ticks / os.sysconf("SC_CLK_TCK")


class Table:
    """The lines of one run."""

    def __init__(self, suite: Suite) -> None:
        self._suite = suite
        self.lines: list[str] = []

    def measure(self, what: str, act: Callable[[], object], size: Callable[[], int] = lambda: 0) -> None:
        cpu, start = cpu_s(self._suite), time.monotonic()
        act()
        clock = time.monotonic() - start
        line = f"{what:42}{clock:9.3f}{cpu_s(self._suite) - cpu:9.2f}{size() / 1e6:10.2f}{peak_mib(self._suite):10.0f}"
        print(line, flush=True)
        self.lines.append(line)

    def say(self, client: Client, what: str, command: str) -> None:
        self.measure(what, lambda: client.say(command), lambda: client.size)


@contextmanager
def running(suite: Suite) -> Iterator[Client]:
    """Started anew: nothing is in memory."""
    suite.start()
    try:
        client = Client(suite)
        yield client
        client.close()
    finally:
        suite.stop()


def many_messages(suite: Suite, count: int) -> list[str]:
    table = Table(suite)
    middle = count // 2
    with running(suite) as client:
        table.say(client, "SELECT, seen for the first time", "SELECT INBOX")
        table.say(client, "FETCH 1:* (UID FLAGS)", "FETCH 1:* (UID FLAGS)")
        table.say(client, "1000 ENVELOPEs in the middle", f"FETCH {middle}:{middle + 999} (ENVELOPE)")
        table.say(client, "the same again", f"FETCH {middle}:{middle + 999} (ENVELOPE)")
        table.say(client, "one body", f"FETCH {middle} (BODY.PEEK[])")
        table.say(client, "SEARCH UNSEEN", "SEARCH RETURN (COUNT) UNSEEN")
        table.say(client, "STORE of one flag", f"STORE {middle} +FLAGS (\\Flagged)")
        table.say(client, "STORE of a flag of 10,000", f"STORE {middle}:{middle + 9999} +FLAGS.SILENT (\\Answered)")
        table.say(client, "EXPUNGE of one", f"UID EXPUNGE {middle}")
        new = suite.maildir(suite.first) / "new/1790000000.M1P1.late"
        new.write_bytes(message(1))
        os.chown(new, *owner_of(suite))
        table.say(client, "NOOP after a delivery", "NOOP")
        table.say(client, "RFC822.SIZE of all", "FETCH 1:* (RFC822.SIZE)")
        second = Client(suite)
        table.say(second, "a second session's SELECT", "SELECT INBOX")
        second.close()
    with running(suite) as client:
        table.say(client, "after a restart: STATUS", "STATUS INBOX (MESSAGES UNSEEN UIDNEXT)")
        table.say(client, "SELECT", "SELECT INBOX")
        table.say(client, "FETCH 1:* (UID FLAGS)", "FETCH 1:* (UID FLAGS)")
    return table.lines


def many_folders(suite: Suite) -> list[str]:
    table = Table(suite)
    with running(suite) as client:
        table.say(client, "LIST", 'LIST "" "*"')
        table.say(client, "LSUB", 'LSUB "" "*"')
        status = 'LIST "" "*" RETURN (STATUS (MESSAGES UNSEEN UIDNEXT))'
        table.say(client, "LIST with STATUS, the first time", status)
        table.say(client, "the same again", status)
        table.say(client, "CREATE", "CREATE one.more")
        table.say(client, "RENAME of a tenth of them", "RENAME F00 moved")
    with running(suite) as client:
        table.say(client, "after a restart: LIST with STATUS", status)
    return table.lines


def owner_of(suite: Suite) -> tuple[int, int]:
    info = os.stat(suite.maildir(suite.first))
    return info.st_uid, info.st_gid


def run(messages: int, folders: int) -> list[str]:
    lines = [f"{'':42}{'clock, s':>9}{'cpu, s':>9}{'answer, MB':>11}{'peak, MiB':>10}"]
    print(lines[0])
    for part, count in ((many_messages, messages), (many_folders, folders)):
        if not count:
            continue
        with open_folder() as folder:
            suite = Suite(folder)
            with running(suite) as client:      # makes the user's folder
                client.say("SELECT INBOX")
            home = suite.maildir(suite.first)
            owner = os.stat(home)
            start = time.monotonic()
            if part is many_messages:
                shutil.rmtree(home)
                make(home, owner)
                fill(home, count, owner)
                lines += [f"{count:,} messages", *many_messages(suite, count)]
            else:
                fill_folders(home, count, owner)
                print(f"made in {time.monotonic() - start:.0f} s", flush=True)
                lines += [f"{count:,} folders", *many_folders(suite)]
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--folders", type=int, default=10_000)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    if shutil.disk_usage("/var/tmp").free < 2 << 30:
        print("skipped: less than 2 GiB of room in /var/tmp")
        return 1
    lines = run(args.messages, args.folders)
    if args.output is not None:
        intro = INTRO.format(messages=args.messages, folders=args.folders)
        text = f"{TITLE}\n{intro}\n```\n" + "\n".join(lines) + "\n```\n"
        old = re.compile(rf"^{re.escape(TITLE)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
        page = args.output.read_text()
        page = old.sub(lambda match: text + "\n", page) if old.search(page) else page.replace(
            "## What was tried", text + "\n## What was tried", 1)
        args.output.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
