"""An IMAP server that knows whether a password is right (passdb { driver = imap }).

    spec      {"tls": "no" | "imaps" | "starttls", "ca_file": "", "ca_path": "", "any_certificate": false}
    question  {"host": "imap.example.test", "port": 143, "user": "alice", "password": "..."}
    answer    {"result": "ok" | "no" | "expired", "text": "..."}

One connection for each question, TIMEOUT_S seconds in all. Replies have limits: LINE_LIMIT octets a line, REPLY_LIMIT
in all. Without TLS the password crosses the network as it is, as the configuration wants; a server that says
LOGINDISABLED is not sent one.
"""

import asyncio
import base64
import contextlib
import re
import ssl
from typing import Any

from mailsuite.base.errors import TemporaryError
from mailsuite.base.streams import put
from mailsuite.sasl.outside import Message
from mailsuite.sasl.outside.sources import Warn

TIMEOUT_S = 60.0
LINE_LIMIT = 16384
REPLY_LIMIT = 2**18
CONNECTIONS_LIMIT = 100         # at the same time; more wait
_CODE = re.compile(rb"\S+ NO \[([A-Za-z-]+)", re.IGNORECASE)
_WRONG = frozenset({b"", b"AUTHENTICATIONFAILED", b"AUTHORIZATIONFAILED"})


class _Failed(Exception):
    """The dialogue went no further; the text is for the log."""


class ImapSource:
    """One configuration's way to servers; which one may depend on the user."""

    def __init__(self, spec: Message, warn: Warn) -> None:
        self._spec = spec
        self._places = asyncio.Semaphore(CONNECTIONS_LIMIT)

    async def answer(self, question: Message) -> dict[str, Any]:
        where = f"imap({question['host']}:{question['port']})"
        try:
            async with asyncio.timeout(TIMEOUT_S), self._places:
                return await self._ask(question)
        except TimeoutError as error:
            raise TemporaryError("internal error", detail=f"{where}: timed out") from error
        except (OSError, EOFError, ValueError, _Failed) as error:
            raise TemporaryError("internal error", detail=f"{where}: {error or 'connection lost'}") from error

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._spec["ca_file"] or None,
                                             capath=self._spec["ca_path"] or None)
        if self._spec["any_certificate"]:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context

    async def _ask(self, question: Message) -> dict[str, Any]:
        host, implicit = question["host"], self._spec["tls"] == "imaps"
        reader, writer = await asyncio.open_connection(
            host, question["port"], limit=LINE_LIMIT, ssl=self._context() if implicit else None,
            server_hostname=host if implicit else None)
        try:
            dialogue = _Dialogue(reader, writer)
            greeting = await dialogue.line()
            if not greeting.upper().startswith(b"* OK"):
                raise _Failed(f"unexpected greeting: {_shown(greeting)}")
            if self._spec["tls"] == "starttls":
                await dialogue.expect_ok(b"STARTTLS")
                if dialogue.waiting():
                    raise _Failed("octets before the TLS handshake")        # they were not protected
                await writer.start_tls(self._context(), server_hostname=host)
            return await _log_in(dialogue, question["user"].encode("utf-8", "surrogateescape"),
                                 question["password"].encode("utf-8", "surrogateescape"))
        finally:
            writer.close()
            with contextlib.suppress(OSError, RuntimeError):
                writer.transport.abort()

    def close(self) -> None:
        """Nothing is kept."""


class _Dialogue:
    """Commands and replies."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._number = self._taken = 0

    def waiting(self) -> bool:
        """Whether the server has said more than was read."""
        return bool(self._reader._buffer)  # type: ignore[attr-defined]  # there is no public way

    async def line(self) -> bytes:
        line = await self._reader.readuntil(b"\n")
        self._taken += len(line)
        line = line.rstrip(b"\r\n")
        if match := re.search(rb"\{(\d{1,6})\}$", line):
            self._taken += int(match[1])
            self._check()
            await self._reader.readexactly(int(match[1]))
            line += b" " + await self.line()
        self._check()
        return line

    def _check(self) -> None:
        if self._taken > REPLY_LIMIT:
            raise _Failed("the server says too much")

    def say(self, octets: bytes) -> None:
        put(self._writer, octets)

    async def command(self, text: bytes, *further: bytes) -> tuple[bytes, list[bytes]]:
        """The tagged reply and those before it. further: what follows each "+"."""
        self._number += 1
        tag = b"m%d" % self._number
        self.say(tag + b" " + text + b"\r\n")
        untagged, parts = [], list(further)
        while not (line := await self.line()).startswith(tag + b" "):
            if line.startswith(b"+"):
                self.say((parts.pop(0) if parts else b"*") + b"\r\n")
            elif line.upper().startswith(b"* BYE"):
                raise _Failed(f"the server says good-bye: {_shown(line)}")
            else:
                untagged.append(line)
        return line, untagged

    async def expect_ok(self, text: bytes) -> list[bytes]:
        reply, untagged = await self.command(text)
        if reply.split(b" ")[1:2] != [b"OK"]:
            raise _Failed(f"{text.decode()} was refused: {_shown(reply)}")
        return untagged


async def _log_in(dialogue: _Dialogue, user: bytes, password: bytes) -> dict[str, Any]:
    words: set[bytes] = set()
    for line in await dialogue.expect_ok(b"CAPABILITY"):
        if line.upper().startswith(b"* CAPABILITY "):
            words |= set(line.upper().split())
    if b"AUTH=PLAIN" in words:
        response = base64.b64encode(b"\0".join((b"", user, password)))
        if b"SASL-IR" in words:
            reply, _ = await dialogue.command(b"AUTHENTICATE PLAIN " + response)
        else:
            reply, _ = await dialogue.command(b"AUTHENTICATE PLAIN", response)
    elif b"LOGINDISABLED" in words:
        raise _Failed("the server takes no passwords on this connection")
    else:
        reply, _ = await dialogue.command(b"LOGIN {%d}" % len(user), user + b" {%d}" % len(password), password)
    state = reply.split(b" ")[1].upper() if b" " in reply else b""
    code = match[1].upper() if (match := _CODE.match(reply)) else b""
    if state == b"OK":
        dialogue.say(b"m9 LOGOUT\r\n")
        return {"result": "ok", "text": ""}
    if state == b"NO" and (code in _WRONG or code == b"EXPIRED"):
        return {"result": "expired" if code == b"EXPIRED" else "no", "text": _shown(reply)}
    raise _Failed(_shown(reply))


def _shown(line: bytes) -> str:
    return line[:200].decode("ascii", "replace").encode("unicode_escape").decode()
