"""verify/book.py: what is believed of an address, and for how long."""

from pathlib import Path

import pytest

from mailsuite.maps.cache import Cache
from mailsuite.verify.book import IN_PROGRESS, PROBE_S, Book, Known, Memory, Rules, Status

HOUR, DAY = 3600, 86400
RULES = Rules(31 * DAY, 7 * DAY, True, 3 * DAY, 3 * HOUR)
NOW = 1_795_247_546.0
A = "a@b.test"


@pytest.fixture(params=["memory", "cache"])
def book(request: pytest.FixtureRequest, tmp_path: Path) -> Book:
    return Book(RULES, Memory(100) if request.param == "memory" else Cache(str(tmp_path / "verify")))


def test_what_nobody_knows_is_probed_once(book: Book) -> None:
    assert book.look(A, NOW) == Known(Status.TODO, IN_PROGRESS, True)
    book.probed(A, NOW)
    assert book.look(A, NOW + 5) == Known(Status.TODO, IN_PROGRESS, False)
    assert book.look(A, NOW + PROBE_S + 5).probe_due        # the answer never came


@pytest.mark.parametrize(("status", "after_s", "want"), [
    (Status.OK, 6 * DAY, Known(Status.OK, "why", False)),
    (Status.OK, 8 * DAY, Known(Status.OK, "why", True)),
    (Status.OK, 32 * DAY, Known(Status.TODO, IN_PROGRESS, True)),
    (Status.BOUNCE, 2 * HOUR, Known(Status.BOUNCE, "why", False)),
    (Status.BOUNCE, 4 * HOUR, Known(Status.BOUNCE, "why", True)),
    (Status.DEFER, 4 * DAY, Known(Status.TODO, IN_PROGRESS, True)),
])
def test_knowledge_ages(book: Book, status: Status, after_s: int, want: Known) -> None:
    book.learn(A, status, "why", NOW)
    assert book.look(A, NOW + after_s) == want


def test_a_failed_probe_does_not_shake_a_good_address(book: Book) -> None:
    book.learn(A, Status.OK, "fine", NOW)
    book.learn(A, Status.BOUNCE, "gone", NOW + 8 * DAY)
    assert book.look(A, NOW + 8 * DAY)[:2] == (Status.OK, "fine")
    book.learn(A, Status.BOUNCE, "gone", NOW + 32 * DAY)
    assert book.look(A, NOW + 32 * DAY)[:2] == (Status.BOUNCE, "gone")


def test_bad_addresses_need_not_be_remembered() -> None:
    book = Book(RULES._replace(negative_cache=False), Memory(10))
    book.probed(A, NOW)
    book.learn(A, Status.BOUNCE, "gone", NOW)
    assert book.look(A, NOW) == Known(Status.TODO, IN_PROGRESS, True)


def test_entries_are_written_as_postfix_writes_them(book: Book) -> None:
    book.learn(A, Status.BOUNCE, "unknown user:\n\"x\"", NOW)
    assert book.entries.get(A) == '2:0:1795247546:unknown user: "x"'
    book.entries.put(A, "nonsense")
    assert book.look(A, NOW).status is Status.TODO
    assert not book.keeps("nonsense", NOW)


def test_memory_is_bounded() -> None:
    book = Book(RULES, Memory(10))
    for number in range(30):
        book.learn(f"u{number}@b.test", Status.OK, "", NOW)
    assert book.look("u0@b.test", NOW).status is Status.TODO
    assert book.look("u29@b.test", NOW).status is Status.OK
    assert isinstance(book.entries, Memory)
    assert book.entries.sweep(lambda key, value: key == "u29@b.test") == (1, 9)
