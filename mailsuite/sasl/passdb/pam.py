"""passdb { driver = pam }: args = [session=yes] [setcred=yes] [max_requests=N] [failure_show_msg=yes] [SERVICE]

SERVICE may be "%s" or "*" for the mail service's own name; "dovecot" by default. PAM modules leak and block, so they
run in helper processes (pam_helper.py), one request at a time in each; a helper ends after max_requests.
"""

import asyncio
import json
import os
import sys

from mailsuite.base.errors import TemporaryError
from mailsuite.base.secret import Secret
from mailsuite.sasl.passdb import Found, NoLookup, PasswordExpired, UserDisabled, WrongPassword
from mailsuite.sasl.request import AuthRequest

HELPERS_LIMIT = 30               # Dovecot's auth_worker_max_count
ANSWER_TIMEOUT_S = 60.0          # PAM modules may wait for a directory server
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


class _Helper:
    """One helper process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process, self.requests = process, 0

    async def ask(self, question: dict[str, object]) -> dict[str, object]:
        """Raises TemporaryError when the helper dies or hangs."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.requests += 1
        try:
            self.process.stdin.write(json.dumps(question).encode() + b"\n")
            line = await asyncio.wait_for(self.process.stdout.readline(), ANSWER_TIMEOUT_S)
            answer = json.loads(line)
        except (OSError, ValueError, TimeoutError) as error:
            self.end()
            raise TemporaryError("internal error", detail=f"PAM helper: {error or 'no answer'}") from error
        assert isinstance(answer, dict)
        return answer

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    def end(self) -> None:
        if self.alive:
            self.process.kill()


class PamPassdb:
    """Says yes or no; knows no stored password."""

    driver = "pam"
    checks = True
    looks_up = False

    def __init__(self, args: str) -> None:
        self._service, self._options, self._most = "dovecot", {"session": False, "setcred": False}, 100
        self._show, self.cache_key = False, ""
        for word in args.split():
            name, equals, value = word.partition("=")
            if not equals:
                self._service = word
            elif name in self._options:
                self._options[name] = value == "yes"
            elif name == "max_requests" and value.isdecimal():
                self._most = int(value)
            elif name == "cache_key":
                self.cache_key = value
            elif name == "failure_show_msg":
                self._show = value == "yes"
        self._idle: list[_Helper] = []
        self._places = asyncio.Semaphore(HELPERS_LIMIT)

    async def find(self, request: AuthRequest) -> Found | None:
        raise NoLookup("passdb pam cannot look up users")

    async def decoy(self, request: AuthRequest) -> tuple[str, str] | None:
        return None

    async def check(self, request: AuthRequest, password: Secret) -> Found | None:
        service = request.service if self._service == "*" else request.expand(self._service)
        question: dict[str, object] = {
            "service": service, "user": request.user, "password": password.reveal().decode("utf-8", "surrogateescape"),
            "rhost": request.facts.get("rip", ""), **self._options}
        async with self._places:
            helper = await self._take()
            answer = await helper.ask(question)
            if helper.requests < self._most and helper.alive:
                self._idle.append(helper)
            else:
                helper.end()
        return self._meaning(answer)

    def _meaning(self, answer: dict[str, object]) -> Found | None:
        text, code = str(answer.get("text", "")), answer.get("code")
        if code == "ok":
            user = str(answer.get("user", ""))
            return Found((("user", user),) if user else (), "")
        if code == "unknown":
            return None
        if code == "expired":
            raise PasswordExpired("Password expired", detail=text)
        if code == "disabled":
            raise UserDisabled("User is disabled", detail=text)
        if code == "wrong":
            raise WrongPassword(text, reason=str(answer.get("shown", "")) if self._show else "")
        raise TemporaryError("internal error", detail=text)

    async def _take(self) -> _Helper:
        while self._idle:
            helper = self._idle.pop()
            if helper.alive:
                return helper
        try:
            return _Helper(await asyncio.create_subprocess_exec(
                sys.executable, "-m", "mailsuite.sasl.pam_helper", stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE, cwd="/", env={"PATH": os.defpath, "PYTHONPATH": _ROOT}))
        except OSError as error:
            raise TemporaryError("internal error", detail=f"PAM helper: {error}") from error

    def close(self) -> None:
        for helper in self._idle:
            helper.end()
        self._idle.clear()
