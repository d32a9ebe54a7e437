"""The wall clock is set forward and back by hours: timers go on, nothing expires that should not, nothing spins."""

import imaplib
import re
import smtplib
import time

import pytest

from tests.faults import processes
from tests.faults.far_end import FarEnd, Plan
from tests.faults.load import ident_of, message
from tests.faults.shim import Shim
from tests.faults.world import World
from tests.support.suite import wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("faults")]
HOUR = 3600


def send(world: World, ident: str, *recipients: str) -> str:
    """Returns the queue id."""
    with smtplib.SMTP("127.0.0.1", world.suite.ports["smtp"], timeout=20) as smtp:
        smtp.ehlo()
        smtp.mail(world.sender)
        for recipient in recipients:
            assert smtp.rcpt(recipient)[0] == 250
        code, said = smtp.data(message(ident, 500, sender=world.sender))
        assert code == 250, said
        return said.split()[-1].decode()


def test_the_clock_jumps(shimmed: tuple[World, Shim], far: FarEnd) -> None:
    world, shim = shimmed
    suite = world.suite
    client = imaplib.IMAP4_SSL("localhost", suite.ports["imaps"], ssl_context=suite.tls(), timeout=20)
    client.login(suite.second, suite.users[suite.second])
    client.select("INBOX")
    ids: list[str] = []
    try:
        for offset in (5 * HOUR, -5 * HOUR, 0):
            far.plan = Plan(temporary=1.0)
            waits, arrives = f"waits-{offset}-{len(ids)}", f"arrives-{offset}-{len(ids)}"
            ids.append(send(world, waits, "user1@far.test"))
            wait_for(lambda queue_id=ids[-1]: any(name.startswith("deferred/") and name.endswith(queue_id)
                                                  for name in world.queued()))
            shim.set_clock(offset)
            far.plan = Plan()
            ids.append(send(world, arrives, suite.second))
            wait_for(lambda ident=arrives: ident in [ident_of(content) for _, _, content in world.deliveries()])
            wait_for(lambda ident=waits: ident in far.idents,
                     what=f"deferred mail is forgotten when the clock is at {offset}")
            assert client.noop()[0] == "OK"
            with imaplib.IMAP4_SSL("localhost", suite.ports["imaps"], ssl_context=suite.tls(), timeout=20) as other:
                assert other.login(suite.second, suite.users[suite.second])[0] == "OK"
        wait_for(lambda: not world.queued())
        assert not spinning(world)
    finally:
        shim.set_clock(0)
        client.logout()
    assert len(set(ids)) == len(ids)
    log = suite.log()
    assert not re.search(r"delays?=-|/-\d", log)
    assert "expired" not in log and "does not answer" not in log and "Traceback" not in log
    assert b"Action: failed" not in b"".join(world.reports())


def spinning(world: World, watch_s: float = 1.0) -> list[str]:
    """Processes that use most of a processor while there is nothing to do, and go on with it: what ends a piece of work
    is busy once."""
    kinds = {pid: kind for kind, pids in processes.by_kind(world.suite).items() for pid in pids}
    for _ in range(5):
        before, began = {pid: processes.cpu_s(pid) for pid in kinds}, time.monotonic()
        time.sleep(watch_s)
        busy_s = (time.monotonic() - began) * 0.6
        kinds = {pid: kind for pid, kind in kinds.items() if processes.cpu_s(pid) - before[pid] > busy_s}
        if not kinds:
            break
    return list(kinds.values())


def test_mail_from_before_the_clock_was_put_back(shimmed: tuple[World, Shim], far: FarEnd) -> None:
    """What was deferred by a clock that ran ahead waits no longer than maximal_backoff_time."""
    world, shim = shimmed
    far.plan = Plan(temporary=1.0)
    try:
        shim.set_clock(30 * 24 * HOUR)
        queue_id = send(world, "from-the-future", "user1@far.test")
        wait_for(lambda: f"deferred/{queue_id[0]}/{queue_id}" in world.queued() or any(
            name == f"deferred/{queue_id}" for name in world.queued()))
        shim.set_clock(0)
        far.plan = Plan()
        wait_for(lambda: "from-the-future" in far.idents)
        wait_for(lambda: not world.queued())
    finally:
        far.plan = Plan()
        shim.set_clock(0)
