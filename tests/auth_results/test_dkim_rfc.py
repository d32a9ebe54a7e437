"""The examples of RFC 8463 appendix A and RFC 6376 appendix A."""

import asyncio
import hashlib

import pytest

from mailsuite.auth_results.canonical import BodyForm, body_hashes
from mailsuite.auth_results.content import parse_content
from mailsuite.auth_results.dkim import DkimOptions, DkimResult, verify
from tests.support.dns_zone import ZoneResolver

ZONE = {
    "brisbane._domainkey.football.example.com":
        ["TXT v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="],
    "test._domainkey.football.example.com": [
        "TXT v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWR"
        "iGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutAC"
        "DfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3"
        "Ip3G+2kryOTIKT+l/K4w3QIDAQAB"],
}
MESSAGE = b"""\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
"""


def results(message: bytes, zone: dict[str, list[str]] = ZONE, now: float = 1528637999) -> list[DkimResult]:
    return asyncio.run(verify(parse_content(message), ZoneResolver(zone), DkimOptions(), now))


def test_rfc_8463_message() -> None:
    first, second = results(MESSAGE)
    assert (first.result, first.algorithm, first.selector) == ("pass", "ed25519-sha256", "brisbane")
    assert (second.result, second.algorithm, second.selector) == ("pass", "rsa-sha256", "test")
    assert (first.key_bits, second.key_bits) == (256, 1024)
    assert first.domain == "football.example.com" and first.identity == "@football.example.com"
    assert first.start == "/gCrinpc"


@pytest.mark.parametrize(("old", "new", "want"), [
    pytest.param(b"Are you hungry yet?", b"Are you hungry?", "fail", id="body changed"),
    pytest.param(b"Is dinner ready?", b"Is supper ready?", "fail", id="signed field changed"),
    pytest.param(b"Subject: Is dinner", b"SUBJECT:   Is \tdinner", "pass", id="white space and case are relaxed"),
    pytest.param(b"lost the game.  Are", b"lost  the game. \t Are", "pass", id="white space of the body"),
    pytest.param(b"Joe.\n", b"Joe.  \n\n\n \n", "pass", id="empty lines at the end"),
    pytest.param(b"From: Joe", b"X-Other: 1\nFrom: Joe", "pass", id="unsigned field"),
    pytest.param(b"To: Suzie", b"From: eve@example.org\nTo: Suzie", "fail", id="second From, oversigned"),
    pytest.param(b"\n\nHi.", b"\nFrom: eve@example.org\n\nHi.", "fail", id="second From below"),
    pytest.param(b"d=football", b"d=Football", "fail", id="the signature itself"),
])
def test_changes(old: bytes, new: bytes, want: str) -> None:
    assert old in MESSAGE
    assert [one.result for one in results(MESSAGE.replace(old, new))] == [want, want]


def test_crlf_and_lf_are_the_same() -> None:
    assert [one.result for one in results(MESSAGE.replace(b"\n", b"\r\n"))] == ["pass", "pass"]


def test_body_hash_of_rfc_6376_appendix_a() -> None:
    body = MESSAGE.partition(b"\n\n")[2]
    form = BodyForm(relaxed=False)
    wire = body.replace(b"\n", b"\r\n")
    assert body_hashes(lambda: [body], {form})[form] == (hashlib.sha256(wire).digest(), len(wire))
