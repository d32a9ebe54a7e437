"""%s and its kind."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsuite.maps.template import Templates


@given(st.binary(min_size=1, max_size=30))
def test_nothing_is_lost_and_nothing_left_unquoted(key: bytes) -> None:
    templates = Templates("x", queries=["<%s>|%u|%d|%%"])
    if templates.asks(key):
        user, _, domain = key.rpartition(b"@")
        assert templates.query(key, lambda octets: octets.hex().encode()) == \
            b"<%b>|%b|%b|%%" % (key.hex().encode(), user.hex().encode(), domain.hex().encode())
    else:
        assert not key.rpartition(b"@")[2] or b"@" not in key or key.startswith(b"@")


@pytest.mark.parametrize(("query", "result", "key", "asks"), [
    ("%s", "%s", b"user", True), ("%d", "%s", b"user", False), ("%u", "%s", b"user", True), ("%u", "%s", b"@d", False),
    ("%u", "%s", b"u@", True), ("%2", "%s", b"u@com", False), ("%2", "%s", b"u@a.com", True),
    ("%s", "%D", b"user", False),
    ("%s", "%U", b"@d", False), ("%s", "%3", b"u@a.b", False), ("%s", "%d", b"user", True)])
def test_keys_that_are_asked_for(query: str, result: str, key: bytes, asks: bool) -> None:
    assert Templates("x", queries=[query], result=result).asks(key) is asks
