"""qshape beside Postfix's: the same messages in both formats of queue files, the same tables."""

import random
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from mailsuite.cli import qshape
from mailsuite.queue.envelope import Envelope, Recipient
from mailsuite.queue.shape import Ages, Shape, domain_of
from tests.cli.conftest import Run
from tests.queue.postfix_files import write_postfix_file
from tests.queue.support import World

REAL = shutil.which("qshape", path="/usr/sbin:/usr/bin")
DOMAINS = ["a.test", *(f"{letter}.a.test" for letter in "bcdefg"), "very.long.domain.name.of.some.kind.example.org",
           "UPPER.test", "x.y.z.test", "v.y.z.test", "w.y.z.test", "com", "[192.0.2.1]", "tail.", "q.example.com"]
AGES_S = [1, 290, 301, 700, 1300, 5000, 10000, 40000, 100000, 1000000, -500]


def put(world: World, arrival: float, sender: str, recipients: Sequence[str]) -> None:
    file = world.store.create("active")
    file.writer.add(b"Subject: x\n\nbody\n")
    file.finish(Envelope(sender=sender, arrival_time=arrival).facts(), [Recipient(one) for one in recipients])
    world.store.commit_now(file, "active")


@pytest.fixture
def both(world: World, tmp_path: Path) -> Path:
    """The folder with Postfix's files; ours lie in the world's active queue."""
    folder = tmp_path / "active"
    folder.mkdir()
    now, chance = time.time(), random.Random(7)
    for number in range(250):
        arrival = now - chance.choice(AGES_S)
        # No two rows have the same total and length by chance: their order is not defined.
        domains = chance.choices(DOMAINS, weights=range(1, len(DOMAINS) + 1), k=chance.randrange(1, 4))
        recipients = [f"u{number}@{domain}" for domain in domains] + ["local"] * (number % 50 == 0)
        sender = chance.choice(["", "me", "s@a.test", "s@B.a.test", 's"@"x@q.example.com'])
        write_postfix_file(folder / f"{number:05X}ABC", arrival=arrival, sender=sender, recipients=recipients)
        put(world, arrival, sender, recipients)
    write_postfix_file(folder / "FFFFFABC", arrival=now, sender="a@b", recipients=["x@y.test"], done=["x@y.test"])
    return folder


def table(lines: str) -> list[str]:
    """Rows with the same count and length of name have no order."""
    head, total, *rows = lines.splitlines()
    return [head, total, *sorted(rows)]


def test_tables_are_the_same(world: World, run: Run, both: Path) -> None:
    if REAL is None:
        pytest.skip("Postfix's qshape is not installed")
    for words in ([], ["-s"], ["-p"], ["-p", "-m", "1"], ["-p", "-m", "3"], ["-b", "5", "-t", "10"],
                  ["-l", "-b", "3", "-t", "60"], ["-w", "60"], ["-w", "132", "-b", "14"], ["-b", "1"], ["-b", "2"],
                  ["-b", "0"], ["-b", "60", "-w", "20"], ["-s", "-p", "-m", "2"]):
        real = subprocess.run([REAL, *words, str(both)], capture_output=True, text=True, check=True, timeout=60).stdout
        ours = run(qshape.main, *words, "active")
        assert (ours[0], ours[2]) == (0, "")
        assert table(ours[1]) == table(real), words


def test_rows_come_largest_first_then_shortest() -> None:
    shape = Shape(Ages())
    shape.add(["b.test", "bb.test", "a.test", "a.test"], 0)
    assert [line.split()[0] for line in shape.lines()][2:] == ["a.test", "b.test", "bb.test"]
    assert [line.split()[0] for line in shape.lines(most=2)] == ["T", "TOTAL", "a.test"]


@pytest.mark.parametrize(("address", "row"), [
    ("", "MAILER-DAEMON"), ("Me", "me"), ("a@B.test.", "b.test"), ('"a@b"@C.test', "c.test"), ("@x", "x")])
def test_rows(address: str, row: str) -> None:
    assert domain_of(address) == row


def test_a_queue_that_is_not_there(world: World, run: Run) -> None:
    status, out, err = run(qshape.main, "nosuch", "incoming")
    assert (status, err) == (0, "qshape: warning: Can't stat nosuch: No such file or directory\n")
    assert out.splitlines()[1].split() == ["TOTAL", *["0"] * 11]


def test_files_that_are_no_messages_are_passed_over(world: World, run: Run) -> None:
    Path(world.store.directory, "active", "ABCDEF12").write_text("junk")
    assert run(qshape.main, "active")[1].splitlines()[1].split()[1] == "0"
