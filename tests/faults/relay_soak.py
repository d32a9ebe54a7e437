"""A busy queue, operators at work, and next hops that come and go: nothing is lost.

    python -m tests.faults.relay_soak [--minutes 5]             a part of make soak; needs root, Postfix and Exim

Mail goes to a real Postfix and a real Exim over TLS, both of which are stopped, killed and started anew all the time.
Meanwhile postsuper holds, releases, requeues and deletes, postqueue flushes all, one site and single messages, and
lists. Only mail from DOOMED is deleted. At the end each other message that was answered with 250 has arrived, whole;
doubles are counted (a hop that ends between its own commit and its reply gets the message again); the queue is empty.
Exit status: 0, or 1 with what was wrong.
"""

import argparse
import json
import random
import smtplib
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.faults.load import ident_of, is_whole, message
from tests.support.relays import Relay, running_exim, running_postfix, start_exim
from tests.support.suite import Suite, open_folder, running_suite, wait_for

DOOMED, KEPT = "doomed@demo.test", "kept@demo.test"
SETTLE_S = 120.0


class Worker(threading.Thread):
    """Does something again and again until it is stopped; what it raised is in `trouble`."""

    def __init__(self, name: str, work: Callable[[], None], pause_s: float) -> None:
        super().__init__(name=name, daemon=True)
        self._work, self._pause_s = work, pause_s
        self._stopped = threading.Event()
        self.rounds, self.trouble = 0, ""

    def run(self) -> None:
        while not self._stopped.wait(self._pause_s):
            try:
                self._work()
            except Exception as error:
                self.trouble = f"{self.name}: {error!r}"
                return
            self.rounds += 1

    def stop(self) -> None:
        self._stopped.set()


