"""How soon a client hears of new mail: from the end of a delivery to the EXISTS or STATUS at the client.

    bench_notices.py [--messages 100]         prints a section of docs/performance.md; bench.py puts it there

A site of its own is started. Messages are delivered by our agent's own function, and as another program does it, with a
file in tmp/ that is renamed into new/; the client is in IDLE in INBOX, or has said NOTIFY and watches another mailbox.
"""

import argparse
import itertools
import os
import socket
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from mailsuite.store.maildir_delivery import deliver_maildir
from tests.support.suite import Suite, open_folder

TEXT = b"Subject: new\n\n" + b"text of a letter\n" * 60
LIMIT_S = 20.0
INTRO = """## Notices

`scripts/bench_notices.py`, {messages} messages each: milliseconds from the end of a delivery to the client's hearing of
it.

| delivered by | told by | median | 95 % | worst |
|---|---|---|---|---|"""
_numbers = itertools.count()


class Client:
    """One IMAP session over a socket."""

    def __init__(self, suite: Suite) -> None:
        sock = socket.create_connection(("127.0.0.1", suite.ports["imap"]), timeout=LIMIT_S)
        sock.recv(4096)
        sock.sendall(b"s STARTTLS\r\n")
        assert sock.recv(4096).startswith(b"s OK")
        self._sock = suite.tls().wrap_socket(sock, server_hostname="localhost")
        self._file = self._sock.makefile("rb")
        self.say(f"LOGIN {suite.first} {suite.users[suite.first]}")

    def say(self, command: str, end: bytes = b"x ") -> None:
        self._sock.sendall(f"x {command}\r\n".encode())
        self.until(end)

    def until(self, start: bytes, holding: bytes = b"") -> None:
        """Read lines up to one that begins so, and holds that."""
        while not ((line := self._file.readline()).startswith(start) and holding in line):
            assert line, "the connection was closed"

    def close(self) -> None:
        self._sock.close()


def by_our_agent(folder: Path) -> None:
    deliver_maildir(str(folder), b"", [TEXT], host="bench")


def by_another_program(folder: Path) -> None:
    name = f"{time.time_ns()}.{next(_numbers)}.other"
    (folder / "tmp" / name).write_bytes(TEXT)
    os.rename(folder / "tmp" / name, folder / "new" / name)


def waits(deliver: Callable[[Path], None], folder: Path, hear: Callable[[], None], count: int) -> list[float]:
    """Milliseconds for each message."""
    found = []
    for _ in range(count):
        deliver(folder)
        begin = time.perf_counter()
        hear()
        found.append((time.perf_counter() - begin) * 1000)
        time.sleep(0.02)                # mail does not come in one go
    return found


def row(who: str, how: str, found: list[float]) -> str:
    worst = sorted(found)
    return f"| {who} | {how} | {statistics.median(found):.1f} | {worst[int(len(worst) * 0.95)]:.1f} | {worst[-1]:.1f} |"


def measure(suite: Suite, count: int) -> list[str]:
    """Rows of the table."""
    rows = []
    inbox = suite.maildir(suite.first)
    for who, deliver in (("our agent", by_our_agent), ("another program", by_another_program)):
        client = Client(suite)
        client.say("SELECT INBOX")
        client.say("IDLE", b"+ ")
        rows.append(row(who, "IDLE", waits(deliver, inbox, lambda: client.until(b"* ", b" EXISTS"), count)))  # noqa: B023
        client.close()
        client = Client(suite)
        client.say("NOTIFY SET (mailboxes Watched (MessageNew MessageExpunge))")
        rows.append(row(who, "NOTIFY, another mailbox", waits(
            deliver, inbox / ".Watched", lambda: client.until(b"* STATUS Watched"), count)))  # noqa: B023
        client.close()
    return rows


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--messages", type=int, default=100)
    args = parser.parse_args()
    with open_folder("mailsuite-bench.") as folder:
        suite = Suite(folder).start()
        try:
            client = Client(suite)
            client.say("CREATE Watched")
            client.say("STATUS INBOX (MESSAGES)")
            client.close()
            rows = measure(suite, args.messages)
        finally:
            suite.stop()
    print("\n".join((INTRO.format(messages=args.messages), *rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
