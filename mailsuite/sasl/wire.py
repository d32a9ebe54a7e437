"""Lines of Dovecot's authentication protocol: words between tabs, what would break them escaped.

    line("AUTH", "1", "PLAIN", "service=smtp") -> b"AUTH\\t1\\tPLAIN\\tservice=smtp\\n"
    words(b"OK\\t1\\tuser=alice") -> ["OK", "1", "user=alice"]

NUL, SOH, TAB, CR and LF are written as SOH and one of "01trn". Octets that are no UTF-8 survive (surrogateescape).
"""

from collections.abc import Iterable

LINE_LIMIT = 16384         # octets of one line

_ESCAPES = str.maketrans({"\0": "\x010", "\x01": "\x011", "\t": "\x01t", "\r": "\x01r", "\n": "\x01n"})
_MEANINGS = {"0": "\0", "1": "\x01", "t": "\t", "r": "\r", "n": "\n"}


def escape(text: str) -> str:
    return text.translate(_ESCAPES)


def unescape(text: str) -> str:
    if "\x01" not in text:
        return text
    first, *rest = text.split("\x01")
    return first + "".join(_MEANINGS.get(part[:1], part[:1]) + part[1:] for part in rest)


def line(*words: str) -> bytes:
    """One line; the words are escaped here."""
    if "".join(words).isprintable():        # as nearly all are: nothing to escape
        return ("\t".join(words) + "\n").encode("utf-8", "surrogateescape")
    return ("\t".join(map(escape, words)) + "\n").encode("utf-8", "surrogateescape")


def words(octets: bytes) -> list[str]:
    """The words of one line without its end."""
    parts = octets.decode("utf-8", "surrogateescape").split("\t")
    return [unescape(word) for word in parts] if b"\x01" in octets else parts


def fields(parts: Iterable[str]) -> dict[str, str]:
    """key=value words as a mapping in their order; a word without "=" has the value ""."""
    found: dict[str, str] = {}
    for part in parts:
        key, _, value = part.partition("=")
        found[key] = value
    return found
