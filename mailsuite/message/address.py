"""Address lists of header fields, read as leniently as mail is written, and rendered for ENVELOPE.

    parse_addresses(b'"Al" <al@a.test>, team: bo@b.test;') -> [Address(...), ...]
    render_addresses(addresses) -> b'(("Al" NIL "al" "a.test")...)'

RFC 5322 section 3.4 with the obsolete forms. A group is an Address without domain (its name in mailbox), its members,
and an Address without both. What is missing or broken is named as Dovecot names it: MISSING_MAILBOX, MISSING_DOMAIN,
SYNTAX_ERROR, INVALID_ROUTE. What follows the first octet that makes no sense is dropped.
Linear in the length of the value; any octets parse. Limits: MAX_ADDRESSES, comments nested MAX_COMMENTS deep.
"""

import re
from typing import NamedTuple

from mailsuite.message.quote import human, nstring

MAX_ADDRESSES = 20_000

_ATEXT = rb"!#-'*+\-/-9=?A-Z^-~\x80-\xff"
_ATOM = re.compile(rb"[%b]*" % _ATEXT)
_ATOM_OR_DOT = re.compile(rb"[%b.]*" % _ATEXT)
_SPACE = re.compile(rb"[ \t\r\n]*")
_QUOTED = re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"', re.S)
_ESCAPE = re.compile(rb"\\(.)", re.S)
_FLUSHED = re.compile(rb"\\.|\0", re.S)
_WORD_START = re.compile(rb"[%b\".]" % _ATEXT)
_COMMENT_STEP = re.compile(rb"\\.|[()]", re.S)
# Unambiguous at each octet, so a mismatch costs linear time.
_SIMPLE = re.compile(
    rb"[ \t]*(?:(?:\"([^\"\\\r\n]+)\"|([%b.]+(?: [%b.]+)*))[ \t]*<([%b.]+)@([%b]+(?:\.[%b]+)*)>"
    rb"|(<?)([%b.]+)@([%b]+(?:\.[%b]+)*)(>?))[ \t]*(?:,|$)" % ((_ATEXT,) * 8))


class Address(NamedTuple):
    """The four strings of an ENVELOPE address; None is NIL."""

    name: bytes | None = None
    route: bytes | None = None
    mailbox: bytes | None = None
    domain: bytes | None = None


GROUP_END = Address()
MISSING = Address(None, None, b"MISSING_MAILBOX", b"MISSING_DOMAIN")


class _Bad(Exception):
    """The text can't be read on from here."""


def parse_addresses(value: bytes) -> list[Address]:
    """value: unfolded."""
    simple = _parse_simple(value)
    if simple is not None:
        return simple
    return _Parser(value).all()


def _parse_simple(value: bytes) -> list[Address] | None:
    """The usual forms, by one expression; None when the value needs the whole grammar."""
    found: list[Address] = []
    at = 0
    while at < len(value):
        match = _SIMPLE.match(value, at)
        if match is None or len(found) >= MAX_ADDRESSES:
            return None
        quoted, words, mailbox, domain, opened, bare, bare_domain, closed = match.groups()
        if bare is None:
            found.append(Address(quoted or words, None, mailbox, domain))
        elif bool(opened) != bool(closed):
            return None
        else:
            found.append(Address(None, None, bare, bare_domain))
        at = match.end()
    return found


