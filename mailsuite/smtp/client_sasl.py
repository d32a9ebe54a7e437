"""The client's side of SASL mechanisms: octets in, octets out, no I/O.

    exchange = MECHANISMS["SCRAM-SHA-256"].begin("user", Secret(b"..."), authzid=False)
    next(exchange) -> the initial response, None when there is none; exchange.send(challenge) -> the response to it
    a Derive that comes in their place is answered with the octets of its `run()`: it takes more than a millisecond

Raises SaslError: a challenge that makes no sense, a server that does not prove that it knows the password.
Limits: ITERATIONS, so that a server cannot keep us busy.
Source: RFC 4616 (PLAIN), RFC 2195 (CRAM-MD5), RFC 5802 and RFC 7677 (SCRAM), RFC 7628 (OAUTHBEARER), LOGIN's draft,
Google's description of XOAUTH2. In the OAuth mechanisms the password is an access token.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass

from mailsuite.base.errors import PeerError
from mailsuite.base.secret import Secret

ITERATIONS = 200_000
LOOP = "authentication protocol loop"


class SaslError(PeerError):
    """The exchange cannot go on."""

    def __init__(self, why: str) -> None:
        super().__init__(why, status="4.7.0")


@dataclass(frozen=True, slots=True)
class Derive:
    """The salted password of SCRAM."""

    digest: str
    password: Secret
    salt: bytes
    iterations: int

    def run(self) -> bytes:
        return hashlib.pbkdf2_hmac(self.digest, self.password.reveal(), self.salt, self.iterations)


Exchange = Generator[bytes | Derive | None, bytes, None]


@dataclass(frozen=True, slots=True)
class Mechanism:
    """traits: which of smtp_sasl_security_options it satisfies."""

    begin: "Callable[[str, Secret, bool], Exchange]"
    traits: frozenset[str] = frozenset()


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def plain(user: str, password: Secret, authzid: bool) -> Exchange:
    yield (_octets(user) if authzid else b"") + b"\0" + _octets(user) + b"\0" + password.reveal()
    raise SaslError(LOOP)


def login(user: str, password: Secret, authzid: bool) -> Exchange:
    yield None
    yield _octets(user)
    yield password.reveal()
    raise SaslError(LOOP)


def cram_md5(user: str, password: Secret, authzid: bool) -> Exchange:
    challenge = yield None
    yield _octets(user) + b" " + hmac.new(password.reveal(), challenge, hashlib.md5).hexdigest().encode()
    raise SaslError(LOOP)


def _scram(digest: str) -> "Callable[[str, Secret, bool], Exchange]":
    def exchange(user: str, password: Secret, authzid: bool) -> Exchange:
        name = _octets(user).replace(b"=", b"=3D").replace(b",", b"=2C")
        gs2 = b"n," + (b"a=" + name if authzid else b"") + b","
        nonce = base64.b64encode(secrets.token_bytes(18))
        first = b"n=" + name + b",r=" + nonce
        said = yield gs2 + first
        fields = _fields(said)
        whole, salt = fields.get(b"r", b""), _decoded(fields.get(b"s", b""))
        count = fields.get(b"i", b"")
        if not whole.startswith(nonce) or len(whole) == len(nonce) or not salt or not count.isdigit():
            raise SaslError("bad server challenge")
        if not 0 < int(count[:10]) <= ITERATIONS:
            raise SaslError("too many iterations are asked for")
        salted = yield Derive(digest, password, salt, int(count))
        final = b"c=" + base64.b64encode(gs2) + b",r=" + whole
        signed = b",".join((first, said, final))
        key = hmac.digest(salted, b"Client Key", digest)
        proof = hmac.digest(hashlib.new(digest, key).digest(), signed, digest)
        answer = yield final + b",p=" + base64.b64encode(bytes(a ^ b for a, b in zip(key, proof, strict=True)))
        wanted = hmac.digest(hmac.digest(salted, b"Server Key", digest), signed, digest)
        if not hmac.compare_digest(_decoded(_fields(answer).get(b"v", b"")), wanted):
            raise SaslError("the server does not know the password")
        yield b""
        raise SaslError(LOOP)

    return exchange


def xoauth2(user: str, password: Secret, authzid: bool) -> Exchange:
    yield b"user=" + _octets(user) + b"\1auth=Bearer " + password.reveal() + b"\1\1"
    yield b""               # what came is why; the refusal follows
    raise SaslError(LOOP)


def oauthbearer(user: str, password: Secret, authzid: bool) -> Exchange:
    name = _octets(user).replace(b"=", b"=3D").replace(b",", b"=2C")
    yield b"n,a=" + name + b",\1auth=Bearer " + password.reveal() + b"\1\1"
    yield b"\1"
    raise SaslError(LOOP)


_HIDDEN = frozenset({"noplaintext", "noanonymous"})
_PROVING = _HIDDEN | {"noactive", "mutual_auth"}
_OPEN = frozenset({"noanonymous"})

# Best first. A token is no password: who has one names its mechanism in smtp_sasl_mechanism_filter where others are
# offered as well.
MECHANISMS: Mapping[str, Mechanism] = {
    "SCRAM-SHA-512": Mechanism(_scram("sha512"), _PROVING), "SCRAM-SHA-256": Mechanism(_scram("sha256"), _PROVING),
    "SCRAM-SHA-1": Mechanism(_scram("sha1"), _PROVING), "CRAM-MD5": Mechanism(cram_md5, _HIDDEN),
    "PLAIN": Mechanism(plain, _OPEN), "LOGIN": Mechanism(login, _OPEN), "XOAUTH2": Mechanism(xoauth2, _OPEN),
    "OAUTHBEARER": Mechanism(oauthbearer, _OPEN)}


def _fields(message: bytes) -> dict[bytes, bytes]:
    return {part[:1]: part[2:] for part in message.split(b",") if part[1:2] == b"="}


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""
