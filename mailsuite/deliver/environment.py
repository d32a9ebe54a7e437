"""The environment of commands: what export_environment lets through of what import_environment let in.

    exported_environment(settings) -> {"TZ": "UTC", "MAIL_CONFIG": "/etc/postfix", "LANG": "C"}

An item is a name, name=value, or { name = value with blanks }. PATH is not among what may be chosen: DEFAULT_PATH.
"""

import os
import re

from mailsuite.config.settings import Settings

DEFAULT_PATH = "/usr/bin:/bin"      # of every command, whatever export_environment says, as in Postfix
_ITEM = re.compile(r"(?:\{[^{}]*\}|[^\s,{}]|[{}])+")


def exported_environment(settings: Settings) -> dict[str, str]:
    """Names that are passed on, name=value that are set."""
    known = os.environ | {"MAIL_CONFIG": settings.config_directory} | {
        name: value for name, equals, value in _pairs(settings.text("import_environment")) if equals}
    return {name: value if equals else known[name]
            for name, equals, value in _pairs(settings.text("export_environment")) if equals or name in known}


def _pairs(text: str) -> list[tuple[str, str, str]]:
    """Name, "=" or "", and value of each item."""
    found = []
    for match in _ITEM.finditer(text):
        item = match[0]
        if item[0] == "{" and item[-1] == "}":
            name, equals, value = item[1:-1].partition("=")
            found.append((name.strip(), equals, value.strip()))
        else:
            found.append(item.partition("="))
    return found
