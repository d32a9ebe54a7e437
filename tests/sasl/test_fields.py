"""What the fields of databases do to a request: as Dovecot 2.3 answered side by side."""

import asyncio
import time
from pathlib import Path

import pytest

from mailsuite.base.errors import TemporaryError
from mailsuite.sasl.chain import Verdict
from mailsuite.sasl.request import address, in_networks
from tests.sasl.test_chain import ONE_TWO, TWO, passdb, service, userdb, verdict

USER = "alice:{PLAIN}x::::::%s\n"


@pytest.mark.parametrize(("fields", "facts", "want"), [
    pytest.param("allow_nets=192.0.2.0/24", {"rip": "192.0.2.9"}, True, id="network"),
    pytest.param("allow_nets=192.0.2.0/24", {"rip": "192.0.3.9"}, False, id="other network"),
    pytest.param("allow_nets=192.0.2.0/24", {"rip": "::ffff:192.0.2.9"}, True, id="IPv4 in IPv6"),
    pytest.param("allow_nets=local,2001:db8::/32", {}, True, id="local"),
    pytest.param("allow_nets=2001:db8::/32", {}, False, id="no address"),
    pytest.param("allow_nets=2001:db8::/32", {"rip": "2001:db8::9"}, True, id="IPv6"),
    pytest.param("allow_nets=rubbish", {"rip": "192.0.2.9"}, False, id="no network"),
    pytest.param("fail=y", {}, False, id="fail"),
    pytest.param("delay_until=1", {}, True, id="a time in the past"),
    pytest.param("delay_until=x", {}, False, id="no time"),
    pytest.param("delay_until=99999999999", {}, False, id="too far in the future"),
    pytest.param("user=", {}, False, id="no name left"),
    pytest.param("k5principals=a", {}, True, id="a field of no meaning here"),
    pytest.param("event_x=1", {}, True, id="event_"),
])
def test_fields_that_refuse(tmp_path: Path, fields: str, facts: dict[str, str], want: bool) -> None:
    result, _ = verdict(service(tmp_path, passdb("DIR/one"), one=USER % fields), "alice", "x", **facts)
    assert result is (Verdict.OK if want else Verdict.UNKNOWN)


@pytest.mark.parametrize(("name", "field", "want"), [
    ("alice", "user=bob@b.test", "bob@b.test"),
    ("alice@a.test", "username=bob", "bob@a.test"),
    ("alice@a.test", "username=bob@b.test", "bob@b.test"),
    ("alice", "domain=b.test", "alice@b.test"),
    ("alice@a.test", "domain=b.test", "alice@b.test"),
])
def test_the_name_changes(tmp_path: Path, name: str, field: str, want: str) -> None:
    result, request = verdict(service(tmp_path, passdb("DIR/one"), one=f"{name}:{{PLAIN}}x::::::{field}\n"), name, "x")
    assert result is Verdict.OK and request.user == want


def test_a_name_that_changed_stays_for_the_next_database(tmp_path: Path) -> None:
    auth = service(tmp_path, ONE_TWO % ("", ""), one="alice:{PLAIN}no::::::user=carol a=1\n", two=TWO["two"])
    result, request = verdict(auth, "alice", "c")
    assert (result, request.user) == (Verdict.OK, "carol") and "a" not in request.fields


def test_protected_and_removed_fields(tmp_path: Path) -> None:
    auth = service(tmp_path, passdb("DIR/one", "default_fields = a=1 b=1 userdb_c=1\n override_fields = d=%u a=3"),
                   one=USER % "a:protected=2 b:remove= userdb_c:protected=2 e=5")
    _, request = verdict(auth, "alice", "x")
    assert request.client_fields() == {"a": "3", "d": "alice", "e": "5"}
    assert request.userdb_fields == {"c": "1"} and request.prefetched


def test_success_waits_until_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
    monkeypatch.setattr("mailsuite.sasl.chain.asyncio.sleep", sleep)
    auth = service(tmp_path, passdb("DIR/one"), one=USER % f"delay_until={int(time.time()) + 200}+5")
    assert verdict(auth, "alice", "x")[0] is Verdict.OK
    assert verdict(auth, "alice", "wrong")[0] is Verdict.MISMATCH
    assert len(waits) == 1 and 150 < waits[0] < 206


def test_noauthenticate_leaves_the_password_to_the_next(tmp_path: Path) -> None:
    files = {"one": "alice:::::::noauthenticate=y seen=1\n", "two": TWO["two"]}
    assert verdict(service(tmp_path, ONE_TWO % ("", ""), **files), "alice", "wrong")[0] is Verdict.MISMATCH
    result, request = verdict(service(tmp_path, ONE_TWO % ("", ""), **files), "alice", "second")
    assert result is Verdict.OK and request.client_fields() == {"seen": "1"}
    assert verdict(service(tmp_path, passdb("DIR/one"), **files), "alice", "x")[0] is Verdict.INTERNAL


def test_nopassword_does_not_leak_to_the_next(tmp_path: Path) -> None:
    auth = service(tmp_path, ONE_TWO % ("result_success = continue-fail", ""), one="alice:::::::nopassword=y\n",
                   two=TWO["two"])
    assert verdict(auth, "alice", "wrong")[0] is Verdict.MISMATCH
    assert verdict(service(tmp_path, passdb("DIR/one"), one=USER % "nopassword=y"), "alice", "no")[0] is not Verdict.OK


