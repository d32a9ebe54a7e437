"""Several databases: who is asked, and what an answer means for the next."""

import asyncio
from pathlib import Path

import pytest

from mailsuite.base.errors import ConfigErrors, TemporaryError
from mailsuite.base.secret import Secret
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.sasl.chain import Verdict
from mailsuite.sasl.request import AuthRequest, address, in_networks
from mailsuite.sasl.service import AuthService

BASE = "auth_mechanisms = plain\n"


def service(folder: Path, text: str, **files: str) -> AuthService:
    for name, content in files.items():
        (folder / name).write_text(content)
    return AuthService(DovecotSettings.of(BASE + text.replace("DIR", str(folder))))


def verdict(auth: AuthService, user: str, password: str, **facts: str) -> tuple[Verdict, AuthRequest]:
    async def work() -> Verdict:
        return await auth.passdbs.run(request, Secret(password.encode()))

    request = AuthRequest("imap", facts, mechanism="PLAIN", user=user, original_user=user)
    return asyncio.run(work()), request


def passdb(args: str, more: str = "", driver: str = "passwd-file") -> str:
    return f"passdb {{\n driver = {driver}\n args = {args}\n {more}\n}}\n"


TWO = {"one": "alice:{PLAIN}first\nbob:{PLAIN}x\n", "two": "alice:{PLAIN}second\ncarol:{PLAIN}c\n"}
ONE_TWO = passdb("DIR/one", "%s") + passdb("DIR/two", "%s")


@pytest.mark.parametrize(("first", "second", "user", "password", "want"), [
    ("", "", "alice", "first", Verdict.OK),
    ("", "", "alice", "second", Verdict.OK),
    ("", "", "alice", "third", Verdict.MISMATCH),
    ("", "", "carol", "c", Verdict.OK),
    ("", "", "nosuch", "c", Verdict.UNKNOWN),
    ("result_failure = return-fail", "", "alice", "second", Verdict.MISMATCH),
    ("result_failure = return-fail", "", "carol", "c", Verdict.UNKNOWN),
    ("result_success = continue", "", "alice", "first", Verdict.OK),       # the second is asked without the password
    ("result_success = continue", "", "bob", "x", Verdict.UNKNOWN),        # and must know the user
    ("result_success = continue-ok", "", "bob", "x", Verdict.OK),
    ("result_success = return", "", "bob", "x", Verdict.MISMATCH),
    ("", "skip = unauthenticated", "alice", "second", Verdict.MISMATCH),
    ("result_success = continue-ok", "skip = authenticated", "bob", "x", Verdict.OK),
    ("mechanisms = login", "", "alice", "first", Verdict.MISMATCH),
    ("mechanisms = plain", "", "alice", "first", Verdict.OK),
    ("username_filter = !alice", "", "alice", "first", Verdict.MISMATCH),
    ("username_filter = a*", "", "alice", "first", Verdict.OK),
    ("deny = yes", "", "alice", "second", Verdict.DISABLED),
    ("deny = yes", "", "carol", "c", Verdict.OK),
    ("", "deny = yes", "alice", "first", Verdict.OK),                      # a deny behind the one that matched
])
def test_two_databases(tmp_path: Path, first: str, second: str, user: str, password: str, want: Verdict) -> None:
    assert verdict(service(tmp_path, ONE_TWO % (first, second), **TWO), user, password)[0] is want


def test_a_database_that_cannot_be_asked(tmp_path: Path) -> None:
    auth = service(tmp_path, passdb("DIR/missing") + passdb("DIR/two"), **TWO)
    assert verdict(auth, "alice", "second")[0] is Verdict.OK
    assert verdict(auth, "alice", "wrong")[0] is Verdict.INTERNAL          # "no" and "don't know" differ
    strict = service(tmp_path, passdb("DIR/missing", "result_internalfail = return-fail") + passdb("DIR/two"), **TWO)
    assert verdict(strict, "alice", "second")[0] is not Verdict.OK
    deny = service(tmp_path, passdb("DIR/missing", "deny = yes") + passdb("DIR/two"), **TWO)
    assert verdict(deny, "alice", "second")[0] is Verdict.INTERNAL         # who is denied must be known


def test_fields(tmp_path: Path) -> None:
    auth = service(tmp_path, passdb("DIR/one", "default_fields = a=1 b=%u userdb_home=/h/%u\n override_fields = c=3"),
                   one="alice:{PLAIN}x::::::b=2 c=2 user=Other:protected d:remove=\n")
    result, request = verdict(auth, "alice", "x")
    assert result is Verdict.OK
    assert {name: request.fields[name] for name in "abc"} == {"a": "1", "b": "2", "c": "3"}
    assert request.userdb_fields == {"home": "/h/alice"}


def test_static_passdb(tmp_path: Path) -> None:
    auth = service(tmp_path, passdb("password=master", driver="static"))
    assert verdict(auth, "anyone", "master")[0] is Verdict.OK
    assert verdict(auth, "anyone", "x")[0] is Verdict.MISMATCH
    open_to_all = service(tmp_path, passdb("nopassword=y", driver="static"))
    assert verdict(open_to_all, "anyone", "x")[0] is Verdict.OK


