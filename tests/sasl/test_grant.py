"""Grants: nobody but the two ends can read, make, change or reuse one."""

import time
from base64 import b64decode, b64encode

import pytest

from mailsuite.sasl import grant as grants

ABOUT = grants.about(12, 7, "c" * 32, "imap", "session")
USER = b"alice\tuid=5000\thome=/home/alice\tpassword=for-another-server\n"


@pytest.fixture
def ends() -> tuple[grants.Sealer, grants.Opened]:
    key = grants.new_key()
    return grants.Sealer(key), grants.Opened(key)


def test_a_grant_is_good_once(ends: tuple[grants.Sealer, grants.Opened]) -> None:
    sealer, opened = ends
    grant = sealer.seal(ABOUT, USER)
    assert grant.isascii() and b"alice" not in b64decode(grant) and b"password" not in b64decode(grant)
    assert opened.open(ABOUT, grant) == USER
    assert opened.open(ABOUT, grant) is None


@pytest.mark.parametrize("other", [
    grants.about(13, 7, "c" * 32, "imap", "session"), grants.about(12, 8, "c" * 32, "imap", "session"),
    grants.about(12, 7, "d" * 32, "imap", "session"), grants.about(12, 7, "c" * 32, "pop3", "session"),
    grants.about(12, 7, "c" * 32, "imap", "another"), b""])
def test_a_grant_is_about_one_login(ends: tuple[grants.Sealer, grants.Opened], other: bytes) -> None:
    sealer, opened = ends
    grant = sealer.seal(ABOUT, USER)
    assert opened.open(other, grant) is None
    assert opened.open(ABOUT, grant) == USER         # a wrong try uses nothing up


def test_no_octet_of_a_grant_may_change(ends: tuple[grants.Sealer, grants.Opened]) -> None:
    sealer, opened = ends
    octets = b64decode(sealer.seal(ABOUT, USER))
    for at in range(len(octets)):
        forged = octets[:at] + bytes([octets[at] ^ 1]) + octets[at + 1:]
        assert opened.open(ABOUT, b64encode(forged).decode()) is None
    for text in ("", "!", "AAAA", b64encode(octets[:11]).decode(), b64encode(octets[:-1]).decode(), "ü"):
        assert opened.open(ABOUT, text) is None


def test_another_key_opens_nothing(ends: tuple[grants.Sealer, grants.Opened]) -> None:
    assert grants.Opened(grants.new_key()).open(ABOUT, ends[0].seal(ABOUT, USER)) is None


def test_a_grant_grows_old(ends: tuple[grants.Sealer, grants.Opened], monkeypatch: pytest.MonkeyPatch) -> None:
    sealer, opened = ends
    old, used = sealer.seal(ABOUT, USER), sealer.seal(ABOUT, USER)
    assert opened.open(ABOUT, used) == USER
    later = time.monotonic() + grants.KEEP_S + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert opened.open(ABOUT, old) is None and opened.open(ABOUT, used) is None
    assert opened.open(ABOUT, sealer.seal(ABOUT, USER)) == USER
    assert len(opened._used) == 1                    # what is too old anyway need not be remembered


def test_no_more_grants_than_can_be_remembered(ends: tuple[grants.Sealer, grants.Opened],
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    sealer, opened = ends
    monkeypatch.setattr(grants, "KEPT_LIMIT", 2)
    assert [opened.open(ABOUT, sealer.seal(ABOUT, USER)) for _ in range(3)] == [USER, USER, None]


def test_who_has_too_much_to_say_gets_none(ends: tuple[grants.Sealer, grants.Opened]) -> None:
    assert ends[0].seal(ABOUT, b"x" * grants.SIZE_LIMIT) == ""