@pytest.mark.parametrize("password", ["a\tb", "a\nb", "a\rb", "a\x01b"])
def test_passwords_with_control_characters_are_refused(tmp_path: Path, password: str) -> None:
    auth = service(tmp_path, passdb("nopassword=y", driver="static"))
    assert verdict(auth, "alice", password)[0] is Verdict.UNKNOWN


@pytest.mark.parametrize(("patterns", "user", "want"), [
    ("!b* *", "bob", False), ("!b* *", "alice", True), ("* !b*", "bob", True), ("a?ice", "alice", True),
    ("[a]lice", "alice", False), ("!bob", "alice", True), ("*@a.test", "alice@a.test", True),
])
def test_username_filter(tmp_path: Path, patterns: str, user: str, want: bool) -> None:
    auth = service(tmp_path, passdb("nopassword=y", f"username_filter = {patterns}", "static"))
    # Nobody left to ask is a mistake of the configuration, and not the user's.
    assert verdict(auth, user, "x")[0] is (Verdict.OK if want else Verdict.INTERNAL)


def test_the_name_of_the_password_in_a_template(tmp_path: Path) -> None:
    auth = service(tmp_path, passdb("password={SHA256.hex}%{sha256:password}", driver="static"))
    result, request = verdict(auth, "alice", "x")
    assert result is Verdict.OK and request.password is None       # it is not kept


def test_userdb_fields(tmp_path: Path) -> None:
    file = ("userdb {\n driver = passwd-file\n args = DIR/one\n default_fields = uid=7 home=/d x=1\n"
            " override_fields = gid=8 home:protected=/o y=%u\n}\n")
    auth = service(tmp_path, passdb("DIR/one") + file, one=(
        "alice:x:5000:9::/h::userdb_x:remove= userdb_user=other\nbob:x::\ntemp:x::::::userdb_tempfail=y\n"))
    assert userdb(auth, "alice") == {"uid": "5000", "gid": "8", "home": "/h", "y": "other"}
    assert userdb(auth, "bob") == {"uid": "7", "gid": "8", "home": "/d", "x": "1", "y": "bob"}
    with pytest.raises(TemporaryError, match="later"):
        userdb(auth, "temp")


def test_userdbs_add_up(tmp_path: Path) -> None:
    both = "".join(f"userdb {{\n driver = passwd-file\n args = DIR/{name}\n {more}\n}}\n" for name, more in (
        ("one", "result_success = continue-ok"), ("two", "default_fields = b=2\n skip = notfound")))
    auth = service(tmp_path, passdb("DIR/one") + both, one="alice:x:1:1::/h::userdb_a=1 userdb_b=1\nbob:x:1:1::/h\n",
                   two="alice:x:2:2\ncarol:x:3:3::/c\n")
    assert userdb(auth, "alice") == {"uid": "2", "gid": "2", "home": "/h", "a": "1", "b": "2"}
    assert userdb(auth, "bob") == {"uid": "1", "gid": "1", "home": "/h"}
    assert userdb(auth, "carol") is None


def test_names_of_all_databases(tmp_path: Path) -> None:
    auth = service(tmp_path, passdb("DIR/one") + "userdb {\n driver = prefetch\n}\nuserdb {\n driver = passwd-file\n"
                   " args = DIR/one\n}\nuserdb {\n driver = static\n args = uid=1 gid=1 home=/h\n}\n",
                   one="alice:x:1:1::/h\nbob:x:1:1::/h\n")
    assert asyncio.run(auth.userdbs.names()) == (["alice", "bob"], True)
    missing = service(tmp_path, passdb("DIR/one") + "userdb {\n driver = passwd-file\n args = DIR/missing\n}\n"
                      "userdb {\n driver = passwd-file\n args = DIR/one\n}\n")
    assert asyncio.run(missing.userdbs.names()) == (["alice", "bob"], False)
    unable = service(tmp_path, passdb("DIR/one") + "userdb {\n driver = static\n args = uid=1\n}\n")
    assert asyncio.run(unable.userdbs.names()) == ([], False)


def test_ipv4_in_ipv6() -> None:
    assert in_networks(address("::ffff:192.0.2.1"), "192.0.2.1")


def test_later_fields_see_earlier_ones(tmp_path: Path) -> None:
    auth = service(tmp_path, passdb("DIR/one") + "userdb {\n driver = passwd-file\n args = DIR/one\n result_success = "
                   "continue-ok\n}\nuserdb {\n driver = static\n args = mail=x:%{userdb:home}:%{userdb:a} "
                   "b=%{userdb:mail}\n}\n",
                   one="t:{PLAIN}pw:1:1::/h::user=new foo=%u p=%{passdb:foo} userdb_a=1 userdb_b=%{userdb:a}\n"
                   "new:x:1:1::/n::userdb_a=2\n")
    _, request = verdict(auth, "t", "pw")
    assert request.client_fields() == {"foo": "t", "p": "t"} and request.userdb_fields == {"a": "1", "b": "1"}
    assert userdb(auth, "new") == {"uid": "1", "gid": "1", "home": "/n", "a": "2", "mail": "x:/n:2", "b": "x:/n:2"}


def test_a_list_beside_other_databases_has_no_mere_passwords(tmp_path: Path) -> None:
    file = "userdb {\n driver = passwd-file\n args = DIR/one\n}\n"
    users = "full:x:1:1::/h\nshort:x\n"
    alone = service(tmp_path, passdb("DIR/one") + file, one=users)
    assert asyncio.run(alone.userdbs.names()) == (["full", "short"], True)
    beside = service(tmp_path, passdb("DIR/one") + file + "userdb {\n driver = static\n args = uid=1\n}\n")
    assert asyncio.run(beside.userdbs.names()) == (["full"], True)

