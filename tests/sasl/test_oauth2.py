"""passdb oauth2: tokens by introspection and by local keys, as Dovecot 2.3.19 judged them."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mailsuite.base.errors import ConfigError
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.sasl.attempt import Continue, Denied, Granted, Reply
from mailsuite.sasl.passdb.oauth2_conf import key_path, read_oauth2
from mailsuite.sasl.service import AuthService

Answer = Callable[[str], tuple[int, object]]
SEEN: list[tuple[str, str, dict[str, str], str]] = []


@asynccontextmanager
async def identity_provider(answer: Answer) -> AsyncIterator[int]:
    """An HTTP server on a port of its own; answer(all that was asked, as one text) -> status, JSON object or text."""
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
        body = (await reader.readexactly(int(fields.get("content-length", "0")))).decode()
        method, target, _ = first.split(" ")
        SEEN.append((method, target, dict(line.split(": ", 1) for line in lines if ": " in line), body))
        status, value = answer(f"{head} {body}")
        content = (value if isinstance(value, str) else json.dumps(value)).encode()
        writer.write(b"HTTP/1.1 %d X\r\nTransfer-Encoding: chunked\r\n\r\n" % status)
        for at in range(0, len(content), 7):
            writer.write(b"%x\r\n%b\r\n" % (len(content[at:at + 7]), content[at:at + 7]))
        writer.write(b"0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        SEEN.clear()


def service(folder: Path, conf: str) -> AuthService:
    (folder / "oauth2.conf").write_text(conf)
    return AuthService(DovecotSettings.of(f"""
