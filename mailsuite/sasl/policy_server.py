"""auth_policy_*: another program that is asked over HTTP whether somebody may log in, and told what came of it.

    policy = PolicyServer.of(settings)                 None: there is none. Raises ConfigError
    refusal = await policy.ask(request, password)      None: go on (perhaps after a pause it asked for); else why not
    policy.report(request, password, success=False, refused=False)        does not wait

What is sent is a JSON object: auth_policy_request_attributes ("a/b=..." nests), and "tls"; a report has "success" and
"policy_reject" as well. It is asked with command=allow, and answers {"status": N, "msg": TEXT}: below zero is no, above
it a pause in seconds. The password goes only as some bits of a hash (auth_policy_hash_*), enough to see that different
ones are tried. A server that does not answer refuses nobody, but with auth_policy_reject_on_fail.
"""

import asyncio
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mailsuite.base.errors import ConfigError, TemporaryError
from mailsuite.base.log import access_logger
from mailsuite.base.secret import Secret
from mailsuite.config.variables import expand_variables
from mailsuite.database.http import check_url, fetch
from mailsuite.sasl.passdb import split_fields
from mailsuite.sasl.request import AuthRequest

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings

PAUSE_LIMIT_S = 120              # the longest pause a server may ask for
REPORTS_LIMIT = 1000             # under way at once; more are dropped

log = access_logger("auth")


@dataclass(frozen=True)
class Policy:
    """The settings. attributes: name and template, in their order."""

    url: str
    header: tuple[str, str] | None
    timeout_s: float
    attributes: tuple[tuple[str, str], ...]
    hash_name: str
    nonce: str
    bits: int
    before: bool
    after: bool
    reports: bool
    reject_on_fail: bool
    log_only: bool


class PolicyServer:
    """One configuration's."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._reports: set[asyncio.Task[None]] = set()

    @classmethod
    def of(cls, settings: "DovecotSettings") -> "PolicyServer | None":
        url = settings.text("auth_policy_server_url")
        if not url:
            return None
        name, hash_name = "auth_policy_server_url", settings.text("auth_policy_hash_mech")
        try:
            check_url(url)
            name = "auth_policy_hash_mech"
            hashlib.new(hash_name)
        except ValueError as error:
            raise ConfigError(f"{name}: {error}") from error
        if not settings.text("auth_policy_hash_nonce"):
            raise ConfigError("auth_policy_hash_nonce must be set when policy server is used")
        header = settings.text("auth_policy_server_api_header").partition(":")
        return cls(Policy(
            url, (header[0].strip(), header[2].strip()) if header[1] else None,
            settings.number("auth_policy_server_timeout_msecs") / 1000,
            tuple(split_fields(settings.text("auth_policy_request_attributes"))), hash_name,
            settings.text("auth_policy_hash_nonce"), settings.number("auth_policy_hash_truncate"),
            settings.flag("auth_policy_check_before_auth"), settings.flag("auth_policy_check_after_auth"),
            settings.flag("auth_policy_report_after_auth"), settings.flag("auth_policy_reject_on_fail"),
            settings.flag("auth_policy_log_only")))

    async def ask(self, request: AuthRequest, password: Secret | None, *, after: bool = False) -> str | None:
        """Whether to go on. A refusal is its text for the client, perhaps "". after: asked for the second time."""
        try:
            answer = await self._send("allow", self._facts(request, password))
            status, text = int(answer.get("status", 0)), str(answer.get("msg") or "")
        except (TemporaryError, ValueError, TypeError) as error:
            log.error("policy(%s): Policy server: %s", request.who, getattr(error, "detail", "") or error)
            return "" if self.policy.reject_on_fail and not self.policy.log_only else None
        if status < 0:
            log.info("policy(%s): Authentication failure due to policy server refusal%s%s", request.who,
                     ": " if text else "", text[:200])
            return None if self.policy.log_only else text
        if status > 0:
            log.info("policy(%s): Policy check action is tarpit %d second(s)", request.who, status)
            if not self.policy.log_only and not (after and self.policy.before):
                await asyncio.sleep(min(status, PAUSE_LIMIT_S))
        return None

    def report(self, request: AuthRequest, password: Secret | None, *, success: bool, refused: bool) -> None:
        """Tell the server in the background."""
        if not self.policy.reports or len(self._reports) >= REPORTS_LIMIT:
            return
        facts = self._facts(request, password)
        facts |= {"success": success, "policy_reject": refused, "tls": facts.pop("tls")}
        task = asyncio.get_running_loop().create_task(self._report(request.who, facts))
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)

    async def _report(self, who: str, facts: dict[str, Any]) -> None:
        try:
            await self._send("report", facts)
        except (TemporaryError, ValueError) as error:
            log.error("policy(%s): Policy server: %s", who, getattr(error, "detail", "") or error)

    async def _send(self, command: str, facts: dict[str, Any]) -> dict[str, Any]:
        """The answer's object. Raises TemporaryError, ValueError."""
        policy = self.policy
        headers = {"Content-Type": "application/json", **(dict([policy.header]) if policy.header else {})}
        reply = await fetch("POST", f"{policy.url}{'&' if '?' in policy.url else '?'}command={command}",
                            headers=headers, body=json.dumps(facts).encode(), timeout_s=policy.timeout_s)
        if reply.status // 100 != 2:
            raise ValueError(f"{reply.status} {reply.reason}")
        value = json.loads(reply.body) if reply.body.strip() or command == "allow" else {}
        if not isinstance(value, dict):
            raise ValueError("the answer is no JSON object")
        return value

    def _facts(self, request: AuthRequest, password: Secret | None) -> dict[str, Any]:
        user = request.wanted_user or request.user
        values = request.variables() | {
            "requested_username": user, "hashed_password": self.password_hash(user, password),
            "client_id": request.facts.get("client_id", ""), "tls_protocol": request.facts.get("tls_protocol", "")}
        found: dict[str, Any] = {}
        for name, template in sorted(self.policy.attributes):
            *folders, last = name.split("/")
            place = found
            for folder in folders:
                inner = place.setdefault(folder, {})
                place = inner if isinstance(inner, dict) else place
            place[last] = expand_variables(template, values)
        return {**found, "tls": request.facts.get("secured") == "tls"}

    def password_hash(self, user: str, password: Secret | None) -> str:
        """The first bits of hash(nonce, user, NUL, password), as hexadecimal digits."""
        policy = self.policy
        octets = f"{policy.nonce}{user}\0".encode("utf-8", "surrogateescape")
        digest = hashlib.new(policy.hash_name, octets + (password.reveal() if password is not None else b"")).digest()
        if 0 < policy.bits < len(digest) * 8:
            size = -(-policy.bits // 8)
            number = int.from_bytes(digest[:size], "big") >> (size * 8 - policy.bits)
            digest = number.to_bytes(size, "big")
        return digest.hex()
