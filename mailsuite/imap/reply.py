"""IMAP replies: values to octets.

    astring(b"INBOX") -> b"INBOX"     string_or_nil(None) -> b"NIL"     literal(octets) -> b"{3}\\r\\nabc"
    Reply(OK, "Fetch completed").line(b"a1", times) -> b"a1 OK Fetch completed (0.001 + 0.000 secs).\\r\\n"
    Refusal("Mailbox doesn't exist: x", "TRYCREATE")         raised: NO with a text and a code
    CodedError("Message numbers are not allowed", "UIDREQUIRED")        raised: BAD, likewise

The time that a command took stands in its reply as Dovecot writes it.
"""

import re
import time
from dataclasses import dataclass

from mailsuite.base.errors import MailError, PeerError

OK, NO, BAD = b"OK", b"NO", b"BAD"
QUICK = b" (0.001 + 0.000 secs)"      # what took no time that a clock could tell

_PLAIN = re.compile(rb'[^\x00-\x20(){%*"\\\x7f-\xff]+\Z')
_QUOTABLE = re.compile(rb'[^\x00\r\n"\\\x80-\xff]*\Z')


def literal(octets: bytes) -> bytes:
    return b"{%d}\r\n%b" % (len(octets), octets)


def string(octets: bytes) -> bytes:
    """A quoted string, or a literal where quoting is not allowed."""
    if _QUOTABLE.match(octets):
        return b'"%b"' % octets
    if b"\0" in octets or b"\r" in octets or b"\n" in octets or not octets.isascii():
        return literal(octets)
    return b'"%b"' % octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def astring(octets: bytes) -> bytes:
    """An atom where that is possible: mailbox names."""
    if _PLAIN.match(octets) and octets.upper() != b"NIL":
        return octets
    return string(octets)


def string_or_nil(octets: bytes | None) -> bytes:
    return b"NIL" if octets is None else string(octets)


def mailbox_name(name: str) -> bytes:
    return astring(name.encode("utf-8", "surrogateescape"))


@dataclass(frozen=True, slots=True)
class Reply:
    """The tagged end of a command. text: without the full stop. code: "TRYCREATE" or "".

    counts: one of the bad commands that end a session when there are too many in a row. close: the connection ends.
    """

    status: bytes
    text: str
    code: str = ""
    counts: bool = False
    close: bool = False

    def line(self, tag: bytes, took: bytes = QUICK) -> bytes:
        code = f"[{self.code}] " if self.code else ""
        return b"%b %b %b%b.\r\n" % (tag, self.status, (code + self.text).encode("utf-8", "surrogateescape"), took)


def took(seconds: float) -> bytes:
    """" (0.001 + 0.000 secs)": Dovecot rounds up and tells waiting apart; here nothing waits inside a command."""
    return QUICK if seconds < 0.0014 else b" (%.3f + 0.000 secs)" % seconds


class CodedError(PeerError):
    """Wrong arguments that have a response code."""

    def __init__(self, public: str, code: str) -> None:
        super().__init__(public)
        self.code = code


def uid_required() -> CodedError:
    """RFC 9586 section 3: no message numbers once UIDONLY is enabled."""
    return CodedError("Message numbers are not allowed once UIDONLY is enabled", "UIDREQUIRED")


def bad_arguments(name: str, error: PeerError) -> Reply:
    """The command was understood, its arguments were not."""
    code = error.code if isinstance(error, CodedError) else ""
    return Reply(BAD, f"Error in IMAP command {name}: {error.public}", code, counts=True)


class Refusal(MailError):
    """A command ends with NO and a text of its own."""

    def __init__(self, public: str, code: str = "") -> None:
        super().__init__(public)
        self.code = code


def internal_error() -> Reply:
    """What nobody foresaw; the log has the rest. The time helps to find it there."""
    stamp = time.strftime("[%Y-%m-%d %H:%M:%S]")
    return Reply(NO, f"Internal error occurred. Refer to server log for more information. {stamp}", "SERVERBUG")
