"""virtual: mailboxes, owners, errors; in workers, as root or not."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest

from mailsuite.deliver import virtual
from mailsuite.deliver.error import serve as serve_error
from tests.deliver.harness import MESSAGE, ROOT, SOMEBODY, Qmgr, with_agent


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent) if ROOT else ():
        os.chmod(folder, 0o755)
    made = tmp_path / "vmail"
    made.mkdir()
    if ROOT:
        os.chown(made, SOMEBODY.pw_uid, SOMEBODY.pw_gid)
    return made


def settings(base: Path, **more: str) -> dict[str, str]:
    return {"virtual_mailbox_base": str(base), "virtual_uid_maps": f"static:{SOMEBODY.pw_uid}",
            "virtual_gid_maps": f"static:{SOMEBODY.pw_gid}", "myhostname": "mx.test", "virtual_minimum_uid": "1",
            "virtual_mailbox_maps": "inline:{ {dir@a.test = a/dir/}, {box@a.test = a/box}, {@b.test = all/} }",
            "deliver_lock_attempts": "1"} | more


def test_the_original_recipient_is_left_out(base: Path) -> None:
    async def talk(qmgr: Qmgr) -> None:
        await qmgr.ask("dir@a.test")

    with_agent(virtual.serve, "virtual", settings(base, enable_original_recipient="no"), talk)
    (name,) = os.listdir(base / "a/dir/new")
    assert (base / "a/dir/new" / name).read_bytes().startswith(b"Return-Path: <a@b.test>\nDelivered-To: dir@a.test\n")


def test_maildir_and_mbox(base: Path) -> None:
    async def talk(qmgr: Qmgr) -> None:
        reports = await qmgr.ask("dir@a.test", "BOX@a.test", "nope@a.test", "x@b.test")
        assert {name: (r.status, r.dsn, r.reason) for name, r in reports.items()} == {
            "dir@a.test": ("sent", "2.0.0", "delivered to maildir"),
            "BOX@a.test": ("sent", "2.0.0", "delivered to mailbox"),
            "x@b.test": ("sent", "2.0.0", "delivered to maildir"),
            "nope@a.test": ("bounced", "5.1.1", 'unknown user: "nope@a.test"')}

    with_agent(virtual.serve, "virtual", settings(base), talk)
    (name,) = os.listdir(base / "a/dir/new")
    assert (base / "a/dir/new" / name).read_bytes() == (
        b"Return-Path: <a@b.test>\nX-Original-To: dir@a.test\nDelivered-To: dir@a.test\n" + MESSAGE)
    assert (base / "a/box").read_bytes().startswith(b"From a@b.test  ")
    assert (base / "a/box").read_bytes().endswith(b"\nDelivered-To: BOX@a.test\n" + MESSAGE + b"\n")
    assert (base / "a/box").stat().st_uid == (base / "a/dir/new").stat().st_uid == SOMEBODY.pw_uid


@pytest.mark.parametrize(("change", "want"), [
    ({"virtual_uid_maps": "static:5", "virtual_minimum_uid": "100"},
     ("deferred", "4.3.5", "mail system configuration error")),
    ({"virtual_gid_maps": ""}, ("deferred", "4.3.5", "mail system configuration error")),
    ({"virtual_mailbox_maps": "hash:/no/such"}, ("deferred", "4.3.5", "mail system configuration error")),
    ({"virtual_mailbox_limit": "50", "message_size_limit": "50"},
     ("bounced", "5.2.2", "maildir delivery failed: error writing message: File too large")),
    ({"virtual_mailbox_base": "/proc/nowhere"}, ("deferred", "4.2.0", "maildir delivery failed: create maildir file")),
])
def test_failures(base: Path, change: dict[str, str], want: tuple[str, str, str]) -> None:
    async def talk(qmgr: Qmgr) -> None:
        report = (await qmgr.ask("dir@a.test"))["dir@a.test"]
        assert (report.status, report.dsn) == want[:2]
        assert report.reason.startswith(want[2])

    with_agent(virtual.serve, "virtual", settings(base, **change), talk)


def test_many_at_once(base: Path) -> None:
    async def talk(qmgr: Qmgr) -> None:
        addresses = tuple(f"u{n}@b.test" for n in range(40)) + tuple("box@a.test" for _ in range(20))
        path = qmgr.message()
        for report in (await qmgr.reports(qmgr.send(addresses, path, len(MESSAGE)), addresses)).values():
            assert report.status == "sent"

    with_agent(virtual.serve, "virtual", settings(base), talk)
    assert len(os.listdir(base / "all/new")) == 40
    assert (base / "a/box").read_bytes().count(b"\nReturn-Path: ") == 20


@pytest.mark.parametrize(("change", "want"), [
    ({"virtual_mailbox_limit": "50"}, ("deferred", "4.3.5", "mail system configuration error")),
    ({"virtual_mailbox_limit": "5000", "message_size_limit": "0"}, (
        "deferred", "4.3.5", "mail system configuration error")),
    ({"virtual_mailbox_limit": "50", "message_size_limit": "50", "mailbox_full_tempfail": "yes"}, (
        "deferred", "4.2.2", "maildir delivery failed: error writing message: File too large")),
    ({"virtual_mailbox_base": ""}, ("deferred", "4.3.5", "mail system configuration error")),
])
def test_full_mailboxes_and_bad_limits(base: Path, change: dict[str, str], want: tuple[str, str, str]) -> None:
    async def talk(qmgr: Qmgr) -> None:
        report = (await qmgr.ask("x@b.test"))["x@b.test"]
        assert (report.status, report.dsn, report.reason) == want

    with_agent(virtual.serve, "virtual", settings(base) | change, talk)


def test_unknown_users_are_named_in_lower_case(base: Path) -> None:
    async def talk(qmgr: Qmgr) -> None:
        report = (await qmgr.ask("NoSuch@A.test"))["NoSuch@A.test"]
        assert report.reason == 'unknown user: "nosuch@a.test"'

    with_agent(virtual.serve, "virtual", settings(base), talk)


def children() -> list[int]:
    """The processes that this one forked."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(stat[1]) == os.getpid() and stat[0] != "Z":
            found.append(int(name))
    return found


