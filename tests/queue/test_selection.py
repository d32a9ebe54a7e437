"""Which messages a filter means."""

from typing import Any

import pytest

from mailsuite.base.errors import ConfigError
from mailsuite.queue.listing import Listed
from mailsuite.queue.selection import Selection, parse_size

NOW = 1_000_000.0
ENTRY = Listed("deferred", "4A2F1C83D", NOW - 3600, 5000, "News@List.test", False,
               [("a@far.test", "Connection timed out"), ("b@sub.near.test", "Greylisted")])


@pytest.mark.parametrize(("wanted", "fits"), [
    ({}, True), ({"ids": frozenset({"4A2F1C83D"})}, True), ({"ids": frozenset({"4A2F1C84D"})}, False),
    ({"queues": frozenset({"hold"})}, False), ({"queues": frozenset({"hold", "deferred"})}, True),
    ({"sender": "news@list.TEST"}, True), ({"sender": "news"}, False), ({"sender": "*@list.test"}, True),
    ({"sender": "<>"}, False), ({"recipient": "?@far.test"}, True), ({"recipient": "far.test"}, False),
    ({"domain": "FAR.test"}, True), ({"domain": "@far.test"}, True), ({"domain": "near.test"}, False),
    ({"domain": "*.near.test"}, True), ({"reason": "timed OUT"}, True), ({"reason": "refused"}, False),
    pytest.param({"domain": "far.test", "reason": "grey"}, False, id="of one and the same recipient"),
    pytest.param({"domain": "sub.near.test", "reason": "grey"}, True, id="which has both"),
    ({"older_s": 3600.0}, True), ({"older_s": 3601.0}, False), ({"newer_s": 3600.0}, False),
    ({"newer_s": 3601.0}, True),
    ({"larger": 5000}, True), ({"larger": 5001}, False), ({"smaller": 5000}, False), ({"smaller": 5001}, True),
])
def test_matches(wanted: dict[str, Any], fits: bool) -> None:
    assert Selection(**wanted).matches(ENTRY, NOW) is fits


def test_null_sender_and_literals() -> None:
    entry = Listed("hold", "4A2F1C83D", NOW, 1, "MAILER-DAEMON", False, [("a@[192.0.2.1]", "")])
    assert Selection(sender="<>").matches(entry, NOW) and Selection(sender="").matches(entry, NOW)
    assert Selection(domain="[192.0.2.1]").matches(entry, NOW) and Selection(domain="[192.*").matches(entry, NOW)


@pytest.mark.parametrize(("text", "want"), [("0", 0), ("500", 500), ("10k", 10240), ("2M", 2 * 1024**2),
                                            ("1G", 1024**3), ("1GB", 1024**3), ("x", None), ("-1", None),
                                            ("1.5M", None), ("", None)])
def test_sizes(text: str, want: int | None) -> None:
    if want is None:
        with pytest.raises(ConfigError):
            parse_size(text)
    else:
        assert parse_size(text) == want