@pytest.mark.parametrize(("where", "networks", "want"), [
    ("192.0.2.9", "192.0.2.0/24", True),
    ("192.0.2.9", "198.51.100.1, 192.0.2.9", True),
    ("192.0.2.9", "local", False),
    ("", "local", True),
    ("", "192.0.2.0/24", False),
    ("2001:db8::1", "2001:db8::/32,192.0.2.0/24", True),
    ("2001:db8::1", "rubbish", False),
])
def test_networks(where: str, networks: str, want: bool) -> None:
    assert in_networks(address(where), networks) is want


def userdb(auth: AuthService, user: str) -> dict[str, str] | None:
    found = asyncio.run(auth.userdb(user, "lmtp", {}))
    return None if found is None else found[1]


def test_userdbs(tmp_path: Path) -> None:
    users = ("alice:{PLAIN}x:5000:bin::/home/a::userdb_quota=1 userdb_mail=mbox:~/%u\nnum:x::\nshort:x:5\n"
             "super:x:0:0::/root\nnobody:x:5:nosuchgroup::/h\n")
    known = passdb("DIR/users")
    file = "userdb {\n driver = passwd-file\n args = DIR/users\n default_fields = uid=7 gid=8\n}\n"
    auth = service(tmp_path, known + file, users=users)
    assert userdb(auth, "alice") == {"uid": "5000", "gid": "2", "home": "/home/a", "quota": "1", "mail": "mbox:~/alice"}
    assert [userdb(auth, name) for name in ("short", "super", "nobody")] == [None] * 3
    assert userdb(auth, "num") == {"uid": "7", "gid": "8"}
    assert userdb(auth, "nosuch") is None
    static = "userdb {\n driver = static\n args = uid=5 gid=6 home=/v/%u\n}\n"
    assert userdb(service(tmp_path, known + static), "alice") == {"uid": "5", "gid": "6", "home": "/v/alice"}
    assert userdb(service(tmp_path, known + static), "nosuch") is None
    everyone = static.replace("home=", "allow_all_users=yes home=")
    assert userdb(service(tmp_path, known + everyone), "nosuch") == {"uid": "5", "gid": "6", "home": "/v/nosuch"}
    both = file.replace("DIR/users", "DIR/missing") + static
    assert userdb(service(tmp_path, known + both), "alice") == {"uid": "5", "gid": "6", "home": "/v/alice"}
    with pytest.raises(TemporaryError):
        userdb(service(tmp_path, known + file.replace("DIR/users", "DIR/missing")), "alice")
    with pytest.raises(TemporaryError):
        userdb(service(tmp_path, known + static.replace("uid=5", "uid=nosuchuser")), "alice")


def test_prefetch(tmp_path: Path) -> None:
    auth = service(tmp_path, passdb("DIR/users") + "userdb {\n driver = prefetch\n}\n",
                   users="alice:{PLAIN}x::::::userdb_uid=9 userdb_home=/p\nbob:{PLAIN}x\n")
    _, request = verdict(auth, "alice", "x")
    assert asyncio.run(auth.userdb_after_login(request)) == ("alice", {"uid": "9", "home": "/p"})
    _, request = verdict(auth, "bob", "x")
    assert asyncio.run(auth.userdb_after_login(request)) is None


def test_a_changed_file_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailsuite.sasl.passwd_file.CHECK_EVERY_S", 0)
    auth = service(tmp_path, passdb("DIR/one"), one="alice:{PLAIN}old\n")
    assert verdict(auth, "alice", "old")[0] is Verdict.OK
    (tmp_path / "one").write_text("alice:{PLAIN}newer\n")
    assert verdict(auth, "alice", "newer")[0] is Verdict.OK


@pytest.mark.parametrize("text", [
    "",                                                                     # nobody could log in
    passdb("DIR/x", driver="nosuch"),
    passdb("", driver="passwd-file"),
    passdb("DIR/x", "result_success = perhaps"),
    passdb("DIR/x") + "userdb {\n driver = nosuch\n}\n",
    passdb("DIR/x").replace("passdb", "auth_mechanisms = nosuch\npassdb"),
])
def test_errors_of_the_configuration(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigErrors):
        service(tmp_path, text)


def test_an_unknown_user_costs_a_hash_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mailsuite.sasl import schemes

    calls = []
    real = schemes.verify
    monkeypatch.setattr(schemes, "verify", lambda *words: calls.append(words[0]) or real(*words))
    auth = service(tmp_path, passdb("DIR/one"), one="alice:" + schemes.generate("MD5-CRYPT", b"x") + "\n")
    assert verdict(auth, "alice", "wrong")[0] is Verdict.MISMATCH
    assert verdict(auth, "nosuch", "wrong")[0] is Verdict.UNKNOWN
    assert calls == ["MD5-CRYPT", "MD5-CRYPT"]
