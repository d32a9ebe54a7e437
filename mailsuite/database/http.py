"""A small HTTP/1.1 client for services that are asked while somebody waits: token introspection, policy servers.

    reply = await fetch("POST", "https://id.example/introspect", body=b"token=...", headers={...}, timeout_s=10)
    reply.status, reply.reason, reply.body

One connection a question; redirections are not followed (a credential must not travel on). The name and password of a
URL like https://name:password@host/ become an Authorization header.
Raises: HttpError (a TemporaryError) when there is no whole answer: refused, too late, too long, not HTTP.
"""

import asyncio
import ssl
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from mailsuite.base.errors import TemporaryError

BODY_LIMIT = 1 << 20             # octets of an answer
HEAD_LIMIT = 65536               # octets of its status line and headers


class HttpError(TemporaryError):
    """No answer to make anything of."""

    def __init__(self, detail: str) -> None:
        super().__init__("a service of ours does not answer", detail=detail)


@dataclass(frozen=True)
class HttpReply:
    """An answer, whatever its status."""

    status: int
    reason: str
    body: bytes


def check_url(url: str) -> SplitResult:
    """A URL that can be asked, in its parts. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or any(char <= " " for char in url):
        raise ValueError(f"{url} is no http or https URL")
    _ = parts.port                      # raises ValueError for one out of range
    return parts


async def fetch(method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"",
                timeout_s: float = 10.0, tls: ssl.SSLContext | None = None) -> HttpReply:
    """Ask once. tls: how an https server is verified; None: by the system's authorities."""
    try:
        parts = check_url(url)
    except ValueError as error:
        raise HttpError(str(error)) from error
    try:
        async with asyncio.timeout(timeout_s):
            return await _ask(method, parts, headers or {}, body, tls)
    except TimeoutError as error:
        raise HttpError(f"{_shown(parts)}: no answer within {timeout_s:g} s") from error
    except (OSError, ValueError, EOFError, asyncio.LimitOverrunError) as error:
        raise HttpError(f"{_shown(parts)}: {error or 'connection lost'}") from error


def _shown(parts: SplitResult) -> str:
    """For the log: no password, no query (it may hold a token)."""
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"


async def _ask(method: str, parts: SplitResult, headers: Mapping[str, str], body: bytes,
               tls: ssl.SSLContext | None) -> HttpReply:
    secure = parts.scheme == "https"
    context = (tls or ssl.create_default_context()) if secure else None
    port = parts.port or (443 if secure else 80)
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context, limit=HEAD_LIMIT)
    try:
        writer.write(_request(method, parts, headers, body))
        head = await reader.readuntil(b"\r\n\r\n")
        status, reason, fields = _parse_head(head)
        while 100 <= status < 200:
            status, reason, fields = _parse_head(await reader.readuntil(b"\r\n\r\n"))
        content = b"" if method == "HEAD" or status in (204, 304) else await _body(reader, fields)
        return HttpReply(status, reason, content)
    finally:
        writer.close()


def _request(method: str, parts: SplitResult, headers: Mapping[str, str], body: bytes) -> bytes:
    host = parts.netloc.rpartition("@")[2]
    fields = {"Host": host, "User-Agent": "mailsuite", "Accept": "application/json", "Connection": "close", **headers}
    if parts.username is not None and "Authorization" not in fields:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        fields["Authorization"] = "Basic " + b64encode(pair.encode()).decode()
    if body or method in ("POST", "PUT"):
        fields["Content-Length"] = str(len(body))
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a line end in a header")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


def _parse_head(head: bytes) -> tuple[int, str, dict[str, str]]:
    """Status, reason and the fields by their lower-case names."""
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdecimal():
        raise ValueError("the answer is not HTTP/1")
    fields = {}
    for line in lines:
        name, _, value = line.partition(":")
        fields[name.strip().lower()] = value.strip()
    return int(words[1]), words[2] if len(words) > 2 else "", fields


async def _body(reader: asyncio.StreamReader, fields: Mapping[str, str]) -> bytes:
    """RFC 9112 section 6.3."""
    if "chunked" in fields.get("transfer-encoding", "").lower():
        return await _chunks(reader)
    if "content-length" in fields:
        length = int(fields["content-length"])
        if not 0 <= length <= BODY_LIMIT:
            raise ValueError("the answer is too long")
        return await reader.readexactly(length)
    content = bytearray()
    while block := await reader.read(65536):
        content += block
        if len(content) > BODY_LIMIT:
            raise ValueError("the answer is too long")
    return bytes(content)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    content = bytearray()
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0].strip(), 16):
        if size < 0 or len(content) + size > BODY_LIMIT:
            raise ValueError("the answer is too long")
        content += await reader.readexactly(size)
        await reader.readexactly(2)
    return bytes(content)
