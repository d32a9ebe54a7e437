"""AuthClient and AuthMaster against the service: what smtpd, the logins and delivery use."""

import asyncio
from base64 import b64encode
from pathlib import Path

import pytest

from mailsuite.base.dialogue import Peer
from mailsuite.base.errors import TemporaryError
from mailsuite.sasl.auth_client import AuthClient, Challenge, Failure, Success
from mailsuite.sasl.master_client import AuthMaster
from tests.sasl.support import auth_service, settings

GOOD = b64encode(b"\0alice\0secret-alice")


def test_a_login_and_who_it_was(tmp_path: Path) -> None:
    async def work() -> None:
        async with auth_service(tmp_path, settings(tmp_path)):
            client, master = AuthClient(str(tmp_path / "auth")), AuthMaster(str(tmp_path / "auth-master"))
            offered = await client.mechanisms()
            assert [(mech.name, mech.plaintext) for mech in offered] == [
                ("PLAIN", True), ("LOGIN", True), ("CRAM-MD5", False), ("SCRAM-SHA-256", False)]
            step = await client.begin("PLAIN", service="smtp", initial=GOOD, peer=Peer("192.0.2.9", 1, "192.0.2.1", 25))
            assert isinstance(step, Success) and step.user == "alice"
            user = await master.request(client.client_pid, step.request_id, client.cookie)
            assert user is not None and (user.user, user.uid, user.home) == ("alice", 5000, "/home/alice")
            with pytest.raises(TemporaryError):         # each can be asked for once
                await master.request(client.client_pid, step.request_id, client.cookie)
            with pytest.raises(TemporaryError):         # nobody guesses a cookie
                await master.request(client.client_pid, step.request_id, "0" * 32)
            client.close()
            master.close()

    asyncio.run(work())


def test_challenges_and_failures(tmp_path: Path) -> None:
    async def work() -> None:
        async with auth_service(tmp_path, settings(tmp_path)):
            client = AuthClient(str(tmp_path / "auth"))
            step = await client.begin("LOGIN", service="smtp")
            assert isinstance(step, Challenge) and step.octets == b"Username:"
            step = await client.proceed(step.request_id, b64encode(b"alice"))
            assert isinstance(step, Challenge) and step.octets == b"Password:"
            step = await client.proceed(step.request_id, b"!!!")
            assert step == Failure("", "Invalid base64 data in continued response", False, "invalid_base64", step.fields
                                   if isinstance(step, Failure) else {})
            step = await client.begin("PLAIN", service="smtp", initial=b64encode(b"\0alice\0wrong"))
            assert isinstance(step, Failure) and step.user == "alice" and not step.temporary
            step = await client.begin("PLAIN", service="smtp", initial=b"x\ty\nz")
            assert isinstance(step, Failure) and step.code == "invalid_base64"
            client.close()

    asyncio.run(work())


def test_many_at_once_and_a_slow_hash_delays_no_other(tmp_path: Path) -> None:
    async def work() -> None:
        async with auth_service(tmp_path, settings(tmp_path)):
            client = AuthClient(str(tmp_path / "auth"))
            slow = b64encode(b"\0slow\0wrong")
            steps = await asyncio.gather(*(client.begin("PLAIN", service="smtp", initial=GOOD if n % 2 else slow)
                                           for n in range(40)))
            assert [isinstance(step, Success) for step in steps] == [bool(n % 2) for n in range(40)]
            client.close()

    asyncio.run(work())


def test_the_service_is_away(tmp_path: Path) -> None:
    async def work() -> None:
        client = AuthClient(str(tmp_path / "nowhere"))
        with pytest.raises(TemporaryError):
            await client.begin("PLAIN", service="smtp", initial=GOOD)
        with pytest.raises(TemporaryError):
            await AuthMaster(str(tmp_path / "nowhere")).userdb("alice", service="lmtp")

    asyncio.run(work())


def test_it_comes_back(tmp_path: Path) -> None:
    async def work() -> None:
        client = AuthClient(str(tmp_path / "auth"))
        for _ in range(2):
            async with auth_service(tmp_path, settings(tmp_path)):
                assert isinstance(await client.begin("PLAIN", service="smtp", initial=GOOD), Success)
                client.close()
            for name in ("auth", "auth-userdb", "auth-master", "login/login"):
                (tmp_path / name).unlink(missing_ok=True)

    asyncio.run(work())


def test_userdb_and_users(tmp_path: Path) -> None:
    async def work() -> None:
        async with auth_service(tmp_path, settings(tmp_path)):
            master = AuthMaster(str(tmp_path / "auth-userdb"))
            user = await master.userdb("extra", service="lmtp")
            assert user is not None and user.mail == "x:extra" and user.gid == 5000
            assert await master.userdb("nosuch", service="lmtp") is None
            assert await master.passdb("nosuch", service="lmtp") is None
            assert "alice" in await master.users() and await master.users("al*") == ["alice"]
            master.close()

    asyncio.run(work())
