"""CRAM-MD5 (RFC 2195), DIGEST-MD5 (RFC 2831) and POP3's APOP (RFC 1939 section 7).

The password does not cross the wire; the server needs it in the mechanism's own form, or plain.
"""

import base64
import hashlib
import hmac
import os
import re
import time

from mailsuite.sasl.md5state import digest_from
from mailsuite.sasl.mech import Exchange, Facts, Fetch, MechError, Proof, Proved, Refused, Say, answer, text


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
    def fits(other: bytes) -> bool:
        return hmac.compare_digest(_cram_digest(other, challenge), digest.lower())

    good = fits(secret)
    yield Proof(good, secret, fits)
    return Proved(text(user)) if good else Refused(text(user))


def _cram_digest(secret: bytes, challenge: bytes) -> bytes:
    """What a client with that secret says to the challenge. Raises MechError for a secret that is none."""
    try:
        state = bytes.fromhex(secret.decode("ascii"))
    except ValueError:
        state = b""
    if len(state) != 32:
        raise MechError("invalid CRAM-MD5 password")
    return digest_from(state[:16], digest_from(state[16:], challenge)).hex().encode()


def apop(facts: Facts) -> Exchange:
    """The greeting's challenge NUL user NUL MD5(challenge password): made by a POP3 login server, never by a client."""
    first = answer((yield Say(b"", initial=True)))
    if not first:
        raise MechError("no initial response")
    parts = first.split(b"\0", 2)
    if len(parts) != 3:
        raise MechError("malformed data")
    challenge, user, digest = parts
    # A challenge of another connection could be an old one, whose answer somebody has heard.
    if not facts.apop_prefix or not challenge.startswith(facts.apop_prefix):
        raise MechError("invalid challenge")
    if len(digest) != 16:
        raise MechError("malformed data")
    secret = yield Fetch(text(user), "PLAIN")
    if secret is None:
        return Refused(text(user))

    def fits(other: bytes) -> bool:
        return hmac.compare_digest(hashlib.md5(challenge + other).digest(), digest)

    good = fits(secret)
    yield Proof(good, secret, fits)
    return Proved(text(user)) if good else Refused(text(user))


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

    def fits(other: bytes) -> bool:
        return hmac.compare_digest(_digest_response(other, pairs, b"AUTHENTICATE:"), pairs.get(b"response", b""))

    good = fits(secret)
    yield Proof(good, secret, fits)
    if not good:
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
