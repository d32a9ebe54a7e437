"""Descriptors run out: connections wait, nothing dies or spins, and mail goes on when there are some again."""

import contextlib
import imaplib
import os
import smtplib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import processes
from tests.faults.load import ident_of, message
from tests.faults.test_clock import spinning
from tests.faults.world import STORE, World, open_world
from tests.support.suite import free_port, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("descriptors")]
DESCRIPTORS = 90                # the master itself needs some 60
CLIENTS = 250


@pytest.fixture(scope="module")
def site() -> Iterator[World]:
    with open_world(free_port(), "default_process_limit=1000") as world:
        world.suite.command("start", through=("prlimit", f"--nofile={DESCRIPTORS}:"))
        yield world


def send(world: World, ident: str, *recipients: str) -> None:
    with smtplib.SMTP("127.0.0.1", world.suite.ports["smtp"], timeout=30) as smtp:
        smtp.sendmail(world.sender, list(recipients), message(ident, 500, sender=world.sender))


@pytest.mark.parametrize("service", ["smtp", "submission", "imap", "imaps", "pop3"])
def test_too_many_clients(site: World, service: str) -> None:
    suite = site.suite
    kinds = ("master", "smtpd", "imap-login", "pop3-login", "qmgr", "access")
    wait_for(lambda: processes.by_kind(suite).keys() >= set(kinds))         # a process takes its name when it begins
    before = processes.by_kind(suite)
    clients = []
    try:
        for _ in range(CLIENTS):
            sock = socket.socket()
            clients.append(sock)
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", suite.ports[service]))
        wait_for(lambda: "cannot accept a connection" in suite.log())
        assert not spinning(site)
    finally:
        for sock in clients:
            sock.close()
    for kind in kinds:
        assert set(before[kind]) <= set(processes.by_kind(suite)[kind]), f"{kind} died"
    ident = f"after-{service}"
    wait_for(lambda: answers(site, service))
    send(site, ident, suite.second, STORE)
    wait_for(lambda: sum(ident_of(content) == ident for _, _, content in site.deliveries()) == 2)
    client = imaplib.IMAP4_SSL("localhost", suite.ports["imaps"], ssl_context=suite.tls(), timeout=30)
    client.login(suite.second, suite.users[suite.second])
    assert client.select("INBOX")[0] == "OK"
    client.logout()
    assert "Traceback" not in suite.log(), suite.log().partition("Traceback")[2][:3000]


def answers(world: World, service: str) -> bool:
    """Whether a client is greeted."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", world.suite.ports[service]), 20) as sock:
        return service == "imaps" or sock.recv(10) != b""
    return False


def test_many_deliveries_with_few_descriptors(site: World) -> None:
    """qmgr and the agents go on with what they have."""
    for number in range(60):
        send(site, f"many-{number}", site.suite.second, STORE)
    wait_for(lambda: not site.queued(), 60)
    found = [ident_of(content) for _, _, content in site.deliveries()]
    assert all(found.count(f"many-{number}") == 2 for number in range(60))


@contextlib.contextmanager
def starved(pids: list[int]) -> Iterator[None]:
    """Processes that can open nothing more meanwhile."""
    for pid in pids:            # one that begins takes its own user only after its name
        wait_for(lambda pid=pid: set_limit(pid, 3) or not processes.descriptors(pid), what=f"limit of {pid}")
    try:
        yield
    finally:
        for pid in pids:
            set_limit(pid, 1000)


def set_limit(pid: int, number: int) -> bool:
    """As the process' own user: even root may not where a container takes its rights away."""
    code = f"import resource as r; r.prlimit({pid}, r.RLIMIT_NOFILE, ({number}, r.prlimit({pid}, r.RLIMIT_NOFILE)[1]))"
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text()
        uid, gid = (int(status.partition(f"\n{name}:")[2].split()[0]) for name in ("Uid", "Gid"))
        who = {} if os.geteuid() else {"user": uid, "group": gid, "extra_groups": []}
        return subprocess.run(["/usr/bin/python3", "-S", "-c", code], check=False, cwd="/", **who).returncode == 0
    return False


@pytest.mark.parametrize("kind", ["smtpd", "qmgr", "virtual", "virtual worker", "smtp", "lmtp", "access",
                                  "access worker", "auth", "pickup", "master"])
def test_a_process_that_can_open_nothing(site: World, kind: str) -> None:
    """It waits and lives; what was accepted meanwhile arrives once when it can open files again."""
    suite, accepted = site.suite, []
    send(site, f"wakes-{kind}", suite.second, STORE)          # everybody is there
    wait_for(lambda: not site.queued())
    pids = processes.by_kind(suite).get(kind, [])
    with starved(pids):
        for number in range(4):
            with contextlib.suppress(OSError, smtplib.SMTPException):
                ident = f"starved-{kind}-{number}".replace(" ", "-")
                with smtplib.SMTP("127.0.0.1", suite.ports["smtp"], timeout=1.5) as smtp:
                    smtp.sendmail(site.sender, [suite.second, STORE], message(ident, 500, sender=site.sender))
                accepted.append(ident)
        assert not spinning(site, 0.5)
    wait_for(lambda: answers(site, "smtp"))
    send(site, f"after-{kind}".replace(" ", "-"), suite.second, STORE)
    wait_for(lambda: not site.queued(), 60)
    found = [ident_of(content) for _, _, content in site.deliveries()]
    assert [found.count(ident) for ident in accepted] == [2] * len(accepted)
    alive = processes.by_kind(suite).get(kind, [])
    assert kind.endswith("worker") or set(pids) <= set(alive), f"{kind} died"
    assert "Traceback" not in suite.log(), suite.log().partition("Traceback")[2][:3000]


@pytest.mark.parametrize(("kind", "path"), [
    ("qmgr", "public/qmgr"), ("showq", "public/showq"), ("smtp", "private/smtp"), ("virtual", "private/virtual"),
    ("verify", "private/verify")])
def test_who_knocks_at_a_process_that_can_open_nothing_waits(site: World, kind: str, path: str) -> None:
    """Connections to Unix sockets stay in the backlog, and are taken when there are descriptors again."""
    def knock() -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(site.top / "spool" / path))
        sock.settimeout(60)
        return sock

    with contextlib.closing(knock()):
        wait_for(lambda: bool(processes.by_kind(site.suite).get(kind)))
    with starved(processes.by_kind(site.suite)[kind]), contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(contextlib.closing(knock()))
        assert not spinning(site, 0.5)
    if kind == "showq":
        with contextlib.closing(knock()) as sock:
            assert sock.recv(1000).startswith(b"{")
    assert "Traceback" not in site.suite.log()
