"""Sites in DNS, the access list, the cache, and what one client has still to pass."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any, cast

import pytest

from mailsuite.base.errors import ConfigError
from mailsuite.config.settings import Settings
from mailsuite.dns.resolver import Answer, DnsError, Resolver
from mailsuite.maps.maps import MapSource
from mailsuite.maps.matchlist import AddressList
from mailsuite.postscreen.access import AccessList, Verdict
from mailsuite.postscreen.cache import NEVER, Cache, Check
from mailsuite.postscreen.dnsbl import Score, ask, parse_sites
from mailsuite.postscreen.progress import Progress
from mailsuite.postscreen.screen_config import ScreenConfig


class Zone:
    """A resolver over a dictionary."""

    def __init__(self, records: dict[str, tuple[str, ...] | None]) -> None:
        self.records, self.asked = records, 0

    async def addresses(self, host: str, **_: Any) -> Answer[str]:
        self.asked += 1
        found = self.records.get(host, ())
        if found is None:
            raise DnsError(host, "A")
        return Answer(found, ttl_s=300 if found else 0)


@pytest.mark.parametrize(("text", "points", "domain"), [
    ("bl.test", 1, "bl.test"),
    ("bl.test*3, other.test", 3, "bl.test"),
    ("bl.test=127.0.0.2", 0, ""),
    ("bl.test=127.0.0.[2;4..6]*2", 2, "bl.test"),
    ("bl.test=127.0.0.5*2 bl.test=127.0.0.9*4", 6, "bl.test"),
    ("bl.test, wl.test*-5", -4, "bl.test"),
    ("broken.test*9, bl.test", 1, "bl.test"),
])
def test_points(text: str, points: int, domain: str) -> None:
    zone = Zone({"1.2.0.192.bl.test": ("127.0.0.5", "127.0.0.9"), "1.2.0.192.wl.test": ("127.0.0.1",),
                 "1.2.0.192.broken.test": None})
    score = Score()
    asyncio.run(ask(parse_sites(text), cast(Resolver, zone), "192.0.2.1", score))
    assert (score.points, score.domain, score.done) == (points, domain, True)
    assert zone.asked == len({site.domain for site in parse_sites(text)})


@pytest.mark.parametrize("text", ["bl.test=127.0.0", "bl.test=127.0.0.[2", "bl.test*x", "=127.0.0.1", "a=1.2.3.4.5",
                                  "a=1.2.3.[9..2]", "a=1.2.3.256"])
def test_bad_sites(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_sites(text)


@pytest.mark.parametrize(("text", "want"), [
    ("permit_mynetworks", {"192.0.2.1": Verdict.PERMIT, "198.51.100.1": Verdict.DUNNO}),
    ("reject", {"192.0.2.1": Verdict.REJECT}),
    ("dunno, reject", {"192.0.2.1": Verdict.DUNNO}),
    ("inline:{{192.0.2.1=dunno}, {198.51.100.1=REJECT}}, permit_mynetworks",
     {"192.0.2.1": Verdict.PERMIT, "198.51.100.1": Verdict.REJECT, "203.0.113.1": Verdict.DUNNO}),
    ("inline:{192.0.2.1=nonsense}, reject", {"192.0.2.1": Verdict.REJECT}),
])
def test_access_list(text: str, want: dict[str, Verdict]) -> None:
    source = MapSource(Settings.of({}), "postscreen")
    access = AccessList(text, source, AddressList("192.0.2.0/24", source))

    async def judged() -> dict[str, Verdict]:
        return {address: await access.judge(address) for address in want}

    assert asyncio.run(judged()) == want


def test_unknown_word_in_the_access_list() -> None:
    source = MapSource(Settings.of({}), "postscreen")
    with pytest.raises(ConfigError):
        AccessList("permit_sasl_authenticated", source, AddressList("", source))


def test_cache_survives_a_restart(tmp_path: Path) -> None:
    path = str(tmp_path / "cache.sqlite")
    cache = Cache(path, limit=1000)
    cache.load()
    cache.put("192.0.2.1", (1, 2, 3, 4, 5))
    cache.put("192.0.2.2", (100, 0, 0, 0, 0))
    cache.close()
    again = Cache(path, limit=1000)
    again.load()
    assert again.get("192.0.2.1") == (1, 2, 3, 4, 5) and again.get("192.0.2.3") == NEVER
    assert again.clean(50) == (1, 1)
    again.close()
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT client FROM passed").fetchall() == [("192.0.2.2",)]


def test_a_broken_cache_is_begun_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "cache.sqlite").write_bytes(b"not a database, but long enough to look like one" * 100)
    cache = Cache(str(tmp_path / "cache.sqlite"), limit=1000)
    cache.load()
    cache.put("192.0.2.1", (9, 0, 0, 0, 0))
    cache.close()
    assert "begun anew" in caplog.text
    nowhere = Cache(str(tmp_path / "missing/cache.sqlite"), limit=1000)
    nowhere.load()
    nowhere.put("192.0.2.1", (9, 0, 0, 0, 0))
    nowhere.flush()
    assert nowhere.get("192.0.2.1")[0] == 9 and "in memory only" in caplog.text


def test_cache_is_bounded() -> None:
    cache = Cache("", limit=1000)
    for number in range(3000):
        cache.put(f"10.0.{number >> 8}.{number & 255}", (1, 0, 0, 0, 0))
    assert len(cache) == 1000


def config(**values: str) -> ScreenConfig:
    return ScreenConfig.of(Settings.of({"myhostname": "mx.test", "queue_directory": "/nowhere", **values}),
                           tls_ready=False)


def test_what_is_left_to_pass() -> None:
    chosen = config(postscreen_dnsbl_sites="bl.test", postscreen_pipelining_enable="yes")
    tests = Progress(chosen, (2000, 500, 0, 0, 0), 1000.5)
    assert tests.todo == {Check.DNSBL, Check.PIPELINING} and tests.early and tests.deep == {Check.PIPELINING}
    tests.passed(Check.DNSBL, 60)
    assert not tests.early and not tests.passed_all
    tests.passed(Check.PIPELINING, 100)
    assert tests.passed_all and tests.stamps == (2000, 1060, 1100, 0, 0)
    assert not Progress(chosen, (2000,) * 5, 1000).todo


def test_welcome_lists_end_all_tests() -> None:
    tests = Progress(config(postscreen_pipelining_enable="yes"), NEVER, 1000)
    tests.welcomed(60)
    assert tests.passed_all and not tests.deep and tests.stamps == (1060,) * 5


def test_a_failed_test_is_no_pass_whatever_the_action() -> None:
    for enforce in (True, False):
        tests = Progress(config(), NEVER, 1000)
        tests.pregreeted(enforce=enforce)
        assert not tests.passed_all and bool(tests.reply) is enforce and tests.no_greeting is enforce
    tests = Progress(config(postscreen_bare_newline_enable="yes"), (2000, 0, 0, 0, 0), 1000)
    tests.broke(Check.BARE_NEWLINE)
    assert not tests.passed_all and not tests.deep and not tests.changed


@pytest.mark.parametrize(("name", "value"), [
    ("postscreen_dnsbl_sites", "bl.test*x"), ("postscreen_access_list", "nonsense"),
    ("postscreen_dnsbl_allowlist_threshold", "few")])
def test_bad_configuration(name: str, value: str) -> None:
    with pytest.raises(ConfigError):
        config(**{name: value})
