"""CRAM-MD5 (RFC 2195), SCRAM-SHA-1 and SCRAM-SHA-256 (RFC 5802, RFC 7677), DIGEST-MD5 (RFC 2831).

The password does not cross the wire; the server needs it in the mechanism's own form, or plain.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
import time

from mailsuite.sasl.md5state import digest_from
from mailsuite.sasl.mech import Exchange, Facts, Fetch, MechError, Proved, Refused, Say, answer, text
from mailsuite.sasl.schemes import split_scram


def cram_md5(facts: Facts) -> Exchange:
    """Challenge <random.time@host>; the answer is "user hex-HMAC"."""
    challenge = b"<%d.%d@%b>" % (int.from_bytes(os.urandom(8), "big") >> 1, int(time.time()),
                                facts.host_name.encode("utf-8", "replace"))
    reply = answer((yield Say(challenge)))
    user, space, digest = reply.rpartition(b" ")
    if not space or not user or len(digest) != 32:
        raise MechError("missing digest")
    secret = yield Fetch(text(user), "CRAM-MD5")
    if secret is None:
        return Refused(text(user))
    try:
        state = bytes.fromhex(secret.decode("ascii"))
    except ValueError:
        state = b""
    if len(state) != 32:
        raise MechError("invalid CRAM-MD5 password", user=text(user))
    inner = digest_from(state[16:], challenge)
    wanted = digest_from(state[:16], inner).hex().encode()
    return Proved(text(user)) if hmac.compare_digest(wanted, digest.lower()) else Refused(text(user))


def scram_sha_1(facts: Facts) -> Exchange:
    return (yield from _scram(facts, "sha1", "SCRAM-SHA-1"))


def scram_sha_256(facts: Facts) -> Exchange:
    return (yield from _scram(facts, "sha256", "SCRAM-SHA-256"))


_FIRST = re.compile(rb"(?P<gs2>(?P<flag>n|y|p=[A-Za-z0-9.-]+),(?:a=(?P<authzid>[^,\0]*))?,)"
                    rb"(?P<bare>n=(?P<user>[^,\0]+),r=(?P<nonce>[\x21-\x2b\x2d-\x7e]+)(?:,.*)?)", re.DOTALL)
_FINAL = re.compile(rb"(?P<bare>c=(?P<binding>[^,]*),r=(?P<nonce>[^,]*)(?:,.*)?),p=(?P<proof>[^,]*)", re.DOTALL)


def _scram(facts: Facts, algorithm: str, scheme: str) -> Exchange:
    first = _FIRST.fullmatch(answer((yield Say(b"", initial=True))))
    if first is None:
        raise MechError("invalid initial message")
    if first["flag"].startswith(b"p="):
        raise MechError("channel binding not supported")
    user = _unquote(first["user"])
    secret = yield Fetch(user, scheme, _unquote(first["authzid"] or b""))
    if secret is None:
        return Refused(user)
    rounds, salt, stored_key, server_key = split_scram(secret)
    nonce = first["nonce"] + base64.b64encode(os.urandom(48)).replace(b"=", b"").replace(b",", b"")
    server_first = b"r=%b,s=%b,i=%d" % (nonce, base64.b64encode(salt), rounds)
    final = _FINAL.fullmatch(answer((yield Say(server_first))))
    if final is None or final["nonce"] != nonce:
        raise MechError("invalid final message", user=user)
    try:
        binding = base64.b64decode(final["binding"], validate=True)
        proof = base64.b64decode(final["proof"], validate=True)
    except binascii.Error as error:
        raise MechError("invalid base64 in final message", user=user) from error
    if binding != first["gs2"]:
        raise MechError("channel binding data differs", user=user)
    message = first["bare"] + b"," + server_first + b"," + final["bare"]
    signature = hmac.digest(stored_key, message, algorithm)
    if len(proof) != len(signature):
        return Refused(user)
    client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
    if not hmac.compare_digest(hashlib.new(algorithm, client_key).digest(), stored_key):
        return Refused(user)
    yield Say(b"v=" + base64.b64encode(hmac.digest(server_key, message, algorithm)))
    return Proved(user)


def _unquote(name: bytes) -> str:
    """RFC 5802 section 5.1: "," and "=" in a name are written =2C and =3D."""
    if re.search(rb"=(?!2C|3D)", name):
        raise MechError("username isn't well quoted")
    return text(name.replace(b"=2C", b",").replace(b"=3D", b"="))


_PAIR = re.compile(rb'\s*([A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^,"\s]*))\s*(?:,|$)')


def digest_md5(facts: Facts) -> Exchange:
    """RFC 2831 with qop=auth; long out of use, here for old clients."""
    nonce = base64.b64encode(os.urandom(18))
    challenge = b'realm="%b",nonce="%b",qop="auth",charset="utf-8",algorithm="md5-sess"' % (
        facts.realm.encode("utf-8", "surrogateescape"), nonce)
    pairs = _pairs(answer((yield Say(challenge))))
    user, realm = text(pairs.get(b"username", b"")), pairs.get(b"realm", b"")
    if not user or pairs.get(b"nonce") != nonce or pairs.get(b"nc") != b"00000001" or b"cnonce" not in pairs:
        raise MechError("invalid response", user=user or None)
    if pairs.get(b"qop", b"auth") != b"auth":
        raise MechError("unsupported qop", user=user)
    full = user if "@" in user or not realm else f"{user}@{text(realm)}"
    secret = yield Fetch(full, "DIGEST-MD5")
    if secret is None:
        return Refused(full)
    if not hmac.compare_digest(_digest_response(secret, pairs, b"AUTHENTICATE:"), pairs.get(b"response", b"")):
        return Refused(full)
    yield Say(b"rspauth=" + _digest_response(secret, pairs, b":"))
    return Proved(full)


def _pairs(octets: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    position = 0
    while position < len(octets):
        match = _PAIR.match(octets, position)
        if match is None or match.end() == position or len(found) > 20:
            raise MechError("invalid response")
        quoted = match[2]
        found[match[1].lower()] = match[3] if quoted is None else re.sub(rb"\\(.)", rb"\1", quoted)
        position = match.end()
    return found


def _digest_response(secret: bytes, pairs: dict[bytes, bytes], method: bytes) -> bytes:
    nonce, cnonce = pairs[b"nonce"], pairs[b"cnonce"]
    first = secret + b":" + nonce + b":" + cnonce
    if pairs.get(b"authzid"):
        first += b":" + pairs[b"authzid"]
    second = method + pairs.get(b"digest-uri", b"")
    ha1, ha2 = (hashlib.md5(part).hexdigest().encode() for part in (first, second))
    return hashlib.md5(b":".join((ha1, nonce, pairs[b"nc"], cnonce, b"auth", ha2))).hexdigest().encode()
