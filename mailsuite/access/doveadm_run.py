"""What a doveadm command in a worker is given, and how it answers."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from mailsuite.store.api import MailError, MailStore

EX_USAGE, EX_TEMPFAIL = 64, 75


class Failed(Exception):
    """The whole command ends: "Fatal: text" and a status."""

    def __init__(self, text: str, status: int = EX_TEMPFAIL) -> None:
        super().__init__(text)
        self.text, self.status = text, status


@dataclass
class Run:
    """One command. options: letters to values as getopt found them. status: the worst so far."""

    store: MailStore
    arguments: list[str]
    options: dict[str, list[str]]
    content: bytes
    say: Callable[[dict[str, Any]], None]
    status: int = 0

    def header(self, *titles: str) -> None:
        self.say({"header": list(titles)})

    def row(self, values: Iterable[str]) -> None:
        self.say({"row": list(values)})

    def error(self, text: str, error: MailError, *, end: str = "") -> None:
        """A part of the command failed; the rest goes on."""
        from mailsuite.access.doveadm import status_of

        self.say({"error": f"{text}: {error.public}{end}"})
        self.status = status_of(error)
