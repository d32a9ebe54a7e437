"""Hand-overs between a login process and the access service: what proves them, and what happens when one dies."""

import asyncio
import socket
from pathlib import Path

import pytest
from msgspec.structs import replace

from mailsuite.access.handover import HandOver
from mailsuite.access.handover_client import AccessChannel, Ticket
from mailsuite.access.login_channel import Entry
from mailsuite.access.login_questions import HandedOver, Refused, Why
from mailsuite.access.server import AccessParent
from mailsuite.base.dialogue import Peer
from mailsuite.net import packets
from mailsuite.sasl.auth_client import AuthClient, Success
from tests.access.test_handover import client, suite

SESSION = "a-session"


async def log_in(auth: AuthClient, name: str = "alice", **extra: str) -> Ticket:
    """As a login process does; grant="" in extra asks for a grant."""
    from base64 import b64encode

    step = await auth.begin("PLAIN", service="imap", initial=b64encode(f"\0{name}\0secret-{name}".encode()),
                            session_id=SESSION, secured=True, extra=extra)
    assert isinstance(step, Success)
    return Ticket(auth.client_pid, step.request_id, auth.cookie, step.fields.get("grant", ""))


class Login:
    """A login process without clients."""

    def __init__(self, folder: Path) -> None:
        self.auth, self.access = AuthClient(str(folder / "login/login")), AccessChannel(str(folder / "imap"))
        self.clients: list[socket.socket] = []

    async def ticket(self, **extra: str) -> Ticket:
        return await log_in(self.auth, **extra)

    async def hand_over(self, ticket: Ticket, session: str = SESSION, user: str = "alice") -> HandedOver | Refused:
        ours, theirs = socket.socketpair()
        self.clients.append(ours)
        handover = HandOver("imap", user, b"a1", b"", Peer("192.0.2.9", 1, "192.0.2.1", 143), None, session)
        with theirs:
            return await self.access.ask(handover, ticket, theirs.fileno())

    def greeting(self) -> bytes:
        """What the worker said to the last client."""
        self.clients[-1].settimeout(60)
        return self.clients[-1].recv(1000)

    def close(self) -> None:
        for sock in self.clients:
            sock.close()
        self.auth.close()
        self.access.close()


async def with_grants(login: Login, parent: AccessParent) -> None:
    """The first login has no grant: access brings its key when it first asks."""
    while isinstance(await login.hand_over(await login.ticket(grant="")), Refused) or parent.auth._keys is None:
        await asyncio.sleep(0.01)


def test_a_grant_spares_the_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with suite(tmp_path) as (_, _, parent, _):
            login = Login(tmp_path)
            await with_grants(login, parent)

            async def nobody_asks(*_: object) -> None:
                raise AssertionError("the auth service was asked")

            monkeypatch.setattr(parent.auth, "request", nobody_asks)
            ticket = await login.ticket(grant="")
            assert ticket.grant
            assert isinstance(await login.hand_over(ticket), HandedOver)
            assert await asyncio.to_thread(login.greeting) == b"a1 OK alice 5000 plain b''\r\n"
            login.close()
            await asyncio.sleep(0.05)

    asyncio.run(work())


@pytest.mark.parametrize("what", ["twice", "session", "number", "cookie", "forged", "none", "stolen"])
def test_what_proves_nothing_opens_nothing(tmp_path: Path, what: str) -> None:
    async def work() -> None:
        async with suite(tmp_path) as (_, _, parent, _):
            login = Login(tmp_path)
            await with_grants(login, parent)
            ticket, session, user = await login.ticket(grant=""), SESSION, "alice"
            match what:
                case "twice":
                    assert isinstance(await login.hand_over(ticket), HandedOver)
                case "session":
                    session = "another"
                case "number":
                    ticket = replace(ticket, request_id=ticket.request_id + 1)
                case "cookie":
                    ticket = replace(ticket, cookie="0" * 32)
                case "forged":
                    ticket = replace(ticket, grant="A" * len(ticket.grant))
                case "none":            # what has a grant is not kept for the ticket alone
                    ticket = replace(ticket, grant="")
                case "stolen":          # somebody else's login process
                    ticket = replace(ticket, client_pid=ticket.client_pid + 1)
            result = await login.hand_over(ticket, session, user)
            assert isinstance(result, Refused) and result.why is Why.FAILED
            assert login.greeting() == b""
            login.close()
            await asyncio.sleep(0.05)

    asyncio.run(work())


def test_a_ticket_without_a_grant_is_good_once(tmp_path: Path) -> None:
    async def work() -> None:
        async with suite(tmp_path) as (_, _, parent, _):
            login = Login(tmp_path)
            await with_grants(login, parent)
            ticket = await login.ticket()
            assert ticket.grant == ""
            assert isinstance(await login.hand_over(ticket), HandedOver)
            assert isinstance(await login.hand_over(ticket), Refused)
            login.close()
            await asyncio.sleep(0.05)

    asyncio.run(work())


def test_a_grant_of_an_earlier_connection_is_worthless(tmp_path: Path) -> None:
    """The auth service or access may have started anew: then nobody remembers what was used."""
    async def work() -> None:
        async with suite(tmp_path) as (_, _, parent, _):
            login = Login(tmp_path)
            await with_grants(login, parent)
            old = await login.ticket(grant="")
            parent.auth._lose()
            await with_grants(login, parent)
            assert isinstance(await login.hand_over(old), Refused)
            assert isinstance(await login.hand_over(await login.ticket(grant="")), HandedOver)
            login.close()
            await asyncio.sleep(0.05)

    asyncio.run(work())


def test_an_access_service_that_goes_away_is_told_of(tmp_path: Path) -> None:
    """In the middle of a hand-over; the next one finds the new service."""
    async def work() -> None:
        async with suite(tmp_path) as (plain, _, parent, _):
            reader, writer = await client(plain, False)
            taken = parent.admission.take

            def die(entry: Entry) -> None:
                packets.close_all(entry.fds)
                entry._channel.close()

            parent.admission.take = die  # type: ignore[method-assign]
            writer.write(b"a LOGIN alice secret-alice\r\n")
            line = await asyncio.wait_for(reader.readline(), 20)
            assert line.startswith(b"a NO [UNAVAILABLE] Internal login failure.")
            assert await reader.read() == b""
            parent.admission.take = taken  # type: ignore[method-assign]
            writer.close()
            reader, writer = await client(plain, False)
            writer.write(b"a LOGIN alice secret-alice\r\n")
            assert (await reader.readline()).startswith(b"a OK alice")
            writer.close()
            await asyncio.sleep(0.05)

    asyncio.run(work())


def test_many_hand_overs_at_once(tmp_path: Path) -> None:
    """More than the channel's buffer takes: none is lost or mixed up."""
    async def work() -> None:
        async with suite(tmp_path, "mail_max_userip_connections = 0") as (_, _, parent, _):
            login = Login(tmp_path)
            await with_grants(login, parent)
            tickets = [await login.ticket(grant="") for _ in range(200)]
            results = await asyncio.gather(*[login.hand_over(ticket) for ticket in tickets])
            assert all(isinstance(result, HandedOver) for result in results)
            assert len(login.clients) == 201
            for sock in login.clients:
                sock.setblocking(False)
                octets = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 1000), 20)
                assert octets == b"a1 OK alice 5000 plain b''\r\n"
            login.close()
            while list(parent.workers.sessions):
                await asyncio.sleep(0.01)

    asyncio.run(work())
