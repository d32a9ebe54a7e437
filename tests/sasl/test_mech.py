"""Mechanisms by hand: what is said, what is asked for, how it ends."""

import base64
import hashlib
import hmac
from random import Random

import pytest

from mailsuite.base.secret import Secret
from mailsuite.sasl import schemes
from mailsuite.sasl.mech import Claim, End, Facts, Fetch, MechError, Name, Proved, Refused, Say
from mailsuite.sasl.mechanisms import MECHANISMS, chosen

FACTS = Facts(host_name="mx.test")


def play(name: str, *answers: bytes, secret: bytes | None = None, facts: Facts = FACTS) -> End:
    """Give the answers one by one, the secret to a Fetch; returns the end."""
    exchange = MECHANISMS[name].start(facts)
    waiting = list(answers)
    try:
        move = next(exchange)
        while True:
            if isinstance(move, Say):
                move = exchange.send(waiting.pop(0))
            else:
                move = exchange.send(None if isinstance(move, Name) else secret)
    except StopIteration as stop:
        assert not waiting
        end: End = stop.value
        return end


@pytest.mark.parametrize(("answers", "want"), [
    pytest.param([b"\0alice\0secret"], Claim("alice", Secret(b"secret")), id="plain"),
    pytest.param([b"alice\0alice\0secret"], Claim("alice", Secret(b"secret")), id="for oneself"),
    pytest.param([b"bob\0alice\0secret"], Claim("alice", Secret(b"secret"), "bob"), id="for another"),
    pytest.param([b"\0\xff\0\xfe"], Claim("\udcff", Secret(b"\xfe")), id="any octets"),
    pytest.param([b"alice"], None, id="one part"),
    pytest.param([b""], None, id="nothing"),
    pytest.param([b"a\0b\0c\0d"], None, id="four parts"),
])
def test_plain(answers: list[bytes], want: End | None) -> None:
    if want is None:
        with pytest.raises(MechError):
            play("PLAIN", *answers)
    else:
        assert play("PLAIN", *answers) == want


def test_login() -> None:
    assert play("LOGIN", b"alice", b"secret") == Claim("alice", Secret(b"secret"))


def test_login_names_the_user_before_the_password() -> None:
    exchange = MECHANISMS["LOGIN"].start(FACTS)
    assert next(exchange) == Say(b"Username:", initial=True)
    assert exchange.send(b"alice") == Name("alice")
    assert exchange.send(None) == Say(b"Password:")


def test_external_and_anonymous() -> None:
    certified = Facts(certificate_user="alice")
    assert play("EXTERNAL", b"", facts=certified) == Proved("alice")
    assert play("EXTERNAL", b"alice", facts=certified) == Proved("alice")
    with pytest.raises(MechError):
        play("EXTERNAL", b"bob", facts=certified)
    with pytest.raises(MechError):
        play("EXTERNAL", b"alice")
    assert play("ANONYMOUS", b"me") == Proved("anonymous", anonymous=True, trace="me")


@pytest.mark.parametrize(("password", "want"), [(b"secret", Proved("alice")), (b"wrong", Refused("alice"))])
def test_cram_md5(password: bytes, want: End) -> None:
    exchange = MECHANISMS["CRAM-MD5"].start(FACTS)
    challenge = next(exchange)
    assert isinstance(challenge, Say) and challenge.octets.endswith(b"@mx.test>")
    digest = hmac.digest(password, challenge.octets, hashlib.md5).hex().encode()
    assert exchange.send(b"alice " + digest) == Fetch("alice", "CRAM-MD5")
    with pytest.raises(StopIteration) as end:
        exchange.send(schemes.generate("CRAM-MD5", b"secret").encode())
    assert end.value.value == want


def scram_client(server_first: bytes, bare: bytes, password: bytes) -> bytes:
    fields = dict(part.split(b"=", 1) for part in server_first.split(b","))
    salted = hashlib.pbkdf2_hmac("sha256", password, base64.b64decode(fields[b"s"]), int(fields[b"i"]))
    key = hmac.digest(salted, b"Client Key", "sha256")
    without = b"c=biws,r=" + fields[b"r"]
    signature = hmac.digest(hashlib.sha256(key).digest(), b",".join((bare, server_first, without)), "sha256")
    return without + b",p=" + base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True)))


@pytest.mark.parametrize(("password", "good"), [(b"secret", True), (b"wrong", False)])
def test_scram(password: bytes, good: bool) -> None:
    exchange = MECHANISMS["SCRAM-SHA-256"].start(FACTS)
    assert next(exchange) == Say(b"", initial=True)
    assert exchange.send(b"n,,n=a=2Cb,r=abc") == Fetch("a,b", "SCRAM-SHA-256")
    first = exchange.send(schemes.generate("SCRAM-SHA-256", b"secret").encode())
    assert isinstance(first, Say)
    final = scram_client(first.octets, b"n=a=2Cb,r=abc", password)
    if good:
        last = exchange.send(final)
        assert isinstance(last, Say) and last.octets.startswith(b"v=")
        with pytest.raises(StopIteration) as end:
            exchange.send(b"")
        assert end.value.value == Proved("a,b")
    else:
        with pytest.raises(StopIteration) as end:
            exchange.send(final)
        assert end.value.value == Refused("a,b")


@pytest.mark.parametrize("first", [
    b"", b"rubbish", b"p=tls-unique,,n=a,r=b", b"n,,n=,r=b", b"n,,n=a=2X,r=b", b"n,,r=b"])
def test_scram_refuses(first: bytes) -> None:
    with pytest.raises(MechError):
        play("SCRAM-SHA-256", first, secret=b"")


@pytest.mark.parametrize("seed", range(50))
@pytest.mark.parametrize("name", MECHANISMS)
def test_noise_is_refused_or_a_claim(name: str, seed: int) -> None:
    random = Random(seed)
    try:
        play(name, *(random.randbytes(random.randrange(60)) for _ in range(6)))
    except (MechError, AssertionError):
        pass


def test_unknown_mechanisms_are_a_configuration_error() -> None:
    from mailsuite.base.errors import ConfigError

    assert list(chosen(["plain", "LOGIN"])) == ["PLAIN", "LOGIN"]
    with pytest.raises(ConfigError):
        chosen(["plain", "nosuch"])
