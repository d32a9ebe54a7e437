"""How much work an attempt is: no less for a user that does not exist; and slow ones delay nobody else."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailsuite.sasl import schemes
from mailsuite.sasl.attempt import Attempt, Denied, Granted, Reply
from mailsuite.sasl.service import AuthService
from tests.sasl.support import settings


@pytest.fixture
def service(tmp_path: Path) -> Iterator[AuthService]:
    made = AuthService(settings(tmp_path, "auth_penalty = no\n"))
    yield made
    made.close()


def attempt(service: AuthService, name: str = "PLAIN") -> Attempt:
    return service.attempt(service.mechanisms[name], "imap", {})


async def log_in(service: AuthService, user: str, password: str) -> Reply:
    return await attempt(service).start(f"\0{user}\0{password}".encode())


@pytest.mark.parametrize("user", ["slow", "nosuch"])
def test_a_wrong_name_is_as_much_work_as_a_wrong_password(
        service: AuthService, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a password of a slow kind was seen in the database, as its users have it."""
    counted: list[str] = []
    verify = schemes.verify

    def counting(scheme: str, stored: str, password: bytes, name: str) -> bool:
        counted.append(scheme)
        return verify(scheme, stored, password, name)

    monkeypatch.setattr(schemes, "verify", counting)

    async def work() -> tuple[Reply, Reply]:
        first = await log_in(service, "slow", "secret-sha512-crypt")
        counted.clear()
        return first, await log_in(service, user, "wrong")

    good, bad = asyncio.run(work())
    assert isinstance(good, Granted) and isinstance(bad, Denied)
    assert counted == ["SHA512-CRYPT"]


def test_others_are_answered_while_hashes_are_at_work(service: AuthService, monkeypatch: pytest.MonkeyPatch) -> None:
    """All threads of the pool are held; who needs none logs in meanwhile."""
    go, held = threading.Event(), threading.Semaphore(0)
    verify = schemes.verify

    def slow(scheme: str, stored: str, password: bytes, name: str) -> bool:
        if scheme == "SHA512-CRYPT":
            held.release()
            assert go.wait(60)
        return verify(scheme, stored, password, name)

    monkeypatch.setattr(schemes, "verify", slow)

    async def work() -> tuple[list[Reply], list[Reply]]:
        waiting = [asyncio.create_task(log_in(service, "slow", "secret-sha512-crypt")) for _ in range(50)]
        try:
            # One may be held back by the file, which is read in a thread as well: it was read before.
            await asyncio.to_thread(held.acquire)
            others = [await log_in(service, "alice", password)
                      for password in ("secret-alice", "wrong") for _ in range(20)]
            assert not any(task.done() for task in waiting)
        finally:
            go.set()
        return others, await asyncio.gather(*waiting)

    async def all_of_it() -> tuple[list[Reply], list[Reply]]:
        await log_in(service, "alice", "secret-alice")
        return await work()

    others, slow_ones = asyncio.run(all_of_it())
    assert [isinstance(each, Granted) for each in others] == [True] * 20 + [False] * 20
    assert all(isinstance(each, Granted) for each in slow_ones)


@pytest.mark.parametrize("octets", [71, 72, 73, 200, 2000])
@pytest.mark.parametrize("stored", [
    "{BLF-CRYPT}$2y$04$abcdefghijklmnopqrstuuVXhxpX6Kc0hTzYzlKqTzqfo3e4yP2yK", "{CRYPT}$6$x$y"])
def test_long_passwords_are_answered(tmp_path: Path, octets: int, stored: str) -> None:
    conf = settings(tmp_path, "auth_penalty = no\n")
    (tmp_path / "users").write_text(f"alice:{stored}:1:1::/::\n")
    service = AuthService(conf)
    try:
        reply = asyncio.run(log_in(service, "alice", "x" * octets))
    finally:
        service.close()
    assert isinstance(reply, Denied) and reply.code in ("", "temp_fail")
