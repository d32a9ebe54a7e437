"""Which host is asked, when it is left alone, and threads, with a driver that does what a test says."""

import asyncio
import os
import threading
from dataclasses import dataclass, field

import pytest

from mailsuite.database.errors import Broken, QueryError, Unavailable, Unreachable
from mailsuite.database.pool import Deadline, Pool, PoolOptions


@dataclass(frozen=True)
class Place:
    name: str
    local: bool = False


class Connection:
    def __init__(self, place: Place) -> None:
        self.place, self.open, self.dead = place, True, False

    def close(self) -> None:
        self.open = False


@dataclass
class Driver:
    places: list[Place]
    in_order: bool = False
    down: set[str] = field(default_factory=set)
    made: list[Connection] = field(default_factory=list)

    def connect(self, place: Place, deadline: Deadline) -> Connection:
        if place.name in self.down:
            raise Unreachable(f"no {place.name}", cause="Connection refused")
        self.made.append(Connection(place))
        return self.made[-1]

    def broken(self, place: Place, error: Broken) -> str:
        return f"{place.name} broke: {error}"


def make(*names: str, **options: float) -> tuple[Pool[Connection], Driver, list[str]]:
    driver, told = Driver([Place(name, name.startswith("/")) for name in names]), []        # type: ignore[var-annotated]
    return Pool(driver, PoolOptions(**options), warn=told.append), driver, told             # type: ignore[arg-type]


def where(connection: Connection, deadline: Deadline) -> str:
    if connection.dead:
        raise Broken("gone")
    return connection.place.name


def test_local_first_and_kept() -> None:
    pool, driver, _ = make("a", "b", "/socket")
    assert {pool.run(where) for _ in range(20)} == {"/socket"} and len(driver.made) == 1


def test_the_host_that_answered_is_asked_again() -> None:
    pool, driver, _ = make(*"abcdefgh")
    assert len({pool.run(where) for _ in range(20)}) == 1 and len(driver.made) == 1


def test_a_failed_host_is_left_alone_and_told_once() -> None:
    pool, driver, told = make("/a", "b")
    driver.down = {"/a"}
    assert [pool.run(where) for _ in range(5)] == ["b"] * 5 and told == ["no /a"]
    driver.down = {"/a", "b"}
    driver.made[0].dead = True
    for _ in range(3):
        with pytest.raises(Unavailable) as caught:
            pool.run(where)
    assert told == ["no /a", "no b"] and str(caught.value) == ""


def test_a_host_comes_back() -> None:
    pool, driver, told = make("a", retry_s=0)
    driver.down = {"a"}
    with pytest.raises(Unavailable) as caught:
        pool.run(where)
    assert caught.value.cause == "Connection refused" and not caught.value.lost
    driver.down = set()
    assert pool.run(where) == "a" and told == ["no a"]


def test_a_kept_connection_that_died_is_replaced_in_silence() -> None:
    pool, driver, told = make("a")
    assert pool.run(where) == "a"
    driver.made[0].dead = True
    assert pool.run(where) == "a" and len(driver.made) == 2 and told == [] and not driver.made[0].open


def test_an_old_connection_is_not_used_again() -> None:
    pool, driver, _ = make("a", idle_s=0)
    assert [pool.run(where) for _ in range(3)] == ["a"] * 3
    assert len(driver.made) == 3 and [connection.open for connection in driver.made] == [False, False, True]


def test_a_refused_question_keeps_connection_and_host() -> None:
    def refuse(connection: Connection, deadline: Deadline) -> None:
        raise QueryError("syntax")
    pool, driver, told = make("a")
    for _ in range(3):
        with pytest.raises(QueryError):
            pool.run(refuse)
    assert len(driver.made) == 1 and driver.made[0].open and told == []


def test_silence_is_not_asked_twice() -> None:
    asked = []

    def wait(connection: Connection, deadline: Deadline) -> None:
        asked.append(connection)
        raise Broken("late", timed_out=True)
    pool, _, told = make("a")
    assert pool.run(where) == "a"
    with pytest.raises(Unavailable):
        pool.run(wait)
    assert len(asked) == 1 and told == ["a broke: late"]


def test_threads_are_limited_and_end() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def work(connection: Connection, deadline: Deadline) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.005)
        with lock:
            running -= 1
        return threading.get_ident()

    async def main() -> set[int]:
        return set(await asyncio.gather(*(pool.ask(work) for _ in range(60))))
    pool, driver, _ = make("a", connections=3)
    threads = asyncio.run(main())
    assert 1 <= len(threads) <= 3 and most <= 3 and len(driver.made) <= 3
    pool.close()
    for thread in threading.enumerate():
        if thread.ident in threads:
            thread.join(60)
    assert not any(connection.open for connection in driver.made)


def test_who_stops_waiting_disturbs_nobody() -> None:
    def slow(connection: Connection, deadline: Deadline) -> str:
        threading.Event().wait(0.05)
        return "slow"

    async def main() -> str:
        first = asyncio.ensure_future(pool.ask(slow))
        second = asyncio.ensure_future(pool.ask(where))
        await asyncio.sleep(0)
        first.cancel()
        return await second
    pool, _, _ = make("a", connections=1)
    assert asyncio.run(main()) == "a"


def test_an_unforeseen_error_reaches_who_asked() -> None:
    def wrong(connection: Connection, deadline: Deadline) -> None:
        raise ZeroDivisionError
    pool, driver, _ = make("a")
    with pytest.raises(ZeroDivisionError):
        asyncio.run(pool.ask(wrong))
    assert asyncio.run(pool.ask(where)) == "a" and not driver.made[0].open


def test_a_child_of_fork_starts_anew() -> None:
    pool, driver, _ = make("a")
    assert pool.run(where) == "a" and asyncio.run(pool.ask(where)) == "a"
    child = os.fork()
    if child == 0:
        good = pool.run(where) == "a" and asyncio.run(pool.ask(where)) == "a" and all(one.open for one in driver.made)
        os._exit(0 if good and len(driver.made) == 4 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert pool.run(where) == "a" and len(driver.made) == 2
