"""A parameter is declared once: name, default, parser, and what it does.

    QUEUE_RUN_DELAY = declare(Param("queue_run_delay", "300s", seconds(least=1),
        "Time between scans of the deferred queue; no retry comes sooner than this."))
    settings[QUEUE_RUN_DELAY] -> 300

Each package declares what it uses in its params.py. A parser takes the expanded text and raises ConfigError whose
`public` says what is wrong with the value; Settings adds name, file and line.

    seconds(unit="s")  integer()  boolean()  enum(...)  string()  words()  items()  octal()  absolute_path()

`declare` refuses a name twice, and a default that its own parser refuses (defaults with a "$" cannot be looked at yet:
they depend on other parameters).
"""

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from mailsuite.base.errors import Bug, ConfigError

T = TypeVar("T")


class Param(NamedTuple, Generic[T]):
    """name: as in main.cf. default: as an administrator would write it, may refer to others with $name.

    parse: expanded text to value, raises ConfigError. doc: effect, unit, when one would change it.
    """

    name: str
    default: str
    parse: Callable[[str], T]
    doc: str


_DECLARED: dict[str, Param[Any]] = {}


def declare(param: Param[T]) -> Param[T]:
    """Enter a parameter into the registry and return it. Raises Bug: name taken, or default refused by its parser."""
    if param.name in _DECLARED:
        raise Bug(f"parameter {param.name} is declared twice")
    if "$" not in param.default:
        try:
            param.parse(param.default)
        except ConfigError as err:
            raise Bug(f"default of {param.name}: {err.public}") from err
    _DECLARED[param.name] = param
    return param


def declared() -> Mapping[str, Param[Any]]:
    """All parameters that the modules imported so far have declared, by name."""
    return _DECLARED


@functools.cache
def import_all() -> None:
    """Import every *params.py of the package, so that declared() is complete. What they import stays light."""
    import importlib

    import mailsuite

    for folder in mailsuite.__path__:
        for found in sorted(Path(folder).glob("**/*params.py")):
            parts = found.relative_to(folder).with_suffix("").parts
            importlib.import_module(".".join(("mailsuite", *parts)))


# The largest number that fits Postfix's int; a larger one is a slip.
INT_MAX = 2**31 - 1
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_TIME = re.compile(r"(\d+)\s*([smhdw]?)", re.ASCII)


_KINDS: dict[object, str] = {}


def _kind(parse: Callable[[str], T], text: str) -> Callable[[str], T]:
    """Remember, for the manual, what a parser takes."""
    _KINDS[parse] = text
    return parse


def kind_text(parse: Callable[[str], object]) -> str:
    """What a parser takes: "time", "yes or no", "one of: may, encrypt"; "" for one that is not from here."""
    return _KINDS.get(parse, "")


def _limits(least: float, most: float, usual: float) -> str:
    """" from 1 to 10", " from 1", or nothing."""
    return (f" from {least}" if least else "") + (f" to {most}" if most < usual else "")


