"""Grants: what spares asking the auth service who has just logged in.

    get_ready()                                         at a service's start
    key = new_key()                                     the access service makes one for each connection to auth
    rights = rights_of("imap", fields)                  what decides as whom a user's mail is served
    grant = Sealer(key).seal(about, rights, user)       auth, for a login that succeeded; text for a line
    Keys(key).open(about, grant)                        access: the user's octets, once; None: no such grant
    Keys(key).open(about, grant, use=False)             the same, and it may be used later
    grants = Opened(Keys(key).of(rights))               a worker, which access gives the key of its users' rights
    grants.open(about, grant)

A login process carries the grant from auth to who serves the user. It can neither read it (user databases hold
passwords for other servers) nor make or change one: AES-GCM. Each kind of rights has a key of its own, derived from the
one that only auth and access have, so that a worker that was broken into can make grants for nobody whose mail it could
not read anyway. `about` binds a grant to one authentication: the login's process id, request, cookie and session, and
the protocol. It is good for KEEP_S seconds and once; a new access service or a new connection has a new key, so that
nothing old is ever good again. The rights (uid and gid, no names of users) stand before it in the clear.

Limits: KEPT_LIMIT used grants of one kind of rights are remembered; beyond that none is taken. RIGHTS_LIMIT kinds.
"""

import hmac
import os
import struct
import time
from base64 import b64decode, b64encode
from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEEP_S = 60.0
LOOK_S = 1.0                     # between two times that used ones are forgotten
KEPT_LIMIT = 200_000
RIGHTS_LIMIT = 10_000
SIZE_LIMIT = 8192                # of a grant in base64; a user of whom more is known goes without
_NONCE = 12
_NONCES = (1 << 8 * _NONCE) - 1
_TIME = struct.Struct("!d")


def new_key() -> bytes:
    return AESGCM.generate_key(256)


def get_ready() -> None:
    """Have OpenSSL load what it needs for grants: some milliseconds that the first login would wait for."""
    key = new_key()
    Keys(key).open(b"", Sealer(key).seal(b"", "", b""))


def about(client_pid: int, request_id: int, cookie: str, service: str, session_id: str) -> bytes:
    """What a grant is bound to."""
    return f"{client_pid}\0{request_id}\0{cookie}\0{service}\0{session_id}".encode("utf-8", "surrogateescape")


def rights_of(service: str, fields: Mapping[str, str]) -> str:
    """From a user database's fields; equal texts mean equal rights (identity.py)."""
    get = fields.get
    return _rights(service, get("uid", ""), get("gid", ""), get("system_groups_user", ""), get("chroot", ""))


@lru_cache(maxsize=1024)
def _rights(*words: str) -> str:
    return b64encode("\0".join(words).encode("utf-8", "surrogateescape")).decode()


def rights_in(grant: str) -> str:
    """Those that a grant names; anybody could have written them."""
    return grant.partition(".")[0]


class Opened:
    """Opens grants of one key, each once."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._used: dict[bytes, float] = {}         # nonce -> when it would be too old anyway, the oldest first
        self._look = 0.0                            # when it is time to forget some

    def open(self, about: bytes, grant: str, *, use: bool = True) -> bytes | None:
        """The user's octets; None when it is forged, too old, used already, or about something else."""
        try:
            octets = a2b_base64(grant.partition(".")[2], strict_mode=True)
            nonce = octets[:_NONCE]
            content = self._cipher.decrypt(nonce, octets[_NONCE:], about)
        except (ValueError, InvalidTag):
            return None
        now, (end,) = time.monotonic(), _TIME.unpack_from(content)
        if now >= self._look:
            self._look = now + LOOK_S
            self._forget(now)
        if end < now or nonce in self._used or len(self._used) >= KEPT_LIMIT:
            return None
        if use:
            self._used[nonce] = end
        return content[_TIME.size:]

    def give_back(self, grant: str) -> None:
        """It is not used up after all."""
        self._used.pop(b64decode(grant.partition(".")[2])[:_NONCE], None)

    def _forget(self, now: float) -> None:
        while self._used and self._used[oldest := next(iter(self._used))] < now:
            del self._used[oldest]


class Keys:
    """All keys that come from one."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._opened: dict[str, Opened] = {}

    def of(self, rights: str) -> bytes:
        """The key of these rights."""
        return hmac.digest(self._key, rights.encode("utf-8", "surrogateescape"), "sha256")

    def open(self, about: bytes, grant: str, *, use: bool = True) -> bytes | None:
        """As Opened.open, by the rights that the grant names."""
        rights = rights_in(grant)
        known = self._opened.get(rights)
        opened = known or Opened(self.of(rights))
        user = opened.open(about, grant, use=use)
        if user is not None and known is None:
            if len(self._opened) >= RIGHTS_LIMIT:       # who forgets what was used must not take it
                return None if use else user
            self._opened[rights] = opened
        return user


class Sealer:
    """Makes grants. The clock is the machine's, the same in all processes."""

    def __init__(self, key: bytes) -> None:
        self._keys = Keys(key)
        self._ciphers: dict[str, AESGCM] = {}
        # Each nonce is the next number after a random one: as unlikely to come twice as random ones, also where
        # another process should have the same key.
        self._nonce = int.from_bytes(os.urandom(_NONCE), "big")

    def seal(self, about: bytes, rights: str, user: bytes) -> str:
        """The grant, "" when it would be too long. user: what access is told."""
        if len(user) > SIZE_LIMIT * 3 // 4 - 64:
            return ""
        cipher = self._ciphers.get(rights)
        if cipher is None:
            if len(self._ciphers) >= RIGHTS_LIMIT:
                return ""
            cipher = self._ciphers[rights] = AESGCM(self._keys.of(rights))
        self._nonce = (self._nonce + 1) & _NONCES
        nonce = self._nonce.to_bytes(_NONCE, "big")
        sealed = cipher.encrypt(nonce, _TIME.pack(time.monotonic() + KEEP_S) + user, about)
        return f"{rights}.{b2a_base64(nonce + sealed, newline=False).decode()}"
