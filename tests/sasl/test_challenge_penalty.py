"""Guessing with mechanisms that do not show the password: what the penalties can know all the same."""

import asyncio
import hashlib
import hmac
import time
from pathlib import Path

import pytest

from mailsuite.sasl.attempt import Continue, Denied, Granted, Reply
from mailsuite.sasl.service import AuthService
from tests.sasl.support import USERS, settings

HERE = "192.0.2.1"


class Stage:
    """A service and the pauses that it made."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.pauses = folder, list[float]()
        self.service = AuthService(settings(folder))

        async def sleep(seconds: float) -> None:
            self.pauses.append(seconds)

        monkeypatch.setattr("mailsuite.sasl.attempt.asyncio.sleep", sleep)

    def log_in(self, user: str, password: str) -> Reply:
        """By CRAM-MD5; pauses are those of this attempt."""
        self.pauses.clear()

        async def work() -> Reply:
            attempt = self.service.attempt(self.service.mechanisms["CRAM-MD5"], "imap", {"rip": HERE})
            challenge = await attempt.start(None)
            assert isinstance(challenge, Continue)
            digest = hmac.digest(password.encode(), challenge.octets, hashlib.md5).hex()
            return await attempt.go_on(f"{user} {digest}".encode())

        return asyncio.run(work())

    def change_password(self, user: str, password: str) -> None:
        lines = [f"{user}:{{PLAIN}}{password}:5000:5000::/x::" if line.startswith(f"{user}:") else line
                 for line in USERS.splitlines()]
        (self.folder / "users").write_text("\n".join(lines) + "\n")
        self.service.databases.files.forget()

    def wrong(self, user: str) -> int:
        return self.service.penalties._lanes[f"{HERE}/32", user].wrong


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


def test_an_owner_passes_at_once_where_he_was_before(stage: Stage) -> None:
    assert isinstance(stage.log_in("alice", "secret-alice"), Granted)
    for number in range(8):
        assert not isinstance(stage.log_in("alice", f"guess{number}"), Granted)
        stage.service.penalties._lanes[f"{HERE}/32", "alice"].last_start -= 100
    assert stage.wrong("alice") == 8
    stage.service.penalties._lanes[f"{HERE}/32", "alice"].last_start += 100
    assert isinstance(stage.log_in("alice", "secret-alice"), Granted) and stage.pauses == []


def test_a_right_proof_waits_where_he_was_not(stage: Stage) -> None:
    began = time.monotonic()
    stage.log_in("alice", "guess")
    assert isinstance(stage.log_in("alice", "secret-alice"), Granted)
    [pause] = stage.pauses              # what has passed since the guess counts
    assert 2 - (time.monotonic() - began) <= pause <= 2


def test_a_former_password_is_one_guess(stage: Stage) -> None:
    assert isinstance(stage.log_in("alice", "secret-alice"), Granted)
    stage.change_password("alice", "another")
    for _ in range(10):             # the phone has not heard of it yet
        assert not isinstance(stage.log_in("alice", "secret-alice"), Granted) and stage.pauses == []
    assert isinstance(stage.log_in("alice", "another"), Granted) and stage.pauses == []
    for _ in range(10):
        assert not isinstance(stage.log_in("alice", "secret-alice"), Granted)
    assert stage.wrong("alice") == 1


def test_who_guesses_side_by_side_is_refused_unchecked(tmp_path: Path) -> None:
    """PLAIN's claim comes with the last step: being refused there was unforeseen, a traceback each time."""
    async def work() -> None:
        auth = AuthService(settings(tmp_path, "auth_penalty_waiting = 1\nauth_penalty_max_wait = 1s\n"))
        attempts = [auth.attempt(auth.mechanisms["PLAIN"], "imap", {"rip": HERE}) for _ in range(5)]
        tasks = [asyncio.create_task(attempt.start(b"\0alice\0guess%d" % number))
                 for number, attempt in enumerate(attempts)]
        refused: list[Denied] = []
        waiting = set(tasks)
        while not refused:
            done, waiting = await asyncio.wait(waiting, timeout=30, return_when=asyncio.FIRST_COMPLETED)
            replies = [task.result() for task in done]
            refused = [reply for reply in replies if isinstance(reply, Denied) and reply.code == "temp_fail"]
            assert refused or waiting
        assert {reply.reason for reply in refused} == {"Too many failed logins, try again later"}
        for task in waiting:
            task.cancel()
        auth.close()

    asyncio.run(work())
