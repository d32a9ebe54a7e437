"""master.cf's grammar: lines to fields and arguments, and back to text.

    parse_master_cf(text, path) -> MasterFile(lines, errors)
    format_line(line, fold=True) -> "smtp       inet  n       -       n       -       -       smtpd\\n    -o a=b"

`lines` keep what is written (columns as texts, arguments with {} removed), for postconf; `read_entries` interprets
them, for the master. An argument of several words stands in {}; -oNAME=VALUE and -o NAME=VALUE are the same.
"""

import re
from dataclasses import dataclass, field
from typing import Literal, cast

from mailsuite.base.errors import ConfigError, ConfigErrors
from mailsuite.config.maincf import LogicalLine, is_comment, logical_lines, read_text, split_assignment
from mailsuite.config.mastercf import TYPES, MasterEntry

FIELDS = ("service", "type", "private", "unprivileged", "chroot", "wakeup", "process_limit", "command")
SHAPES = {
    "type": re.compile("|".join(TYPES)), "private": re.compile("[-yn]"), "unprivileged": re.compile("[-yn]"),
    "chroot": re.compile("[-yn]"), "wakeup": re.compile(r"-|\d{1,9}\??"), "process_limit": re.compile(r"-|\d{1,9}")}
_WORD = re.compile(r"[^ \t\r\n]")
_STOPS = (11, 17, 25, 33, 41, 49, 57)      # where a column begins, when those before leave room
LINE_LIMIT = 80


@dataclass
class MasterLine:
    """One service as written. fields: the seven columns and the command; arguments: all behind it, in order."""

    fields: list[str]
    arguments: list[str]
    first_line: int = 0
    last_line: int = 0
    warnings: list[str] = field(default_factory=list)

    @property
    def key(self) -> str:
        """"smtp/inet"."""
        return f"{self.fields[0]}/{self.fields[1]}"

    def options_end(self) -> int:
        """How many of the arguments are options: they stop at the first word without "-"."""
        place = 0
        while place < len(self.arguments) and self.arguments[place].startswith("-"):
            place += 2 if self.arguments[place] == "-o" else 1
        return min(place, len(self.arguments))

    def overrides(self) -> list[tuple[int, str, str]]:
        """(place of the -o in arguments, name, value) of every -o that has a name and a value."""
        found = []
        for place, argument in enumerate(self.arguments[:max(0, self.options_end() - 1)]):
            if argument == "-o":
                name, equals, value = self.arguments[place + 1].partition("=")
                if equals and name:
                    found.append((place, name, value))
        return found


@dataclass(frozen=True)
class MasterFile:
    """All lines of a master.cf, in order; errors: lines that are no service."""

    path: str
    lines: list[MasterLine]
    errors: list[ConfigError]
    warnings: list[str]


def split_words(text: str) -> tuple[list[str], list[str]]:
    """Words at blanks outside of braces, {several words} as one without the braces; and warnings about braces."""
    words: list[str] = []
    warnings: list[str] = []
    at = 0
    while (start := _WORD.search(text, at)) is not None:
        at = _word_end(text, start.start())
        words.append(unbraced(text[start.start():at], warnings))
    return words, warnings


def _word_end(text: str, start: int) -> int:
    """Where the word ends: at the next blank that is in no braces."""
    depth = 0
    for index in range(start, len(text)):
        letter = text[index]
        depth += (letter == "{") - (letter == "}" and depth > 0)
        if not depth and letter in " \t\r\n":
            return index
    return len(text)


def unbraced(word: str, warnings: list[str]) -> str:
    """{words} without the braces and the blanks beside them; other words as they are."""
    if not word.startswith("{"):
        return word
    depth = 0
    for index, letter in enumerate(word):
        depth += (letter == "{") - (letter == "}")
        if depth == 0:
            if index + 1 < len(word):
                warnings.append(f"syntax error after '}}' in \"{word}\"")
            return word[1:index].strip()
    warnings.append(f"missing '}}' in \"{word}\"")
    return word[1:].strip()


def parse_line(line: LogicalLine | str, path: str = "master.cf") -> MasterLine:
    """Raises ConfigError in Postfix's words."""
    logical = line if isinstance(line, LogicalLine) else LogicalLine(line, 0, 0)
    columns = logical.text.split(None, 7)
    if len(columns) < 8:
        raise ConfigError(f"file {path}: line {logical.first_line}: bad field count" if logical.first_line
                          else f"bad field count in \"{logical.text}\"")
    for name, value in zip(FIELDS[1:7], columns[1:7], strict=True):
        if not SHAPES[name].fullmatch(value):
            raise ConfigError(f'invalid {name} field "{value}" in "{logical.text}"')
    words, warnings = split_words(columns[7])
    arguments: list[str] = []
    options = True                 # they stop at the first word that is neither "-x" nor what belongs to a -o
    for word in words[1:]:
        given = options and bool(arguments) and arguments[-1] == "-o"
        options = options and (given or word.startswith("-"))
        if options and not given and word.startswith("-o") and len(word) > 2:
            arguments.append("-o")
            word, given = unbraced(word[2:], warnings), True
        if given and "=" in word:
            word = _tidy(word, warnings)
        elif given and any(blank in word for blank in " \t"):
            warnings.append(f"missing '=' after attribute name: \"{word}\"")
        arguments.append(word)
    return MasterLine([*columns[:7], words[0] if words else ""], arguments, logical.first_line, logical.last_line,
                      [f"master.cf: {warning}" for warning in warnings])


