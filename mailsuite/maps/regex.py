"""regexp: and pcre: tables: the first rule whose pattern is found in the key.

Patterns and keys are octets, not characters: "." is half of an "é", as in Postfix. A look-up asks one RE2 set which
patterns occur at all (linear time, whatever the key), then looks at those rules in their order, with IF and ENDIF; only
a rule with $1 in its value is matched once more, for its groups. Patterns that RE2 does not know (back-references,
look-around) are matched apart: posix.py, perl.py. A match of those that reaches PCRE2's limit is told in the log and
taken for none, as in Postfix; when the matches of one look-up take SLOW_S together, the table could not be asked.
Source: regexp_table(5), pcre_table(5). In both, patterns ignore case unless the flag i says otherwise.
"""

import re
import time
from typing import Any, NamedTuple

import re2

from mailsuite.maps.pcre2 import LimitReached, Missing, Pcre2
from mailsuite.maps.perl import Slow, compile_re2, compile_slow, inline_flags, to_re2_escapes
from mailsuite.maps.posix import NotRe2, PosixRegex, problem, to_re2
from mailsuite.maps.rules import BLANKS, Rule, RuleTable, SkipRule, first_fit, negation, split_at_blanks
from mailsuite.maps.table import TableError

SET_MEMORY = 64 << 20       # octets that the automaton of one table may take
SLOW_S = 0.25               # for the patterns of one look-up that RE2 does not match


class Pattern(NamedTuple):
    """re2_text: with flags inside, "" when `slow` does the matching."""

    re2_text: str
    longest: bool
    group_count: int
    slow: Slow | None


_MACRO = re.compile(r"\$(?:(?P<dollar>\$)|(?P<name>\w+)|\{(?P<brace>[^{}]*)\}|\((?P<paren>[^()]*)\)|(?P<open>[{(].*))?",
                    re.DOTALL)


class Template(NamedTuple):
    """A value with group numbers between its texts: (0: "a ", 1: 1, 2: " b")."""

    parts: tuple[str | int, ...]

    def fill(self, groups: list[bytes | None]) -> str:
        return "".join(part if isinstance(part, str) else (groups[part] or b"").decode("utf-8", "surrogateescape")
                       for part in self.parts)


