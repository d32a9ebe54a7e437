"""What tables of rules (regexp, pcre, cidr) share: reading their lines, IF and ENDIF, finding the first that fits.

A table's name is a file, or the rules themselves in braces: cidr:{{192.0.2.0/24 ok}, {...}}. Lines that make no sense
are logged and left out; the rest works, as in Postfix.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from mailsuite.maps.maps import split_specs
from mailsuite.maps.simple import Unbraced, unbrace
from mailsuite.maps.sources import Line, logical_lines, read_text
from mailsuite.maps.table import BadTable
from mailsuite.maps.texthash import FileTable

if TYPE_CHECKING:
    from mailsuite.maps.maps import MapSource

P = TypeVar("P")
BLANKS = " \t\r\n\v\f"         # white space is ASCII's
_BLANKS = re.compile(f"[{BLANKS}]+")
_WORD = re.compile(r"(?:if|endif)(?![0-9A-Za-z])", re.IGNORECASE)


class SkipRule(Exception):
    """A line makes no sense; the text is logged behind file and line."""


@dataclass(slots=True)
class Rule(Generic[P]):
    """pattern: what a key must fit (negated: must not). after: for an IF, the number of the rule behind its ENDIF."""

    pattern: P
    negated: bool
    is_if: bool
    value: object           # str, or a template of the table's own
    line: int
    after: int = 0


class RuleTable(FileTable, Generic[P]):
    """A table whose lines are rules. A subclass reads one line with `parse` and takes all of them in `compiled`."""

    pattern = True
    rules: list[Rule[P]]
    fitted = 0          # the line of the rule that answered last
    # Postfix's words for the two differ from table to table.
    lonely_endif = "ignoring ENDIF without matching IF"
    after_endif = "ignoring extra text after ENDIF"
    strict_endif = False

    def __init__(self, type: str, name: str, source: "MapSource", *, folds: bool = True) -> None:
        self._inline = name.startswith("{")
        super().__init__(type, name, source, folds=folds)

    def _lines(self) -> list[Line]:
        """Raises BadTable (inline syntax), TableError (file)."""
        if not self._inline:
            return list(logical_lines(read_text(self.name),
                                      lambda why: self._source.log.warning("%s: %s", self.name, why)))
        try:
            items = split_specs(unbrace(self.name))
            lines = [Line(number, unbrace(item)) for number, item in enumerate(items, 1)]
            return [line for line in lines if not line.text.startswith("#")]
        except Unbraced as error:
            raise BadTable(f"{self.type} map: {error}") from None

    def load(self) -> None:
        lines = self._lines()
        rules: list[Rule[P]] = []
        open_ifs: list[Rule[P]] = []
        for line in lines:
            try:
                self._take(line, rules, open_ifs)
            except SkipRule as error:
                self.warn(line.number, str(error))
        for rule in open_ifs:
            rule.after = len(rules)
            self.warn(rule.line, "IF has no matching ENDIF")
        self.rules = rules
        self.compiled()

    def _take(self, line: Line, rules: list[Rule[P]], open_ifs: list[Rule[P]]) -> None:
        text = line.text.lstrip(BLANKS)
        word = _WORD.match(text)
        rest = text[5:]
        if word is not None and word[0].lower() == "endif":
            if rest.strip() and self.strict_endif:
                raise SkipRule(self.after_endif)
            if not open_ifs:
                raise SkipRule(self.lonely_endif)
            if rest.strip():
                self.warn(line.number, self.after_endif)
            open_ifs.pop().after = len(rules)
            return
        if word is not None and word[0].lower() == "if":
            rule = self.parse_rule(text[2:].lstrip(BLANKS), line.number, is_if=True)
            open_ifs.append(rule)
        else:
            rule = self.parse_rule(text, line.number, is_if=False)
        rules.append(rule)

    def parse_rule(self, text: str, line: int, *, is_if: bool) -> Rule[P]:
        """One rule, behind its IF. Raises SkipRule."""
        raise NotImplementedError

    def compiled(self) -> None:
        """All rules are read: prepare for look-ups."""

    def warn(self, line: int, text: str) -> None:
        self._source.log.warning("%s map %s, line %d: %s", self.type, self.name, line, text)

    def extra_after_if(self, line: int, text: str) -> None:
        if text:
            self.warn(line, f"ignoring extra text after IF statement: \"{text}\"")
            self.warn(line, "do not prepend whitespace to statements between IF and ENDIF")

    def refresh(self) -> None:
        if not self._inline:
            super().refresh()


def negation(text: str) -> tuple[bool, str]:
    """Strip "!" signs: whether there was an odd number of them, and what follows."""
    negated = False
    while text.startswith("!"):
        negated, text = not negated, text[1:].lstrip(BLANKS)
    return negated, text


def split_at_blanks(text: str) -> tuple[str, str]:
    """The first word and the rest."""
    word, *rest = _BLANKS.split(text, maxsplit=1)
    return word, rest[0].strip(BLANKS) if rest else ""


def first_fit(rules: Sequence[Rule[P]], numbers: Sequence[int], fits: Callable[[int, Rule[P]], bool]) -> Rule[P] | None:
    """The first rule of numbers (ascending) that fits, an IF that does not fit passing over all that it holds."""
    skip = 0
    for number in numbers:
        if number < skip:
            continue
        rule = rules[number]
        fit = fits(number, rule) != rule.negated
        if rule.is_if:
            if not fit:
                skip = rule.after
        elif fit:
            return rule
    return None
