"""Logging in with another server in a client's stead, as dialogues: S is what the server says, C what it hears."""

import re
from dataclasses import replace

import pytest

from mailsuite.access.login_origin import Origin
from mailsuite.access.proxy_dialogue import (
    ClientSide,
    Compute,
    Kind,
    LoggedIn,
    ProxyDialogue,
    ProxyFailed,
    Say,
    Secure,
    Step,
)
from mailsuite.access.proxy_imap import ImapDialogue
from mailsuite.access.proxy_pop3 import Pop3Dialogue
from mailsuite.access.proxy_sieve import SieveDialogue
from mailsuite.access.proxy_target import BadTarget, Target, target_of
from mailsuite.base.dialogue import Peer
from mailsuite.base.secret import Secret

ORIGIN = Origin(Peer("192.0.2.5", 1234, "192.0.2.1", 143), "sess")
CLIENT = ClientSide(ORIGIN, "a1")
TARGET = Target("mx.test", "192.0.2.9", 143, "anna", Secret(b"pw"))
ID = ('I ID ("x-session-id" "sess" "x-originating-ip" "192.0.2.5" "x-originating-port" "1234" "x-connected-ip" '
      '"192.0.2.1" "x-connected-port" "143" "x-proxy-ttl" "4")')


def play(dialogue: ProxyDialogue, script: str) -> bytes | None:
    """Run a script; what the client hears of its login."""
    said: list[str] = []
    welcome = None

    def do(steps: list[Step]) -> None:
        nonlocal welcome
        for step in steps:
            match step:
                case Say():
                    said.extend(step.octets.decode().removesuffix("\r\n").split("\r\n"))
                case Secure():
                    said.append("<TLS>")
                    do(dialogue.secured())
                case Compute():
                    do(dialogue.computed(step.derive.run()))
                case LoggedIn():
                    welcome = step.octets

    for line in re.split(r"\n\s*", script.strip()):
        side, text = line[:2], line[3:]
        if side == "S:":
            assert not said, said
            do(dialogue.take_line(text))
        else:
            assert said.pop(0) == text
    assert not said
    return welcome


GREETING = "S: * OK [CAPABILITY IMAP4rev1 SASL-IR ID STARTTLS] ready"


@pytest.mark.parametrize(("changes", "script", "welcome"), [
    pytest.param({}, f"""{GREETING}
        C: {ID}
        C: L LOGIN "anna" "pw"
        S: * ID NIL
        S: I OK done
        S: L OK [CAPABILITY IMAP4rev1 X] Logged in""", b"a1 OK [CAPABILITY IMAP4rev1 X] Logged in\r\n", id="plain"),
    pytest.param({}, """S: * OK ready
        C: C CAPABILITY
        C: L LOGIN "anna" "pw"
        S: * CAPABILITY IMAP4rev1 FOO
        S: C OK
        S: L OK [X] hello""", b"a1 OK [CAPABILITY IMAP4rev1 FOO] hello\r\n", id="capabilities are asked for"),
    pytest.param({"step_by_step": True}, f"""{GREETING}
        C: {ID}
        S: * ID NIL
        S: I OK done
        C: L LOGIN "anna" "pw"
        S: L OK hi""", b"a1 OK [CAPABILITY IMAP4rev1 SASL-IR ID STARTTLS] hi\r\n", id="one by one"),
    pytest.param({"starttls": True, "untrusted": True}, f"""{GREETING}
        C: S STARTTLS
        S: S OK begin
        C: <TLS>
        C: C CAPABILITY
        C: L LOGIN "anna" "pw"
        S: * CAPABILITY IMAP4rev1
        S: C OK
        S: L OK hi""", b"a1 OK [CAPABILITY IMAP4rev1] hi\r\n", id="STARTTLS, and the server is not told of the client"),
    pytest.param({"mechanism": "PLAIN", "untrusted": True}, f"""{GREETING}
        C: L AUTHENTICATE PLAIN YW5uYQBhbm5hAHB3
        S: L OK hi""", b"a1 OK [CAPABILITY IMAP4rev1 SASL-IR ID STARTTLS] hi\r\n", id="SASL"),
    pytest.param({"mechanism": "PLAIN", "master": "boss"}, """S: * OK [CAPABILITY IMAP4rev1] ready
        C: L AUTHENTICATE PLAIN
        S: +
        C: YW5uYQBib3NzAHB3
        S: L OK hi""", b"a1 OK [CAPABILITY IMAP4rev1] hi\r\n", id="a master, without SASL-IR"),
    pytest.param({"user": 'a"b', "password": Secret("p\u00e4".encode())}, """S: * OK [CAPABILITY IMAP4rev1] ready
        C: L LOGIN "a\\"b" {3+}
        C: p\u00e4
        S: L OK hi""", b"a1 OK [CAPABILITY IMAP4rev1] hi\r\n", id="strings and literals"),
])
def test_imap(changes: dict[str, object], script: str, welcome: bytes) -> None:
    assert play(ImapDialogue(replace(TARGET, **changes), CLIENT), script) == welcome    # type: ignore[arg-type]