class _Parser:
    """One pass over the value; `at` never goes back further than the start of the address being read."""

    def __init__(self, text: bytes) -> None:
        self.text, self.at, self.comment = text, 0, b""
        self.found: list[Address] = []
        self.in_group = False

    def all(self) -> list[Address]:
        """Every address up to the first octet that fits nowhere."""
        try:
            self.space()
        except _Bad:
            return []
        more = self.at < len(self.text)
        while more and len(self.found) < MAX_ADDRESSES:
            more = self.one()
        if self.in_group:
            self.found.append(GROUP_END)
        return self.found

    def one(self) -> bool:
        """A group's beginning, or a mailbox with what follows it; True when there is more to read."""
        if not self.in_group and self.group_start():
            self.in_group = True
            if self.peek() != b";":
                return self.at < len(self.text)
        else:
            self.mailbox()
        if self.in_group and self.peek() == b";":
            self.in_group = False
            self.found.append(GROUP_END)
            self.at += 1
            self.try_space()
        return self.peek() == b"," and self.after_comma()

    def after_comma(self) -> bool:
        self.at += 1
        if not self.try_space() and not self.in_group:     # an open comment is an address of which nothing can be read
            self.found.append(MISSING)
        return self.at < len(self.text)

    def peek(self) -> bytes:
        return self.text[self.at: self.at + 1]

    def try_space(self) -> bool:
        try:
            self.space()
        except _Bad:
            return False
        return True

    def group_start(self) -> bool:
        start = self.at
        name = self.phrase() if self.peek() != b":" else b""
        if self.peek() != b":":
            self.at = start
            return False
        self.at += 1
        self.found.append(Address(mailbox=name))
        self.try_space()
        return True

    def mailbox(self) -> None:
        """name-addr or addr-spec; leaves `at` on what follows."""
        start = self.at
        name = b"" if self.peek() == b"<" else self.phrase()
        if self.peek() == b"<":
            self.angle(name)
            return
        self.at = start
        self.bare()

    def angle(self, name: bytes) -> None:
        route, mailbox, domain, broken = b"", b"", b"", False
        try:
            self.at += 1
            self.space()
            if self.peek() == b"@":
                route = self.route()
            if self.peek() != b">":
                mailbox, whole = self.local_part()
                if not whole:
                    mailbox = b""
                    raise _Bad
                if self.peek() == b"@":
                    domain = self.domain()
            if self.peek() != b">":
                raise _Bad
            self.at += 1
            self.space()
        except _Bad:
            broken = True
        self.found.append(Address(name or None, route or None, mailbox or b"MISSING_MAILBOX",
                                  b"SYNTAX_ERROR" if broken else domain or b"MISSING_DOMAIN"))

    def route(self) -> bytes:
        start = self.at
        hosts = []
        try:
            while self.peek() == b"@":
                hosts.append(b"@" + self.domain())
                if self.peek() == b":":
                    self.at += 1
                    self.space()
                    return b",".join(hosts)
                while self.peek() == b",":
                    self.at += 1
                    self.space()
        except _Bad:
            pass
        if self.at == start:
            self.at += 1
        return b"INVALID_ROUTE"

    def bare(self) -> None:
        """addr-spec; a phrase that no "<" follows is a name without a mailbox."""
        self.comment = b""
        quoted = self.peek() == b'"'
        name: bytes | None = None
        domain = b""
        mailbox, whole = self.local_part()
        if whole and self.peek() == b"@":
            try:
                domain = self.domain()
            except _Bad:
                domain = b""
        elif not self.comment:
            rest = self.phrase()
            if rest:
                name, mailbox = mailbox + b" " + rest, b""
            elif not whole:
                mailbox = b""
            elif quoted:
                name, mailbox = mailbox, b""
        if self.comment and name is None:
            name = self.comment
        self.found.append(Address(name, None, mailbox or b"MISSING_MAILBOX", domain or b"MISSING_DOMAIN"))

    def phrase(self) -> bytes:
        """Words and dots up to something else; what could be read when it breaks off, b"" when it can't begin."""
        words: list[bytes] = []
        if self.peek() == b".":
            return b""
        try:
            while self.at < len(self.text):
                if self.peek() == b'"':
                    closed = self.quoted_word(words)
                    if not closed:
                        return b" ".join(words) if len(words) > 1 else b""
                else:
                    match = _ATOM_OR_DOT.match(self.text, self.at)
                    assert match is not None
                    words.append(match[0])
                    self.at = match.end()
                self.space()
                if not _WORD_START.match(self.text, self.at):
                    break
        except _Bad:
            pass                        # a comment that is not closed
        return b" ".join(words)

    def quoted_word(self, words: list[bytes]) -> bool:
        """Add a quoted string; of one that is not closed, what stands before its last escape."""
        match = _QUOTED.match(self.text, self.at)
        if match is not None:
            self.at = match.end()
            words.append(_ESCAPE.sub(rb"\1", match[1]))
            return True
        rest = self.text[self.at + 1:]
        cut = max((match.start() if match[0] != b"\0" else match.end() for match in _FLUSHED.finditer(rest)), default=0)
        words.append(_ESCAPE.sub(rb"\1", rest[:cut]))
        return False

    def local_part(self) -> tuple[bytes, bool]:
        """What could be read, and whether it is a whole local-part."""
        parts = b""
        try:
            if self.peek() == b'"':
                return self.quoted(), True
            while True:
                match = _ATOM.match(self.text, self.at)
                assert match is not None
                parts += match[0]
                self.at = match.end()
                if match[0]:
                    self.space()
                if self.peek() != b".":
                    return parts, bool(match[0]) or self.peek() in (b"@", b"")
                parts += b"."
                self.at += 1
        except _Bad:
            return parts, False

    def domain(self) -> bytes:
        self.at += 1
        self.space()
        if self.peek() == b"[":
            end = self.text.find(b"]", self.at)
            if end < 0:
                raise _Bad
            domain, self.at = self.text[self.at: end + 1], end + 1
            self.space()
            return domain
        parts = b""
        while True:
            atom = self.run(_ATOM)
            if not atom:
                raise _Bad
            parts += atom
            if self.peek() != b".":
                return parts
            parts += b"."
            self.at += 1
            self.space()

    def quoted(self) -> bytes:
        match = _QUOTED.match(self.text, self.at)
        if match is None:
            raise _Bad
        self.at = match.end()
        self.space()
        return _ESCAPE.sub(rb"\1", match[1])

    def run(self, what: "re.Pattern[bytes]") -> bytes:
        match = what.match(self.text, self.at)
        assert match is not None
        self.at = match.end()
        self.space()
        return match[0]

    def space(self) -> None:
        """Skip white space and comments; the last comment is remembered."""
        while True:
            match = _SPACE.match(self.text, self.at)
            assert match is not None
            self.at = match.end()
            if self.peek() != b"(":
                return
            self.skip_comment()

    def skip_comment(self) -> None:
        start, depth, at = self.at + 1, 1, self.at + 1
        for match in _COMMENT_STEP.finditer(self.text, at):
            if match[0] == b"(":
                depth += 1
            elif match[0] == b")":
                depth -= 1
            if depth == 0:
                self.at = match.end()
                self.comment = _ESCAPE.sub(rb"\1", self.text[start: match.start()])
                return
        self.at, self.comment = len(self.text), b""
        raise _Bad


def render_addresses(addresses: list[Address]) -> bytes:
    """b"NIL" for none."""
    if not addresses:
        return b"NIL"
    return b"(" + b"".join([
        b"(%b %b %b %b)" % (human(one.name), nstring(one.route), nstring(one.mailbox), nstring(one.domain))
        for one in addresses]) + b")"
