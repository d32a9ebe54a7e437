"""mailsuite queue: the table, filters, bulk actions with preview and confirmation."""

import asyncio
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from mailsuite.cli import queue as module
from mailsuite.cli.mailsuite import cli
from mailsuite.cli.queue_table import Oldest, Sums, age_text, next_try, size_text, table
from mailsuite.queue import deferlog
from mailsuite.queue.active import Ended
from mailsuite.queue.agent import RecipientReport
from mailsuite.queue.file import EXPIRE
from mailsuite.queue.listing import Listed
from tests.queue.support import World

MAIL = b"Subject: s\n\nbody\n"
Call = Callable[..., Result]
DOWN = "mailsuite: warning: Mail system is down -- accessing queue directly"


@pytest.fixture
def call(world: World) -> Call:
    def run(*words: str, stdin: str = "") -> Result:
        return CliRunner().invoke(cli, ["-c", world.settings.config_directory, "queue", *words], input=stdin)

    return run


def defer(world: World, recipient: str, reason: str, *, retry_in_s: float = 600, sender: str = "a@far.test") -> str:
    queue_id = asyncio.run(world.put(MAIL, sender=sender, to=[recipient])).queue_id
    stored = world.store.read("incoming", queue_id)
    os.makedirs(os.path.dirname(world.store.path("deferred", queue_id)), exist_ok=True)
    world.store.move(queue_id, "incoming", "deferred")
    report = RecipientReport(0, stored.recipients[0].number, "deferred", "4.4.1", reason)
    deferlog.write(world.store.path("defer", queue_id), [Ended(stored.recipients[0], report)], warned=False)
    os.utime(world.store.path("deferred", queue_id), (time.time() + retry_in_s,) * 2)
    return queue_id


def test_the_table(world: World, call: Call) -> None:
    one = defer(world, "x@one.test", "timed out [a]")
    two = defer(world, "x@two.test", "busy", sender="")
    done = call()
    assert done.exit_code == 0
    rows = {line.split()[0]: line for line in done.output.splitlines() if line.startswith((one, two))}
    assert "x@one.test" in rows[one] and "timed out [a]" in rows[one] and "in 9m" in rows[one]
    assert "<>" in rows[two]
    assert ": 2 in deferred" in done.output and "busy (1)" in done.output


def test_filters_and_json(world: World, call: Call) -> None:
    one = defer(world, "x@one.test", "timed out")
    defer(world, "x@two.test", "busy")
    done = call("--domain", "one.*", "--json")
    said = json.loads(next(line for line in done.output.splitlines() if line.startswith("{")))
    assert said["queue_id"] == one and abs(said["next_attempt"] - time.time() - 600) < 60
    assert call("--older", "1h").stdout.endswith("no message\n")
    assert call(one).output.count("x@") == 1


@pytest.mark.parametrize(("words", "text"), [
    (["delete"], "delete needs a queue id, a filter, or --all"), (["--older", "soon"], "bad time value or unit: soon"),
    (["--larger", "big"], "not a size: big"), (["erase/it"], "erase/it is neither an action"),
    (["remove"], "remove is neither an action (hold, release"), (["delete", "4a2f1c83d"], "nor a queue id"),
    (["--queue", "nosuch"], "'nosuch' is not one of")])
def test_what_makes_no_sense(world: World, call: Call, words: list[str], text: str) -> None:
    done = call(*words)
    assert done.exit_code == 2 and text in done.output


def test_without_a_terminal_an_action_wants_yes(world: World, call: Call) -> None:
    one = defer(world, "x@one.test", "timed out")
    done = call("delete", one)
    assert done.exit_code == 1 and "say --yes" in done.output and one in done.output
    assert world.store.find(one) == "deferred"


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("n\n", 1), ("\n", 1)])
def test_a_terminal_is_asked(world: World, call: Call, monkeypatch: pytest.MonkeyPatch, answer: str,
                             status: int) -> None:
    one = defer(world, "x@one.test", "timed out")
    monkeypatch.setattr(module, "_is_interactive", lambda: True)
    done = call("hold", "--reason", "timed", stdin=answer)
    assert done.exit_code == status and "hold this message?" in done.output
    assert world.store.find(one) == ("deferred" if status else "hold")


