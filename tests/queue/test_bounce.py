"""Notices: wording, wrapping, the parts of the report."""

import email
import email.policy

import pytest

from mailsuite.queue.active import Ended
from mailsuite.queue.agent import RecipientReport
from mailsuite.queue.bounce_text import FAILURE, About, compose, wrap
from mailsuite.queue.envelope import Recipient

ABOUT = About("4A2F1C83D", "s@mx.test", 1e9, "env1", False, "mx.test", "Postfix", 1e9 + 60)
ENDED = Ended(Recipient("no@far.test", "no@far.test", "rfc822;no@far.test"),
              RecipientReport(1, 7, "bounced", "5.1.1", "host far.test[192.0.2.1] said: 550 5.1.1 no such user here "
                              "(in reply to RCPT TO command)", diagnostic="smtp; 550 5.1.1 no such user here",
                              remote_mta="dns; far.test"))


@pytest.mark.parametrize(("text", "want"), [
    ("short", "short"), ("", ""), ("x" * 100, "x" * 100),
    ("<no1@far.test>: host 192.0.2.21[192.0.2.21] said: 550 5.1.1 no such user here (in reply to RCPT TO command)",
     "<no1@far.test>: host 192.0.2.21[192.0.2.21] said: 550 5.1.1 no such user here\n"
     "    (in reply to RCPT TO command)"),
    ("\u00fc" * 30 + " " + "x" * 19, "\u00fc" * 30 + "\n    " + "x" * 19),
    ("a" * 79 + " " + "b" * 75 + " c", "a" * 79 + "\n    " + "b" * 75 + "\n    c")])
def test_wrap(text: str, want: str) -> None:
    assert wrap(text) == want


@pytest.mark.parametrize(("headers_only", "kind"), [(False, "message/rfc822"), (True, "text/rfc822-headers")])
def test_a_report_is_one_for_other_programs_too(headers_only: bool, kind: str) -> None:
    octets = compose(ABOUT, FAILURE, [ENDED], lambda _: "failed", "s@mx.test", b"Subject: s\n\nbody\n",
                     headers_only=headers_only, postmaster=False)
    message = email.message_from_bytes(octets, policy=email.policy.default)
    assert (message["To"], message["Subject"]) == ("s@mx.test", "Undelivered Mail Returned to Sender")
    text, status, original = message.iter_parts()
    assert "<no@far.test>: host far.test" in text.get_content()
    per_message, per_recipient = status.iter_parts()
    assert (per_message["Original-Envelope-Id"], per_message["Reporting-MTA"]) == ("env1", "dns; mx.test")
    assert (per_recipient["Action"], per_recipient["Status"]) == ("failed", "5.1.1")
    assert per_recipient["Final-Recipient"] == "rfc822; no@far.test"
    assert original.get_content_type() == kind
