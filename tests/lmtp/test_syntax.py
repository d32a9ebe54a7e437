"""Paths and parameters: what Dovecot 2.3.19 takes and says."""

import pytest

from mailsuite.base.errors import PeerError
from mailsuite.smtp.lmtp_syntax import (
    Path,
    is_string,
    original_recipient,
    parse_parameters,
    parse_recipient,
    parse_sender,
    valid_client_name,
)


@pytest.mark.parametrize(("text", "want"), [
    ("<>", Path()),
    ("<x@y.test>", Path("x", "y.test")),
    ('<"x y"@y.test>', Path("x y", "y.test")),
    ("<@a.test,@b.test:x@y.test>", Path("x", "y.test")),
    ("<x@[192.0.2.1]>", Path("x", "[192.0.2.1]")),
    ("<x..y@y.test>", Path("x..y", "y.test")),
    ("<x@-y.test>", Path("x", "-y.test")),
    pytest.param("<x>", Path(), id="broken senders count as null"),
    ("<x@>", Path()),
    ("<@y.test>", Path()),
    ("", "Path is empty string"),
    ("x@y.test", "Missing '<' at beginning of path"),
    (" <x@y.test>", "Unexpected whitespace before path"),
    ("<bad", "Missing domain"),
    ("<x y@y.test>", "Invalid character in localpart"),
    ("<x@y.test>>", "Invalid character in path"),
])
def test_sender(text: str, want: Path | str) -> None:
    if isinstance(want, Path):
        assert parse_sender(text) == (want, "")
        assert parse_sender(text + " BODY=7BIT") == (want, "BODY=7BIT")
    else:
        with pytest.raises(PeerError) as raised:
            parse_sender(text)
        assert raised.value.public == want


@pytest.mark.parametrize(("text", "want"), [
    ("<alice>", Path("alice")),
    ("<al+x@exa_mple.test>", Path("al+x", "exa_mple.test")),
    ("<>", "Null path not allowed"),
    ("<@example.test>", "Missing ':' at end of source route"),
    ("<alice@>", "Missing domain after '@'"),
    ("<al ice@example.test>", "Missing '>' at end of path"),
    ("<alice@exa mple.test>", "Missing '>' at end of path"),
    ("<alice@example.test.>", "Invalid character in domain"),
    ("<alice@example..test>", "Empty sub-domain"),
    ("<alice@example.test>x", "Invalid character in path"),
])
def test_recipient(text: str, want: Path | str) -> None:
    if isinstance(want, Path):
        assert parse_recipient(text) == (want, "")
    else:
        with pytest.raises(PeerError) as raised:
            parse_recipient(text)
        assert raised.value.public == want


@pytest.mark.parametrize(("path", "text"), [
    (Path(), ""), (Path("a", "b"), "a@b"), (Path(".a", "b"), '".a"@b'), (Path('x "y', "b"), '"x \\"y"@b')])
def test_external_form(path: Path, text: str) -> None:
    assert path.text == text


@pytest.mark.parametrize(("value", "want"), [
    ("rfc822;Foo+2Bbar@x.test", Path("Foo+bar", "x.test")), ("foo", None), ("rfc822;", None),
    ("rfc822;a+0D+0AX:y@b", None)])
def test_original_recipient(value: str, want: Path | None) -> None:
    if want is not None:
        assert original_recipient(value) == want
    else:
        with pytest.raises(PeerError):
            original_recipient(value)


def test_parameters() -> None:
    assert parse_parameters("body=8BITMIME  X") == {"BODY": "8BITMIME", "X": None}
    with pytest.raises(PeerError, match="Duplicate BODY= parameter"):
        parse_parameters("BODY=7BIT body=7BIT")


@pytest.mark.parametrize(("text", "good"), [
    ("alice", True), ('"a b"', True), ("a b", False), ("é", False), ("a\tb", False)])
def test_string(text: str, good: bool) -> None:
    assert is_string(text) is good


@pytest.mark.parametrize(("name", "good"), [
    ("c.test", True), ("a_b", True), ("[192.0.2.1]", True), ("[IPv6:::1]", True), ("[foo]", False), (".", False),
    ("a..b", False), ("bad_name!", False), ("é", False)])
def test_client_name(name: str, good: bool) -> None:
    assert valid_client_name(name) is good


@pytest.mark.parametrize(("text", "workarounds", "want"), [
    (" <a@b>", {"whitespace-before-path"}, ("a@b", "")),
    ("a@b X=1", {"mailbox-for-path"}, ("a@b", "X=1")),
    ('"a b"@c Y', {"mailbox-for-path"}, ('"a b"@c', "Y")),
    ("\t a@b", {"mailbox-for-path", "whitespace-before-path"}, ("a@b", "")),
    (" a@b", {"mailbox-for-path"}, None),
    ("a@b", {"whitespace-before-path"}, None),
    ("a>b@c", {"mailbox-for-path"}, None),
    ("", {"mailbox-for-path"}, None),
])
def test_workarounds(text: str, workarounds: set[str], want: tuple[str, str] | None) -> None:
    """lmtp_client_workarounds, as Dovecot reads such paths."""
    for parse in (parse_sender, parse_recipient):
        if want is None:
            with pytest.raises(PeerError):
                parse(text, workarounds)
        else:
            path, rest = parse(text, workarounds)
            assert (path.text, rest) == want
