"""passdb { driver = oauth2 }: args = FILE (oauth2_conf.py). The password is a bearer token.

Who it belongs to is found by introspection_mode: "local" by the token's own signature (oauth2_jwt.py), else by asking
tokeninfo_url or introspection_url, as Dovecot 2.3 asks. With use_grant_password (and by PLAIN) the user's password is
first changed into a token at grant_url.

The token's username_attribute must be the user that the client named; active_attribute, scope, issuers and client_id
(the audience) are looked at. What fails so is WrongPassword or UserDisabled; no answer is TemporaryError.
"""

import json
import re
from typing import Any
from urllib.parse import quote

from mailsuite.base.errors import TemporaryError
from mailsuite.base.secret import Secret
from mailsuite.config.variables import expand_variables
from mailsuite.database.http import HttpReply, fetch
from mailsuite.sasl.passdb import Found, NoLookup, UserDisabled, WrongPassword
from mailsuite.sasl.passdb.oauth2_conf import OAuth2Settings, read_oauth2
from mailsuite.sasl.passdb.oauth2_jwt import BadToken, Keys
from mailsuite.sasl.pool import HashPool
from mailsuite.sasl.request import AuthRequest

_FIELD = re.compile(r"%[^{%]*\{(oauth2:[^}:]+)")
_TOKEN_MECHANISMS = ("OAUTHBEARER", "XOAUTH2")


