"""Keys and signed messages for tests."""

from functools import lru_cache

from mailsuite.auth_results.canonical import BodyForm, body_hashes
from mailsuite.auth_results.content import FieldIndex, parse_content
from mailsuite.auth_results.dkim import SignOptions, sign
from mailsuite.auth_results.keys import PrivateKey, dns_record, new_key, parse_private_key

NAMES = (b"From", b"To", b"Subject", b"Date", b"Message-ID")
MESSAGE = (b"From: Anna <anna@a.test>\nTo: ben@b.test\nSubject: Hello  World\n\tfolded\n"
           b"Date: Sat, 21 Nov 2026 04:00:00 +0000\n"
           b"Message-ID: <1@a.test>\n\nHi  Ben, \n\n.\nlast line\n\n\n")
NOW = 1_700_000_000


@lru_cache
def _made(kind: str, bits: int, number: int) -> bytes:
    return new_key(kind, bits)


def pem(kind: str, bits: int = 1024, number: int = 0) -> bytes:
    """A key, made once a run. number: for several of a kind."""
    return _made(kind, bits, number)


def key(kind: str = "rsa", domain: str = "a.test", selector: str = "sel", *, bits: int = 1024,
        number: int = 0) -> PrivateKey:
    return parse_private_key(pem(kind, bits, number), domain, selector)


def record(one: PrivateKey) -> dict[str, list[str]]:
    """Its zone."""
    return {f"{one.selector}._domainkey.{one.domain}": [f"TXT {dns_record(one)}"]}


def signed(message: bytes = MESSAGE, one: PrivateKey | None = None, options: SignOptions | None = None,
           now: float = NOW) -> bytes:
    """The message with a signature on top; LF."""
    content = parse_content(message)
    options = options or SignOptions(NAMES)
    form = BodyForm(options.relaxed_body)
    value = sign(FieldIndex(content.fields), body_hashes(content.body, {form})[form], one or key(), options, now)
    return b"DKIM-Signature: " + value.encode() + b"\n" + message
