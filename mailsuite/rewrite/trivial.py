"""Addresses in standard form: user@full.domain.

    trivial = Trivial(settings)
    trivial.standard("alice", origin="example.test", domain="example.test") -> "alice@example.test"

In this order: a source route goes (@a,@b:user@c -> user@c); without "@": host!user becomes user@host
(swap_bangpath), user%host becomes user@host (allow_percent_hack), @origin is appended (append_at_myorigin); a domain
of one label gets .domain (append_dot_mydomain); a dot at the end goes. Addresses in internal form.
Source: postconf(5), ADDRESS_REWRITING_README.
"""

import re
from typing import TYPE_CHECKING

from mailsuite.address import tokens as t
from mailsuite.address.syntax import quote_local
from mailsuite.address.tokens import Token
from mailsuite.base.trace import TRACE
from mailsuite.rewrite.params import ALLOW_PERCENT_HACK, APPEND_AT_MYORIGIN, APPEND_DOT_MYDOMAIN, SWAP_BANGPATH

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings

# Most addresses are in standard form already: user@a.b with plain characters.
STANDARD = re.compile(r"[^\x00-\x20\x7f()<>@,;:\\\".\[\]]+(?:\.[^\x00-\x20\x7f()<>@,;:\\\".\[\]]+)*"
                      r"@[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+")

# A header field that holds nothing but such addresses, in ASCII, each alone or as "name <address>", parted by commas:
# without tables it stays what it is. Atomic groups: a line that does not fit costs no more than its length.
_ATOM = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_PLAIN = rb"(?>" + _ATOM + rb"(?:\." + _ATOM + rb")*)@(?>[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+)"
_NAME = rb"(?>[A-Za-z0-9_'-]+(?:[ \t]+[A-Za-z0-9_'-]+)*[ \t]*|\"[ !#-\[\]-~]*\"[ \t]*|)"
_ENTRY = rb"(?>" + _NAME + rb"<" + _PLAIN + rb">|" + _PLAIN + rb")[ \t]*"
STANDARD_FIELD = re.compile(rb"[!-9;-~]+:[ \t]*" + _ENTRY + rb"(?:,[ \t]*" + _ENTRY + rb")*")


def find(tokens: list[Token], kind: str) -> int:
    """Position of the first token of a kind, or -1."""
    return next((place for place, token in enumerate(tokens) if token.kind == kind), -1)


def rfind(tokens: list[Token], kind: str) -> int:
    """Position of the last token of a kind, or -1."""
    return next((place for place in range(len(tokens) - 1, -1, -1) if tokens[place].kind == kind), -1)


def strip_last_dot(tokens: list[Token]) -> list[Token]:
    """Without a dot at the end; broken forms ("a@." "a..") stay, so that an error names what was written."""
    if len(tokens) > 1 and tokens[-1].kind == "." and tokens[-2].kind not in (".", "@"):
        return tokens[:-1]
    return tokens


class Trivial:
    """The switches of main.cf."""

    def __init__(self, settings: "Settings") -> None:
        self.swap_bangpath = settings[SWAP_BANGPATH]
        self.percent_hack = settings[ALLOW_PERCENT_HACK]
        self.append_origin = settings[APPEND_AT_MYORIGIN]
        self.append_domain = settings[APPEND_DOT_MYDOMAIN]

    def standard(self, address: str, *, origin: str, domain: str) -> str:
        """Internal to internal form. origin, domain: what is appended; "" appends nothing."""
        if not address or STANDARD.fullmatch(address):
            return address
        new = t.internalize(self.tokens(t.scan(quote_local(address)), origin=origin, domain=domain))
        if (trace := TRACE.get()) is not None:
            if new != address:
                trace.step(", ".join(trace.notes) or "standard form", address, new, table=False)
            trace.notes.clear()
        return new

    def standard_text(self, text: str, *, origin: str, domain: str) -> str:
        """An address as a header has it (external form, routes and all) in standard form."""
        new = t.internalize(self.tokens(t.scan(text), origin=origin, domain=domain))
        colon = new.find(":") + 1
        if new[:1] == "@" and 0 < colon <= new.rfind("@"):        # a route that stood in quotes
            return t.externalize(t.scan(new[:colon])) + quote_local(new[colon:])
        return quote_local(new) or '""'

    def tokens(self, tokens: list[Token], *, origin: str, domain: str) -> list[Token]:
        """The same on tokens."""
        if len(tokens) == 1 and tokens[0].kind == "@":
            tokens = []
        if not tokens:
            return [Token(t.QUOTED, "")]
        if tokens[0].kind == "@":
            colon = find(tokens, ":")
            if 0 <= colon < len(tokens) - 1:
                _note("source route")
                tokens = tokens[colon + 1:]
        at = rfind(tokens, "@")
        if at < 0:
            tokens, at = self._without_at(tokens, origin)
        if self.append_domain and domain and 0 <= at < len(tokens) - 1 and tokens[-1].kind != t.LITERAL \
                and not any(token.kind in (".", t.LITERAL) for token in tokens[at:]):
            _note("append_dot_mydomain")
            tokens = tokens + _dotted(domain, ".")
        return strip_last_dot(tokens)

    def _without_at(self, tokens: list[Token], origin: str) -> tuple[list[Token], int]:
        """Tokens with an "@" where one can be made, and its position (-1 when the domain is complete or missing)."""
        if self.swap_bangpath and (bang := find(tokens, "!")) >= 0:
            _note("swap_bangpath")
            host, user = tokens[:bang], tokens[bang + 1:]
            return [*user, Token("@", "@"), *host], len(user)
        if self.percent_hack and (percent := rfind(tokens, "%")) >= 0:
            _note("allow_percent_hack")
            return [*tokens[:percent], Token("@", "@"), *tokens[percent + 1:]], percent
        if self.append_origin and origin:
            _note("append_at_myorigin")
            return tokens + _dotted(origin, "@"), -1
        return tokens, -1


def _note(rule: str) -> None:
    if (trace := TRACE.get()) is not None:
        trace.note(rule)


def _dotted(domain: str, sign: str) -> list[Token]:
    return [Token(sign, sign), *t.scan(domain.lstrip(sign))]
