"""Each delivery of an alias is told: in failures, and by sendmail -bv and -v (recorded with Postfix 3.7)."""

import pytest

from mailsuite.queue.active import Ended, Message
from mailsuite.queue.agent import BOUNCED, DEFERRED, SENT, MemberEnd, RecipientReport
from mailsuite.queue.bounce import _action, _reason
from mailsuite.queue.envelope import Envelope, Recipient


def member(address: str, status: str, original: str = "team@a.test", relay: str = "local") -> list[str]:
    return list(MemberEnd(address, original, "", status, "2.0.0", f"{status} {address}", relay, "", ""))


def taken(status: str, ends: list[list[str]], verify: str = "") -> Message:
    message = Message("X", Envelope(sender="s@a.test", verify=verify), 0, 0, [], 0.0, "")
    report = RecipientReport(1, 7, status, "2.0.0", "whole", relay="local", ends=ends)
    message.take(Ended(Recipient("team@a.test", "team@a.test", number=7), RecipientReport.from_json(report.to_json())))
    return message


def addresses(ended: list[Ended]) -> list[tuple[str, int]]:
    return [(one.recipient.address, one.recipient.number) for one in ended]


def test_all_failures_of_an_alias_are_told() -> None:
    message = taken(BOUNCED, [member("a@a.test", BOUNCED), member("b@a.test", SENT), member("c@a.test", BOUNCED)])
    assert sorted(addresses(message.bounced)) == [("a@a.test", 7), ("c@a.test", -1)]
    assert not message.sent and not message.deferred and not message.traced


def test_a_report_of_all_deliveries() -> None:
    message = taken(SENT, [member("a@a.test", SENT), member("b@a.test", SENT)], verify="record")
    assert (addresses(message.sent), addresses(message.traced)) == ([("a@a.test", 7)], [("b@a.test", -1)])


def test_what_is_tried_again_is_one_recipient() -> None:
    message = taken(DEFERRED, [member("a@a.test", DEFERRED), member("b@a.test", BOUNCED)], verify="record")
    assert addresses(message.deferred) == [("team@a.test", 7)] and not message.bounced and not message.traced


@pytest.mark.parametrize(("status", "relay", "verify", "fixed", "want"), [
    pytest.param(SENT, "local", False, "", "delivery via local: why", id="success"),
    pytest.param(BOUNCED, "local", False, "failed", "why", id="a failure's notice"),
    pytest.param(BOUNCED, "local", True, "", "delivery via local: why", id="a failure in the report of -v"),
    pytest.param(BOUNCED, "none", True, "", "why", id="no relay"),
    pytest.param(SENT, "none", True, "", "why", id="discarded"),
])
def test_reason(status: str, relay: str, verify: bool, fixed: str, want: str) -> None:
    ended = Ended(Recipient("a@a.test"), RecipientReport(1, 1, status, "2.0.0", "why", relay=relay))
    assert _reason(fixed, traced=verify)(ended) == want


@pytest.mark.parametrize(("status", "probe", "want"), [
    (SENT, True, "deliverable"), (BOUNCED, True, "undeliverable"), (DEFERRED, True, "undeliverable"),
    (SENT, False, "delivered"), (BOUNCED, False, "failed"), (DEFERRED, False, "delayed")])
def test_action(status: str, probe: bool, want: str) -> None:
    ended = Ended(Recipient("a@a.test"), RecipientReport(1, 1, status, "2.0.0", "why"))
    assert _action("", probe)(ended) == want
