"""The auth cache: what is kept, for how long, and that it never keeps anybody out or in."""

import asyncio
import dataclasses
from base64 import b64encode
from pathlib import Path

import pytest

from mailsuite.base.errors import TemporaryError
from mailsuite.base.secret import Secret
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.sasl.cache import NODE_OCTETS, AuthCache, CacheRules
from mailsuite.sasl.chain import PassdbChain, Verdict
from mailsuite.sasl.entries import Databases
from mailsuite.sasl.passdb import Found, WrongPassword
from mailsuite.sasl.pool import HashPool
from mailsuite.sasl.request import AuthRequest
from mailsuite.sasl.userdb_chain import UserdbChain
from tests.sasl.support import auth_service, settings
from tests.sasl.test_recorded import answers


class FakeClock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> float:
        return self.seconds


class Db:
    """A database of users and passwords that counts how often it is asked."""

    driver = "test"
    decoy_wanted = False

    def __init__(self, users: dict[str, str], *, checks: bool = False, cache_key: str = "%u") -> None:
        self.users, self.checks, self.cache_key, self.asked, self.away = users, checks, cache_key, 0, False

    async def find(self, request: AuthRequest) -> Found | None:
        self.asked += 1
        if self.away:
            raise TemporaryError("away")
        if request.user not in self.users:
            return None
        return Found((("password", self.users[request.user]), ("userdb_uid", "5")), "PLAIN")

    async def check(self, request: AuthRequest, password: Secret) -> Found | None:
        found = await self.find(request)
        if found is not None and password.reveal().decode() != self.users[request.user]:
            raise WrongPassword
        return found and Found((("userdb_uid", "5"),), "PLAIN")

    async def decoy(self, request: AuthRequest) -> tuple[str, str] | None:
        return None


class Stage:
    """A chain with one database and a cache."""

    def __init__(self, db: Db, *, size_octets: int = 100_000, ttl_s: float = 60, negative_ttl_s: float = 30) -> None:
        self.db, self.clock = db, FakeClock()
        self.cache = AuthCache(CacheRules(size_octets, ttl_s, negative_ttl_s), self.clock)
        conf = DovecotSettings.of("passdb {\n  driver = static\n  args = password=x\n}\n")
        entry = Databases.of(conf, HashPool(1), self._none).passdbs[0]
        self.chain = PassdbChain([dataclasses.replace(entry, db=db)], HashPool(1), cache=self.cache)

    async def _none(self, request: AuthRequest) -> bool:
        return False

    def log_in(self, user: str, password: str, service: str = "imap") -> Verdict:
        request = AuthRequest(service, user=user, original_user=user)
        return asyncio.run(self.chain.run(request, Secret(password.encode())))


@pytest.mark.parametrize("checks", [False, True])
def test_a_right_password_is_asked_for_once(checks: bool) -> None:
    stage = Stage(Db({"alice": "secret"}, checks=checks))
    assert [stage.log_in("alice", "secret") for _ in range(5)] == [Verdict.OK] * 5
    assert stage.db.asked == 1
    assert stage.log_in("alice", "wrong") is Verdict.MISMATCH
    assert stage.log_in("bob", "secret") is Verdict.UNKNOWN
    assert stage.log_in("alice", "secret") is Verdict.OK


@pytest.mark.parametrize("checks", [False, True])
def test_a_new_password_is_good_at_once(checks: bool) -> None:
    stage = Stage(Db({"alice": "old"}, checks=checks))
    assert stage.log_in("alice", "old") is Verdict.OK
    assert stage.log_in("alice", "guess") is Verdict.MISMATCH       # does not make the cache sure of itself
    stage.db.users["alice"] = "new"
    assert stage.log_in("alice", "new") is Verdict.OK
    assert stage.log_in("alice", "old") is Verdict.MISMATCH


@pytest.mark.parametrize("checks", [False, True])
def test_an_old_password_ends_with_its_time(checks: bool) -> None:
    stage = Stage(Db({"alice": "old"}, checks=checks))
    stage.log_in("alice", "old")
    stage.db.users["alice"] = "new"
    for _ in range(3):
        stage.clock.seconds += 19.9
        assert stage.log_in("alice", "old") is Verdict.OK           # use does not make it last longer
    stage.clock.seconds += 0.4
    assert stage.log_in("alice", "old") is Verdict.MISMATCH


def test_unknown_users() -> None:
    stage = Stage(Db({}))
    for _ in range(3):
        assert stage.log_in("alice", "x") is Verdict.UNKNOWN
    assert stage.db.asked == 1
    stage.db.users["alice"] = "x"
    stage.clock.seconds += 30
    assert stage.log_in("alice", "x") is Verdict.OK