def _tidy(assignment: str, warnings: list[str]) -> str:
    """name = value without the blanks around "="."""
    try:
        name, value = split_assignment(assignment)
    except ConfigError as err:
        warnings.append(err.public)
        return assignment
    return f"{name}={value}"


def parse_master_cf(text: str, path: str) -> MasterFile:
    """Read the text of a master.cf; bad lines are in .errors."""
    result = MasterFile(path, [], [], [])
    for logical in logical_lines(text):
        if logical.text[0] in " \t":
            result.warnings.append(f'{path}: logical line must not start with whitespace: "{logical.text}"')
            continue
        try:
            line = parse_line(logical, path)
        except ConfigError as err:
            result.errors.append(err)
        else:
            result.lines.append(line)
            result.warnings.extend(line.warnings)
    return result


def _quoted(argument: str) -> str:
    return f"{{{argument}}}" if not argument or argument[0] == "{" or re.search(r"[ \t\r\n]", argument) else argument


def format_command(line: MasterLine) -> str:
    """The command and its arguments as one text."""
    return " ".join([line.fields[7], *map(_quoted, line.arguments)])


def fold_arguments(line: MasterLine, first: str) -> str:
    """`first` with the arguments behind it: each -o on a line of its own, the rest in lines of up to LINE_LIMIT."""
    end = line.options_end()
    rows, place = [first], 0
    while place < end:
        if line.arguments[place] == "-o" and place + 1 < end:
            rows.append(f"    -o {_quoted(line.arguments[place + 1])}")
            place += 2
            continue
        if len(rows) > 1 and line.arguments[place - 2] == "-o":
            rows.append(f"    {line.arguments[place]}")
        else:
            rows[-1] += f" {line.arguments[place]}"
        place += 1
    # What follows a -o begins a new line, which is filled up.
    if len(rows) > 1 and end < len(line.arguments):
        rows.append("   ")
    for argument in line.arguments[end:]:
        word = _quoted(argument)
        if rows[-1].strip() and len(rows[-1]) + 1 + len(word) > LINE_LIMIT:
            rows.append("   ")
        rows[-1] += f" {word}"
    return "\n".join(rows)


def format_line(line: MasterLine, *, fold: bool = False) -> str:
    """The service as postconf -M shows it; fold: each -o on a line of its own, as -Mf does and as it is written."""
    text = line.fields[0]
    for value, stop in zip(line.fields[1:], _STOPS, strict=True):
        text = text.ljust(stop - 1) + " " + value
    return fold_arguments(line, text) if fold else " ".join([text, *map(_quoted, line.arguments)])


def read_entries(path: str) -> list[MasterEntry]:
    """All services of a file, interpreted. Raises ConfigErrors."""
    try:
        parsed = parse_master_cf(read_text(path), path)
    except ConfigError as err:
        raise ConfigErrors([err]) from err
    errors = [*parsed.errors, *(ConfigError(warning) for warning in parsed.warnings)]
    entries: dict[tuple[str, str], MasterEntry] = {}
    for line in parsed.lines:
        try:
            entry = _entry(line, path)
        except ConfigError as err:
            errors.append(ConfigError(f"{path}, line {line.first_line}: {err.public}"))
        else:
            entries.pop((entry.name, entry.type), None)
            entries[entry.name, entry.type] = entry
    if errors:
        raise ConfigErrors(errors)
    return list(entries.values())


def _entry(line: MasterLine, path: str) -> MasterEntry:
    name, kind, private, unprivileged, chroot, wakeup, limit, command = line.fields
    end = line.options_end()
    arguments = line.arguments[end:]
    options: list[str] = []
    overrides: dict[str, str] = {}
    rest = iter(line.arguments[:end])
    for option in rest:
        if option != "-o":
            options.append(option)
            continue
        assignment = next(rest, None)
        if assignment is None:
            raise ConfigError(f"{line.key}: missing name=value after -o")
        parameter, value = split_assignment(assignment)
        overrides[parameter] = value
    return MasterEntry(
        name=name, type=cast(Literal["inet", "unix", "fifo", "pass", "unix-dgram"], kind),
        private=private != "n" and kind != "inet", unprivileged=unprivileged != "n", chroot=chroot == "y",
        wakeup_s=0 if wakeup == "-" else int(wakeup.rstrip("?")), wakeup_if_used=wakeup.endswith("?"),
        maxproc=None if limit == "-" else int(limit), command=command, arguments=(*options, *arguments),
        overrides=overrides, file=path, line=line.first_line, columns=tuple(line.fields[:7]))


__all__ = ["FIELDS", "MasterFile", "MasterLine", "format_command", "format_line", "is_comment", "parse_line",
           "parse_master_cf", "read_entries", "split_words"]
