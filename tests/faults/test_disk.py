"""A file system without room: the client hears 452, deliveries wait, nothing is cut off, and all goes on by itself."""

import contextlib
import errno
import imaplib
import os
import smtplib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.accounting import wait_settled
from tests.faults.far_end import FarEnd, Plan
from tests.faults.load import Ledger, Sender, SmtpSender, ident_of, message
from tests.faults.shim import Shim
from tests.faults.world import MBOX, World, can_mount, open_world
from tests.support.suite import free_port, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("faults")]
needs_mount = pytest.mark.skipif(not can_mount(), reason="a small file system is mounted as root only")


@contextlib.contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Every block is taken meanwhile."""
    filler = folder / ".filler"
    fd = os.open(filler, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for size in (1 << 16, 1 << 12):
            with contextlib.suppress(OSError):
                while True:
                    os.write(fd, bytes(size))
        yield
    finally:
        os.close(fd)
        filler.unlink()


@contextlib.contextmanager
def without_inodes(folder: Path) -> Iterator[None]:
    """Every inode is taken meanwhile."""
    number, made = 0, []
    try:
        with contextlib.suppress(OSError):
            while True:
                path = folder / f".inode{number}"
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
                made.append(path)
                number += 1
        yield
    finally:
        for path in made:
            path.unlink()


def send(world: World, ident: str, *recipients: str, size: int = 20_000) -> None:
    with smtplib.SMTP("127.0.0.1", world.suite.ports["smtp"], timeout=20) as smtp:
        smtp.sendmail(world.sender, list(recipients), message(ident, size, sender=world.sender))


def idents(world: World, address: str) -> list[str]:
    return [ident_of(content) for _, to, content in world.deliveries() if to == address]


@pytest.fixture(scope="module")
def small() -> Iterator[tuple[World, FarEnd]]:
    """Queue and mailboxes on file systems of a few megabytes."""
    with FarEnd(free_port(), Plan()) as far, open_world(
            far.port, "message_size_limit=200000", small={"spool": "size=8m,nr_inodes=400,mode=755",
                                                          "vmail": "size=4m,nr_inodes=400"}) as world:
        world.suite.start()
        yield world, far


@needs_mount
@pytest.mark.parametrize("fill", [filled, without_inodes])
def test_a_full_queue(small: tuple[World, FarEnd], fill) -> None:
    world, far = small
    name = fill.__name__
    far.plan = Plan(temporary=1.0)
    try:
        send(world, f"waits-{name}", "user1@far.test")
        wait_for(lambda: any(entry.startswith("deferred/") for entry in world.queued()))
        with fill(world.top / "spool"):
            with pytest.raises((smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused)) as refused:
                for number in range(100):           # some nameless files are kept ready
                    send(world, f"refused-{name}-{number}", "user2@far.test")
            assert "452" in str(refused.value) and "4.3.1" in str(refused.value)
            far.plan = Plan()
            wait_for(lambda: f"waits-{name}" in far.idents,
                     what="queued mail waits")
    finally:
        far.plan = Plan()
    wait_for(lambda: not world.queued())
    send(world, f"after-{name}", world.suite.second)
    wait_for(lambda: f"after-{name}" in idents(world, world.suite.second))
    assert "No space left on device" in world.suite.log() or "Insufficient" in world.suite.log()
    assert "Traceback" not in world.suite.log()


@needs_mount
@pytest.mark.parametrize("fill", [filled, without_inodes])
def test_full_mailboxes(small: tuple[World, FarEnd], fill) -> None:
    world, _ = small
    suite, vmail = world.suite, world.top / "vmail"
    name = fill.__name__
    send(world, f"before-{name}", suite.second, MBOX)
    wait_for(lambda: f"before-{name}" in idents(world, MBOX) and f"before-{name}" in idents(world, suite.second))
    wait_for(lambda: not world.queued())        # it is read before it is all there
    size = (vmail / "demo.test/mbox").stat().st_size
    with fill(vmail):
        send(world, f"waits-{name}", suite.second, MBOX)
        wait_for(lambda: all(f"to=<{address}>, relay=virtual" in line for address in (suite.second,)
                             for line in suite.log().splitlines()[-1:]) or
                 sum("status=deferred" in line for line in suite.log().splitlines()) >= 2)
        wait_for(lambda: any(entry.startswith("deferred/") for entry in world.queued()))
        if fill is filled:
            assert (vmail / "demo.test/mbox").stat().st_size == size
        assert f"waits-{name}" not in idents(world, suite.second)
    wait_for(lambda: f"waits-{name}" in idents(world, MBOX) and f"waits-{name}" in idents(world, suite.second))
    wait_for(lambda: not world.queued())
    assert idents(world, MBOX).count(f"waits-{name}") == 1
    assert "status=bounced" not in suite.log() and "Traceback" not in suite.log()


@needs_mount
@pytest.mark.parametrize("fill", [filled, without_inodes])
def test_a_user_makes_room(small: tuple[World, FarEnd], fill) -> None:
    """On a full disk mail can be read, deleted and expunged."""
    world, _ = small
    suite, vmail = world.suite, world.top / "vmail"
    send(world, f"read-{fill.__name__}", suite.second)
    wait_for(lambda: f"read-{fill.__name__}" in idents(world, suite.second))
    with fill(vmail):
        client = imaplib.IMAP4_SSL("localhost", suite.ports["imaps"], ssl_context=suite.tls(), timeout=20)
        client.login(suite.second, suite.users[suite.second])
        try:
            status, said = client.select("INBOX")
            assert status == "OK", said
            status, said = client.fetch("*", "(UID FLAGS BODY.PEEK[])")
            assert status == "OK", said
            status, said = client.store("1:*", "+FLAGS", r"(\Deleted)")
            assert status == "OK", said
            status, said = client.expunge()
            assert status == "OK", said
        finally:
            client.logout()
        assert not idents(world, suite.second)
    assert "Traceback" not in suite.log()


def wait_for_more(count: Callable[[], int], more: int) -> None:
    enough = count() + more
    wait_for(lambda: count() > enough)


@needs_mount
def test_room_comes_and_goes_under_load() -> None:
    far, ledger = FarEnd(free_port(), Plan(temporary=0.1, permanent=0.1)), Ledger()
    with far, open_world(far.port, "message_size_limit=200000",
                         small={"spool": "size=8m,nr_inodes=400,mode=755"}) as world:
        suite = world.suite
        suite.start()
        senders: list[Sender] = [SmtpSender(world, ledger, n, pause_s=0.01) for n in range(3)]
        for sender in senders:
            sender.start()
        try:
            for turn in range(4):
                fill = (filled, without_inodes)[turn % 2]
                with fill(world.top / "spool"):
                    wait_for_more(lambda: sum(ledger.refusals.values()), 5)
                wait_for_more(lambda: len(ledger.accepted), 20)
        finally:
            for sender in senders:
                sender.stop()
            for sender in senders:
                sender.join(90)
        account = wait_settled(world, ledger, far, limit_s=150)
        log = suite.log()
    assert account.settled and not account.damaged and not account.doubles, account.describe()
    assert "Traceback" not in log, log.partition("Traceback")[2][:3000]


@pytest.mark.parametrize(("part", "error"), [("active", errno.EROFS), ("deferred", errno.ENOSPC), ("defer", errno.EIO),
                                             ("", errno.EROFS)])
def test_parts_of_the_queue_cannot_be_changed(shimmed: tuple[World, Shim], far: FarEnd, part: str, error: int) -> None:
    """What the end of a round needs cannot be done: it is done when it can be, and nobody gets the mail twice."""
    world, shim = shimmed
    ident, suite = f"stuck-{part}-{error}", world.suite
    far.plan = Plan(temporary=1.0, stall=1.0, stall_s=0.5)
    send(world, ident, "user1@far.test", suite.second, size=200)
    shim.fail_changes(error, f"/spool/{part}")
    wait_for(lambda: shim.met)
    shim.heal()
    far.plan = Plan()
    wait_for(lambda: ident in far.idents)
    wait_for(lambda: not world.queued())
    assert idents(world, suite.second).count(ident) == 1
    assert far.idents.count(ident) == 1


@pytest.mark.parametrize("part", ["incoming", ""])
def test_a_notice_that_cannot_be_kept(shimmed: tuple[World, Shim], far: FarEnd, part: str) -> None:
    """The failure is told when there is room again, once."""
    world, shim = shimmed
    ident = f"owed-{part}"
    far.plan = Plan(temporary=1.0)
    send(world, ident, "user1@far.test", size=200)
    wait_for(lambda: any(name.startswith("deferred/") for name in world.queued()))
    shim.fail_changes(errno.ENOSPC, f"/spool/{part}")
    far.plan = Plan(permanent=1.0)
    wait_for(lambda: "non-delivery notification failed" in world.suite.log() or not part and shim.met > 3)
    shim.heal()
    wait_for(lambda: not world.queued())
    reports = [report for report in world.reports() if b"multipart/report" in report and ident_of(report) == ident]
    assert len(reports) == 1
