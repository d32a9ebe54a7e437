"""OAUTHBEARER (RFC 7628) and XOAUTH2 (Google's, before it): a bearer token in the place of a password.

Who the token belongs to is found out by the password database, which is asked as if the token were a password
(passdb/oauth2.py). A token that is no good is answered with a JSON object, to which the client says a last word.
"""

import json
import re
from collections.abc import Mapping

from mailsuite.base.secret import Secret
from mailsuite.sasl.mech import Check, Claim, Exchange, Facts, MechError, Name, Proved, Refused, Say, answer, text

TOKEN_LIMIT = 8192               # octets of what a client says; signed tokens have some 1,000 to 2,000


def oauthbearer(facts: Facts) -> Exchange:
    """GS2 header (n,a=user,), ^A, then key=value pairs each ended by ^A, "auth=Bearer TOKEN" among them."""
    said = _limited(answer((yield Say(b"", initial=True))))
    header, separator, rest = said.partition(b"\x01")
    if not separator:
        raise MechError("Invalid continued data")
    match = re.fullmatch(rb"(n|y|p=[^,]*),(?:a=([^,]*))?,(.*)", header, re.DOTALL)
    if match is None:
        raise MechError("Invalid gs2-header in request")
    if match[1].startswith(b"p="):
        raise MechError("Client requested and used channel-binding")
    user = text((match[2] or b"").replace(b"=2C", b",").replace(b"=3D", b"="))
    return (yield from _judged(user, _token(rest), {"status": "invalid_token"}))       # RFC 7628 section 3.2.2


def xoauth2(facts: Facts) -> Exchange:
    """"user=" NAME ^A "auth=Bearer " TOKEN ^A ^A"""
    said = _limited(answer((yield Say(b"", initial=True))))
    user = ""
    for pair in said.split(b"\x01"):
        if pair.startswith(b"user="):
            user = text(pair.removeprefix(b"user="))
    return (yield from _judged(user, _token(said), {"status": "401", "schemes": "bearer", "scope": "mail"}))


def _limited(said: bytes) -> bytes:
    if len(said) > TOKEN_LIMIT:
        raise MechError("Token too large")
    return said


def _token(pairs: bytes) -> bytes:
    """What follows "Bearer", in any case of letters (RFC 6750 section 2.1); b"" where there is none."""
    for pair in pairs.split(b"\x01"):
        if pair.startswith(b"auth="):
            scheme, _, token = pair.removeprefix(b"auth=").partition(b" ")
            if scheme.lower() != b"bearer" or re.search(rb"[^!-~]", token):
                raise MechError("Invalid continued data")
            return token
    return b""


def _judged(user: str, token: bytes, error: Mapping[str, str]) -> Exchange:
    if not user or not token:
        if user:
            yield Name(user)
        raise MechError("Missing username or token", user=user or None)
    told = yield Check(Claim(user, Secret(token)))
    if told is None:
        return Proved(user)
    yield Say(json.dumps({**error, **json.loads(told)}, separators=(",", ":")).encode())
    return Refused(user)