def test_a_client_that_asked_for_capabilities_gets_them_untagged() -> None:
    dialogue = ImapDialogue(TARGET, ClientSide(ORIGIN, "a1", wants_capabilities=True))
    assert play(dialogue, """S: * OK [CAPABILITY IMAP4rev1] ready
        C: C CAPABILITY
        C: L LOGIN "anna" "pw"
        S: * CAPABILITY IMAP4rev1 X
        S: C OK
        S: L OK hi""") == b"* CAPABILITY IMAP4rev1 X\r\na1 OK hi\r\n"


@pytest.mark.parametrize(("dialogue", "script", "kind", "reason", "reply"), [
    (ImapDialogue, "S: +OK POP3", Kind.PROTOCOL, "Invalid banner: +OK POP3", ""),
    (ImapDialogue, "S: * OK [CAPABILITY IMAP4rev1 LOGINDISABLED] x", Kind.REMOTE_CONFIG,
     "LOGINDISABLED advertised, but SSL/TLS not enabled", ""),
    (ImapDialogue, """S: * OK [CAPABILITY IMAP4rev1] x
        C: L LOGIN "anna" "pw"
        S: L NO no such user anna""", Kind.AUTH, "no such user anna",
     "a1 NO [AUTHENTICATIONFAILED] Authentication failed."),
    (ImapDialogue, """S: * OK [CAPABILITY IMAP4rev1] x
        C: L LOGIN "anna" "pw"
        S: L NO [CONTACTADMIN] go away""", Kind.AUTH, "[CONTACTADMIN] go away", "a1 NO [CONTACTADMIN] go away"),
    (ImapDialogue, """S: * OK [CAPABILITY IMAP4rev1] x
        C: L LOGIN "anna" "pw"
        S: L NO [UNAVAILABLE] later""", Kind.AUTH_TEMPORARY, "[UNAVAILABLE] later", "a1 NO [UNAVAILABLE] later"),
    (Pop3Dialogue, "S: -ERR busy", Kind.PROTOCOL, "Invalid banner: -ERR busy", ""),
    (Pop3Dialogue, """S: +OK hi
        C: USER anna
        S: +OK
        C: PASS pw
        S: -ERR [AUTH] no""", Kind.AUTH, "[AUTH] no", "-ERR [AUTH] no"),
    (Pop3Dialogue, """S: +OK hi
        C: USER anna
        S: -ERR [SYS/TEMP] later""", Kind.AUTH_TEMPORARY, "[SYS/TEMP] later", "-ERR [SYS/TEMP] later"),
    (SieveDialogue, "S: * OK", Kind.PROTOCOL, "Remote returned with invalid capability/greeting line: * OK", ""),
    (SieveDialogue, """S: OK "hi"
        C: AUTHENTICATE "PLAIN" {16+}
        C: YW5uYQBhbm5hAHB3
        S: NO (TRYLATER) "busy\"""", Kind.AUTH_TEMPORARY, "busy", 'NO (TRYLATER) "busy"'),
])
def test_failures(dialogue: type[ProxyDialogue], script: str, kind: Kind, reason: str, reply: str) -> None:
    with pytest.raises(ProxyFailed) as raised:
        play(dialogue(TARGET, CLIENT), script)
    assert (raised.value.kind, raised.value.reason, raised.value.reply) == (kind, reason, reply)


