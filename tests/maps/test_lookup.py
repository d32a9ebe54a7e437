"""The orders of look-ups, and match lists."""

import asyncio
from pathlib import Path

import pytest

from mailsuite.base.errors import TemporaryError
from mailsuite.config.settings import Settings
from mailsuite.maps import MapSource, open_maps
from mailsuite.maps.lookup import DEFAULT, Strategy, find_address, find_domain
from mailsuite.maps.matchlist import AddressList, DomainList, NameList

SOURCE = MapSource(Settings.of({}), "smtpd")
TABLE = "inline:{full+x@d.test=1,bare@d.test=2,loc+x=3,loc=4,@d.test=5,d.test=6,.d.test=7,acc@=9}"


async def is_here(domain: str) -> bool:
    return domain == "here"


@pytest.mark.parametrize(("address", "strategy", "want"), [
    ("full+x@d.test", DEFAULT, ("1", "")), ("bare+x@d.test", DEFAULT, ("2", "+x")), ("loc+x@here", DEFAULT, ("3", "")),
    ("loc+y@here", DEFAULT, ("4", "+y")), ("other@d.test", DEFAULT, ("5", "")), ("other@e.test", DEFAULT, None),
    ("loc@there", DEFAULT, None),
    ("x@d.test", Strategy.FULL | Strategy.DOMAIN, ("6", "")),
    ("x@a.d.test", Strategy.DOMAIN | Strategy.DOTTED_PARENTS, ("7", "")),
    ("x@a.d.test", Strategy.DOMAIN | Strategy.PARENTS, ("6", "")),
    ("x@a.d.test", Strategy.DOMAIN, None), ("acc+y@z", Strategy.ACCESS, ("9", "+y")), ("", DEFAULT, None),
])
def test_find_address(address: str, strategy: Strategy, want: tuple[str, str] | None) -> None:
    found = asyncio.run(find_address(open_maps(TABLE, SOURCE), address, delimiter="+", strategy=strategy,
                                     is_local=is_here))
    assert (None if found is None else (found.value, found.extension)) == want


@pytest.mark.parametrize("key", ['"o n"@here', '"o n"'])
def test_quoted_keys(key: str, tmp_path: Path) -> None:
    (tmp_path / "t").write_text(f"{key} found\n")
    found = asyncio.run(find_address(open_maps(f"texthash:{tmp_path}/t", SOURCE), "o n@here",
                                     is_local=is_here))
    assert found is not None and found.value == "found"


def test_find_domain() -> None:
    maps = open_maps(TABLE, SOURCE)
    assert asyncio.run(find_domain(maps, "a.b.d.test", parents=True)) == "6"
    assert asyncio.run(find_domain(maps, "a.b.d.test", dotted=True)) == "7"
    assert asyncio.run(find_domain(maps, "a.b.d.test")) is None


@pytest.mark.parametrize(("items", "key", "want"), [
    ("192.0.2.0/24, [2001:db8::]/32, host.test", "192.0.2.77", True),
    ("192.0.2.0/24, [2001:db8::]/32, host.test", "2001:db8::1", True),
    ("192.0.2.0/24, [2001:db8::]/32, host.test", "2001:db9::1", False),
    ("192.0.2.0/24, [2001:db8::]/32, host.test", "HOST.test", True),
    ("!192.0.2.5, 192.0.2.0/24", "192.0.2.5", False),
    ("192.0.2.0/24, !192.0.2.5", "192.0.2.5", True),
    ("!192.0.2.0/28 192.0.2.0/24", "192.0.2.99", True),
    ("cidr:{{192.0.2.0/24 x}}", "192.0.2.9", True),
    ("2001:db8::1", "2001:db8::1", True),
    ("", "192.0.2.1", False),
])
def test_address_list(items: str, key: str, want: bool) -> None:
    listed = AddressList(items, SOURCE, name="mynetworks")
    assert asyncio.run(listed.matches(key)) is want
    assert listed.matches_now(key) is want


def test_bad_network_is_never_silently_absent() -> None:
    listed = AddressList("192.0.2.5/24 10.0.0.1", SOURCE, name="mynetworks")
    assert asyncio.run(listed.matches("10.0.0.1"))
    with pytest.raises(TemporaryError):
        asyncio.run(listed.matches("192.0.2.1"))


@pytest.mark.parametrize(("items", "parents", "key", "want"), [
    ("test", True, "mx.test", True), ("test", False, "mx.test", False), (".test", False, "mx.test", True),
    (".test", False, "test", False), ("inline:{b.test=x}", True, "a.b.test", True),
    ("inline:{b.test=x}", False, "a.b.test", False), ("inline:{.b.test=x}", False, "a.b.test", True),
    ("!a.test, test", True, "a.test", False), ("!a.test, test", True, "b.test", True),
])
def test_domain_list(items: str, parents: bool, key: str, want: bool) -> None:
    assert asyncio.run(DomainList(items, SOURCE, parents=parents).matches(key)) is want


def test_files_in_lists(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("# names\none.test\n  two.test\n!three.test\n")
    names = NameList(f"{tmp_path}/f, three.test four.test", SOURCE)
    assert [asyncio.run(names.matches(name)) for name in ("one.test", "two.test", "three.test", "four.test", "x")] == [
        True, True, False, True, False]
    with pytest.raises(TemporaryError):
        asyncio.run(NameList("/nonexistent/list", SOURCE).matches("x"))


def test_failing_table_in_a_list() -> None:
    with pytest.raises(TemporaryError):
        asyncio.run(NameList("one.test, fail:x", SOURCE).matches("two.test"))
    assert asyncio.run(NameList("one.test, fail:x", SOURCE).matches("one.test"))


def test_the_null_address_has_a_key_of_its_own() -> None:
    found = asyncio.run(find_address(open_maps('inline:{{""=here}}', SOURCE), "", external=True))
    assert found is not None and found.value == "here"


def test_external_form_only(tmp_path: Path) -> None:
    (tmp_path / "t").write_text('o\\ n@q.test wrong\n"o n"@q.test right\n')
    maps = open_maps(f"texthash:{tmp_path}/t", SOURCE)
    assert asyncio.run(find_address(maps, "a b@q.test", external=True)) is None
    found = asyncio.run(find_address(maps, "o n@q.test", external=True))
    assert found is not None and found.value == "right"
