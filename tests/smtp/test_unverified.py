"""smtp/policy/rules_verify.py: what each answer of the verify service comes to."""

import asyncio

import pytest

from mailsuite.base.errors import TemporaryError
from mailsuite.verify.book import Answer, Status
from tests.smtp.test_policy import facts, make

OK, DEFER, BOUNCE, TODO = Status.OK, Status.DEFER, Status.BOUNCE, Status.TODO
R = "<x@example.test>: Recipient address rejected: "


class Says:
    """A verify service that knows one answer; None: it is away."""

    def __init__(self, answer: Answer | None) -> None:
        self.answer, self.asked = answer, []        # type: ignore[var-annotated]

    async def ask(self, address: str, *, wait_s: float) -> Answer:
        self.asked.append((address, wait_s))
        if self.answer is None:
            raise TemporaryError("not there")
        return self.answer


def judged(answer: Answer | None, restrictions: str, *, sender: str = "a@b.test", **values: str) -> tuple[str, Says]:
    policy = make(smtpd_recipient_restrictions=restrictions, **values)
    policy.resources.verifier = says = Says(answer)
    refusal = asyncio.run(policy.rcpt(facts(sender=sender)))
    return refusal.reply if refusal else "", says


@pytest.mark.parametrize(("answer", "values", "want"), [
    (Answer(OK, "fine"), {}, ""),
    (Answer(BOUNCE, "no such user"), {}, f"450 4.1.1 {R}unverified address: no such user"),
    (Answer(BOUNCE, "no such user"), {"unverified_recipient_reject_code": "550"},
     f"550 5.1.1 {R}undeliverable address: no such user"),
    (Answer(BOUNCE, "no such user"), {"unverified_recipient_reject_code": "550",
                                      "unverified_recipient_reject_reason": "go away"},
     f"550 5.1.1 {R}undeliverable address: go away"),
    (Answer(BOUNCE, "no such user"), {"unverified_recipient_reject_code": "250"}, ""),
    (Answer(DEFER, "later"), {"unverified_recipient_defer_code": "451"}, f"451 4.1.1 {R}unverified address: later"),
    (Answer(DEFER, "later"), {"unverified_recipient_defer_code": "250"}, ""),
    (Answer(TODO, "in progress"), {}, f"450 4.1.1 {R}unverified address: in progress"),
    (None, {}, f"450 4.1.1 {R}address verification problem"),
    (Answer(DEFER, "x" * 1000), {}, f"450 4.1.1 {R}unverified address: {'x' * 250}"),
])
def test_recipient(answer: Answer | None, values: dict[str, str], want: str) -> None:
    assert judged(answer, "reject_unverified_recipient, reject_unauth_destination", **values)[0] == want


def test_sender() -> None:
    rules = "reject_unverified_sender, reject_unauth_destination"
    reply, says = judged(Answer(BOUNCE, "gone"), rules, unverified_sender_reject_code="550")
    assert reply == "550 5.1.7 <a@b.test>: Sender address rejected: undeliverable address: gone"
    assert says.asked == [("a@b.test", 6)]
    reply, says = judged(Answer(BOUNCE, "gone"), rules, sender="")
    assert (reply, says.asked) == ("", [])


def test_a_problem_waits_for_what_refuses_for_good() -> None:
    rules = "reject_unverified_recipient, reject"
    assert judged(Answer(DEFER, "later"), rules)[0].startswith("554 ")
    assert judged(Answer(DEFER, "later"), rules, unverified_recipient_tempfail_action="defer")[0].startswith("450 ")


def test_how_long_smtpd_waits() -> None:
    says = judged(Answer(OK, ""), "reject_unverified_recipient, reject_unauth_destination",
                  address_verify_poll_count="5", address_verify_poll_delay="2s")[1]
    assert says.asked == [("x@example.test", 8)]
