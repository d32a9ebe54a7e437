"""main.cf's macro language: $name, ${name}, $(name), ${name?text}, ${name:text}, comparisons, $$.

    expand("$myhostname ESMTP", find) -> "mx.test ESMTP"        find(name) -> text, or None when nobody defined it
    references("${a?{$b}:{c}}") -> ["a", "b"]                   all names, also of the branch that would not be taken

Grammar inside ${}: name | name?text | name:text | name?{text} | name?{text}:{text} | name:{text}
    | function{text} | {left} OP {right} [? {text} [: {text}] | : {text}]
OP: == != < <= >= > and these followed by "level". Functions: domain_to_ascii, the A-label form of a domain.
Both sides of OP are compared as numbers when both are numbers, else as octets; OPlevel compares compatibility levels
(major.minor.patch). Without a branch a comparison that holds gives "true". What find returns is not looked at again.
Raises: ExpansionError, worded as Postfix words its warning.
"""

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from mailsuite.base.errors import ConfigError

Find = Callable[[str], str | None]


class ExpansionError(ConfigError):
    """A text that is not in the macro language."""


def _domain_to_ascii(text: str) -> str:
    import idna

    try:
        return idna.encode(text, uts46=True).decode("ascii") if not text.isascii() else text
    except idna.IDNAError:
        return text


# Postfix 3.11.
FUNCTIONS: Mapping[str, Callable[[str], str]] = {"domain_to_ascii": _domain_to_ascii}
_NAME = re.compile(r"[A-Za-z0-9_]+")
_BLANKS = re.compile(r"[ \t\r\n\f\v]*")
_OPERATOR = re.compile(r"==|!=|<=|>=|<|>")
_SUFFIX = re.compile(r"[A-Za-z]+")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">=": operator.ge, ">": operator.gt}
_CLOSING = {"{": "}", "(": ")"}
# Texts come from files that an administrator wrote, but one slip must not exhaust the stack.
MAX_DEPTH = 100


def expand(text: str, find: Find, given: Callable[[str], bool] | None = None) -> str:
    """text with every macro replaced. Raises ExpansionError.

    given: whether a name counts as set in ${name?..} and ${name:..}; Postfix looks at the value before it is expanded.
    """
    return text if "$" not in text else _Expander(find, given, scan=False).expand(text, 0)


def references(text: str, faults: list[ExpansionError] | None = None) -> list[str]:
    """Every name that text mentions, in order, with repetitions. Raises ExpansionError.

    faults: an error goes there instead, and the names before it are the result.
    """
    names: list[str] = []

    def find(name: str) -> None:
        names.append(name)

    if "$" in text:
        try:
            _Expander(find, None, scan=True).expand(text, 0)
        except ExpansionError as error:
            if faults is None:
                raise
            faults.append(error)
    return names


def compatibility_level(text: str) -> tuple[int, int, int]:
    """"3.6" -> (3, 6, 0). Raises ExpansionError."""
    fine = re.fullmatch(r"\+?\d{1,18}(\.\+?\d{1,18}){0,2}", text, re.ASCII)
    numbers = [int(part) for part in text.split(".")] if fine else [-1]
    if not 0 <= numbers[0] < 1 << 43 or any(number > 1023 for number in numbers[1:]):      # the parts share 64 bits
        raise ExpansionError(f'malformed compatibility level syntax: "{text}"')
    return (*numbers, 0, 0)[:3]  # type: ignore[return-value]


def _syntax_error(expected: str, body: str, start: int, at: int) -> ExpansionError:
    """Postfix's picture of the place: what was just read, an arrow, the rest."""
    return ExpansionError(f'{expected} at: "...{body[start:at].rstrip()}>>>{body[at:]}"')


def _balanced_end(text: str, start: int) -> int:
    """Index of the bracket that closes the one at start, -1 when none does; only its own kind counts."""
    opening, closing, depth = text[start], _CLOSING[text[start]], 0
    for index in range(start, len(text)):
        if text[index] == opening:
            depth += 1
        elif text[index] == closing:
            depth -= 1
            if depth == 0:
                return index
    return -1


def _skip_blanks(text: str, at: int) -> int:
    match = _BLANKS.match(text, at)
    return match.end() if match else at