class RegexTable(RuleTable[Pattern]):
    """Rules "/pattern/flags value"."""

    def parse_rule(self, text: str, line: int, *, is_if: bool) -> Rule[Pattern]:
        if text[:1].isalnum() and text[:1].isascii() and not is_if:
            raise SkipRule("ignoring unrecognized request")
        negated, text = negation(text)
        if not text:
            raise SkipRule("no regexp: skipping this rule")
        pattern, flags, value = self._split(text)
        compiled = self._compile(pattern, self._flags(flags, line), line)
        if is_if:
            self.extra_after_if(line, value)
            return Rule(compiled, negated, True, "", line)
        if not value:
            self.warn(line, "no replacement text: using empty string")
        elif self._source.values_are_files:
            try:
                value = self._source.value(value)
            except ValueError as error:
                raise SkipRule(f"{error}: skipping this rule") from None
        return Rule(compiled, negated, False, self._template(value, compiled, negated, line), line)

    def _split(self, text: str) -> tuple[str, str, str]:
        """Pattern, flags, value. Raises SkipRule."""
        delimiter, position = text[0], 1
        while position < len(text) and text[position] != delimiter:
            position += 2 if text[position] == "\\" else 1
        if position >= len(text):
            action = "ignoring" if self.type == "pcre" else "skipping"
            raise SkipRule(f"no closing regexp delimiter \"{delimiter}\": {action} this rule")
        rest = text[position + 1:]
        if rest[:1] in ("", *BLANKS):
            return text[1:position], "", rest.strip(BLANKS)
        return text[1:position], *split_at_blanks(rest)

    def _flags(self, text: str, line: int) -> set[str]:
        """The flags in force; each letter toggles. Raises SkipRule."""
        known, flags = ("imxsAEUX", {"i", "s"}) if self.type == "pcre" else ("imx", {"i", "x"})
        for flag in text:
            if flag not in known:
                raise SkipRule(f"unknown regexp option \"{flag}\": skipping this rule")
            if flag == "X":
                self.warn(line, "ignoring obsolete regexp option \"X\"")
            flags ^= {flag}
        return flags

    def _compile(self, text: str, flags: set[str], line: int) -> Pattern:
        """Raises SkipRule, TableError."""
        try:
            return _posix_pattern(text, flags) if self.type == "regexp" else _perl_pattern(text, flags)
        except ValueError as error:
            raise SkipRule(str(error)) from None
        except Missing as error:        # to pass the rule over could let in what it refuses
            raise TableError(f"{self.type} map {self.name}, line {line}: this pattern needs the PCRE2 library, which "
                             "is not on this system", config=True) from error

    def _template(self, value: str, pattern: Pattern, negated: bool, line: int) -> str | Template:
        """The value, ready to be filled. Raises SkipRule."""
        if "$" not in value:
            return value
        parts: list[str | int] = []
        end = 0
        for found in _MACRO.finditer(value):
            parts.append(value[end:found.start()])
            end = found.end()
            if found["dollar"]:
                parts.append("$")
                continue
            name = found["name"] or found["brace"] or found["paren"] or ""
            if not name:
                self._source.log.warning("truncated macro reference: \"%s\"" if found["open"] is not None
                                         else "empty macro name: \"%s\"", value)
                raise SkipRule("bad replacement syntax: skipping this rule")
            if not name.isdigit():
                self.warn(line, f"non-numeric replacement index \"{name}\"")
                raise SkipRule("bad replacement syntax: skipping this rule")
            if negated:
                raise SkipRule("$number found in negative match replacement text: skipping this rule")
            if not self._source.may_substitute:
                raise SkipRule("regular expression substitution is not allowed: skipping this rule")
            if int(name) == 0:
                words = "out of range" if self.type == "pcre" else "out-of-range"
                self.warn(line, f"{words} replacement index \"{name}\"")
                raise SkipRule("bad replacement syntax: skipping this rule")
            if int(name) > pattern.group_count:
                raise SkipRule(f"out of range replacement index \"{name}\": skipping this rule")
            parts.append(int(name))
        parts.append(value[end:])
        if not any(isinstance(part, int) for part in parts):
            return "".join(str(part) for part in parts)
        return Template(tuple(part for part in parts if part != ""))

    def compiled(self) -> None:
        self._set_numbers: list[int] = []
        options = re2.Options()
        options.max_mem, options.log_errors = SET_MEMORY, False
        options.encoding = re2.Options.Encoding.LATIN1
        self._set = re2.Set.SearchSet(options)
        for number, rule in enumerate(self.rules):
            if rule.pattern.slow is None:
                self._set.Add(rule.pattern.re2_text.encode("utf-8", "surrogateescape"))
                self._set_numbers.append(number)
        # RE2 tells of memory run out by an empty answer; the empty pattern occurs everywhere.
        self._canary = self._set.Add("")
        self._set.Compile()
        # Rules to look at even when the set does not name them.
        self._always = [number for number, rule in enumerate(self.rules)
                        if rule.negated or rule.is_if or rule.pattern.slow is not None]
        self._single: dict[int, Any] = {}

    def lookup(self, key: str) -> str | None:
        self.refresh()
        subject = key.encode("utf-8", "surrogateescape")
        named = self._set.Match(subject)
        if self._canary not in named:
            numbers = list(range(len(self.rules)))
            found = {number for number in numbers if self.rules[number].pattern.slow is None
                     and self._matcher(self.rules[number]).search(subject)}
        else:
            if len(named) == 1 and not self._always:
                return None
            found = {self._set_numbers[index] for index in named if index != self._canary}
            numbers = sorted(found.union(self._always))

        deadline = 0.0

        def fits(number: int, rule: Rule[Pattern]) -> bool:
            nonlocal deadline
            slow = rule.pattern.slow
            if slow is None:
                return number in found
            now = time.monotonic()
            deadline = deadline or now + SLOW_S
            if now > deadline:
                raise TableError(f"{self.spec}: the patterns take too long for this key")
            try:
                return slow.groups(subject) is not None
            except LimitReached as error:
                self.warn(rule.line, str(error))
                return False

        rule = first_fit(self.rules, numbers, fits)
        if rule is None:
            return None
        self.fitted = rule.line
        return rule.value.fill(self._groups(rule, subject)) if isinstance(rule.value, Template) else str(rule.value)

    def _groups(self, rule: Rule[Pattern], subject: bytes) -> list[bytes | None]:
        if rule.pattern.slow is not None:
            return rule.pattern.slow.groups(subject) or []
        found = self._matcher(rule).search(subject)
        return [found[0], *found.groups()]

    def _matcher(self, rule: Rule[Pattern]) -> Any:
        """The rule's own RE2, made when it is first needed."""
        matcher = self._single.get(rule.line)
        if matcher is None:
            matcher = self._single[rule.line] = compile_re2(rule.pattern.re2_text, longest=rule.pattern.longest)
        return matcher


def _posix_pattern(text: str, flags: set[str]) -> Pattern:
    """Raises ValueError with the C library's words."""
    octets, extended = text.encode("utf-8", "surrogateescape"), "x" in flags
    said = problem(octets, extended=extended, icase="i" in flags)
    if said:
        raise ValueError(said)
    try:
        translated = inline_flags("i" in flags, "m" in flags, "m" not in flags) + to_re2(text, extended=extended)
        compiled = compile_re2(translated, longest=True)
        return Pattern(translated, True, compiled.groups, None)
    except (NotRe2, re2.error):
        pass
    slow: Slow
    try:
        backtracking = to_re2(text, extended=extended, back_references=True)
        slow = Pcre2(backtracking, {"i"} & flags | ({"m"} if "m" in flags else {"s", "E"}))
    except NotRe2:
        slow = PosixRegex(octets, extended=extended, icase="i" in flags, newline="m" in flags,
                          group_count=text.count("(" if extended else "\\("))
    return Pattern("", True, slow.group_count, slow)


# What RE2 accepts and PCRE refuses, or reads otherwise.
_DOUBTFUL = re.compile(r"\^[*+?{]|\[[.=]|\\N\{|\|[*+?]|\([*+?](?!\?)")


def _perl_pattern(text: str, flags: set[str]) -> Pattern:
    """Raises ValueError with PCRE's words."""
    if "x" not in flags and not _DOUBTFUL.search(text):
        plain = to_re2_escapes(text)
        body = f"\\A(?:{plain})" if "A" in flags else plain
        translated = inline_flags("i" in flags, "m" in flags, "s" in flags, "U" in flags) + body
        try:
            return Pattern(translated, False, compile_re2(translated).groups, None)
        except re2.error:
            pass
    slow = compile_slow(text, flags)
    return Pattern("", False, slow.group_count, slow)
