"""Grants: nobody but the two ends can read, make, change or reuse one."""

import re
import time
from base64 import b64decode, b64encode

import pytest

from mailsuite.sasl import grant as grants

ABOUT = grants.about(12, 7, "c" * 32, "imap", "session")
RIGHTS = grants.rights_of("imap", {"uid": "5000", "gid": "5000", "home": "/home/alice"})
USER = b"alice\tuid=5000\thome=/home/alice\tpassword=for-another-server\n"


def sealed(grant: str) -> bytes:
    return b64decode(grant.partition(".")[2])


@pytest.fixture
def ends() -> tuple[grants.Sealer, grants.Opened]:
    key = grants.new_key()
    return grants.Sealer(key), grants.Opened(grants.Keys(key).of(RIGHTS))


def test_a_grant_is_good_once(ends: tuple[grants.Sealer, grants.Opened]) -> None:
    sealer, opened = ends
    grant = sealer.seal(ABOUT, RIGHTS, USER)
    assert grant.isascii() and not {b"alice", b"password"} & set(re.findall(rb"[a-z]+", sealed(grant)))
    assert grants.rights_in(grant) == RIGHTS and b64decode(RIGHTS) == b"imap\x005000\x005000\0\0"
    assert opened.open(ABOUT, grant) == USER
    assert opened.open(ABOUT, grant) is None


@pytest.mark.parametrize("other", [
    grants.about(13, 7, "c" * 32, "imap", "session"), grants.about(12, 8, "c" * 32, "imap", "session"),
    grants.about(12, 7, "d" * 32, "imap", "session"), grants.about(12, 7, "c" * 32, "pop3", "session"),
    grants.about(12, 7, "c" * 32, "imap", "another"), b""])
def test_a_grant_is_about_one_login(ends: tuple[grants.Sealer, grants.Opened], other: bytes) -> None:
    sealer, opened = ends
    grant = sealer.seal(ABOUT, RIGHTS, USER)
    assert opened.open(other, grant) is None
    assert opened.open(ABOUT, grant) == USER         # a wrong try uses nothing up


def test_no_octet_of_a_grant_may_change(ends: tuple[grants.Sealer, grants.Opened]) -> None:
    sealer, opened = ends
    octets = sealed(sealer.seal(ABOUT, RIGHTS, USER))
    for at in range(len(octets)):
        forged = octets[:at] + bytes([octets[at] ^ 1]) + octets[at + 1:]
        assert opened.open(ABOUT, f"{RIGHTS}.{b64encode(forged).decode()}") is None
    for text in ("", "!", "AAAA", b64encode(octets[:11]).decode(), b64encode(octets[:-1]).decode(), "ü"):
        assert opened.open(ABOUT, text) is None and opened.open(ABOUT, f"{RIGHTS}.{text}") is None


def test_another_key_opens_nothing(ends: tuple[grants.Sealer, grants.Opened]) -> None:
    assert grants.Opened(grants.new_key()).open(ABOUT, ends[0].seal(ABOUT, RIGHTS, USER)) is None


def test_a_grant_grows_old(ends: tuple[grants.Sealer, grants.Opened], monkeypatch: pytest.MonkeyPatch) -> None:
    sealer, opened = ends
    old, used = sealer.seal(ABOUT, RIGHTS, USER), sealer.seal(ABOUT, RIGHTS, USER)
    assert opened.open(ABOUT, used) == USER
    later = time.monotonic() + grants.KEEP_S + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert opened.open(ABOUT, old) is None and opened.open(ABOUT, used) is None
    assert opened.open(ABOUT, sealer.seal(ABOUT, RIGHTS, USER)) == USER
    assert len(opened._used) == 1                    # what is too old anyway need not be remembered


def test_no_more_grants_than_can_be_remembered(ends: tuple[grants.Sealer, grants.Opened],
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    sealer, opened = ends
    monkeypatch.setattr(grants, "KEPT_LIMIT", 2)
    assert [opened.open(ABOUT, sealer.seal(ABOUT, RIGHTS, USER)) for _ in range(3)] == [USER, USER, None]


def test_who_has_too_much_to_say_gets_none(ends: tuple[grants.Sealer, grants.Opened]) -> None:
    assert ends[0].seal(ABOUT, RIGHTS, b"x" * grants.SIZE_LIMIT) == ""


def test_each_kind_of_rights_has_a_key_of_its_own() -> None:
    """A worker knows that of its users; with it grants for others can be neither read nor made."""
    key = grants.new_key()
    sealer, keys = grants.Sealer(key), grants.Keys(key)
    others = [grants.rights_of(service, {"uid": "5000", **fields}) for service, fields in (
        ("pop3", {"gid": "5000"}), ("imap", {"gid": "5001"}), ("imap", {"gid": "5000", "chroot": "/x"}),
        ("imap", {"gid": "5000", "system_groups_user": "alice"}), ("imap", {}))]
    grant = sealer.seal(ABOUT, RIGHTS, USER)
    for rights in others:
        assert rights != RIGHTS and grants.Opened(keys.of(rights)).open(ABOUT, grant) is None
        assert keys.open(ABOUT, f"{rights}.{grant.partition('.')[2]}") is None         # nor do other rights fit it
    assert keys.open(ABOUT, grant, use=False) == keys.open(ABOUT, grant, use=False) == USER
    assert keys.open(ABOUT, grant) == USER and keys.open(ABOUT, grant) is None


def test_what_forgets_rights_takes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    key = grants.new_key()
    sealer, keys = grants.Sealer(key), grants.Keys(key)
    other = grants.rights_of("imap", {"uid": "6000"})
    made = [sealer.seal(ABOUT, rights, USER) for rights in (RIGHTS, other)]
    assert keys.open(ABOUT, "forged." + made[0].partition(".")[2]) is None and not keys._opened
    monkeypatch.setattr(grants, "RIGHTS_LIMIT", 1)
    assert [keys.open(ABOUT, grant) for grant in made] == [USER, None]
    assert keys.open(ABOUT, made[1], use=False) == USER
    assert sealer.seal(ABOUT, grants.rights_of("imap", {"uid": "7000"}), USER) == ""


def test_a_grant_can_be_given_back(ends: tuple[grants.Sealer, grants.Opened]) -> None:
    sealer, opened = ends
    grant = sealer.seal(ABOUT, RIGHTS, USER)
    assert opened.open(ABOUT, grant) == USER
    opened.give_back(grant)
    assert opened.open(ABOUT, grant) == USER and opened.open(ABOUT, grant) is None


def test_no_nonce_comes_twice() -> None:
    key = grants.new_key()
    sealers = grants.Sealer(key), grants.Sealer(key)
    assert len({sealed(sealer.seal(ABOUT, RIGHTS, USER))[:12] for sealer in sealers for _ in range(100)}) == 200
