"""The service quota-status: tells Postfix's smtpd, by its policy protocol, whether a recipient's mailbox is full.

    service quota-status {
      executable = quota-status -p postfix
      inet_listener {
        port = 12340
      }
    }
    plugin {
      quota_status_success = DUNNO
      quota_status_nouser = DUNNO
      quota_status_overquota = 552 5.2.2 Mailbox is full
    }

and in main.cf smtpd_recipient_restrictions = ..., check_policy_service inet:127.0.0.1:12340. A request is lines of
NAME=VALUE up to an empty one; of them recipient, size and protocol_state count, the answer is "action=...". As Dovecot
does it: INBOX is asked for, with the grace of new mail; quota_status_toolarge is for what no empty mailbox could take.
This process speaks with the network and has no rights on mail: the user's worker looks (lmtp_delivery.check), asked
through the access service. What cannot be told is DEFER_IF_PERMIT.
Limits: LINE_LIMIT and LINES for a request, IDLE_S for a connection, service quota-status' client_limit x process_limit.
"""

import asyncio
import os
from typing import TYPE_CHECKING

from mailsuite.access.handover_client import ask_access
from mailsuite.address.syntax import split_extension
from mailsuite.base.errors import PeerError, TemporaryError
from mailsuite.base.log import access_logger
from mailsuite.base.streams import put
from mailsuite.config.variables import expand_variables, user_variables
from mailsuite.net.accepting import Accepting
from mailsuite.net.service import ServiceContext
from mailsuite.sasl.master_client import AuthMaster
from mailsuite.smtp.lmtp_syntax import Path, parse_recipient

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from mailsuite.config.dovecot import DovecotSettings

LINE_LIMIT = 8192
LINES = 100
IDLE_S = 1800.0
ANSWER_S = 60.0
FULL = "Quota exceeded (mailbox for user is full)"
TEMPORARY = "DEFER_IF_PERMIT Temporary internal error"
STATES = ("RCPT", "END-OF-MESSAGE")

log = access_logger("quota-status")


class QuotaStatus:
    """What the connections of this process share."""

    def __init__(self, dovecot: "DovecotSettings", limit: int) -> None:
        settings = dovecot.for_protocol("lmtp")
        base_dir = settings.text("base_dir")
        self._plugin, self._delimiters = settings.plugin, settings.text("recipient_delimiter")
        self._users = AuthMaster(os.path.join(base_dir, "auth-userdb"))
        self._path = os.path.join(base_dir, "lmtp-delivery")
        self._limit, self._tasks = limit, set[asyncio.Task[None]]()

    def take(self, sock: "socket.socket") -> None:
        """Serve a connection."""
        if len(self._tasks) >= self._limit:
            log.warning("%d connections are open, no more are taken", self._limit)
            sock.close()
            return
        task = asyncio.get_running_loop().create_task(self._serve(sock))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._users.close()

    async def _serve(self, sock: "socket.socket") -> None:
        reader, writer = await asyncio.open_connection(sock=sock, limit=LINE_LIMIT)
        try:
            while (facts := await asyncio.wait_for(_read_request(reader), IDLE_S)) is not None:
                try:
                    action = await self.action(facts)
                except Exception:
                    log.exception("unforeseen in a request")
                    action = TEMPORARY
                put(writer, f"action={action}\n\n".encode("utf-8", "surrogateescape"))
                await asyncio.wait_for(writer.drain(), ANSWER_S)
        except (OSError, TimeoutError):
            pass
        except ValueError as error:
            log.error("a client says what makes no sense: %s", error)
        finally:
            writer.close()

    async def action(self, facts: "Mapping[str, str]") -> str:
        """The answer to one request."""
        state, text = facts.get("protocol_state", ""), facts.get("recipient")
        if state and state not in STATES:
            log.warning("Received policy query from MTA in unexpected state %s "
                        "(service can only be used for recipient restrictions)", state)
        if text is None:
            return "DUNNO"
        try:
            path, _ = parse_recipient(text if text[:1] in ("", "<") else f"<{text}>")
        except PeerError as error:
            log.error("Client sent invalid recipient address `%s': %s", text, error.public)
            return "DUNNO"
        size = facts.get("size", "")
        return await self._ask(path, max(1, int(size)) if size.isascii() and size.isdecimal() else 1)

    async def _ask(self, path: Path, size: int) -> str:
        local, _ = split_extension(path.local, self._delimiters)
        name = Path(local, path.domain).plain
        try:
            user = await self._users.userdb(name, service="quota-status")
            if user is None:
                return self._text("nouser", name, "REJECT Unknown user")
            answer = await self._look(name, size)
        except (TemporaryError, OSError, ValueError) as error:
            log.error("Failed to lookup user %s: %s", name,
                      (error.detail or error.public) if isinstance(error, TemporaryError) else error)
            return TEMPORARY
        over = self._text("overquota", user.user, f"554 5.2.2 {answer.get('text') or FULL}")
        match answer.get("quota"):
            case "free":
                return self._text("success", user.user, "OK")
            case "full":
                return over
            case "never":
                return self._text("toolarge", user.user, over)
        log.error("user %s: %s", name, answer.get("failed", "no answer"))
        return TEMPORARY

    async def _look(self, name: str, size: int) -> "Mapping[str, object]":
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)       # where a delivery has its content
        try:
            return await ask_access(self._path, {"deliver": {"user": name, "check": size}}, nothing, timeout_s=ANSWER_S)
        finally:
            os.close(nothing)

    def _text(self, name: str, user: str, default: str) -> str:
        text = self._plugin.get(f"quota_status_{name}", "")
        return expand_variables(text, user_variables(user)) if text else default


async def _read_request(reader: asyncio.StreamReader) -> dict[str, str] | None:
    """The attributes of a request; None: the client closed. Raises ValueError for what is none."""
    facts: dict[str, str] = {}
    for _ in range(LINES):
        line = await reader.readline()          # ValueError beyond the limit
        if not line.endswith(b"\n"):
            return None
        text = line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
        if not text:
            return facts
        name, _, value = text.partition("=")
        facts[name] = value
    raise ValueError(f"a request of more than {LINES} lines")


async def serve(context: ServiceContext) -> None:
    """Answer until context.stopping."""
    assert context.dovecot is not None
    status = QuotaStatus(context.dovecot, max(1, context.process_limit))
    entrances = [Accepting(listener.sock, status.take) for listener in context.listeners]
    for entrance in entrances:
        entrance.start()
    context.ready()
    await context.stopping.wait()
    for entrance in entrances:
        entrance.stop()
    status.close()
