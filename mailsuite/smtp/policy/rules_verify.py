"""reject_unverified_sender, reject_unverified_recipient: refuse addresses that a probe could not reach.

Source: ADDRESS_VERIFICATION_README, postconf(5). What the verify service says is in mailsuite/verify/.
"""

from typing import NamedTuple, Protocol

from mailsuite.base.errors import TemporaryError
from mailsuite.base.log import logger
from mailsuite.smtp import params
from mailsuite.smtp.policy.judge import Judge
from mailsuite.smtp.policy.lists import restriction
from mailsuite.smtp.policy.rules_address import RECIPIENT, SENDER
from mailsuite.smtp.policy.verdict import Verdict
from mailsuite.verify import params as verify_params
from mailsuite.verify.book import Answer, Status

REASON_LIMIT = 250
log = logger("smtpd")


class Verifier(Protocol):
    """Who is asked: verify.client.VerifyClient."""

    async def ask(self, address: str, *, wait_s: float) -> Answer:
        """Raises TemporaryError when the service cannot be asked."""
        ...


class _Side(NamedTuple):
    """How one of the two restrictions is configured."""

    kind: str
    status: str
    reject_code: int
    defer_code: int
    reason: str
    tempfail_action: str


def _side(judge: Judge, kind: str) -> _Side:
    settings = judge.resources.settings
    if kind == SENDER:
        return _Side(kind, "4.1.7", settings[params.UNVERIFIED_SENDER_REJECT_CODE],
                     settings[params.UNVERIFIED_SENDER_DEFER_CODE], settings[params.UNVERIFIED_SENDER_REJECT_REASON],
                     settings[params.UNVERIFIED_SENDER_TEMPFAIL_ACTION])
    return _Side(kind, "4.1.1", settings[params.UNVERIFIED_RECIPIENT_REJECT_CODE],
                 settings[params.UNVERIFIED_RECIPIENT_DEFER_CODE], settings[params.UNVERIFIED_RECIPIENT_REJECT_REASON],
                 settings[params.UNVERIFIED_RECIPIENT_TEMPFAIL_ACTION])


async def _ask(judge: Judge, address: str) -> Answer | None:
    """None: the service cannot be asked."""
    resources = judge.resources
    settings = resources.settings
    resolution = await resources.resolve(judge.facts.sender or "", address)
    wait_s = (settings[verify_params.POLL_COUNT] - 1) * settings[verify_params.POLL_DELAY]
    if resources.verifier is None:
        return None
    try:
        return await resources.verifier.ask(resolution.recipient, wait_s=wait_s)
    except TemporaryError as error:
        log.warning("%s service failure: %s", settings[verify_params.ADDRESS_VERIFY_SERVICE_NAME],
                    error.detail or error.public)
        return None


async def _unverified(judge: Judge, address: str, kind: str) -> Verdict:
    answer = await _ask(judge, address)
    if answer is not None and answer.status is Status.OK:
        return None
    side = _side(judge, kind)
    head = f"<{address}>: {kind} rejected: "
    if answer is None:
        return judge.tempfail(side.tempfail_action, 450, side.status, head + "address verification problem")
    code = side.reject_code if answer.status is Status.BOUNCE else side.defer_code
    reason = side.reason or answer.text
    if code // 100 == 2:
        return None
    if code // 100 == 4:
        return judge.tempfail(side.tempfail_action, code, side.status,
                              f"{head}unverified address: {reason[:REASON_LIMIT]}")
    return judge.reject(code, side.status, f"{head}undeliverable address: {reason[:REASON_LIMIT]}")


@restriction("reject_unverified_sender")
async def reject_unverified_sender(judge: Judge, argument: object) -> Verdict:
    sender = judge.facts.sender
    return await _unverified(judge, sender, SENDER) if sender else None


@restriction("reject_unverified_recipient")
async def reject_unverified_recipient(judge: Judge, argument: object) -> Verdict:
    recipient = judge.facts.recipient
    return await _unverified(judge, recipient, RECIPIENT) if recipient else None