def test_actions(world: World, call: Call, tmp_path: Path) -> None:
    one, two = defer(world, "x@one.test", "timed out"), defer(world, "x@two.test", "busy")

    def last(*words: str) -> str:
        done = call(*words, "--yes")
        assert done.exit_code == 0, done.output
        return done.stdout.splitlines()[-1]

    assert last("hold", "--domain", "one.test") == "Placed on hold: 1 message"
    assert last("hold", "--domain", "one.test") == "nothing to hold: no message fits"
    assert last("release", "--all") == "Released from hold: 1 message"
    assert last("expire", "--all") == "Force-expired: 2 messages"
    assert os.stat(world.store.path("deferred", one)).st_mode & EXPIRE
    assert last("expire", one) == "Force-expired: 0 messages (1 had gone or were so already)"
    assert last("requeue", two) == "Requeued: 1 message"
    assert last("delete", "--queue", "deferred") == "Deleted: 1 message"
    log = (tmp_path / "log").read_text()
    assert f"postfix/postsuper[{os.getpid()}]: {one}: placed on hold\n" in log and f"{one}: removed\n" in log


def test_flush_needs_the_queue_manager(world: World, call: Call) -> None:
    one = defer(world, "x@one.test", "timed out")
    done = call("flush", one, "--yes")
    assert done.exit_code == 69 and "Cannot flush mail queue - mail system is down" in done.output


def test_watch_draws_until_it_is_stopped() -> None:
    pictures, slept = iter(["one", "two", "three"]), 0

    def sleep(_: float) -> None:
        nonlocal slept
        slept += 1
        if slept == 3:
            raise KeyboardInterrupt

    console = Console(record=True, width=80, file=open(os.devnull, "w"))        # noqa: SIM115
    drawn: list[str] = []

    def picture() -> Callable[[Console], None]:
        text = next(pictures)
        drawn.append(text)
        return lambda to: to.print(text)

    module.watch_queue(picture, console, 1.0, sleep)
    assert drawn == ["one", "two", "three"]


def test_the_oldest_are_kept() -> None:
    rows = Oldest(2)
    for age in (5, 50, 10, 40):
        rows.add(Listed("deferred", f"ID{age}", 1000.0 - age, 1, "a@b", False, []))
    assert [entry.queue_id for entry in rows.entries] == ["ID50", "ID40"] and rows.passed_over == 2
    assert Sums().lines() == ["no message"]


@pytest.mark.parametrize(("width", "cut"), [(80, False), (160, True)])
def test_long_texts(width: int, cut: bool) -> None:
    entry = Listed("deferred", "4A2F1C83D", 0.0, 1, "a@b.test", False, [("x@c.test", "why " * 60 + "finis")])
    console = Console(width=width, file=open(os.devnull, "w"), record=True)     # noqa: SIM115
    console.print(table([entry], 10.0, width=width))
    text = console.export_text()
    assert ("…" in text) is cut and ("finis" in text) is not cut
    assert "4A2F1C83D" in text


@pytest.mark.parametrize(("seconds", "want"), [(-5, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (300_000, "3d")])
def test_ages(seconds: float, want: str) -> None:
    assert age_text(seconds) == want


@pytest.mark.parametrize(("octets", "want"), [(0, "0"), (1023, "1023"), (1024, "1.0k"), (20 * 1024, "20k"),
                                              (3 * 1024**2, "3.0M"), (5 * 1024**4, "5120G")])
def test_sizes(octets: int, want: str) -> None:
    assert size_text(octets) == want


@pytest.mark.parametrize(("queue", "retry_at", "expire", "want"), [
    ("active", 0.0, False, ""), ("hold", 0.0, False, "on hold"), ("deferred", 90.0, False, "due"),
    ("deferred", 700.0, False, "in 10m"), ("deferred", 700.0, True, "returned")])
def test_next_try(queue: str, retry_at: float, expire: bool, want: str) -> None:
    assert next_try(Listed(queue, "4A2F1C83D", 0.0, 1, "", expire, [], retry_at), 100.0) == want