class OAuth2Passdb:
    """Checks tokens; cannot say anything of a user without one. Nothing is cached: tokens expire."""

    driver = "oauth2"
    checks = True
    looks_up = False
    cache_key = ""

    def __init__(self, args: str, pool: HashPool) -> None:
        """Raises ConfigError."""
        self._settings: OAuth2Settings = read_oauth2(args.strip())
        self._keys = Keys(self._settings.keys, pool) if self._settings.introspection_mode == "local" else None

    async def find(self, request: AuthRequest) -> Found | None:
        raise NoLookup("passdb oauth2 cannot look up users")

    async def decoy(self, request: AuthRequest) -> tuple[str, str] | None:
        return None

    async def check(self, request: AuthRequest, password: Secret) -> Found | None:
        settings = self._settings
        if settings.openid_configuration_url:
            request.oauth_hints["openid-configuration"] = settings.openid_configuration_url
        token = password.reveal()
        try:
            if settings.grant_url and request.mechanism.upper() not in _TOKEN_MECHANISMS:
                token = await self._grant(request, token)
            if self._keys is not None:
                claims = await self._local(self._keys, token)
                prefix = "Local validation failed"
            else:
                claims, prefix = await self._ask(token)
            self._check(request, claims, prefix)
        except BadToken as error:
            raise WrongPassword(f"oauth2 failed: {error.detail}") from error
        fields = self._fields(request, claims)
        return Found((*fields, ("token", token.decode("utf-8", "surrogateescape"))), "PLAIN")

    # --- where the answer comes from ----------------------------------------------------------------------------------

    async def _local(self, keys: Keys, token: bytes) -> dict[str, Any]:
        settings = self._settings
        try:
            claims = await keys.claims(token, settings.issuers)
            if settings.scope:
                granted = _words(claims.get("scope"))
                if granted is None:
                    raise BadToken("scope set but not found in token")
                if not set(settings.scopes) <= set(granted):
                    raise BadToken(f"configured scope '{settings.scope}' missing from token scope "
                                   f"'{' '.join(granted)}'")
            if settings.client_id:
                audience = _words(claims.get("aud"))
                if audience is None:
                    raise BadToken("client_id set but aud is missing")
                if settings.client_id not in audience:
                    raise BadToken("client_id not found in aud field")
        except BadToken as error:
            raise BadToken(f"Local validation failed: {error.detail}") from error
        return claims

    async def _ask(self, token: bytes) -> tuple[dict[str, Any], str]:
        """The token's fields and how the log names where they come from."""
        settings = self._settings
        claims: dict[str, Any] = {}
        if settings.tokeninfo_url:
            reply = await self._http("GET", settings.tokeninfo_url + quote(token, safe=""), "Token validation failed",
                                     _bearer(token))
            if reply.status // 100 != 2:
                raise BadToken("Token validation failed: Invalid token")
            claims = _object(reply, "Token validation failed")
            if _is_invalid(claims):
                raise BadToken("Token is not valid: Provided token is not valid")
            if not settings.introspection_url or not (
                    settings.force_introspection or settings.username_attribute not in claims):
                return claims, "Token validation failed"
        return claims | await self._introspect(token), "Introspection failed"

    async def _introspect(self, token: bytes) -> dict[str, Any]:
        """RFC 7662 (mode post), or what servers had before it."""
        settings, prefix = self._settings, "Introspection failed"
        url, mode = settings.introspection_url, settings.introspection_mode
        if mode == "auth":
            reply = await self._http("GET", url, prefix, _bearer(token))
            if reply.status == 401:         # RFC 6750 section 3.1: the token is what is wrong
                raise BadToken(f"{prefix}: Invalid token")
        elif mode == "get":
            reply = await self._http("GET", url + quote(token, safe="") + self._client(), prefix)
        else:
            reply = await self._http("POST", url, prefix, _FORM, b"token=" + quote(token, safe="").encode() +
                                     self._client().encode())
        return _object(reply, prefix)

    def _client(self) -> str:
        settings = self._settings
        pairs = {"client_id": settings.client_id, "client_secret": settings.client_secret}
        return "".join(f"&{name}={quote(value, safe='')}" for name, value in pairs.items() if value)

    async def _grant(self, request: AuthRequest, password: bytes) -> bytes:
        """RFC 6749 section 4.3: a token for a user's name and password."""
        settings = self._settings
        body = (f"client_id={quote(settings.client_id, safe='')}&client_secret={quote(settings.client_secret, safe='')}"
                f"&username={quote(request.user, safe='', errors='surrogateescape')}"
                f"&password={quote(password, safe='')}&grant_type=password")
        if settings.scope:
            body += f"&scope={quote(settings.scope, safe='')}"
        reply = await self._http("POST", settings.grant_url, "Token grant failed", _FORM, body.encode())
        fields = _object(reply, "Token grant failed") if reply.status // 100 == 2 or reply.body else {}
        token = fields.get("access_token")
        if not isinstance(token, str) or not token:
            raise BadToken(f"Token grant failed: {str(fields.get('error', reply.status))[:100]}")
        return token.encode("utf-8", "surrogateescape")

    async def _http(self, method: str, url: str, prefix: str, headers: dict[str, str] | None = None,
                    body: bytes = b"") -> HttpReply:
        """Raises TemporaryError without an answer, or with one that says that the server is out of order."""
        settings = self._settings
        try:
            reply = await fetch(method, url, headers=headers, body=body, timeout_s=settings.timeout_s, tls=settings.tls)
        except TemporaryError as error:
            raise TemporaryError("internal error", detail=f"oauth2 failed: {prefix}: {error.detail}") from error
        if reply.status // 100 in (3, 5):
            raise TemporaryError("internal error", detail=f"oauth2 failed: {prefix}: {reply.status} {reply.reason}")
        return reply

    # --- what it means ------------------------------------------------------------------------------------------------

    def _check(self, request: AuthRequest, claims: dict[str, Any], prefix: str) -> None:
        settings = self._settings
        if _is_invalid(claims):
            raise BadToken(f"{prefix}: Provided token is not valid")
        named = _text(claims.get(settings.username_attribute))
        if not named:
            raise TemporaryError("internal error", detail=f"oauth2 failed: {prefix}: No username returned")
        if self._normal(request, request.user) != self._normal(request, named):
            raise BadToken(f"{prefix}: Username '{request.user}' did not match '{named}'")
        if settings.active_attribute and self._keys is None:
            active = claims.get(settings.active_attribute)
            if active is None or (settings.active_value and _text(active) != settings.active_value):
                raise UserDisabled("User is disabled", detail=f"oauth2 failed: {prefix}: User account is not active")
        if settings.scope and self._keys is None:
            granted = _words(claims.get("scope", claims.get("aud"))) or []
            if not set(settings.scopes) <= set(granted):
                raise UserDisabled("User is disabled",
                                   detail=f"oauth2 failed: {prefix}: Token is not valid for scope '{settings.scope}'")
        if self._keys is None and settings.issuers and claims.get("iss") not in settings.issuers:
            raise BadToken(f"{prefix}: Issuer '{_text(claims.get('iss'))}' is not allowed")

    def _normal(self, request: AuthRequest, name: str) -> str:
        local, _, domain = name.partition("@")
        return expand_variables(self._settings.username_format, request.variables() | {
            "user": name, "username": local, "domain": domain})

    def _fields(self, request: AuthRequest, claims: dict[str, Any]) -> list[tuple[str, str]]:
        """pass_attrs with what the token said; an attribute that it has not is empty."""
        values = request.variables() | {f"oauth2:{name}": _text(value) for name, value in claims.items()}
        found = []
        for name, template in self._settings.pass_attrs:
            for wanted in _FIELD.findall(template):
                values.setdefault(wanted, "")
            found.append((name, expand_variables(template, values)))
        return found


_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def _bearer(token: bytes) -> dict[str, str]:
    return {"Authorization": f"Bearer {token.decode('ascii', 'replace')}"}


def _object(reply: HttpReply, prefix: str) -> dict[str, Any]:
    """The JSON object of an answer. Raises TemporaryError."""
    try:
        value = json.loads(reply.body)
        if not isinstance(value, dict):
            raise ValueError("not an object")
    except (ValueError, RecursionError) as error:
        raise TemporaryError("internal error", detail=f"oauth2 failed: {prefix}: {reply.status} {reply.reason}: "
                             f"no JSON object: {error}") from error
    return value


def _is_invalid(claims: dict[str, Any]) -> bool:
    """RFC 7662 section 2.2: active; that an error is reported says nothing better."""
    return claims.get("active") is False or _text(claims.get("active")) == "false"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return "" if value is None or isinstance(value, dict) else str(value)


def _words(value: object) -> list[str] | None:
    """A claim that is a text with blanks, or a list; None where there is none."""
    if value is None:
        return None
    return [str(each) for each in value] if isinstance(value, list) else str(value).split()
