"""Fuzz targets: mutated and mixed seeds against everything that reads a peer's octets.

A target is a function of octets that may raise only what its contract names. `make test` runs each for a second,
`make fuzz` for a minute; a failure prints the octets that did it.
"""

import time
from collections.abc import Callable
from random import Random

import pytest

from mailsuite.access.login_imap import ImapLogin
from mailsuite.access.login_pop3 import Pop3Login
from mailsuite.access.login_story import LoginFacts
from mailsuite.address.syntax import quote_local, unquote_local
from mailsuite.base.errors import ConfigError
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.config.maincf import parse_main_cf
from mailsuite.message.message import Message
from mailsuite.sasl.auth_client import Failure, Mechanism
from mailsuite.smtp.config import SessionConfig
from tests.access.test_login_imap import Play as LoginPlay
from tests.fuzz import mail_identity
from tests.imap.test_session import STREAM as IMAP_STREAM
from tests.imap.test_session import play as play_imap
from tests.smtp.dialogue import Play as SmtpPlay
from tests.smtp.test_session import STREAM as SMTP_STREAM

FACTS = LoginFacts("ready.", (Mechanism("PLAIN", plaintext=True), Mechanism("LOGIN", plaintext=True)), secured=True,
                   tls_offered=True)


NOISE = [b"\r\n", b"\n", b"\0", b"{9}\r\n", b"{4+}\r\n", b"(", b"\"", b"\xff", b"."]


def mutate(seed: bytes, chance: Random) -> bytes:
    """Seed octets with pieces cut out, doubled, swapped for noise, or spliced with others."""
    octets = bytearray(seed)
    for _ in range(chance.randrange(1, 8)):
        at = chance.randrange(len(octets) + 1)
        size = chance.randrange(1, 24)
        match chance.randrange(5):
            case 0:
                del octets[at:at + size]
            case 1:
                octets[at:at] = octets[at:at + size] * chance.randrange(1, 4)
            case 2:
                octets[at:at + size] = chance.randbytes(size)
            case 3:
                octets[at:at] = chance.choice(NOISE)
            case 4:
                octets[at:at + 1] = bytes([octets[at] ^ 1 << chance.randrange(8)]) if at < len(octets) else b""
    return bytes(octets)


def pieces(octets: bytes, chance: Random) -> list[bytes]:
    cuts = sorted(chance.randrange(len(octets) + 1) for _ in range(chance.randrange(4)))
    return [octets[a:b] for a, b in zip([0, *cuts], [*cuts, len(octets)], strict=True)]


def smtp(octets: bytes, chance: Random) -> None:
    game = SmtpPlay(SessionConfig(error_sleep_s=0, hard_errors=1000))
    for piece in pieces(octets, chance):
        if not game.world.closed:
            game.send(piece)


def imap(octets: bytes, chance: Random) -> None:
    play_imap(pieces(octets, chance))


def login(kind: type[ImapLogin] | type[Pop3Login], octets: bytes, chance: Random) -> None:
    game = LoginPlay(kind(FACTS), *[Failure("u", "no")] * 200)
    for piece in pieces(octets, chance):
        if not game.closed and game.answers:
            game.say(piece)


def message(octets: bytes, chance: Random) -> None:
    parsed = Message.from_stored(octets)
    assert all(isinstance(text, bytes) for text in (parsed.envelope, parsed.body_structure, parsed.body_basic))
    assert 0 <= parsed.top_size(2) <= len(parsed.octets)


def address(octets: bytes, chance: Random) -> None:
    text = octets.decode("utf-8", "surrogateescape")
    assert isinstance(unquote_local(quote_local(text)), str)


def configuration(octets: bytes, chance: Random) -> None:
    text = octets.decode("utf-8", "replace")
    parse_main_cf(text, "main.cf")
    try:
        DovecotSettings.of(text)
    except ConfigError:
        pass


MAIL = (b"From: =?utf-8?q?A=20b?= <a@b.test>, (c) \"d\\\" e\" <@x,@y:f@g>\nTo: group: h@i.test, j;\nSubject: s\n t\n"
        b"Content-Type: multipart/mixed; boundary=\"x y\"\n\npre\n--x y\nContent-Type: message/rfc822\n\n"
        b"Subject: inner\nContent-Type: multipart/alternative; boundary=z\n\n--z\n\nbody\n--z--\n--x y--\npost\n")
LOGIN = b"a1 CAPABILITY\r\na2 LOGIN {3+}\r\nbob {2}\r\npw\r\na3 AUTHENTICATE PLAIN AGEAYg==\r\na4 ID (\"a\" NIL)\r\n"
POP3 = b"CAPA\r\nUSER bob\r\nPASS pw\r\nAUTH PLAIN AGEAYg==\r\nAUTH LOGIN\r\nYQ==\r\n*\r\nQUIT\r\n"
CONF = b"a = b\n  c ${d?e:f} $$\nservice auth {\n  unix_listener x {\n    mode = 0600\n  }\n}\n!include x\n%{env:A}\n"

TARGETS: dict[str, tuple[bytes, Callable[[bytes, Random], None]]] = {
    "smtp": (SMTP_STREAM, smtp),
    "imap": (IMAP_STREAM, imap),
    "imap-login": (LOGIN, lambda octets, chance: login(ImapLogin, octets, chance)),
    "pop3-login": (POP3, lambda octets, chance: login(Pop3Login, octets, chance)),
    "message": (MAIL, message),
    "address": (b"\"a b\"@c.test,<@d:e%f!g@[1.2.3.4]>", address),
    "configuration": (CONF, configuration),
    "message-identity": (mail_identity.MESSAGE, mail_identity.whole_message),
    "dns-identity": (mail_identity.DNS, mail_identity.dns_records),
}


@pytest.mark.parametrize("name", TARGETS)
def test_target(name: str, fuzz_s: float) -> None:
    seed, target = TARGETS[name]
    start = int(time.time() * 1000) if fuzz_s > 5 else 0       # the short run is the same each time
    runs, end = 0, time.monotonic() + fuzz_s
    while time.monotonic() < end:
        chance = Random(start + runs)
        octets = mutate(seed, chance)
        try:
            target(octets, chance)
        except Exception as error:
            raise AssertionError(f"seed {start + runs}: {octets!r}") from error
        runs += 1
    assert runs > 10
