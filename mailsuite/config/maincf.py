"""main.cf: reading it with file and line of everything, and editing it without disturbing the rest.

    main_cf = read_main_cf("/etc/postfix/main.cf")
    main_cf.entries -> [Entry("myhostname", "mx.test", first_line=3, last_line=3), ...]
    edit_main_cf(path, {"relayhost": "[a.test]", "old": None, "other": COMMENT_OUT})    None: remove; atomic

Grammar: empty lines and lines whose first non-blank character is "#" are dropped, also between a line and its
continuation; a line that begins with a blank continues the one before, and its blanks stay in the value; `name = value`
with blanks around name and value dropped. The last of several entries of a name is in force.
Raises: ConfigErrors for lines without "=" or name; OSError when the file cannot be read.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from mailsuite.base.errors import ConfigError

_BLANKS = " \t\r\f\v"
COMMENT_OUT: Final = "#"


class Entry(NamedTuple):
    """One logical line of main.cf; lines count from 1."""

    name: str
    value: str
    first_line: int
    last_line: int


class LogicalLine(NamedTuple):
    """A line with its continuations joined; comments and empty lines within left out."""

    text: str
    first_line: int
    last_line: int


class MainCf:
    """What the file says. errors: lines that say nothing; entries keep the file's order, repetitions included."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.entries: list[Entry] = []
        self.errors: list[ConfigError] = []
        self.stray: list[LogicalLine] = []      # lines that continue nothing

    def stray_warnings(self) -> list[str]:
        """What Postfix says of lines that continue nothing; it passes them over."""
        return [f'{self.path}: logical line must not start with whitespace: "{line.text}"' for line in self.stray]

    def overridden(self) -> list[str]:
        """A warning for each entry that a later one of the same name, with another value, replaces."""
        seen: dict[str, str] = {}
        warnings = []
        for entry in self.entries:
            if seen.get(entry.name, entry.value) != entry.value:
                warnings.append(f"{self.path}, line {entry.first_line}: overriding earlier entry: "
                                f"{entry.name}={seen[entry.name]}")
            seen[entry.name] = entry.value
        return warnings


def is_comment(line: str) -> bool:
    """Whether a physical line is empty or a comment."""
    stripped = line.strip(_BLANKS + "\n")
    return not stripped or stripped[0] == "#"


def physical_lines(text: str) -> list[str]:
    """The lines with their ends; only a LF ends one, whatever Unicode says."""
    return [part + "\n" for part in text.split("\n")[:-1]] + ([last] if (last := text.rpartition("\n")[2]) else [])


def logical_lines(text: str) -> Iterator[LogicalLine]:
    """Join continuation lines; shared with master.cf and lookup tables of the same grammar."""
    parts: list[str] = []
    first = last = 0
    for number, line in enumerate(text.split("\n"), 1):
        if is_comment(line):
            continue
        if parts and line[0] in _BLANKS:
            parts.append(line)
        else:
            if parts:
                yield LogicalLine("".join(parts), first, last)
            parts, first = [line], number
        last = number
    if parts:
        yield LogicalLine("".join(parts), first, last)


def split_assignment(text: str) -> tuple[str, str]:
    """"name = value" -> (name, value). Raises ConfigError in Postfix's words."""
    head, equals, value = text.partition("=")
    name = head.strip(_BLANKS + "\n")
    if not name and equals:
        raise ConfigError(f'missing attribute name: "{text}"')
    if not equals or any(blank in name for blank in _BLANKS + "\n"):
        raise ConfigError(f"missing '=' after attribute name: \"{text}\"")
    return name, value.strip(_BLANKS + "\n")


def parse_main_cf(text: str, path: str) -> MainCf:
    """Read the text of a main.cf; bad lines are in .errors."""
    main_cf = MainCf(path)
    for line in logical_lines(text):
        if line.text[0] in _BLANKS:
            main_cf.stray.append(line)
            continue
        try:
            name, value = split_assignment(line.text)
        except ConfigError as err:
            main_cf.errors.append(ConfigError(f"{path}, line {line.first_line}: {err.public}"))
        else:
            main_cf.entries.append(Entry(name, value, line.first_line, line.last_line))
    return main_cf


def read_text(path: str) -> str:
    """A configuration file's text: UTF-8, other octets kept as surrogates. Raises ConfigError."""
    try:
        return Path(path).read_bytes().decode("utf-8", "surrogateescape")
    except OSError as err:
        raise ConfigError(f"open {path}: {err.strerror}") from err


def read_main_cf(path: str) -> MainCf:
    """Read a file. Raises ConfigError when it cannot be opened."""
    return parse_main_cf(read_text(path), path)


def edit_text(text: str, changes: Mapping[str, str | None]) -> tuple[str, list[str]]:
    """Change the text of a main.cf; return it and the names that stood there more than once.

    An entry is replaced in its place (each of several), a new one comes last, None removes, COMMENT_OUT puts "#" before
    each line. Comments and empty lines stay where they are, also those between a line and its continuation.
    """
    out: list[str] = []
    seen: dict[str, int] = {}
    action: str | None = ""           # what happens to continuation lines: "" keep, None drop, COMMENT_OUT
    for line in physical_lines(text):
        if is_comment(line):
            out.append(line)
        elif line[0] in _BLANKS:
            if action is not None:
                out.append(action + line)
        else:
            name = line.partition("=")[0].strip(_BLANKS + "\n")
            action = ""
            if name not in changes:
                out.append(line)
                continue
            seen[name] = seen.get(name, 0) + 1
            value = changes[name]
            if value == COMMENT_OUT:
                action = COMMENT_OUT
                out.append(COMMENT_OUT + line)
                continue
            action = None
            if value is not None:
                out.append(f"{name} = {value}\n")
    new = [f"{name} = {value}\n" for name, value in changes.items()
           if name not in seen and value is not None and value != COMMENT_OUT]
    if new and out and not out[-1].endswith("\n"):
        out.append("\n")
    out += new
    return "".join(out), [name for name, count in seen.items() if count > 1]


def write_config(path: str, text: str) -> None:
    """Replace a configuration file at once, keeping its owner and mode; the target of a symbolic link is replaced.

    Raises ConfigError.
    """
    import os

    from mailsuite.base.files import write_whole

    target = Path(os.path.realpath(path))
    try:
        try:
            status = target.stat()
            owner: tuple[int, int] | None = (status.st_uid, status.st_gid)
            mode = status.st_mode & 0o7777
            if owner == (os.geteuid(), os.getegid()):
                owner = None
        except FileNotFoundError:
            owner, mode = None, 0o644
        write_whole(target, text.encode("utf-8", "surrogateescape"), mode=mode, owner=owner)
    except OSError as err:
        raise ConfigError(f"write {path}: {err.strerror}") from err


def edit_main_cf(path: str, changes: Mapping[str, str | None]) -> list[str]:
    """edit_text on a file, atomically; returns the names that stood there more than once. Raises ConfigError."""
    text, repeated = edit_text(read_text(path), changes)
    write_config(path, text)
    return repeated
