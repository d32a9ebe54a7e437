"""Links: login processes hand over to a user's worker by themselves, once the access service has shown the way."""

import asyncio
import os
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from mailsuite.access import handover_client, login_channel, worker_logins
from mailsuite.access.handover import share_of
from mailsuite.access.login_channel import Entry
from mailsuite.access.login_questions import HandedOver, Refused, Why
from mailsuite.access.server import AccessParent
from mailsuite.access.user_workers import UserWorkers
from mailsuite.access.worker_logins import LEISURE_MOST
from mailsuite.base.turns import ANYWHERE, Stay
from tests.access.test_channel import Login, with_grants
from tests.access.test_handover import PoolInside, suite

FREE = "mail_max_userip_connections = 0"


class Taken:
    """Counts what comes to the access service."""

    def __init__(self, parent: AccessParent) -> None:
        self.count = 0
        take = parent.admission.take

        def counting(entry: Entry) -> None:
            self.count += 1
            take(entry)

        parent.admission.take = counting  # type: ignore[method-assign]


async def until(condition: object) -> None:
    assert callable(condition)
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came")


def test_the_access_service_is_asked_once(tmp_path: Path) -> None:
    async def work() -> None:
        async with suite(tmp_path, FREE) as (_, _, parent, _):
            taken, login = Taken(parent), Login(tmp_path)
            await with_grants(login, parent)
            assert isinstance(await login.hand_over(await login.ticket(grant="")), HandedOver)
            before = taken.count
            for _ in range(5):
                result = await login.hand_over(await login.ticket(grant=""))
                assert result == HandedOver(os.getpid())
                assert await asyncio.to_thread(login.greeting) == b"a1 OK alice 5000 plain b''\r\n"
            assert taken.count == before
            await parent.workers.settled()
            assert len(parent.workers.sessions.find("alice", "192.0.2.0/24")) == len(login.clients)
            login.close()
            await until(lambda: not list(parent.workers.sessions))
            assert parent.workers.sessions.metrics["imap_session"].count == len(login.clients)

    asyncio.run(work())


def test_a_link_is_used_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is closed, and the worker may go when it has no sessions."""
    monkeypatch.setattr(handover_client, "ROUTE_S", 0.05)

    async def work() -> None:
        async with suite(tmp_path, FREE) as (_, _, parent, _):
            taken, login, pool = Taken(parent), Login(tmp_path), cast(PoolInside, parent.workers.pool)
            await with_grants(login, parent)
            await login.hand_over(await login.ticket(grant=""))
            await until(lambda: not login.access._links and not login.access._workers)
            before = taken.count
            assert pool.busy
            assert isinstance(await login.hand_over(await login.ticket(grant="")), HandedOver)
            assert taken.count == before + 1
            login.close()
            await until(lambda: not pool.busy)

    asyncio.run(work())


def test_who_is_called_otherwise_by_the_user_database(tmp_path: Path) -> None:
    """The login process knows one name, the mail belongs to another: perhaps another worker's."""
    async def work() -> None:
        async with suite(tmp_path, FREE) as (_, _, parent, _):
            login = Login(tmp_path)
            await with_grants(login, parent)
            parent.workers._cores = 1000
            names = [name for name in (f"name{number}" for number in range(20)) if share_of(name, 1000) != share_of(
                "alice", 1000)]
            for name in [*names, "alice", names[0]]:
                result = await login.hand_over(await login.ticket(grant=""), user=name)
                assert isinstance(result, HandedOver)
                assert await asyncio.to_thread(login.greeting) == b"a1 OK alice 5000 plain b''\r\n"
            assert len(login.access._links) <= 2
            login.close()
            await asyncio.sleep(0.05)

    asyncio.run(work())


def test_the_worker_counts_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with suite(tmp_path, "mail_max_userip_connections = 2") as (_, _, parent, _):
            login = Login(tmp_path)
            await with_grants(login, parent)
            while isinstance(await login.hand_over(await login.ticket(grant="")), HandedOver):
                await asyncio.sleep(0)
            await parent.workers.settled()
            assert len(list(parent.workers.sessions)) == 2
            # Whoever brings no grant is counted with them.
            for ticket in (await login.ticket(), await login.ticket(grant="")):
                result = await login.hand_over(ticket)
                assert isinstance(result, Refused) and result.why is Why.LIMIT
                assert result.text.endswith("(mail_max_userip_connections=2)")
            monkeypatch.setattr(worker_logins, "LEAVING_WAIT_S", 20.0)
            waiting = asyncio.create_task(login.hand_over(await login.ticket(grant="")))
            await asyncio.sleep(0.05)
            login.clients[0].close()                        # one that is just ending is waited for
            assert isinstance(await waiting, HandedOver)
            login.close()
            await asyncio.sleep(0.05)

    asyncio.run(work())