def test_trouble_is_not_kept() -> None:
    stage = Stage(Db({"alice": "secret"}))
    stage.db.away = True
    assert stage.log_in("alice", "secret") is Verdict.INTERNAL
    stage.db.away = False
    assert stage.log_in("alice", "secret") is Verdict.OK
    stage.db.away = True
    assert stage.log_in("alice", "secret") is Verdict.OK            # that the cache may say
    assert stage.log_in("alice", "wrong") is Verdict.INTERNAL       # but not that


@pytest.mark.parametrize(("template", "asked"), [("%u", 1), ("%u %s", 2), ("%u %w", 1), ("", 4)])
def test_all_variables_of_a_query_count(template: str, asked: int) -> None:
    stage = Stage(Db({"alice": "secret"}, cache_key=template))
    for service in ("imap", "imap", "pop3", "pop3"):
        assert stage.log_in("alice", "secret", service) is Verdict.OK
    assert stage.db.asked == asked


def test_the_size_has_a_limit() -> None:
    stage = Stage(Db({f"user{i}": "x" for i in range(100)}), size_octets=20 * NODE_OCTETS)
    for i in range(100):
        stage.log_in(f"user{i}", "x")
        stage.log_in("user0", "x")
    assert 5 < len(stage.cache) <= 20
    assert stage.db.asked == 100                                    # who is in use stays
    assert Stage(Db({"alice": "secret"}), size_octets=0).log_in("alice", "secret") is Verdict.OK


def test_flush_and_report() -> None:
    stage = Stage(Db({"alice": "x", "bob": "x"}))
    for user in ("alice", "alice", "bob", "nosuch"):
        stage.log_in(user, "x")
    lines = stage.cache.report()
    assert lines[0] == "Authentication cache hits 1/4 (25%)"
    assert "positive: 2 entries" in lines[1] and "negative: 1 entries" in lines[1] and "of 100000 bytes" in lines[2]
    assert stage.cache.flush(["bob", "carol"]) == 1
    assert stage.cache.flush() == 2
    assert stage.cache.report()[0] == "Authentication cache hits 0/0 (100%)" and len(stage.cache) == 0


def test_user_databases_are_kept_too() -> None:
    cache = AuthCache(CacheRules(100_000), FakeClock())
    conf = DovecotSettings.of("passdb {\n  driver = static\n}\nuserdb {\n  driver = static\n  args = uid=1\n}\n")
    asked: list[str] = []

    class Users:
        driver, cache_key = "test", "%u"

        async def find(self, request: AuthRequest) -> tuple[tuple[str, str | None], ...] | None:
            asked.append(request.user)
            return (("uid", "7"), ("gid", "8")) if request.user == "alice" else None

        async def names(self) -> list[str]:
            return []

    async def none(request: AuthRequest) -> bool:
        return False

    entry = dataclasses.replace(Databases.of(conf, HashPool(1), none).userdbs[0], db=Users())
    chain = UserdbChain([entry], HashPool(1), cache=cache)

    def look_up(user: str) -> dict[str, str] | None:
        return asyncio.run(chain.run(AuthRequest("lmtp", user=user)))

    first = look_up("alice")
    assert first is not None and first["uid"] == "7" and look_up("alice") == first
    assert look_up("bob") is None and look_up("bob") is None
    assert asked == ["alice", "bob"]


def test_scram_after_a_change(tmp_path: Path) -> None:
    """A challenge made of an old stored password fails once; then the new one is looked up."""
    service_conf = settings(tmp_path, "auth_cache_size = 1M\n")

    async def work() -> tuple[int, int]:
        from mailsuite.sasl.service import AuthService

        service = AuthService(service_conf)
        db = Db({"alice": "old"})
        entry = dataclasses.replace(service.databases.passdbs[0], db=db)
        service.passdbs = PassdbChain([entry], service.pool, cache=service.cache)
        for _ in range(3):
            attempt = service.attempt(service.mechanisms["CRAM-MD5"], "imap", {})
            await attempt.start(None)
            await attempt.go_on(b"alice " + b"0" * 32)
        service.close()
        return db.asked, len(service.cache)

    assert asyncio.run(work()) == (2, 1)


def test_flush_over_the_socket(tmp_path: Path) -> None:
    async def work() -> list[str]:
        async with auth_service(tmp_path, settings(tmp_path, "auth_cache_size = 1M\n")):
            said = b64encode(b"\0alice\0secret-alice").decode()
            await answers(tmp_path / "auth", [["AUTH", "1", "PLAIN", "service=imap", "resp=" + said]])
            return await answers(tmp_path / "auth-master", [["CACHE-FLUSH", "1", "alice"], ["CACHE-FLUSH", "2"]])

    assert asyncio.run(work()) == ["OK\t1\t0", "OK\t2\t0"]          # files are no matter for the cache


