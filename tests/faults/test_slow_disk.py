"""A disk that takes long for a sync, until it is healed: who needs it waits, everybody else is answered meanwhile."""

import imaplib
import smtplib
import threading

import pytest

from tests.faults.far_end import FarEnd, Plan
from tests.faults.load import ident_of, message
from tests.faults.shim import Shim
from tests.faults.world import STORE, World
from tests.support.suite import wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("faults")]
SLOW_MS = 45_000
SENDERS = 6


class Slow(threading.Thread):
    """One message over a connection of its own; `answered` is set by the answer to its content."""

    def __init__(self, world: World, ident: str, recipient: str) -> None:
        super().__init__(daemon=True)
        self.answered = threading.Event()
        self._smtp = smtplib.SMTP("127.0.0.1", world.suite.ports["smtp"], timeout=30)
        self._world, self._mark, self._recipient = world, ident, recipient

    def run(self) -> None:
        with self._smtp as smtp:
            smtp.sendmail(self._world.sender, [self._recipient],
                          message(self._mark, 500, sender=self._world.sender))
            self.answered.set()


def test_smtpd_answers_others(shimmed: tuple[World, Shim]) -> None:
    world, shim = shimmed
    others = [smtplib.SMTP("127.0.0.1", world.suite.ports["smtp"], timeout=20) for _ in range(SENDERS)]
    shim.slow_syncs(SLOW_MS, "/spool/")
    slow = [Slow(world, f"slow-{number}", world.suite.second) for number in range(SENDERS)]
    for sender in slow:
        sender.start()
    wait_for(lambda: shim.met >= 2)
    for other in others:
        assert other.ehlo()[0] == 250
        assert other.mail(world.sender)[0] == 250
        assert other.rcpt(world.suite.second)[0] == 250
    assert not any(sender.answered.is_set() for sender in slow), "the answer came before the sync"
    shim.heal()
    for sender in slow:
        assert sender.answered.wait(30)
    for other in others:
        other.quit()


def test_qmgr_goes_on(shimmed: tuple[World, Shim], far: FarEnd) -> None:
    """Marks of deferred mail are synced in threads: mail that came later is delivered before."""
    world, shim = shimmed
    far.plan = Plan(temporary=1.0)
    try:
        shim.slow_syncs(SLOW_MS, "/spool/active")
        send(world, "held-up", "user1@far.test", world.suite.second)
        wait_for(lambda: shim.met)
        send(world, "passes", world.suite.second)
        wait_for(lambda: "passes" in delivered(world, world.suite.second))
        assert not any(name.startswith("deferred/") for name in world.queued()), "the mark was not slow"
    finally:
        far.plan = Plan()
        shim.heal()
    wait_for(lambda: not world.queued())


def test_imap_answers_others(shimmed: tuple[World, Shim]) -> None:
    """Sessions of the same process, another user's and the same user's, are answered while an APPEND waits."""
    world, shim = shimmed
    suite = world.suite

    def login(user: str) -> imaplib.IMAP4_SSL:
        client = imaplib.IMAP4_SSL("localhost", suite.ports["imaps"], ssl_context=suite.tls(), timeout=30)
        client.login(user, suite.users[user])
        return client

    writer, same, other = login(suite.first), login(suite.first), login(suite.second)
    writer.create("Kept")
    same.select("INBOX")
    other.select("INBOX")
    done = threading.Event()

    def append() -> None:
        writer.append("Kept", "", "", message("slow-append", 500, sender=world.sender))
        done.set()

    shim.slow_syncs(SLOW_MS, "/.Kept")
    thread = threading.Thread(target=append, daemon=True)
    thread.start()
    wait_for(lambda: shim.met)
    for client in (same, other):
        assert client.noop()[0] == "OK"
        assert client.search(None, "ALL")[0] == "OK"
    assert not done.is_set()
    shim.heal()
    assert done.wait(30)
    thread.join(5)
    for client in (writer, same, other):
        client.logout()


def test_lmtp_answers_others(shimmed: tuple[World, Shim]) -> None:
    """A slow store of one user holds up nobody else's mail."""
    world, shim = shimmed
    send(world, "first-lmtp", STORE)
    wait_for(lambda: "first-lmtp" in delivered(world, STORE))
    shim.slow_syncs(SLOW_MS, "/store.test/")
    send(world, "slow-lmtp", STORE)
    wait_for(lambda: shim.met)
    send(world, "quick", world.suite.second)
    wait_for(lambda: "quick" in delivered(world, world.suite.second))
    assert world.queued(), "the delivery was not slow"
    shim.heal()
    wait_for(lambda: "slow-lmtp" in delivered(world, STORE))


def send(world: World, ident: str, *recipients: str) -> None:
    with smtplib.SMTP("127.0.0.1", world.suite.ports["smtp"], timeout=20) as smtp:
        smtp.sendmail(world.sender, list(recipients), message(ident, 500, sender=world.sender))


def delivered(world: World, address: str) -> list[str]:
    return [ident_of(content) for _, to, content in world.deliveries() if to == address]
