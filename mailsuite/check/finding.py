"""One thing that is wrong: where, and what to write there."""

from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """ERROR: mail is lost, refused or let in by mistake. WARNING: it will be some day, or somebody may read it.

    NOTE: worth knowing, nothing to mend.
    """

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """file, line: what to change; line 0: the file as a whole. mend: what to write or do.

    postfix: the text of Postfix's own `postfix check` for the same fault, "" where it has none.
    """

    severity: Severity
    text: str
    file: str = ""
    line: int = 0
    mend: str = ""
    postfix: str = ""
    check: str = ""

    @property
    def where(self) -> str:
        return f"{self.file}, line {self.line}: " if self.line else f"{self.file}: " if self.file else ""

    def lines(self) -> list[str]:
        """For people: "warning: FILE, line N: text", and what to do in a line of its own."""
        head = f"{self.severity.value}: {self.where}{self.text}"
        return [head, *(f"    {line}" for line in self.mend.split("\n") if line)]

    def as_json(self) -> dict[str, object]:
        given = {"severity": self.severity.value, "check": self.check, "text": self.text, "file": self.file,
                 "line": self.line, "mend": self.mend}
        return {name: value for name, value in given.items() if value}


def error(text: str, place: tuple[str, int] = ("", 0), mend: str = "", postfix: str = "") -> Finding:
    return Finding(Severity.ERROR, text, *place, mend, postfix)


def warning(text: str, place: tuple[str, int] = ("", 0), mend: str = "", postfix: str = "") -> Finding:
    return Finding(Severity.WARNING, text, *place, mend, postfix)


def note(text: str, place: tuple[str, int] = ("", 0), mend: str = "") -> Finding:
    return Finding(Severity.NOTE, text, *place, mend)
