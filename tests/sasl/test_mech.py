"""Mechanisms by hand: what is said, what is asked for, how it ends."""

import base64
import hashlib
import hmac
from random import Random

import pytest

from mailsuite.base.secret import Secret
from mailsuite.sasl import schemes
from mailsuite.sasl.mech import Check, Claim, End, Facts, Fetch, MechError, Name, Proof, Proved, Refused, Say
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
                move = exchange.send(secret if isinstance(move, Fetch) else None)
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
    assert play("EXTERNAL", b"", facts=certified) == Claim("alice", Secret(b""))
    assert play("EXTERNAL", b"alice", facts=certified) == Claim("alice", Secret(b""))
    assert play("EXTERNAL", b"bob", facts=certified) == Claim("alice", Secret(b""), "bob")
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
    proof = exchange.send(schemes.generate("CRAM-MD5", b"secret").encode())
    assert isinstance(proof, Proof) and proof.good == (password == b"secret")
    assert proof.fits(schemes.generate("CRAM-MD5", password).encode())
    with pytest.raises(StopIteration) as end:
        exchange.send(None)
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
    proof = exchange.send(final)
    assert isinstance(proof, Proof) and proof.good == good
    if good:
        last = exchange.send(None)
        assert isinstance(last, Say) and last.octets.startswith(b"v=")
        with pytest.raises(StopIteration) as end:
            exchange.send(b"")
        assert end.value.value == Proved("a,b")
    else:
        with pytest.raises(StopIteration) as end:
            exchange.send(None)
        assert end.value.value == Refused("a,b")


@pytest.mark.parametrize("first", [
    b"", b"rubbish", b"p=tls-unique,,n=a,r=b", b"n,,n=a=2X,r=b", b"n,,r=b", b"n,,m=x,n=a,r=b",
    b"n,,n=a,r=" + b"b" * 5000])
def test_scram_refuses(first: bytes) -> None:
    with pytest.raises(MechError):
        play("SCRAM-SHA-256", first, secret=b"")


BOUND = Facts(bindings={"tls-exporter": b"E" * 32, "tls-server-end-point": b"P" * 32}, binding_offered=True)


def scram_plus(header: bytes, data: bytes, facts: Facts = BOUND, name: str = "SCRAM-SHA-256-PLUS") -> End:
    """A client that knows its password, with that GS2 header and channel binding data."""
    exchange = MECHANISMS[name].start(facts)
    next(exchange)
    bare = b"n=alice,r=abc"
    exchange.send(header + bare)
    first = exchange.send(schemes.generate("SCRAM-SHA-256", b"secret").encode())
    assert isinstance(first, Say)
    fields = dict(part.split(b"=", 1) for part in first.octets.split(b","))
    salted = hashlib.pbkdf2_hmac("sha256", b"secret", base64.b64decode(fields[b"s"]), int(fields[b"i"]))
    key = hmac.digest(salted, b"Client Key", "sha256")
    without = b"c=" + base64.b64encode(header + data) + b",r=" + fields[b"r"]
    signature = hmac.digest(hashlib.sha256(key).digest(), b",".join((bare, first.octets, without)), "sha256")
    proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
    try:
        move = exchange.send(without + b",p=" + base64.b64encode(proof))
        while True:
            move = exchange.send(b"" if isinstance(move, Say) else None)
    except StopIteration as stop:
        end: End = stop.value
        return end


@pytest.mark.parametrize(("header", "data", "good"), [
    pytest.param(b"p=tls-exporter,,", b"E" * 32, True, id="exporter"),
    pytest.param(b"p=tls-server-end-point,,", b"P" * 32, True, id="end point"),
    pytest.param(b"p=tls-exporter,,", b"X" * 32, False, id="another connection's"),
    pytest.param(b"p=tls-exporter,,", b"P" * 32, False, id="another type's"),
    pytest.param(b"p=tls-exporter,,", b"", False, id="none"),
    pytest.param(b"p=tls-unique,,", b"", False, id="a type that is not there"),
    pytest.param(b"n,,", b"", False, id="not bound"),
    pytest.param(b"y,,", b"", False, id="not offered, it thinks"),
])
def test_scram_plus(header: bytes, data: bytes, good: bool) -> None:
    if good:
        assert scram_plus(header, data) == Proved("alice")
    else:
        with pytest.raises(MechError):
            scram_plus(header, data)


def test_a_downgrade_is_refused() -> None:
    assert scram_plus(b"n,,", b"", name="SCRAM-SHA-256") == Proved("alice")
    assert scram_plus(b"y,,", b"", Facts(), name="SCRAM-SHA-256") == Proved("alice")
    with pytest.raises(MechError, match="thinks we don't"):
        scram_plus(b"y,,", b"", name="SCRAM-SHA-256")


@pytest.mark.parametrize(("password", "want"), [(b"tanstaaf", Proved("mrose")), (b"wrong", Refused("mrose"))])
def test_apop(password: bytes, want: End) -> None:
    """RFC 1939 section 7's example."""
    challenge = b"<1896.697170952@dbc.mtview.ca.us>"
    first = challenge + b"\0mrose\0" + bytes.fromhex("c4c9334bac560ecc979e58001b3e22fb")
    assert play("APOP", first, secret=password, facts=Facts(apop_prefix=b"<1896.")) == want
    with pytest.raises(MechError):
        play("APOP", first, secret=password, facts=Facts(apop_prefix=b"<1897."))


@pytest.mark.parametrize(("name", "said", "want"), [
    ("OAUTHBEARER", b"n,a=al=2Cice,\x01host=h\x01port=143\x01auth=Bearer abc\x01\x01", ("al,ice", b"abc")),
    ("OAUTHBEARER", b"y,a=alice,\x01auth=bearer abc", ("alice", b"abc")),
    ("OAUTHBEARER", b"p=tls-unique,a=alice,\x01auth=Bearer abc\x01\x01", None),
    ("OAUTHBEARER", b"n,,\x01auth=Bearer abc\x01\x01", None),
    ("OAUTHBEARER", b"n,a=alice,\x01\x01", None),
    ("OAUTHBEARER", b"n,a=alice,\x01auth=Basic abc\x01\x01", None),
    ("OAUTHBEARER", b"n,a=alice,\x01auth=Bearer a b\x01\x01", None),
    ("OAUTHBEARER", b"n,a=alice,\x01auth=Bearer " + b"a" * 9000, None),
    ("XOAUTH2", b"user=alice\x01auth=Bearer abc\x01\x01", ("alice", b"abc")),
    ("XOAUTH2", b"auth=Bearer abc\x01\x01", None),
    ("XOAUTH2", b"", None),
])
def test_tokens(name: str, said: bytes, want: tuple[str, bytes] | None) -> None:
    exchange = MECHANISMS[name].start(FACTS)
    next(exchange)
    if want is None:
        with pytest.raises(MechError):
            if isinstance(exchange.send(said), Name):
                exchange.send(None)
        return
    assert exchange.send(said) == Check(Claim(want[0], Secret(want[1])))
    error = exchange.send(b'{"openid-configuration":"https://op.test"}')
    assert isinstance(error, Say) and b'"status":' in error.octets
    with pytest.raises(StopIteration) as end:
        exchange.send(b"\x01")
    assert end.value.value == Refused(want[0])


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
