"""SCRAM-SHA-1 and SCRAM-SHA-256 (RFC 5802, RFC 7677), and both with channel binding ("-PLUS").

Channel binding ties the login to the TLS connection: who sits between client and server with a certificate of his own
cannot pass the login on. Types (Facts.bindings): "tls-exporter" (RFC 9266), "tls-server-end-point" and "tls-unique"
(RFC 5929), as far as the login server could tell their data. A client that could bind, and was not offered to (flag
"y"), was lied to when we offer it: it is refused.

Names are prepared by SASLprep (RFC 4013), as the client prepares its password.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re

from mailsuite.sasl.mech import Exchange, Facts, Fetch, MechError, Proof, Proved, Refused, Say, answer, text
from mailsuite.sasl.schemes import split_scram

ATTRIBUTE_LIMIT = 4096           # octets of a client's message


def scram_sha_1(facts: Facts) -> Exchange:
    return (yield from _scram(facts, "sha1", "SCRAM-SHA-1"))


def scram_sha_256(facts: Facts) -> Exchange:
    return (yield from _scram(facts, "sha256", "SCRAM-SHA-256"))


def scram_sha_1_plus(facts: Facts) -> Exchange:
    return (yield from _scram(facts, "sha1", "SCRAM-SHA-1", plus=True))


def scram_sha_256_plus(facts: Facts) -> Exchange:
    return (yield from _scram(facts, "sha256", "SCRAM-SHA-256", plus=True))


_FIRST = re.compile(rb"(?P<gs2>(?P<flag>n|y|p=[A-Za-z0-9.-]+),(?:a=(?P<authzid>[^,\0]*))?,)"
                    rb"(?P<bare>n=(?P<user>[^,\0]*),r=(?P<nonce>[\x21-\x2b\x2d-\x7e]*)(?:,.*)?)", re.DOTALL)
_FINAL = re.compile(rb"(?P<bare>c=(?P<binding>[^,]*),r=(?P<nonce>[^,]*)(?:,.*)?),p=(?P<proof>[^,]*)", re.DOTALL)


def _scram(facts: Facts, algorithm: str, scheme: str, *, plus: bool = False) -> Exchange:
    said = answer((yield Say(b"", initial=True)))
    first = _FIRST.fullmatch(said) if len(said) <= ATTRIBUTE_LIMIT else None
    if first is None:
        raise MechError(_what_is_wrong(said))
    bound = _binding(facts, first["flag"].decode("ascii"), plus)
    user = _unquote(first["user"])
    secret = yield Fetch(user, scheme, _unquote(first["authzid"] or b""))
    if secret is None:
        return Refused(user)
    rounds, salt, stored_key, server_key = split_scram(secret)
    nonce = first["nonce"] + base64.b64encode(os.urandom(48))
    server_first = b"r=%b,s=%b,i=%d" % (nonce, base64.b64encode(salt), rounds)
    said = answer((yield Say(server_first)))
    final = _FINAL.fullmatch(said) if len(said) <= ATTRIBUTE_LIMIT else None
    if final is None:
        raise MechError("Invalid final client message", user=user)
    if not hmac.compare_digest(final["nonce"], nonce):
        raise MechError("Wrong nonce", user=user)
    try:
        binding = base64.b64decode(final["binding"], validate=True)
        proof = base64.b64decode(final["proof"], validate=True)
    except binascii.Error as error:
        raise MechError("Invalid base64 encoding of proof or channel binding", user=user) from error
    if not hmac.compare_digest(binding, first["gs2"] + bound):
        raise MechError("Invalid channel binding data", user=user)
    message = first["bare"] + b"," + server_first + b"," + final["bare"]

    def fits(other: bytes) -> bool:
        return _proves(other, message, proof, algorithm)

    good = fits(stored_key)
    yield Proof(good, stored_key, fits)
    if not good:
        return Refused(user)
    yield Say(b"v=" + base64.b64encode(hmac.digest(server_key, message, algorithm)))
    return Proved(user)


def _proves(stored_key: bytes, message: bytes, proof: bytes, algorithm: str) -> bool:
    """RFC 5802 section 3: whether H(proof XOR HMAC(StoredKey, message)) is the StoredKey."""
    signature = hmac.digest(stored_key, message, algorithm)
    if len(proof) != len(signature):
        return False
    client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
    return hmac.compare_digest(hashlib.new(algorithm, client_key).digest(), stored_key)


def _binding(facts: Facts, flag: str, plus: bool) -> bytes:
    """The channel binding data that must follow the GS2 header (RFC 5802 section 6). Raises MechError."""
    if flag.startswith("p="):
        if not plus:
            raise MechError("Channel binding not supported")
        data = facts.bindings.get(flag.removeprefix("p="))
        if data is None:
            raise MechError(f"Channel binding type {flag.removeprefix('p=')} is not available on this connection")
        return data
    if plus:
        raise MechError("No channel binding data in a mechanism with channel binding")
    if flag == "y" and facts.binding_offered:
        raise MechError("Client supports channel binding and thinks we don't: the list of mechanisms was changed "
                        "on its way")
    return b""


def _what_is_wrong(said: bytes) -> str:
    """For the log, in Dovecot's words where it has some."""
    if said.count(b",") < 2:
        return f"Invalid initial client message: Missing {'second' if b',' in said else 'first'} ',' in GS2 header"
    if not re.match(rb"(n|y|p=[A-Za-z0-9.-]+),(a=[^,\0]*)?,", said):
        return "Invalid GS2 header"
    bare = said.split(b",", 2)[2]
    if bare.startswith(b"m="):
        return "Mandatory extension(s) not supported"
    return "Invalid initial client message" + (": Missing nonce field" if b",r=" not in bare else "")


def _unquote(name: bytes) -> str:
    """RFC 5802 section 5.1: "," and "=" in a name are written =2C and =3D; the name is then prepared."""
    if re.search(rb"=(?!2C|3D)", name):
        raise MechError("Username escaping is invalid")
    from mailsuite.sasl.saslprep import saslprep

    plain = text(name.replace(b"=2C", b",").replace(b"=3D", b"="))
    try:
        return saslprep(plain)
    except ValueError:
        return plain        # auth_username_chars decides what a name may be
