"""verify/sender.py: who probes come from."""

import pytest

from mailsuite.config.settings import Settings
from mailsuite.verify.sender import ProbeSender


@pytest.mark.parametrize(("main_cf", "want"), [
    ({}, "double-bounce@here.test"),
    ({"address_verify_sender": "probe@there.test"}, "probe@there.test"),
    ({"address_verify_sender": "<>"}, ""),
    ({"address_verify_sender": ""}, ""),
    ({"address_verify_sender_ttl": "1000s"}, "double-bounce1@here.test"),
])
def test_sender(main_cf: dict[str, str], want: str) -> None:
    sender = ProbeSender(Settings.of({"myorigin": "here.test", **main_cf}))
    assert sender.now(1234.5) == want
    assert sender.is_ours(want.upper(), 1234.5) is bool(want)
    assert not sender.is_ours("someone@here.test", 1234.5)


def test_the_last_period_is_still_ours() -> None:
    sender = ProbeSender(Settings.of({"myorigin": "here.test", "address_verify_sender_ttl": "1h"}))
    address = sender.now(360_000.0)
    assert address != sender.now(363_600.0)
    assert sender.is_ours(address, 363_600.0)
    assert not sender.is_ours(address, 368_000.0)