class Busy:
    """A site, its relays and what was accepted."""

    def __init__(self, suite: Suite, relays: dict[str, Relay], seed: int) -> None:
        self.suite, self.relays, self._random = suite, relays, random.Random(seed)
        self.accepted: set[str] = set()
        self._count = 0
        self._lock = threading.Lock()

    # --- traffic ------------------------------------------------------------------------------------------------

    def send(self) -> None:
        """A few messages over one connection; one in ten is doomed."""
        with smtplib.SMTP("127.0.0.1", self.suite.ports["smtp"], timeout=60) as smtp:
            for _ in range(5):
                with self._lock:
                    self._count += 1
                    number, sender = self._count, DOOMED if self._random.random() < 0.1 else KEPT
                    to = f"box@{self._random.choice(sorted(self.relays))}.test"
                    size = self._random.choice((200, 2000, 20_000))
                ident = f"busy-{number}"
                smtp.sendmail(sender, [to], message(ident, size, sender=sender))
                if sender == KEPT:
                    self.accepted.add(ident)

    # --- operators ----------------------------------------------------------------------------------------------

    def listing(self) -> list[dict[str, str]]:
        """postqueue -j."""
        said = self.run("postqueue", "-j")
        return [json.loads(line) for line in said.splitlines()]

    def run(self, program: str, *words: str, text: str = "") -> str:
        said = self.suite.program(program, *words, input=text)
        if "Traceback" in said.stderr:
            raise AssertionError(said.stderr)
        return said.stdout

    def supervise(self) -> None:
        """postsuper, on messages as the listing has them: they may be gone meanwhile."""
        entries = self.listing()
        for sender, queue, option, share in ((DOOMED, "", "-d", 1.0), (KEPT, "hold", "-H", 0.5), (KEPT, "", "-h", 0.2),
                                             (KEPT, "", "-r", 0.2)):
            ids = [entry["queue_id"] for entry in entries if entry["sender"] == sender
                   and queue in ("", entry["queue_name"]) and self._random.random() < share]
            if ids:
                self.run("postsuper", option, "-", text="".join(f"{one}\n" for one in ids))

    def flush(self) -> None:
        """postqueue -s, -i, -f."""
        self.run("postqueue", "-s", f"{self._random.choice(sorted(self.relays))}.test")
        if entries := self.listing():
            self.run("postqueue", "-i", self._random.choice(entries)["queue_id"])
        self.run("postqueue", "-f")

    def restart_postfix(self) -> None:
        folder = str(self.relays["postfix"].top / "etc")
        for word in (self._random.choice(("stop", "abort")), "start"):
            subprocess.run(["/usr/sbin/postfix", "-c", folder, word], check=False, timeout=60,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(self._random.uniform(0.0, 2.0))

    def restart_exim(self) -> None:
        relay = self.relays["exim"]
        assert relay.daemon is not None
        (relay.daemon.kill if self._random.random() < 0.5 else relay.daemon.terminate)()
        relay.daemon.wait(20)
        time.sleep(self._random.uniform(0.0, 2.0))
        start_exim(relay)

    # --- the account --------------------------------------------------------------------------------------------

    def arrivals(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for relay in self.relays.values():
            for content in relay.messages():
                if not is_whole(content):
                    raise AssertionError(f"damaged at {relay.name}: {content[:300]!r}")
                found[ident_of(content)] += 1
        return found

    def settled(self) -> bool:
        """Nobody holds anything back any more."""
        self.run("postsuper", "-H", "ALL")
        self.run("postqueue", "-f")
        for relay in self.relays.values():
            relay.flush()
        return not self.listing() and not self.accepted - set(self.arrivals())


@contextmanager
def open_busy(seed: int) -> Iterator[Busy]:
    """Our suite before both relays."""
    with ExitStack() as stack:
        suite = stack.enter_context(running_suite())
        relays = {name: stack.enter_context(start(stack.enter_context(open_folder(f"{name}-busy.")),
                                                  suite.ports["smtp"]))
                  for name, start in (("postfix", running_postfix), ("exim", running_exim))}
        suite.stop()
        with open(Path(suite.top) / "master.cf", "a") as file:
            file.write("tls unix - - n - - smtp\n  -o smtp_tls_security_level=encrypt\n")
        routes = "".join(f"{{ {name}.test = tls:[127.0.0.1]:{relay.port} }}, " for name, relay in relays.items())
        suite.postconf(f"transport_maps=inline:{{ {routes} }}", "fast_flush_domains=postfix.test exim.test",
                       "minimal_backoff_time=2s", "maximal_backoff_time=4s", "queue_run_delay=2s",
                       "smtp_connect_timeout=5s", "smtpd_client_connection_count_limit=0")
        suite.start()
        yield Busy(suite, relays, seed)


def soak(busy: Busy, seconds: float) -> list[str]:
    """What was wrong."""
    workers = [Worker("send", busy.send, 0.2), Worker("send too", busy.send, 0.3),
               Worker("postsuper", busy.supervise, 0.5), Worker("postqueue", busy.flush, 0.7),
               Worker("Postfix", busy.restart_postfix, 4.0), Worker("Exim", busy.restart_exim, 5.0)]
    for worker in workers:
        worker.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end and all(worker.is_alive() for worker in workers):
        time.sleep(min(10.0, max(0.0, end - time.monotonic())))
        print(f"{len(busy.accepted)} accepted, {sum(busy.arrivals().values())} arrived, rounds: "
              + ", ".join(f"{worker.name} {worker.rounds}" for worker in workers), flush=True)
    for worker in workers:
        worker.stop()
    for worker in workers:
        worker.join(90)
    wrong = [worker.trouble for worker in workers if worker.trouble]
    wrong += [f"{worker.name} hangs" for worker in workers if worker.is_alive()]
    try:
        wait_for(busy.settled, SETTLE_S)
    except TimeoutError:
        wrong.append(f"{len(busy.listing())} messages are still in the queue")
    found = busy.arrivals()
    lost = sorted(busy.accepted - set(found))
    doubles = sum(count - 1 for count in found.values())
    print(f"{len(busy.accepted)} accepted to be kept, {len(lost)} lost, {doubles} doubles, {len(found)} arrived")
    wrong += [f"lost: {' '.join(lost[:20])}"] if lost else []
    wrong += ["a traceback in the log"] if "Traceback" in busy.suite.log() else []
    return wrong


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with open_busy(options.seed) as busy:
        wrong = soak(busy, options.minutes * 60)
    for line in wrong:
        print(line, file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
