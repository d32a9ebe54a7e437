"""URLs of other users' messages (RFC 4467): each is fetched by the worker of the user whose mail it is.

    octets = ask(base_dir, UrlRequest(owners, url, wanted, asker))          blocks; who asks
    octets = await ask_async(path, request)                                 the same, for an event loop
    await answer(mail, settings, request, sock)                             in the owner's worker

base_dir/imap-urlauth takes {"url": request} as one JSON line. The access service checks that who asks may speak for
the asker: it has the asker's uid, or is the SMTP server, which has authenticated the asker itself (BURL, RFC 4468).
Then the owner's worker verifies the URL and answers by {"size": n} and n octets, or {"refused": text}. A URL that is
not sealed with the mailbox's key gives nothing, whoever asks.
Raises: UrlRefused; its text is for the client. Limits: WAIT_S for an answer; imap_urlauth_max_size octets;
AT_ONCE questions of a process, so that two users' workers that ask each other always have threads to answer.
"""

import asyncio
import json
import os
import socket
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mailsuite.base.errors import MailError, PeerError
from mailsuite.base.log import access_logger
from mailsuite.imap.commands.context import Context
from mailsuite.imap.commands.url_content import Asker, UrlRefused, fetched
from mailsuite.imap.params import Params

if TYPE_CHECKING:
    from mailsuite.access.user_mail import UserMail
    from mailsuite.config.dovecot import DovecotSettings

SOCKET_NAME = "imap-urlauth"
WAIT_S = 30.0
AT_ONCE = 2
LINE_LIMIT = 64 * 1024
AWAY = "Temporary failure, try again later"
TOO_LARGE = "The message is too large"

log = access_logger("imap")
_turns = threading.BoundedSemaphore(AT_ONCE)


class UrlRequest(NamedTuple):
    """owners: names of which the first that exists is the owner. most: octets that are wanted."""

    owners: Sequence[str]
    url: bytes
    wanted: Sequence[str] | None
    asker: Asker
    most: int

    def to_message(self) -> dict[str, Any]:
        """As JSON between our processes."""
        return {"owners": list(self.owners), "url": self.url.decode("latin-1"),
                "wanted": None if self.wanted is None else list(self.wanted), "asker": list(self.asker),
                "most": self.most}

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> "UrlRequest":
        """The reverse. Raises KeyError, TypeError, ValueError for what is none."""
        wanted = message["wanted"]
        user, anonymous, submits = message["asker"]
        return cls([str(name) for name in message["owners"]][:2], str(message["url"]).encode("latin-1"),
                   None if wanted is None else [str(each) for each in wanted],
                   Asker(str(user), bool(anonymous), bool(submits)), int(message["most"]))

    def line(self) -> bytes:
        return json.dumps({"url": self.to_message()}).encode() + b"\n"


# --- who asks -------------------------------------------------------------------------------------------------------

def ask(base_dir: str, request: UrlRequest) -> bytes:
    """Blocks. Raises UrlRefused."""
    if not _turns.acquire(timeout=WAIT_S):
        raise UrlRefused(AWAY)
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(WAIT_S)
            sock.connect(os.path.join(base_dir, SOCKET_NAME))
            sock.sendall(request.line())
            with sock.makefile("rb") as file:
                size = size_of(file.readline(LINE_LIMIT), request.most)
                octets = file.read(size)
    except OSError as error:
        raise away(error) from error
    finally:
        _turns.release()
    return whole(octets, size)


async def ask_async(path: str, request: UrlRequest) -> bytes:
    """Raises UrlRefused."""
    try:
        async with asyncio.timeout(WAIT_S):
            reader, writer = await asyncio.open_unix_connection(path, limit=LINE_LIMIT)
            try:
                writer.write(request.line())
                size = size_of(await reader.readline(), request.most)
                octets = await reader.readexactly(size)
            finally:
                writer.close()
    except (OSError, EOFError, TimeoutError, ValueError) as error:
        raise away(error) from error
    return octets


def away(error: BaseException) -> UrlRefused:
    log.error("cannot fetch a URL of another user: %s", error or type(error).__name__)
    return UrlRefused(AWAY)


def size_of(line: bytes, most: int) -> int:
    """How many octets follow. Raises UrlRefused."""
    try:
        answer = json.loads(line)
        if isinstance(answer, dict) and "size" in answer:
            size = int(answer["size"])
            if 0 <= size <= most:
                return size
        elif isinstance(answer, dict) and "refused" in answer:
            raise UrlRefused(str(answer["refused"]))
    except (ValueError, TypeError):
        pass
    raise UrlRefused(AWAY)


def whole(octets: bytes, size: int) -> bytes:
    """Raises UrlRefused when the other end left early."""
    if len(octets) != size:
        raise UrlRefused(AWAY)
    return octets


# --- who has the mail -----------------------------------------------------------------------------------------------

async def answer(mail: "UserMail", settings: "DovecotSettings", request: UrlRequest, sock: socket.socket) -> None:
    """Verify, read, send; never raises what concerns this URL only."""
    try:
        await mail.opened()
        octets = await mail.run(lambda: _content(mail, settings, request))
        head: dict[str, object] = {"size": len(octets)}
    except UrlRefused as refused:
        octets, head = b"", {"refused": str(refused)}
    except (MailError, PeerError) as error:
        log.error("fetching a URL for user %s: %s", request.asker.user, error.detail or error.public)
        octets, head = b"", {"refused": AWAY}
    sock.setblocking(False)
    try:
        async with asyncio.timeout(WAIT_S):
            await asyncio.get_running_loop().sock_sendall(sock, json.dumps(head).encode() + b"\n" + octets)
    except (OSError, TimeoutError) as error:
        log.error("who fetches a URL for user %s went away: %s", request.asker.user, error or "it does not read")


def _content(mail: "UserMail", settings: "DovecotSettings", request: UrlRequest) -> bytes:
    context = Context(mail, Params.of(settings))
    if not context.offers("URLAUTH") or context.store.attributes is None:
        raise UrlRefused("URLAUTH disabled")
    octets = fetched(context, request.url, request.wanted, request.asker)
    if len(octets) > request.most:
        raise UrlRefused(TOO_LARGE)
    return octets
