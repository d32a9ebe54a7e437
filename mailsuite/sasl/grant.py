"""Grants: what spares the access service asking the auth service who has just logged in.

    key = new_key()                                     the access service makes one for each connection to auth
    grant = Sealer(key).seal(about, user)               auth, for a login that succeeded; text for a line
    grants = Opened(key);  user = grants.open(about, grant)      access: the user's octets, once; None: no such grant

A login process carries the grant from auth to access. It can neither read it (user databases hold passwords for other
servers) nor make or change one: AES-GCM with a key that only these two have. `about` binds it to one authentication:
the login's process id, request, cookie and session, and the protocol. It is good for KEEP_S seconds and once; a new
access service or a new connection has a new key, so that nothing old is ever good again.

Limits: KEPT_LIMIT grants used within KEEP_S are remembered; beyond that none is taken.
"""

import os
import struct
import time
from base64 import b64decode, b64encode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEEP_S = 60.0
KEPT_LIMIT = 200_000
SIZE_LIMIT = 8192                # of a grant in base64; a user of whom more is known goes without
_NONCE = 12
_TIME = struct.Struct("!d")


def new_key() -> bytes:
    return AESGCM.generate_key(256)


def about(client_pid: int, request_id: int, cookie: str, service: str, session_id: str) -> bytes:
    """What a grant is bound to."""
    return f"{client_pid}\0{request_id}\0{cookie}\0{service}\0{session_id}".encode("utf-8", "surrogateescape")


class Sealer:
    """Makes grants with one key. The clock is the machine's, the same in all processes."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, about: bytes, user: bytes) -> str:
        """The grant, "" when it would be too long. user: what access is told."""
        if len(user) > SIZE_LIMIT * 3 // 4 - 64:
            return ""
        nonce = os.urandom(_NONCE)
        return b64encode(nonce + self._cipher.encrypt(nonce, _TIME.pack(time.monotonic() + KEEP_S) + user,
                                                      about)).decode()


class Opened:
    """Opens grants of one key, each once."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._used: dict[bytes, float] = {}         # nonce -> when it would be too old anyway, the oldest first

    def open(self, about: bytes, grant: str) -> bytes | None:
        """The user's octets; None when it is forged, too old, used already, or about something else."""
        try:
            octets = b64decode(grant, validate=True)
            nonce = octets[:_NONCE]
            content = self._cipher.decrypt(nonce, octets[_NONCE:], about)
        except (ValueError, InvalidTag):
            return None
        now, (end,) = time.monotonic(), _TIME.unpack_from(content)
        self._forget(now)
        if end < now or nonce in self._used or len(self._used) >= KEPT_LIMIT:
            return None
        self._used[nonce] = end
        return content[_TIME.size:]

    def _forget(self, now: float) -> None:
        while self._used and self._used[oldest := next(iter(self._used))] < now:
            del self._used[oldest]
