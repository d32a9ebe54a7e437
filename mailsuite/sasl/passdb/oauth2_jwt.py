"""Tokens that carry their own proof (JWT, RFC 7519), checked with keys in local files.

    claims = Keys(folder, pool); await keys.claims(token, issuers=(...))       raises BadToken

A key file FOLDER/AZP/ALGORITHM/KID holds a PEM public key, or the base64 of a secret for HS256, HS384, HS512; AZP and
KID are "default" where the token has none. The algorithm is part of the file's name: no token can have a public key
used as a secret. A file is read again when it has changed.
"""

import base64
import binascii
import os
import time
from collections.abc import Sequence
from typing import Any

from mailsuite.base.errors import PermanentError, TemporaryError
from mailsuite.sasl.passdb.oauth2_conf import key_path
from mailsuite.sasl.pool import HashPool

ALGORITHMS = ("HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384",
              "ES512", "EdDSA")
TYPES = ("jwt", "at+jwt", "application/at+jwt")        # the latter two: access tokens, RFC 9068 section 2.1
KEYS_LIMIT = 1000
# The times and names are looked at here, in Dovecot's words.
_SIGNATURE_ONLY: Any = dict.fromkeys((f"verify_{name}" for name in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")),
                                     False)
_FOLDED = {name.upper(): name for name in ALGORITHMS}


class BadToken(PermanentError):
    """A token that is not good (detail says why), or NotJwt: one of another kind."""

    def __init__(self, detail: str) -> None:
        super().__init__("Authentication failed.", detail=detail)


class NotJwt(BadToken):
    """Perhaps good, but none that can be checked here."""


class Keys:
    """The key files of one folder."""

    def __init__(self, folder: str, pool: HashPool) -> None:
        self._folder, self._pool = folder, pool
        self._known: dict[str, tuple[tuple[int, int], Any]] = {}

    async def claims(self, token: bytes, issuers: Sequence[str] = ()) -> dict[str, Any]:
        """What a good token says. Raises BadToken, NotJwt; TemporaryError when a key file cannot be read."""
        return await self._pool.run(self._claims, token, tuple(issuers))

    def _claims(self, token: bytes, issuers: tuple[str, ...]) -> dict[str, Any]:
        import jwt

        try:
            text = token.decode("ascii")
            header = jwt.get_unverified_header(text)
            unverified = jwt.decode(text, options={"verify_signature": False})
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise NotJwt("Not a JWT token") from error
        if str(header.get("typ", "")).lower() not in TYPES:
            raise NotJwt("Cannot find 'typ' field")
        algorithm = _FOLDED.get(str(header.get("alg", "")).upper())
        if algorithm is None:
            raise BadToken(f"Unsupported algorithm '{str(header.get('alg', ''))[:40].upper()}'")
        key = self._key(str(unverified.get("azp") or "default"), algorithm, str(header.get("kid") or "default"))
        try:
            claims: dict[str, Any] = jwt.decode(text, key, algorithms=[algorithm], options=_SIGNATURE_ONLY)
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise BadToken("Incorrect JWT signature") from error
        _check_claims(claims, issuers)
        return claims

    def _key(self, azp: str, algorithm: str, key_id: str) -> Any:
        """A key as PyJWT wants it."""
        missing = BadToken(f"{algorithm} key '{key_id[:80]}' not found")
        try:
            path = key_path(self._folder, azp, algorithm, key_id)
            status = os.stat(path)
        except (ValueError, FileNotFoundError, NotADirectoryError) as error:
            raise missing from error
        except OSError as error:
            raise TemporaryError("internal error", detail=f"oauth2: {error.filename}: {error.strerror}") from error
        stamp = status.st_mtime_ns, status.st_ino
        known = self._known.get(path)
        if known is None or known[0] != stamp:
            if len(self._known) >= KEYS_LIMIT:
                self._known.clear()
            known = self._known[path] = (stamp, _read_key(path, algorithm))
        return known[1]


def _read_key(path: str, algorithm: str) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        with open(path, "rb") as file:
            octets = file.read(65536)
        if algorithm.startswith("HS"):
            return base64.b64decode(octets.strip(), validate=True)
        return load_pem_public_key(octets)
    except OSError as error:
        raise TemporaryError("internal error", detail=f"oauth2: {path}: {error.strerror}") from error
    except (ValueError, binascii.Error) as error:
        raise TemporaryError("internal error", detail=f"oauth2: {path}: not a key for {algorithm}") from error


def _check_claims(claims: dict[str, Any], issuers: Sequence[str]) -> None:
    """RFC 7519 section 4.1. sub and exp must be there, as in Dovecot."""
    now = time.time()
    if not isinstance(claims.get("sub"), str):
        raise BadToken("Missing 'sub' field")
    expires = _moment(claims, "exp")
    if expires is None:
        raise BadToken("Missing 'exp' field")
    begins, issued = _moment(claims, "nbf"), _moment(claims, "iat")
    if begins is not None and begins > now:
        raise BadToken("Token is not valid yet")
    if issued is not None and issued > now:
        raise BadToken("Token is issued in future")
    if expires < now:
        raise BadToken("Token has expired")
    if issuers:
        issuer = claims.get("iss")
        if not issuer:
            raise BadToken("Token is missing 'iss' field")
        if issuer not in issuers:
            raise BadToken(f"Issuer '{str(issuer)[:200]}' is not allowed")


def _moment(claims: dict[str, Any], name: str) -> float | None:
    """Seconds since 1970. Raises BadToken for a value that is none."""
    value = claims.get(name)
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise BadToken(f"Malformed '{name}' field") from None
