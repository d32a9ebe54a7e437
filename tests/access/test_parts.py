"""The log line of a login, the identity of a worker, what sessions share."""

import os
from typing import cast

import pytest

from mailsuite.access.identity import NotAllowed, identity_of
from mailsuite.access.login import LoginStory
from mailsuite.access.login_log import LineFormat
from mailsuite.access.networks import Networks
from mailsuite.access.world import UserWorld
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.config.settings import Settings
from mailsuite.net.privileges import Identity
from mailsuite.sasl.user import UserInfo

ELEMENTS = "user=<%u> method=%m rip=%r lip=%l mpid=%e %c session=<%{session}>"


@pytest.mark.parametrize(("event", "values", "line"), [
    pytest.param("Login", {"user": "alice", "m": "PLAIN", "rip": "192.0.2.9", "lip": "192.0.2.1", "e": "7",
                           "c": "TLS", "session": "S"},
                 "Login: user=<alice>, method=PLAIN, rip=192.0.2.9, lip=192.0.2.1, mpid=7, TLS, session=<S>", id="all"),
    pytest.param("Disconnected: Inactivity (no auth attempts in 180 secs)",
                 {"user": "", "m": "", "rip": "192.0.2.9", "lip": "192.0.2.1", "e": "", "c": "",
                  "session": "S"},
                 "Disconnected: Inactivity (no auth attempts in 180 secs): user=<>, rip=192.0.2.9, lip=192.0.2.1, "
                 "session=<S>", id="what is not known is left out"),
    pytest.param("Login", {"user": "%r%$%s", "m": "", "rip": "", "lip": "", "e": "", "c": "",
                           "session": ""}, "Login: user=<%r%$%s>", id="a peer's percent signs are text"),
])
def test_log_line(event: str, values: dict[str, str], line: str) -> None:
    assert LineFormat("%$: %s", ELEMENTS).line(event, values, lambda: values) == line


@pytest.mark.parametrize(("story", "detail"), [
    (LoginStory(), "no auth attempts in 2 secs"),
    (LoginStory(attempts=3), "auth failed, 3 attempts in 2 secs"),
    (LoginStory(tried_plaintext=True), "tried to use disallowed plaintext auth"),
    (LoginStory(tried_unknown=True), "tried to use unsupported auth mechanism"),
    (LoginStory(attempts=2, successes=2), "internal failure, 2 successful auths"),
    (LoginStory(attempts=1, last_code="user_disabled"), "user disabled"),
])
def test_why_it_ended(story: LoginStory, detail: str) -> None:
    assert story.detail(2) == detail


def conf(text: str) -> DovecotSettings:
    return DovecotSettings.of(text)


@pytest.mark.skipif(os.geteuid() != 0, reason="without root all identities are one")
@pytest.mark.parametrize(("user", "text", "want"), [
    (UserInfo("a", 2001, 2002), "", Identity(2001, 2002)),
    (UserInfo("a", 2001), "mail_gid = 2005", Identity(2001, 2005)),
    (UserInfo("a"), "mail_uid = 2001\nmail_gid = 2005", Identity(2001, 2005)),
    (UserInfo("a"), "mail_uid = 2001", None),
    (UserInfo("a"), "", None),
    (UserInfo("a", 100, 2001), "", None),
    (UserInfo("a", 2001, 2001), "first_valid_gid = 2002", None),
    (UserInfo("a", 2001, 2001), "last_valid_uid = 2000", None),
    (UserInfo("a", 0, 2001), "first_valid_uid = 0", None),
    (UserInfo("a", 2001, 2001), "mail_access_groups = 77", Identity(2001, 2001, (77,))),
    (UserInfo("a"), "mail_uid = nosuchuser\nmail_gid = 1", None),
])
def test_identity(user: UserInfo, text: str, want: Identity | None) -> None:
    if want is None:
        with pytest.raises(NotAllowed):
            identity_of(user, conf(text))
    else:
        assert identity_of(user, conf(text)) == want


def test_sessions_of_a_user_share_one_object() -> None:
    class Thing:
        closed = False

        def close(self) -> None:
            self.closed = True

    world = UserWorld(conf(""), cast(Settings, None))
    with world.user("alice", Thing) as one:
        with world.user("alice", Thing) as two, world.user("bob", Thing) as other:
            assert one is two and one is not other
        assert not one.closed and other.closed
    assert one.closed
    with world.user("alice", Thing) as later:
        assert later is not one


def test_networks() -> None:
    conf = DovecotSettings.of("login_trusted_networks = 192.0.2.0/24, nonsense 2001:db8::/32\n")
    trusted = Networks(conf, "login_trusted_networks")
    assert "192.0.2.9" in trusted and "2001:db8::1" in trusted
    assert "198.51.100.1" not in trusted and "" not in trusted