def _within(text: str, value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise ConfigError(f"{text} is not between {least} and {most}")
    return value


def seconds(*, least: int = 0, most: int = INT_MAX, unit: str = "s") -> Callable[[str], int]:
    """Parser for a time: digits, then s, m, h, d or w; without a letter, `unit`. Raises ConfigError."""

    def parse(text: str) -> int:
        match = _TIME.fullmatch(text.strip().lower())
        if match is None:
            raise ConfigError(f"bad time value or unit: {text}")
        return _within(text, int(match[1]) * _UNITS[match[2] or unit], least, most)

    return _kind(parse, f"time{_limits(least, most, INT_MAX)}; without a unit: {unit}")


def integer(*, least: int = 0, most: int = INT_MAX) -> Callable[[str], int]:
    """Parser for a whole number, also for sizes in octets (main.cf knows no units there). Raises ConfigError."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"-?\d+", text.strip(), re.ASCII):
            raise ConfigError(f"bad numerical value: {text}")
        return _within(text, int(text), least, most)

    return _kind(parse, f"number{_limits(least, most, INT_MAX)}")


def size(*, least: int = 0, most: int = 2**63 - 1) -> Callable[[str], int]:
    """Parser for a number of octets. Raises ConfigError."""
    return _kind(integer(least=least, most=most), f"octets{_limits(least, most, 2**63 - 1)}")


def number(*, least: float = 0.0) -> Callable[[str], float]:
    """Parser for a number that may have a fraction. Raises ConfigError."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ConfigError(f"bad numerical value: {text}") from None
        if not value >= least:
            raise ConfigError(f"{text} is less than {least}")
        return value

    return _kind(parse, f"number{_limits(least, 1, 0)}, also with a fraction")


def boolean() -> Callable[[str], bool]:
    """Parser for yes or no, in any case. Raises ConfigError."""

    def parse(text: str) -> bool:
        word = text.strip().lower()
        if word not in ("yes", "no"):
            raise ConfigError(f"bad boolean value: {text}, use yes or no")
        return word == "yes"

    return _kind(parse, "yes or no")


def enum(*choices: str) -> Callable[[str], str]:
    """Parser for one word of a closed set, in any case; gives it in lower case. Raises ConfigError."""

    def parse(text: str) -> str:
        word = text.strip().lower()
        if word not in choices:
            raise ConfigError(f"bad value: {text}, use one of: {', '.join(name or '(empty)' for name in choices)}")
        return word

    return _kind(parse, f"one of: {', '.join(name or '(empty)' for name in choices)}")


def string(*, least: int = 0, most: int = 0) -> Callable[[str], str]:
    """Parser for any text of least to most characters; most 0: no limit. Raises ConfigError."""

    def parse(text: str) -> str:
        if len(text) < least:
            raise ConfigError("must not be empty" if least == 1 else f"shorter than {least} characters")
        if most and len(text) > most:
            raise ConfigError(f"longer than {most} characters")
        return text

    return _kind(parse, "text")


_ESCAPE = re.compile(rb"\\([0-7]{1,3}|.?)", re.DOTALL)
_ESCAPED = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def octets() -> Callable[[str], bytes]:
    r"""Parser for octets with C's escape sequences: \a \b \f \n \r \t \v \ddd (octal); else \x is x."""

    def one(match: re.Match[bytes]) -> bytes:
        text = match[1]
        return bytes([int(text, 8) & 255]) if text.isdigit() and text < b"8" else _ESCAPED.get(text, text)

    return _kind(lambda text: _ESCAPE.sub(one, text.encode("utf-8", "surrogateescape")), "octets, with C's escapes")


def split_items(text: str, separators: str = ", \t\r\n") -> list[str]:
    """Split a list at commas and white space, but not inside {}. Raises ConfigError: a "{" is never closed.

    An item that begins with "{" ends with its "}"; braces are kept, as tables of the form inline:{a=b, c=d} need them.
    """
    if "{" not in text:
        return [item for item in re.split(f"[{re.escape(separators)}]+", text) if item]
    items, item, depth = [], "", 0
    for char in text:
        if depth == 0 and char in separators:
            if item:
                items.append(item)
            item = ""
            continue
        depth += (char == "{") - (char == "}" and depth > 0)
        item += char
    if depth:
        raise ConfigError(f'missing "}}" in: {text}')
    return [*items, item] if item else items


def words(*, allowed: Iterable[str] | None = None, lower: bool = False) -> Callable[[str], tuple[str, ...]]:
    """Parser for a list split at commas and white space; allowed: the closed set of its words. Raises ConfigError."""
    closed = None if allowed is None else frozenset(allowed)

    def parse(text: str) -> tuple[str, ...]:
        found = tuple(split_items(text.lower() if lower or closed is not None else text))
        wrong = [word for word in found if closed is not None and word not in closed]
        if closed is not None and wrong:
            raise ConfigError(f"bad value: {', '.join(wrong)}, use: {', '.join(sorted(closed))}")
        return found

    return _kind(parse, "list" if closed is None else f"list of: {', '.join(sorted(closed))}")


items = words


def octal() -> Callable[[str], int]:
    """Parser for file permissions such as 0600. Raises ConfigError."""

    def parse(text: str) -> int:
        if not re.fullmatch("[0-7]{1,5}", text.strip()):
            raise ConfigError(f"bad permissions: {text}, use an octal number such as 0600")
        return int(text, 8)

    return _kind(parse, "file mode, octal")


def absolute_path(*, empty: bool = False) -> Callable[[str], str]:
    """Parser for a path that begins with "/"; empty: it may be left out. Raises ConfigError."""

    def parse(text: str) -> str:
        if not text.startswith("/") and not (empty and not text):
            raise ConfigError(f"not an absolute path: {text or '(empty)'}")
        return text

    return _kind(parse, "absolute path")
