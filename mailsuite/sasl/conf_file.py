"""Files such as dovecot-sql.conf.ext and dovecot-ldap.conf.ext: key = value lines.

    values = read_conf_file("/etc/dovecot/dovecot-sql.conf.ext", SQL_SETTINGS)     raises ConfigError with file and line

"#" begins a comment outside of quotes, "\\" at a line's end continues it, a value in quotes loses them. Names that are
not in the table are refused, as Dovecot does; the table has the defaults.
Source: Dovecot 2.3's settings parser for these files (lib-settings).
"""

import re
from collections.abc import Iterator, Mapping

from mailsuite.base.errors import ConfigError

SIZE_LIMIT = 2**20              # octets of a file
_COMMENT = re.compile(r"""(?:[^'"#]|'(?:\\.|[^'\\])*(?:'|$)|"(?:\\.|[^"\\])*(?:"|$))*""")


def read_conf_file(path: str, defaults: Mapping[str, str]) -> dict[str, str]:
    """All settings of the table, with what the file says. Raises ConfigError."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read(SIZE_LIMIT)
    except OSError as error:
        raise ConfigError(f"Can't open configuration file {path}: {error.strerror}") from error
    values = dict(defaults)
    for number, line in _lines(text):
        name, equals, value = line.partition("=")
        name, value = name.strip(), value.strip()
        where = f"Error in configuration file {path} line {number}: "
        if not equals:
            raise ConfigError(f"{where}Expecting '=': {line[:60]}")
        if name not in defaults:
            raise ConfigError(f"{where}Unknown setting: {name}")
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        values[name] = value
    return values


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Logical lines with the number of their last line."""
    whole = ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip(" \t")
        if not line or line.startswith("#"):
            continue
        match = _COMMENT.match(line)
        line = (match[0] if match else line).rstrip(" \t")
        if line.endswith("\\"):
            whole += line[:-1]
            continue
        line, whole = whole + line, ""
        if line:
            yield number, line


def flag(values: Mapping[str, str], name: str, path: str) -> bool:
    """A yes/no setting. Raises ConfigError."""
    value = values[name].lower()
    if value not in ("yes", "no", "y", "n", "1", "0", "true", "false"):
        raise ConfigError(f"{path}: Invalid boolean value: {name} = {values[name]}")
    return value in ("yes", "y", "1", "true")