class _Expander:
    """One run over one text. scan: visit all branches and compare nothing."""

    def __init__(self, find: Find, given: Callable[[str], bool] | None, *, scan: bool) -> None:
        self.find, self.given, self.scan = find, given, scan

    def expand(self, text: str, depth: int) -> str:
        if depth > MAX_DEPTH:
            raise ExpansionError(f'unreasonable macro call nesting: "{text[:40]}"')
        parts: list[str] = []
        at = 0
        while (dollar := text.find("$", at)) >= 0:
            parts.append(text[at:dollar])
            following = text[dollar + 1:dollar + 2]
            if following == "$":
                parts.append("$")
                at = dollar + 2
            elif following in ("{", "("):
                end = _balanced_end(text, dollar + 1)
                if end < 0:
                    raise ExpansionError(f'truncated macro reference: "{text}"')
                if end == dollar + 2:
                    raise ExpansionError(f'empty macro name: "{text}"')
                parts.append(self._braced(text[dollar + 2:end], depth))
                at = end + 1
            else:
                name = _NAME.match(text, dollar + 1)
                if name is None:
                    raise ExpansionError(f'empty macro name: "{text}"')
                parts.append(self.find(name[0]) or "")
                at = name.end()
        parts.append(text[at:])
        return "".join(parts)

    def _braced(self, body: str, depth: int) -> str:
        """The text of ${body}."""
        at = _skip_blanks(body, 0)
        if body.startswith("{", at):
            truth, at = self._comparison(body, at, depth)
            if at == len(body):
                return "true" if truth else ""
            if body[at] not in "?:":
                raise _syntax_error('"?" or ":" expected', body, body.rindex("}", 0, at), at)
            return self._branches(body, at, truth, depth)
        match = _NAME.match(body, at)
        name = match[0] if match else ""
        at = _skip_blanks(body, match.end() if match else at)
        if name in FUNCTIONS and body.startswith("{", at):
            text, at = self._curly(body, at)
            if at == len(body):
                return FUNCTIONS[name](self.expand(text, depth + 1))
        if at < len(body) and body[at] not in "?:":
            start, at = match.span() if match else (at, at)
            raise _syntax_error("attribute name syntax error", body, start, at)
        if at == len(body):
            return self.find(name) or ""
        truth = bool(self.find(name)) if self.given is None else self.given(name)
        return self._branches(body, at, truth, depth)

    def _branches(self, body: str, at: int, truth: bool, depth: int) -> str:
        """Choose between what follows "?" and ":" at body[at]."""
        if body[at] == ":":
            return self._take(self._last_branch(body, at + 1), not truth, depth)
        start = _skip_blanks(body, at + 1) + 1
        yes, at = self._branch(body, at + 1)
        if at == len(body):
            return self._take(yes, truth, depth)
        if body[at] != ":":
            raise _syntax_error('":" expected', body, start, at)
        no = self._last_branch(body, at + 1)
        return self._take(yes, truth, depth) + self._take(no, not truth, depth)

    def _last_branch(self, body: str, at: int) -> str:
        """A branch that nothing may follow."""
        text, end = self._branch(body, at)
        if end < len(body):
            raise _syntax_error("unexpected input", body, _skip_blanks(body, at) + 1, end)
        return text

    def _branch(self, body: str, at: int) -> tuple[str, int]:
        """A {text}, or all that is left; and where it ends."""
        start = _skip_blanks(body, at)
        if not body.startswith("{", start):
            return body[at:], len(body)
        text, end = self._curly(body, start)
        return text, end

    def _curly(self, body: str, start: int) -> tuple[str, int]:
        """The inside of the {} at start, and the next place that is not blank."""
        end = _balanced_end(body, start)
        if end < 0:
            raise _syntax_error('"}" expected', body, start + 1, len(body))
        return body[start + 1:end], _skip_blanks(body, end + 1)

    def _take(self, text: str, wanted: bool, depth: int) -> str:
        return self.expand(text, depth + 1) if wanted or self.scan else ""

    def _comparison(self, body: str, at: int, depth: int) -> tuple[bool, int]:
        start = at + 1
        left_text, at = self._curly(body, at)
        sign = _OPERATOR.match(body, at)
        if sign is None:
            # The quotes are as Postfix prints them.
            raise _syntax_error('"==" or "!="" or "<"" or "<="" or ">="" or ">" expected', body, start, at)
        suffix = _SUFFIX.match(body, sign.end())
        if suffix and suffix[0] != "level":
            raise _syntax_error("bad operator suffix", body[:suffix.end()], sign.start(), sign.end())
        after = suffix.end() if suffix else sign.end()
        at = _skip_blanks(body, after)
        if not body.startswith("{", at):
            raise _syntax_error('"{expression}" expected', body, start - 1, after)
        right_text, at = self._curly(body, at)
        left, right = self.expand(left_text, depth + 1), self.expand(right_text, depth + 1)
        if self.scan:
            return False, at
        if suffix:
            return _COMPARE[sign[0]](compatibility_level(left), compatibility_level(right)), at
        if left.isascii() and right.isascii() and _number(left) is not None and _number(right) is not None:
            return _COMPARE[sign[0]](_number(left), _number(right)), at
        return _COMPARE[sign[0]](left, right), at


def _number(text: str) -> int | None:
    """As strtol reads it, whole: leading blanks and a sign are fine, trailing blanks are not."""
    return int(text) if re.fullmatch(r"[ \t]*[-+]?\d{1,18}", text) else None
