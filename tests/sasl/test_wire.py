"""Words between tabs."""

import pytest

from mailsuite.sasl import wire


@pytest.mark.parametrize("words", [
    pytest.param(["AUTH", "1", "PLAIN"], id="plain words"),
    pytest.param(["a\tb", "c\nd", "e\rf", "g\0h", "i\x01j"], id="what would break a line"),
    pytest.param(["\x01t", "\x01\x01n"], id="what looks like an escape"),
    pytest.param(["ä", "\udcff"], id="octets that are no UTF-8"),
    pytest.param(["", ""], id="empty words"),
])
def test_words_survive(words: list[str]) -> None:
    line = wire.line(*words)
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert wire.words(line[:-1]) == words


def test_fields_keep_their_order() -> None:
    assert list(wire.fields(["user=a", "nologin", "reason=x=y"]).items()) == [
        ("user", "a"), ("nologin", ""), ("reason", "x=y")]
