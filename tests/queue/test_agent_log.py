"""The delivery line's times, as Postfix rounds them."""

import logging

import pytest

from mailsuite.queue.agent import DeliveryRequest, RecipientReport, Times, delays, log_delivery, seconds_text
from mailsuite.queue.envelope import Recipient


@pytest.mark.parametrize(("value", "digits", "want"), [
    (-3.0, 2, "0"), (0.0, 2, "0"), (0.004, 2, "0"), (0.009, 2, "0.01"), (0.01, 2, "0.01"), (0.096, 2, "0.1"),
    (0.31, 2, "0.31"), (0.999, 2, "1"), (1.0, 2, "1"), (1.26, 2, "1.3"), (9.96, 2, "10"), (12.3, 2, "12"),
    (99.6, 2, "100"), (18000.4, 2, "18000"),
    # What Postfix 3.7.11 wrote with delay_logging_resolution_limit = 4, and 0.
    (0.0681, 4, "0.068"), (0.0081, 4, "0.0081"), (0.0161, 4, "0.016"), (0.0007, 4, "0.0007"), (0.00004, 4, "0"),
    (0.4, 0, "0"), (1.4, 0, "1"), (0.31, 1, "0.3"), (0.0000012, 6, "0.000001"),
])
def test_seconds(value: float, digits: int, want: str) -> None:
    assert seconds_text(value, digits) == want


def test_delays() -> None:
    request = DeliveryRequest(1, "4A2F1C83D", "", 0, 0, "", "smtp", "", [], 100.0, 100.2, 100.2)
    assert delays(request, Times(100.25, 100.3), 101.5) == "delay=1.5, delays=0.2/0.05/0.05/1.2"
    request.facts = {"delay_digits": "1"}
    assert delays(request, Times(100.25), 100.2) == "delay=0.2, delays=0.2/0/0/0"


@pytest.mark.parametrize(("address", "original", "want"), [
    ("bob@a.test", "bob@a.test", "to=<bob@a.test>, relay"),
    ("bob@a.test", "\\bob@a.test", r'to=<bob@a.test>, orig_to=<"\\bob"@a.test>, relay'),
    ('a"b@a.test', 'a"b@a.test', r'to=<"a\"b"@a.test>, relay'),
])
def test_addresses_that_need_quotes(address: str, original: str, want: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    request = DeliveryRequest(1, "4A2F1C83D", "", 0, 0, "", "local", "", [], 100.0, 100.2, 100.2)
    log_delivery(logging.getLogger("mailsuite.local"), request, Recipient(address, original),
                 RecipientReport(0, 0, "sent", "2.0.0", "delivered to mailbox"), Times())
    assert caplog.records[-1].getMessage().partition(": ")[2].startswith(want)