def test_with_many_workers_there_are_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle ones have to be free to go. A grant is good once there as well."""
    monkeypatch.setattr(UserWorkers, "links", False)

    async def work() -> None:
        async with suite(tmp_path, FREE) as (_, _, parent, _):
            login = Login(tmp_path)
            await with_grants(login, parent)
            for _ in range(3):
                ticket = await login.ticket(grant="")
                assert isinstance(await login.hand_over(ticket), HandedOver)
                again = await login.hand_over(ticket)
                assert isinstance(again, Refused) and again.why is Why.FAILED
            assert not login.access._links
            login.close()
            await until(lambda: not list(parent.workers.sessions))

    asyncio.run(work())


def test_sessions_end_with_their_worker(tmp_path: Path) -> None:
    async def work() -> None:
        async with suite(tmp_path, FREE) as (_, _, parent, _):
            login = Login(tmp_path)
            await with_grants(login, parent)
            await login.hand_over(await login.ticket(grant=""))
            await parent.workers.settled()
            assert list(parent.workers.sessions)
            before = len(list(parent.workers.sessions))
            parent.workers.told(os.getpid(), None)
            assert len(list(parent.workers.sessions)) < before and not parent.workers._direct
            login.close()
            await asyncio.sleep(0.05)

    asyncio.run(work())


def test_a_worker_that_dies_is_told_of(tmp_path: Path) -> None:
    """In the middle of a hand-over; the next one finds a new way."""
    async def work() -> None:
        async with suite(tmp_path, FREE) as (_, _, parent, _):
            login = Login(tmp_path)
            await with_grants(login, parent)
            await login.hand_over(await login.ticket(grant=""))
            (link,) = cast(PoolInside, parent.workers.pool).worker._logins._links
            assert link.channel is not None
            link.channel._take = lambda entry: entry._channel.close()       # as if it died on reading
            result = await login.hand_over(await login.ticket(grant=""))
            assert isinstance(result, Refused) and result.why is Why.FAILED and not login.access._links
            assert isinstance(await login.hand_over(await login.ticket(grant="")), HandedOver)
            login.close()
            await asyncio.sleep(0.05)

    asyncio.run(work())


def test_answers_of_a_worker_come_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The login process is woken once for many; the clients have heard their greeting long before."""
    async def work() -> None:
        async with suite(tmp_path, FREE) as (_, _, parent, _):
            login = Login(tmp_path)
            await with_grants(login, parent)
            await login.hand_over(await login.ticket(grant=""))
            (link,) = login.access._links.values()
            tickets = [await login.ticket(grant="") for _ in range(5)]
            monkeypatch.setattr(login_channel, "LATE_S", 60.0)
            asked = [asyncio.create_task(login.hand_over(ticket)) for ticket in tickets]
            await until(lambda: len(link.waiting) == 5)
            for client in login.clients[-5:]:
                client.setblocking(False)
                octets = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 1000), 20)
                assert octets == b"a1 OK alice 5000 plain b''\r\n"
            assert not any(task.done() for task in asked)
            await parent.workers.settled()                      # who wants to know need not wait
            assert await asyncio.gather(*asked) == [HandedOver(os.getpid())] * 5
            login.close()
            await until(lambda: not list(parent.workers.sessions))

    asyncio.run(work())


def test_what_can_wait_is_told_below_the_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with suite(tmp_path, FREE) as (_, _, parent, _):
            login = Login(tmp_path)
            await with_grants(login, parent)
            await login.hand_over(await login.ticket(grant=""))
            logins = cast(PoolInside, parent.workers.pool).worker._logins
            order: list[str] = []
            asked = asyncio.create_task(login.hand_over(await login.ticket(grant="")))
            asked.add_done_callback(lambda _: order.append("login"))
            logins.at_leisure(lambda: order.append("end"))
            await until(lambda: len(order) == 2)
            assert order == ["login", "end"]
            for number in range(LEISURE_MOST):                  # so many do not wait for the time
                logins.at_leisure(partial(order.append, str(number)))
            assert not logins._leisure and len(logins._soon) == LEISURE_MOST
            logins.hurry()
            assert len(order) == 2 + LEISURE_MOST and not logins._soon
            login.close()
            await asyncio.sleep(0.05)

    asyncio.run(work())


def test_auth_and_worker_hear_which_core_the_login_process_keeps_to(tmp_path: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []
    monkeypatch.setattr(Stay, "at", lambda self, core: heard.append(core))

    async def work() -> None:
        async with suite(tmp_path, FREE) as (_, _, parent, _):
            login = Login(tmp_path)
            await with_grants(login, parent)
            await login.hand_over(await login.ticket(grant=""))
            login.access._stay.core = 5
            for extra, wanted in (({}, [ANYWHERE, 5]), ({"core": "5"}, [5, 5]), ({"core": "x"}, [ANYWHERE, 5])):
                heard.clear()
                assert isinstance(await login.hand_over(await login.ticket(grant="", **extra)), HandedOver)
                assert heard == wanted
            login.access._stay.core = ANYWHERE
            heard.clear()
            assert isinstance(await login.hand_over(await login.ticket(grant="")), HandedOver)
            assert heard == [ANYWHERE, ANYWHERE]
            login.close()
            await asyncio.sleep(0.05)

    asyncio.run(work())
