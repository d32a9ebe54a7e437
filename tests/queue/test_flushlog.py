"""The flush logs: what is noted, taken, refreshed and removed."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from mailsuite.queue import flushlog
from mailsuite.queue.flushlog import FlushLogs
from mailsuite.queue.store import open_store
from tests.queue.support import settings_for

T = TypeVar("T")


def with_logs(top: Path, act: Callable[[FlushLogs], Awaitable[T]], **values: str) -> T:
    settings = settings_for(top, **{"fast_flush_domains": "a.test, b.test", **values})
    store = open_store(settings)

    async def run() -> T:
        return await act(FlushLogs(settings, store.directory, store.pool))

    return asyncio.run(run())


def names(top: Path) -> list[str]:
    return sorted(os.listdir(top / "spool/flush"))


def test_each_domain_has_its_log(tmp_path: Path) -> None:
    async def act(logs: FlushLogs) -> None:
        await logs.add("0A1B2C3D4E", ["x@a.test", "y@A.test", "z@b.test", "w@elsewhere.test", "local", "u@sub.a.test"])

    with_logs(tmp_path, act)
    # parent_domain_matches_subdomains names fast_flush_domains by default
    assert names(tmp_path) == ["a_test", "b_test", "sub_a_test"]
    assert (tmp_path / "spool/flush/a_test").read_text() == "0A1B2C3D4E\n"
    assert (tmp_path / "spool/flush/a_test").stat().st_mode & 0o777 == 0o600


def test_taken_once_each_and_then_empty(tmp_path: Path) -> None:
    async def act(logs: FlushLogs) -> tuple[list[str], list[str]]:
        for queue_id in ("0A1B2C3D4E", "0A1B2C3D4F", "0A1B2C3D4E"):
            await logs.add(queue_id, ["x@a.test"])
        return await logs.take("A.TEST"), await logs.take("a.test")

    assert with_logs(tmp_path, act) == (["0A1B2C3D4E", "0A1B2C3D4F"], [])


def test_no_domains_no_logs(tmp_path: Path) -> None:
    with_logs(tmp_path, lambda logs: logs.add("0A1B2C3D4E", ["x@a.test"]), fast_flush_domains="")
    assert names(tmp_path) == []


def test_garbage_in_a_log_is_passed_over(tmp_path: Path) -> None:
    settings_for(tmp_path)
    (tmp_path / "spool/flush/a_test").write_bytes(b"0A1B2C3D4E\n\xff\xfe\n../../x\n0A1B2C3D4")
    assert with_logs(tmp_path, lambda logs: logs.take("a.test")) == ["0A1B2C3D4E", "0A1B2C3D4"]


@pytest.mark.parametrize("site", ["../a", "a/b", "", ".", "..", ".hidden", "a\0b", "x" * 300])
def test_no_path_leads_out_of_the_folder(tmp_path: Path, site: str) -> None:
    (tmp_path / "a").write_text("0A1B2C3D4E\n")
    assert with_logs(tmp_path, lambda logs: logs.take(site)) == []


@pytest.mark.parametrize(("content", "read_s", "written_s", "refreshed", "left"), [
    pytest.param("0A1B2C3D4E\n", 13 * 3600, 10, ["0A1B2C3D4E"], True, id="nobody read it"),
    pytest.param("0A1B2C3D4E\n", 11 * 3600, 10, [], True, id="read lately"),
    pytest.param("", 0, 6 * 86400, [], True, id="empty"),
    pytest.param("", 0, 8 * 86400, [], False, id="empty for long"),
    pytest.param("0A1B2C3D4E\n", -90000, 0, ["0A1B2C3D4E"], True, id="the clock was put back"),
])
def test_refresh(tmp_path: Path, content: str, read_s: float, written_s: float, refreshed: list[str],
                 left: bool) -> None:
    settings_for(tmp_path)
    path = tmp_path / "spool/flush/a_test"
    path.write_text(content)
    os.utime(path, (time.time() - read_s, time.time() - written_s))
    assert with_logs(tmp_path, lambda logs: logs.refresh()) == refreshed
    assert path.exists() is left
    if refreshed:
        assert path.read_text() == ""


def test_a_log_that_nobody_takes_is_freed_of_repetitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flushlog, "COMPACT", 100)

    async def act(logs: FlushLogs) -> None:
        for _ in range(200):
            await logs.add("0A1B2C3D4E", ["x@a.test"])

    with_logs(tmp_path, act)
    assert (tmp_path / "spool/flush/a_test").stat().st_size < 300
