"""Restrictions on who really sends: SPF at RCPT time, DMARC at the end of the message.

SPF's need the client, HELO and sender and decide at once; put them behind permit_mynetworks and
permit_sasl_authenticated. What DNS cannot tell now is deferred when nothing else refuses. The DMARC restrictions only
note what is to happen: the message has to be there first (auth_results/verifier.py).
Source: RFC 7208 section 8, RFC 7372 (5.7.23, 5.7.24), RFC 7489 section 6.6.2. See docs/authentication-results.md.
"""

from collections.abc import Sequence

from mailsuite.address.syntax import quote_local
from mailsuite.auth_results.spf import SpfResult
from mailsuite.auth_results.verifier import HOLD, MARK, REJECT, REJECT_QUARANTINE
from mailsuite.smtp.facts import Facts
from mailsuite.smtp.policy.judge import Judge
from mailsuite.smtp.policy.lists import restriction
from mailsuite.smtp.policy.verdict import Verdict


def _about(facts: Facts, result: SpfResult) -> str:
    if result.identity == "helo":
        return f"<{facts.helo}>: Helo command rejected"
    return f"<{quote_local(facts.sender or '')}>: Sender address rejected"


async def _results(judge: Judge) -> list[SpfResult]:
    """SPF of HELO, where it says something, and of the sender."""
    facts, checks = judge.facts, judge.resources.checks
    address, helo = facts.client.address, facts.helo or ""
    if not address or facts.sender is None:
        return []
    results = []
    if checks.checks_helo and helo and facts.sender:       # the null sender stands for the HELO name itself
        results.append(await checks.helo(address, helo))
        if results[0].result == "fail":
            return results
    results.append(await checks.mail_from(address, facts.sender, helo))
    return results


async def _reject_spf(judge: Judge, refused: Sequence[str]) -> Verdict:
    for result in await _results(judge):
        about = _about(judge.facts, result)
        if result.result == "temperror" and result.identity == "mailfrom":
            judge.defer_when_permitted(451, "4.4.3", f"{about}: SPF of {result.domain} could not be looked up")
        elif result.result == "permerror" and "permerror" in refused and result.identity == "mailfrom":
            return judge.reject(550, "5.7.24", f"{about}: SPF of {result.domain} is not valid: {result.problem}")
        elif result.result in refused and result.result != "permerror":
            if result.result == "softfail" and result.identity == "helo":
                continue
            said = f"; {result.domain} explains: {result.explanation}" if result.explanation else ""
            return judge.reject(550, "5.7.23", f"{about}: {result.domain} does not allow "
                                               f"[{judge.facts.client.address}] to send for it "
                                               f"(SPF {result.result}){said}")
    return None


@restriction("reject_spf_fail")
async def reject_spf_fail(judge: Judge, argument: object) -> Verdict:
    return await _reject_spf(judge, ("fail",))


@restriction("reject_spf_softfail")
async def reject_spf_softfail(judge: Judge, argument: object) -> Verdict:
    """Softfail and fail."""
    return await _reject_spf(judge, ("fail", "softfail"))


@restriction("reject_spf_permerror")
async def reject_spf_permerror(judge: Judge, argument: object) -> Verdict:
    """A sender's domain whose record is wrong."""
    return await _reject_spf(judge, ("permerror",))


@restriction("reject_dmarc_reject")
async def reject_dmarc_reject(judge: Judge, argument: object) -> Verdict:
    judge.facts.treatment.dmarc.add(REJECT)
    return None


@restriction("reject_dmarc_quarantine")
async def reject_dmarc_quarantine(judge: Judge, argument: object) -> Verdict:
    judge.facts.treatment.dmarc.add(REJECT_QUARANTINE)
    return None


@restriction("hold_dmarc_quarantine")
async def hold_dmarc_quarantine(judge: Judge, argument: object) -> Verdict:
    judge.facts.treatment.dmarc.add(HOLD)
    return None


@restriction("mark_dmarc_quarantine")
async def mark_dmarc_quarantine(judge: Judge, argument: object) -> Verdict:
    judge.facts.treatment.dmarc.add(MARK)
    return None
