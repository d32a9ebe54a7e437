"""AUTH on one connection: the auth service's part, or that of a plug-in that authenticates by itself.

    login = Login(server, facts); step = await login.answer(question, observers, peer, tls); login.cancel()
"""

from typing import TYPE_CHECKING

from mailsuite.base.dialogue import Peer, TlsInfo
from mailsuite.base.errors import TemporaryError
from mailsuite.base.log import logger
from mailsuite.sasl.auth_client import AuthStep, Challenge, Success
from mailsuite.smtp import questions
from mailsuite.smtp.facts import Facts
from mailsuite.smtp.observers import LoginDialogue, LoginStep, Observer
from mailsuite.smtp.questions import AuthDone, AuthFailed, AuthMore, Fine, Refusal

if TYPE_CHECKING:
    from mailsuite.smtp.server import Server

log = logger("smtpd")


class Login:
    """One connection's."""

    def __init__(self, server: "Server", facts: Facts) -> None:
        self._server, self._facts = server, facts
        self._request: int | None = None
        self._dialogue: LoginDialogue | None = None

    def cancel(self) -> None:
        """The client gave up, or is gone."""
        if self._request is not None and self._server.auth is not None:
            self._server.auth.cancel(self._request)
        if self._dialogue is not None:
            self._dialogue.cancel()
        self._request = self._dialogue = None

    async def answer(self, question: questions.AuthStart | questions.AuthLine, observers: Observer, peer: Peer,
                     tls: TlsInfo | None) -> LoginStep:
        if isinstance(question, questions.AuthLine):
            if self._dialogue is not None:
                return self._kept(self._dialogue, await self._dialogue.proceed(question.response.reveal()))
            return await self._proceed(question)
        initial = question.initial.reveal() if question.initial is not None else None
        if self._server.config.observed:
            found = await observers.auth(self._facts, question.mechanism, initial)
            if isinstance(found, Refusal):
                return AuthFailed(reason="refused by a plug-in", reply=found.reply)
            if isinstance(found, Fine):
                return AuthDone("(plug-in)", found.reply)
            if found is not None:
                return self._kept(found, await found.start(initial))
        return await self._start(question.mechanism, initial, peer, tls)

    def _kept(self, dialogue: LoginDialogue, step: LoginStep) -> LoginStep:
        self._dialogue = dialogue if isinstance(step, AuthMore) else None
        return step

    # --- the auth service ---------------------------------------------------------------------------------------

    async def _start(self, mechanism: str, initial: bytes | None, peer: Peer, tls: TlsInfo | None) -> LoginStep:
        if self._server.auth is None:
            return AuthFailed(reason="authentication is not available", temporary=True)
        try:
            return self._meaning(await self._server.auth.begin(
                mechanism, service=self._server.sasl_service, initial=b"=" if initial == b"" else initial, peer=peer,
                tls=tls))
        except TemporaryError as error:
            return self._away(error)

    async def _proceed(self, question: questions.AuthLine) -> LoginStep:
        if self._request is None or self._server.auth is None:
            return AuthFailed()
        try:
            return self._meaning(await self._server.auth.proceed(self._request, question.response.reveal()))
        except TemporaryError as error:
            return self._away(error)

    def _away(self, error: TemporaryError) -> AuthFailed:
        self._request = None
        log.warning("SASL: %s", error.detail or error.public)
        return AuthFailed(reason=error.public, temporary=True)

    def _meaning(self, step: AuthStep) -> LoginStep:
        if isinstance(step, Challenge):
            self._request = step.request_id
            return AuthMore(step.base64)
        self._request = None
        if isinstance(step, Success):
            return AuthDone(step.user)
        return AuthFailed(step.user, step.reason, step.temporary)
