"""The log line of a login, the identity of a worker, what sessions share."""

import asyncio
import os
import socket

import pytest

from mailsuite.access.identity import NotAllowed, identity_of
from mailsuite.access.login_log import LineFormat
from mailsuite.access.login_origin import Origin
from mailsuite.access.login_story import LoginStory
from mailsuite.access.networks import Networks
from mailsuite.access.world import UserWorld
from mailsuite.base.dialogue import Peer
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.config.settings import Settings
from mailsuite.net.privileges import Identity
from mailsuite.net.proxy import read_header
from mailsuite.sasl.user import UserInfo

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
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


@pytest.mark.parametrize(("form", "elements"), [
    ("%$: %s", ELEMENTS), ("(%$) [%s] end", ELEMENTS), ("%s, %$", ELEMENTS), ("%u: %$: %s", ELEMENTS), ("%$", ELEMENTS),
    ("%$: %s", "%u"), ("%$: %s", "user=<%{user}>"), ("%$: %s", "user=<%Lu> %r"), ("%$: %s", "%u %n other %{listener}"),
    ("%$: %s", "rip=%r=%l 100%% %2m")])
def test_both_ways_to_a_log_line_give_the_same(form: str, elements: str) -> None:
    """Most formats have a short way; without `common` all go the long one."""
    common = {"u": "Al", "user": "Al", "m": "PLAIN", "r": "192.0.2.9", "l": "", "e": "7", "c": "", "session": "S"}
    all_values = common | {"n": "al", "listener": "imaps"}
    line_format = LineFormat(form, elements)
    for _ in range(2):
        assert line_format.line("Login", common, lambda: all_values) == LineFormat(form, elements).line(
            "Login", {}, lambda: all_values)


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

    world = UserWorld(conf(""), Settings.of({}))
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


@pytest.mark.parametrize(("fields", "text", "why"), [
    ({"chroot": "/home/a"}, "", "userdb returned invalid chroot directory: /home/a (see valid_chroot_dirs setting)"),
    ({"chroot": "/home/a"}, "valid_chroot_dirs = /home", "chroot to /home/a is not supported"),
    ({"chroot": "/homes/a"}, "valid_chroot_dirs = /var:/home", "invalid chroot directory: /homes/a"),
    ({"chroot": "/home/../etc"}, "valid_chroot_dirs = /home", "invalid chroot directory"),
    ({}, "mail_chroot = /srv", "mail_chroot has invalid chroot directory: /srv"),
])
def test_who_shall_be_confined_is_not_served_outside(monkeypatch: pytest.MonkeyPatch, fields: dict[str, str], text: str,
                                                     why: str) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(NotAllowed) as raised:
        identity_of(UserInfo("anna", 2500, 2500, "/home/a", fields), conf(text))
    assert why in raised.value.detail


@pytest.mark.parametrize(("header", "want"), [
    pytest.param(b"PROXY TCP4 192.0.2.5 192.0.2.6 12 143\r\n", ("192.0.2.5", 12, "192.0.2.6", False, "", ""), id="v1"),
    pytest.param(b"PROXY UNKNOWN\r\n", ("127.0.0.9", 5, "127.0.0.1", False, "", ""), id="unknown"),
    pytest.param(SIGNATURE + b"\x20\x11\x00\x0c" + bytes([192, 0, 2, 5, 192, 0, 2, 6, 0, 12, 0, 143]),
                 ("127.0.0.9", 5, "127.0.0.1", False, "", ""), id="v2: LOCAL, whatever addresses it has"),
    pytest.param(SIGNATURE + b"\x21\x11\x00\x23" + bytes([192, 0, 2, 5, 192, 0, 2, 6, 0, 12, 0, 143])
                 + b"\x02\x00\x04a.bc" + b"\x20\x00\x0d\x07\x00\x00\x00\x00\x22\x00\x05alice",
                 ("192.0.2.5", 12, "192.0.2.6", True, "a.bc", "alice"), id="v2: TLS, name, certificate"),
    pytest.param(SIGNATURE + b"\x21\x11\x00\x10" + bytes([192, 0, 2, 5, 192, 0, 2, 6, 0, 12, 0, 143])
                 + b"\x02\x00\x09a", None, id="v2: a value that is cut off"),
    pytest.param(b"GET / HTTP/1.0\r\n\r\n", None, id="no header"),
])
def test_proxy_headers(header: bytes, want: tuple[object, ...] | None) -> None:
    async def read() -> Peer:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.sendall(header + b"rest")
            peer = await read_header(ours, Peer("127.0.0.9", 5, "127.0.0.1", 143))
            assert ours.recv(100) == b"rest"
            return peer

    if want is None:
        with pytest.raises(ValueError, match="PROXY"):
            asyncio.run(read())
        return
    peer = asyncio.run(read())
    proxied = peer.proxied
    assert proxied is not None and (proxied.address, proxied.port) == ("127.0.0.9", 5)
    assert (peer.address, peer.port, peer.server_address, proxied.tls, proxied.host_name,
            proxied.certificate_name) == want


def test_what_a_trusted_proxy_says_of_its_client() -> None:
    origin = Origin(Peer("192.0.2.1", 5, "192.0.2.2", 143), "own")
    for key, value in (("x-originating-ip", "198.51.100.7"), ("X-Originating-Port", "99"), ("x-connected-ip", "bad"),
                       ("x-session-id", "s" * 65), ("x-proxy-ttl", "3"), ("x-forward-a", "b"), ("name", "x")):
        origin.take_id(key, value)
    assert origin.peer == Peer("198.51.100.7", 99, "192.0.2.2", 143)
    assert (origin.real.address, origin.session_id, origin.ttl, origin.forward) == ("192.0.2.1", "own", 3, ["a=b"])
    assert not origin.take_xclient(["ADDR=nonsense", "SESSION=ok"]) and origin.session_id == "ok"
    assert not origin.take_xclient(["FORWARD=!!"]) and origin.take_xclient(["FORWARD=YT1iCWM9ZA==", "UNKNOWN=x"])
    assert origin.forward == ["a=b", "c=d"]