auth_mechanisms = oauthbearer xoauth2 plain
passdb {{
  driver = oauth2
  args = {folder}/oauth2.conf
}}
userdb {{
  driver = static
  args = uid=1 gid=1 allow_all_users=yes
}}
"""))


async def log_in(auth: AuthService, token: str, *, user: str = "alice", mechanism: str = "OAUTHBEARER") -> Reply:
    said = {"OAUTHBEARER": f"n,a={user},\x01host=h\x01auth=Bearer {token}\x01\x01",
            "XOAUTH2": f"user={user}\x01auth=Bearer {token}\x01\x01", "PLAIN": f"\0{user}\0{token}"}[mechanism]
    attempt = auth.attempt(auth.mechanisms[mechanism], "imap", {"service": "imap"})
    return await attempt.start(said.encode())


def outcome(reply: Reply) -> str:
    if isinstance(reply, Continue):
        return str(json.loads(reply.octets)["status"])
    return "ok" if isinstance(reply, Granted) else reply.code or "no"


ABOUT = {
    "good": (200, {"active": True, "username": "Alice", "groups": ["a", "b"], "level": 5}),
    "inactive": (200, {"active": False}),
    "refused": (401, {"error": "invalid_token"}),
    "broken": (500, {"error": "x"}),
    "other": (200, {"active": True, "username": "bob"}),
    "nobody": (200, {"active": True}),
    "scoped": (200, {"active": True, "username": "alice", "scope": "mail imap"}),
    "issued": (200, {"active": True, "username": "alice", "iss": "https://id.test"}),
    "junk": (200, "junk"), "list": (200, "[]"), "moved": (302, {}), "long": (200, "x" * 1_100_000),
}


def about(asked: str) -> tuple[int, object]:
    return next((reply for name, reply in ABOUT.items() if f"tok-{name}" in asked), (404, {}))


USER = "username_attribute = username\n"
INTROSPECTION = [
    ("introspection_mode = auth\nintrospection_url = URL/i\n" + USER,
     {"good": "ok", "inactive": "invalid_token", "refused": "invalid_token", "broken": "temp_fail",
      "other": "invalid_token", "nobody": "temp_fail", "junk": "temp_fail", "list": "temp_fail", "moved": "temp_fail",
      "long": "temp_fail"}),
    ("introspection_mode = get\nintrospection_url = URL/i?token=\nscope = imap\n" + USER,
     {"scoped": "ok", "good": "invalid_token"}),
    ("introspection_mode = post\nintrospection_url = URL/i\nissuers = https://id.test https://x.test\n" + USER,
     {"issued": "ok", "good": "invalid_token"}),
    ("introspection_mode = post\nintrospection_url = URL/i\nactive_attribute = level\nactive_value = 5\n" + USER,
     {"good": "ok", "scoped": "invalid_token"}),
    ("tokeninfo_url = URL/t?access_token=\n" + USER, {"good": "ok", "refused": "invalid_token", "broken": "temp_fail"}),
    ("introspection_url = http://127.0.0.1:1/\n", {"good": "temp_fail"}),
]


@pytest.mark.parametrize(("conf", "wanted"), INTROSPECTION)
def test_introspection(tmp_path: Path, conf: str, wanted: dict[str, str]) -> None:
    async def work() -> dict[str, str]:
        async with identity_provider(about) as port:
            auth = service(tmp_path, conf.replace("URL", f"http://127.0.0.1:{port}"))
            return {name: outcome(await log_in(auth, f"tok-{name}")) for name in wanted}

    assert asyncio.run(work()) == wanted


def test_what_the_server_is_asked(tmp_path: Path) -> None:
    async def work() -> list[tuple[str, str, dict[str, str], str]]:
        async with identity_provider(about) as port:
            for mode, url in (("auth", "/i"), ("get", "/i?token="), ("post", "/i")):
                auth = service(tmp_path, f"introspection_mode = {mode}\nintrospection_url = http://me:p%40w@127.0.0.1:"
                               f"{port}{url}\nclient_id = us\nclient_secret = s% &\n{USER}")
                assert outcome(await log_in(auth, "tok-good+/=")) == "ok"
            return list(SEEN)

    by_token, get, post = asyncio.run(work())
    assert by_token[:2] == ("GET", "/i") and by_token[2]["Authorization"] == "Bearer tok-good+/="
    query = parse_qs(urlsplit(get[1]).query)
    assert query == {"token": ["tok-good+/="], "client_id": ["us"], "client_secret": ["s% &"]}
    assert get[2]["Authorization"] == "Basic " + base64.b64encode(b"me:p@w").decode()
    assert post[0] == "POST" and parse_qs(post[3]) == query


def test_a_bad_token_is_explained(tmp_path: Path) -> None:
    async def work() -> list[Reply]:
        async with identity_provider(about) as port:
            auth = service(tmp_path, f"introspection_url = http://127.0.0.1:{port}/i\n{USER}"
                           "openid_configuration_url = https://id.test/conf\n")
            replies = []
            for mechanism in ("OAUTHBEARER", "XOAUTH2"):
                attempt = auth.attempt(auth.mechanisms[mechanism], "imap", {})
                said = "n,a=alice,\x01auth=Bearer tok-inactive\x01\x01" if mechanism == "OAUTHBEARER" else \
                    "user=alice\x01auth=Bearer tok-inactive\x01\x01"
                replies += [await attempt.start(said.encode()), await attempt.go_on(b"\x01")]
            return replies

    first, end, other, other_end = asyncio.run(work())
    assert isinstance(first, Continue) and isinstance(other, Continue)
    assert first.octets == b'{"status":"invalid_token","openid-configuration":"https://id.test/conf"}'
    assert other.octets == (b'{"status":"401","schemes":"bearer","scope":"mail",'
                            b'"openid-configuration":"https://id.test/conf"}')
    assert isinstance(end, Denied) and isinstance(other_end, Denied) and end.named


def test_fields_of_a_token(tmp_path: Path) -> None:
    async def work() -> Reply:
        async with identity_provider(about) as port:
            auth = service(tmp_path, f"introspection_url = http://127.0.0.1:{port}/i\n{USER}"
                           "pass_attrs = groups=%{oauth2:groups} level=%{oauth2:level} none=%{oauth2:none} "
                           "user=%{oauth2:username}")
            return await log_in(auth, "tok-good")

    reply = asyncio.run(work())
    assert isinstance(reply, Granted) and reply.request.user == "Alice"
    fields = reply.request.client_fields()
    assert fields == fields | {"groups": "a,b", "level": "5", "none": "", "token": "tok-good"}


def test_a_password_is_changed_into_a_token(tmp_path: Path) -> None:
    def grant(asked: str) -> tuple[int, object]:
        if "POST /grant" in asked:
            good = "password=secret%20one" in asked
            return (200, {"access_token": "tok-good"}) if good else (400, {"error": "invalid_grant"})
        return about(asked)

    async def work() -> list[str]:
        async with identity_provider(grant) as port:
            url = f"http://127.0.0.1:{port}"
            auth = service(tmp_path, f"grant_url = {url}/grant\nintrospection_url = {url}/i\nclient_id = us\n{USER}")
            return [outcome(await log_in(auth, password, mechanism="PLAIN")) for password in ("secret one", "wrong")]

    assert asyncio.run(work()) == ["ok", "no"]


# --- local keys -------------------------------------------------------------------------------------------------------

SECRET = b"k" * 64
RSA, EC, ED = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1()), \
    ed25519.Ed25519PrivateKey.generate()


def pem(key: Any) -> bytes:
    return bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def token(algorithm: str = "HS256", key: Any = SECRET, *, header: dict[str, Any] | None = None, **changed: Any) -> str:
    now = int(time.time())
    claims = {"sub": "1", "iat": now - 9, "exp": now + 600, "username": "alice", "iss": "https://id.test"} | changed
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, key, algorithm=algorithm,
                      headers={"typ": "JWT"} | (header or {}))


def confused() -> str:
    """Signed with the public key as if it were a secret."""
    def b64(octets: bytes) -> str:
        return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
    import hashlib
    import hmac
    start = b64(b'{"alg":"HS256","typ":"JWT"}') + "." + token().split(".")[1]
    return f"{start}.{b64(hmac.digest(pem(RSA), start.encode(), hashlib.sha256))}"


FAR = int(time.time()) + 5000
TOKENS: list[tuple[str, Callable[[], str], str]] = [
    ("HS256", token, "ok"),
    ("HS512", lambda: token("HS512"), "ok"),
    ("RS256", lambda: token("RS256", RSA), "ok"),
    ("ES256", lambda: token("ES256", EC), "ok"),
    ("EdDSA", lambda: token("EdDSA", ED), "ok"),
    ("none", lambda: token("none", None), "invalid_token"),
    ("public key as a secret", confused, "invalid_token"),
    ("another's key", lambda: token(key=b"x" * 32), "invalid_token"),
    ("expired", lambda: token(exp=FAR - 9000), "invalid_token"),
    ("no end", lambda: token(exp=None), "invalid_token"),
    ("not yet", lambda: token(nbf=FAR), "invalid_token"),
    ("from the future", lambda: token(iat=FAR), "invalid_token"),
    ("time is no number", lambda: token(exp="soon"), "invalid_token"),
    ("no subject", lambda: token(sub=None), "invalid_token"),
    ("no issuer", lambda: token(iss=None), "invalid_token"),
    ("another issuer", lambda: token(iss="https://evil.test"), "invalid_token"),
    ("a key by name", lambda: token(header={"kid": "one"}), "ok"),
    ("no such key", lambda: token(header={"kid": "two"}), "invalid_token"),
    ("a path as a key", lambda: token(header={"kid": "../../secret"}), "invalid_token"),
    ("a key that is a folder", lambda: token(header={"kid": ".."}), "invalid_token"),
    ("a client", lambda: token(azp="web"), "ok"),
    ("no such client", lambda: token(azp="other"), "invalid_token"),
    ("no type", lambda: token(header={"typ": None}), "invalid_token"),
    ("another user", lambda: token(username="bob"), "invalid_token"),
    ("no user", lambda: token(username=None), "temp_fail"),
    ("no token", lambda: "a.b.c", "invalid_token"),
]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    secret = base64.b64encode(SECRET)
    for name, content in {"default/HS256/default": secret, "default/HS512/default": secret, "default/HS256/one": secret,
                          "web/HS256/default": secret, "default/RS256/default": pem(RSA), "secret": secret,
                          "default/ES256/default": pem(EC), "default/EdDSA/default": pem(ED)}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


LOCAL = "introspection_mode = local\nlocal_validation_key_dict = fs:posix:prefix={}/\n" + USER


@pytest.mark.parametrize(("make", "want"), [row[1:] for row in TOKENS], ids=[row[0] for row in TOKENS])
def test_local_keys(tmp_path: Path, keys: Path, make: Callable[[], str], want: str) -> None:
    auth = service(tmp_path, LOCAL.format(keys) + "issuers = https://id.test\n")
    assert outcome(asyncio.run(log_in(auth, make()))) == want


@pytest.mark.parametrize(("conf", "claims", "want"), [
    ("scope = mail", {"scope": "mail imap"}, "ok"),
    ("scope = mail", {"scope": "imap"}, "invalid_token"),
    ("scope = mail", {}, "invalid_token"),
    ("client_id = mail", {"aud": "mail"}, "ok"),
    ("client_id = mail", {"aud": ["x", "mail"]}, "ok"),
    ("client_id = mail", {"aud": "x"}, "invalid_token"),
    ("client_id = mail", {}, "invalid_token"),
])
def test_scope_and_audience(tmp_path: Path, keys: Path, conf: str, claims: dict[str, Any], want: str) -> None:
    auth = service(tmp_path, LOCAL.format(keys) + conf)
    assert outcome(asyncio.run(log_in(auth, token(**claims)))) == want


def test_a_key_may_change(tmp_path: Path) -> None:
    path = tmp_path / "default/HS256/default"
    path.parent.mkdir(parents=True)
    path.write_bytes(base64.b64encode(b"o" * 32))
    auth = service(tmp_path, LOCAL.format(tmp_path))
    assert outcome(asyncio.run(log_in(auth, token()))) == "invalid_token"
    path.unlink()
    path.write_bytes(base64.b64encode(SECRET))
    assert outcome(asyncio.run(log_in(auth, token()))) == "ok"
    path.unlink()
    path.write_bytes(b"no base64!")
    assert outcome(asyncio.run(log_in(auth, token()))) == "temp_fail"


@pytest.mark.parametrize("conf", [
    "introspection_mode = nosuch", "introspection_mode = local", "nosuch = 1", "rubbish", "",
    "introspection_url = ftp://x/", "local_validation_key_dict = redis:",
    "introspection_url = http://x/\ntimeout_msecs = x",
    "introspection_url = http://x/\ntls_ca_cert_file = /nonexistent"])
def test_bad_configuration(tmp_path: Path, conf: str) -> None:
    (tmp_path / "c").write_text(conf)
    with pytest.raises(ConfigError, match="c"):
        read_oauth2(str(tmp_path / "c"))


@pytest.mark.parametrize("words", [("..", "HS256", "x"), ("a", "HS256", ""), ("a", "HS256", "x\0y")])
def test_key_paths(words: tuple[str, str, str]) -> None:
    with pytest.raises(ValueError, match="key"):
        key_path("/keys", *words)
    assert key_path("/keys", "a/../b", "HS256", "50%") == "/keys/a%2f..%2fb/HS256/50%25"