@pytest.mark.parametrize(("changes", "script"), [
    pytest.param({}, """S: +OK [XCLIENT] hi
        C: XCLIENT ADDR=192.0.2.5 PORT=1234 SESSION=sess TTL=4
        C: USER anna
        S: +OK
        S: +OK
        C: PASS pw
        S: +OK Logged in.""", id="the server hears of the client"),
    pytest.param({"starttls": True, "untrusted": True, "mechanism": "PLAIN"}, """S: +OK [XCLIENT] hi
        C: STLS
        S: +OK begin
        C: <TLS>
        C: AUTH PLAIN YW5uYQBhbm5hAHB3
        S: +OK Logged in.""", id="STLS and SASL"),
    pytest.param({"mechanism": "LOGIN"}, """S: +OK hi
        C: AUTH LOGIN
        S: + VXNlcm5hbWU6
        C: YW5uYQ==
        S: + UGFzc3dvcmQ6
        C: cHc=
        S: +OK Logged in.""", id="LOGIN"),
])
def test_pop3(changes: dict[str, object], script: str) -> None:
    assert play(Pop3Dialogue(replace(TARGET, **changes), CLIENT), script) == b"+OK Logged in.\r\n"  # type: ignore[arg-type]


def test_sieve() -> None:
    target = replace(TARGET, starttls=True, forward=(("x", "y"),))
    assert play(SieveDialogue(target, CLIENT), """S: "SASL" "PLAIN"
        S: "STARTTLS"
        S: OK "hi"
        C: STARTTLS
        S: OK
        C: <TLS>
        S: "SASL" "PLAIN"
        S: "XCLIENT"
        S: OK
        C: XCLIENT ADDR=192.0.2.5 PORT=1234 SESSION=sess TTL=4 FORWARD=eD15
        S: OK "Updated"
        C: AUTHENTICATE "PLAIN" {16+}
        C: YW5uYQBhbm5hAHB3
        S: OK "Logged in.\"""") == b'OK "Logged in."\r\n'


@pytest.mark.parametrize(("fields", "why"), [
    ({"host": "192.0.2.9"}, "password not given"),
    ({"pass": "x"}, "host not given"),
    ({"pass": "x", "host": "mx.test"}, "Invalid hostip mx.test"),
    ({"pass": "x", "host": "192.0.2.9", "proxy_mech": "FOO"}, "Unsupported SASL mechanism FOO"),
    ({"pass": "x", "host": "192.0.2.9", "port": "99999"}, "Auth service returned invalid port number: 99999"),
    ({"pass": "x", "host": "192.0.2.9", "proxy_timeout": "soon"}, "invalid proxy_timeout value 'soon'"),
])
def test_bad_targets(fields: dict[str, str], why: str) -> None:
    with pytest.raises(BadTarget) as raised:
        target_of(fields, "anna", "imap")
    assert raised.value.detail == why


def test_fields_make_a_target() -> None:
    target = target_of({"pass": "x", "host": "mx.test", "hostip": "192.0.2.9", "ssl": "any-cert", "proxy_timeout": "5",
                        "forward_a": "b"}, "anna", "imap")
    assert (target.port, target.tls, target.any_certificate, target.timeout_s, target.forward, target.user) == (
        993, True, True, 5.0, (("a", "b"),), "anna")
    assert target_of({"pass": "x", "host": "::1", "starttls": "yes", "destuser": "ben", "proxy_timeout": "500 msecs"},
                     "anna", "pop3").timeout_s == 0.5
