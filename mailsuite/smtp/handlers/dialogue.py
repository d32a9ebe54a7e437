"""AUTH by a plug-in: its auth_MECHANISM(server, args) runs as a task beside the session, and asks through it.

    dialogue = AuthDialogue(hook, view, "PLAIN", wait_s=300)
    step = await dialogue.start(initial)            questions.AuthMore | AuthDone | AuthFailed
    step = await dialogue.proceed(response)         after an AuthMore
    dialogue.cancel()                               the client gave up, or is gone

What the method returns is read as aiosmtpd reads it: an AuthResult; of the old kind, False or MISSING for no, None for
an error that it has told already, anything else for the user.
"""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Any

from aiosmtpd.smtp import MISSING, AuthResult

from mailsuite.base.log import logger
from mailsuite.smtp.handlers.facade import View
from mailsuite.smtp.questions import AuthDone, AuthFailed, AuthMore

log = logger("smtpd")
Step = AuthMore | AuthDone | AuthFailed


class AuthDialogue:
    """One AUTH command."""

    def __init__(self, hook: Callable[[Any, list[str]], Awaitable[Any]], view: View, mechanism: str, *,
                 wait_s: float) -> None:
        self._hook, self._view, self._mechanism, self._wait_s = hook, view, mechanism, wait_s
        self._step: asyncio.Future[Step] | None = None
        self._response: asyncio.Future[bytes] | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, initial: bytes | None) -> Step:
        """initial: base64, as it came."""
        args = [self._mechanism] + ([initial.decode("ascii", "replace") or "="] if initial is not None else [])
        self._view.server.dialogue = self
        self._step = asyncio.get_running_loop().create_future()
        self._task = asyncio.get_running_loop().create_task(self._run(args))
        return await self._next()

    async def proceed(self, response: bytes) -> Step:
        """response: base64, as it came."""
        if self._response is None or self._response.done():
            return AuthFailed()
        self._step = asyncio.get_running_loop().create_future()
        try:
            self._response.set_result(base64.b64decode(response, validate=True))
        except binascii.Error:
            self.cancel()
            return AuthFailed(reason="Invalid base64 data")
        return await self._next()

    async def _next(self) -> Step:
        assert self._step is not None
        try:
            async with asyncio.timeout(self._wait_s):
                return await asyncio.shield(self._step)
        except TimeoutError:
            self.cancel()
            return AuthFailed(reason="the plug-in does not answer", temporary=True)

    async def challenge(self, challenge: str | bytes, encode: bool) -> Any:
        """For the plug-in: what the client answers, decoded."""
        octets = challenge.encode() if isinstance(challenge, str) else challenge
        self._response = asyncio.get_running_loop().create_future()
        self._say(AuthMore(base64.b64encode(octets) if encode else octets))
        return await self._response

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._view.server.dialogue = None

    def _say(self, step: Step) -> None:
        if self._step is not None and not self._step.done():
            self._step.set_result(step)

    async def _run(self, args: list[str]) -> None:
        server = self._view.server
        try:
            result = await self._hook(server, args)
            self._say(self._meaning(result))
        except Exception:
            log.exception("unforeseen in auth_%s of a plug-in", self._mechanism)
            self._say(AuthFailed(reason="internal error", temporary=True))
        finally:
            server.dialogue = None
            server.take_pushed()

    def _meaning(self, result: Any) -> Step:
        session = self._view.session
        told = next(iter(self._view.server.pushed), "")
        if isinstance(result, AuthResult):
            if not result.success:
                return AuthFailed(reason="refused by a plug-in", reply=told if result.handled else result.message or "")
            session.auth_data = result.auth_data
            identity, reply = getattr(result.auth_data, "login", result.auth_data), result.message or ""
        elif result is None:
            return AuthFailed(reason="refused by a plug-in", reply=told)
        elif result is MISSING or result is False:
            return AuthFailed(reason="refused by a plug-in")
        else:
            identity, reply = result, ""
        session.authenticated, session._login_data = True, identity
        name = identity.decode("utf-8", "surrogateescape") if isinstance(identity, bytes) else str(identity or "")
        return AuthDone(name or "(plug-in)", reply)
