"""smtpd_handlers to objects.

    load_handlers("{ aiosmtpd.handlers:Mailbox /var/mail/in } mine:Guard", folder) -> [Plugin(name, object), ...]

A class is called with the arguments: by its from_cli where it has one (aiosmtpd's own handlers), else by itself, whole
numbers as int. Anything else that the name stands for is the handler itself. The code runs with mail_owner's rights.
Raises ConfigError: no such module or name, or the plug-in cannot be made.
"""

import argparse
import importlib
import re
import sys
from dataclasses import dataclass
from typing import Any, NoReturn

from mailsuite.base.errors import ConfigError
from mailsuite.config.registry import split_items

_NAME = re.compile(r"([A-Za-z_][\w.]*):([A-Za-z_]\w*)")


@dataclass(frozen=True, slots=True)
class Plugin:
    """name: as configured, for the log."""

    name: str
    handler: Any

    def hook(self, name: str) -> Any:
        """A method, None where the plug-in has none of that name."""
        return getattr(self.handler, name, None)


class _Parser(argparse.ArgumentParser):
    """What from_cli complains to."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


def load_handlers(text: str, folder: str = "") -> list[Plugin]:
    """In the order of text."""
    if not text.strip():
        return []
    if folder and folder not in sys.path:
        sys.path.insert(0, folder)
    return [_load(item) for item in split_items(text)]


def _load(item: str) -> Plugin:
    words = split_items(item[1:-1]) if item.startswith("{") else [item]
    match = _NAME.fullmatch(words[0]) if words else None
    if match is None:
        raise ConfigError(f"smtpd_handlers: {item} is not package.module:Class")
    try:
        made = getattr(importlib.import_module(match[1]), match[2])
        if isinstance(made, type):
            made = _make(made, words[1:])
    except ConfigError as error:
        raise ConfigError(f"smtpd_handlers: {words[0]}: {error.public}") from error
    except Exception as error:
        raise ConfigError(f"smtpd_handlers: cannot load {words[0]}: {type(error).__name__}: {error}") from error
    return Plugin(words[0], made)


def _make(made: Any, arguments: list[str]) -> Any:
    from_cli = getattr(made, "from_cli", None)
    if from_cli is not None:
        return from_cli(_Parser(), *arguments)
    return made(*(int(word) if word.isdigit() else word for word in arguments))