def test_killed_workers_lose_nothing(base: Path) -> None:
    content = b"Subject: x\n\n" + b"line of a message\n" * 5000

    others = set(children())            # what other tests have started

    async def talk(qmgr: Qmgr) -> int:
        path, killed, sent = qmgr.message(content), 0, 0
        while sent < 40:
            seq = qmgr.send(("x@b.test",), path, len(content))
            if killed < 15:
                await asyncio.sleep(0.001)
                for pid in set(children()) - others:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        killed += 1
            report = (await qmgr.reports(seq, ("x@b.test",)))["x@b.test"]
            assert report.status in ("sent", "deferred")
            sent += report.status == "sent"
        return sent

    sent = with_agent(virtual.serve, "virtual", settings(base), talk)
    names = os.listdir(base / "all/new")
    assert len(names) >= sent
    assert {(base / "all/new" / name).read_bytes().partition(b"\nSubject")[2] for name in names} == {
        content.partition(b"Subject")[2]}


@pytest.mark.parametrize(("name", "status", "dsn"), [("error", "bounced", "5.7.1"), ("retry", "deferred", "4.0.0")])
def test_error(name: str, status: str, dsn: str) -> None:
    async def talk(qmgr: Qmgr) -> None:
        report = (await qmgr.ask("x@a.test", nexthop="5.7.1 no way"))["x@a.test"]
        assert (report.status, report.dsn, report.reason, report.relay) == (status, dsn, "no way", "none")

    with_agent(serve_error, name, {}, talk)


@pytest.mark.parametrize(("table", "want"), [
    ("regexp:{ {/^5.7.1 no way$$/ 4.7.1 not yet} }", ("deferred", "4.7.1", "not yet")),
    ("regexp:{ {/^5.7.1 no way$$/ 2.0.0 lost} }", ("bounced", "5.7.1", "no way")),
    ("regexp:{ {/^5.7.1 no way$$/ nonsense} }", ("bounced", "5.7.1", "no way")),
    ("regexp:{ {/other/ 4.0.0 x} }", ("bounced", "5.7.1", "no way"))])
def test_status_filter(table: str, want: tuple[str, str, str]) -> None:
    async def talk(qmgr: Qmgr) -> None:
        report = (await qmgr.ask("x@a.test", nexthop="5.7.1 no way"))["x@a.test"]
        assert (report.status, report.dsn, report.reason) == want

    with_agent(serve_error, "error", {"error_delivery_status_filter": table}, talk)
