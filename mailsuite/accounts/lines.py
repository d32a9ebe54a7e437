"""Files of lines that people edit, changed at one entry: everything else stays as it was, comments and order too.

    file = EntryFile(text, key_of_table)                key_of_alias, key_of_passwd
    file.find("anna@demo.test") -> Entry | None         Entry(key, text, first, last): physical lines, from 0
    file.replace(entry, "anna@demo.test  demo/anna/") ; file.remove(entry) ; file.append(line)
    file.text

An entry is a logical line: text that begins with white space goes on with it (tables and aliases; not passwd-files).
Keys are compared as the tables do it: folded to lower case.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from mailsuite.maps.sources import BadLine, alias_and_value, key_and_value
from mailsuite.maps.table import fold

_SPACE = " \t\r\v\f"


class Entry(NamedTuple):
    """key, value: "" and the text for a line that makes no sense there. first, last: physical lines, from 0."""

    key: str
    value: str
    first: int
    last: int

    @property
    def line(self) -> int:
        """As people count."""
        return self.first + 1


class Form(NamedTuple):
    """How a kind of file is read. split: logical line to key and value, raises BadLine."""

    split: Callable[[str], tuple[str, str]]
    continued: bool = True


def _passwd(text: str) -> tuple[str, str]:
    name, colon, rest = text.rstrip("\r").partition(":")
    if not name:
        raise BadLine("no user name")
    return name, rest if colon else ""


def _word(text: str) -> tuple[str, str]:
    return text.strip(), ""


TABLE = Form(key_and_value)
ALIASES = Form(alias_and_value)
PASSWD = Form(_passwd, continued=False)
WORDS = Form(_word, continued=False)        # a /file/name in a list of domains: one a line


class EntryFile:
    """One file's text."""

    def __init__(self, text: str, form: Form) -> None:
        self._form = form
        self._ended = text.endswith("\n") or not text
        self._lines = text.split("\n")
        if text.endswith("\n") or not text:
            self._lines.pop()

    @property
    def text(self) -> str:
        return "\n".join(self._lines) + ("\n" if self._lines and self._ended else "")

    def entries(self) -> Iterator[Entry]:
        """All entries in order; lines that make no sense are left out."""
        at = 0
        while at < len(self._lines):
            last = at
            if not self._starts(at):
                at += 1
                continue
            following = at + 1
            while self._form.continued and following < len(self._lines) and not self._starts(following):
                if self._lines[following].strip() and not self._lines[following].lstrip(_SPACE).startswith("#"):
                    last = following
                following += 1
            text = "".join(line for line in self._lines[at:last + 1] if not line.lstrip(_SPACE).startswith("#"))
            try:
                key, value = self._form.split(text)
                yield Entry(fold(key), value, at, last)
            except BadLine:
                pass
            at = last + 1

    def _starts(self, at: int) -> bool:
        """Does a logical line begin here?"""
        line = self._lines[at]
        return bool(line.strip()) and not line.lstrip(_SPACE).startswith("#") and \
            not (self._form.continued and line[0] in _SPACE)

    def find(self, key: str) -> Entry | None:
        """The first entry of that key, which is the one that counts."""
        wanted = fold(key)
        return next((entry for entry in self.entries() if entry.key == wanted), None)

    def all_keys(self) -> list[str]:
        return [entry.key for entry in self.entries()]

    def append(self, line: str) -> None:
        self._lines.append(line)
        self._ended = True

    def replace(self, entry: Entry, line: str) -> None:
        self._lines[entry.first:entry.last + 1] = [line]

    def remove(self, key: str) -> int:
        """All entries of a key, later ones that did not count too; returns how many went."""
        removed = 0
        while (entry := self.find(key)) is not None:
            del self._lines[entry.first:entry.last + 1]
            removed += 1
        return removed
