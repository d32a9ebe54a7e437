"""Warnings of parameters that are set and that nothing obeys, so that nothing is ignored in silence.

    unobeyed(settings, entries) -> ["/etc/postfix/main.cf, line 7: biff: known, but not obeyed (...); see ..."]

A value that is the default, or that says what we do anyway, needs no warning.
"""

from collections.abc import Iterable

from mailsuite.base.errors import ConfigError
from mailsuite.config.manual.entries import Entry, entry
from mailsuite.config.mastercf import MasterEntry
from mailsuite.config.settings import Settings

SEE = "see docs/differences.md"


def unobeyed(settings: Settings, entries: Iterable[MasterEntry]) -> list[str]:
    """For main.cf in the order of its names, then for the -o of master.cf."""
    found = [f"{settings.where(name)}{name}: {why}; {SEE}" for name in settings.written
             if (why := why_unobeyed(settings, name, settings.raw(name)))]
    for service in entries:
        found += [f"{service.where}: {service.name}/{service.type}: -o {name}: {why}; {SEE}"
                  for name, value in service.overrides.items() if (why := why_unobeyed(settings, name, value))]
    return found


def why_unobeyed(settings: Settings, name: str, value: str) -> str:
    """The reason, when the parameter is not obeyed and the value asks for something else than we do; else ""."""
    item = entry(name)
    if item is None or item.obeyed or item.silent or _same(settings, item, value):
        return ""
    return f"known, but not obeyed ({item.reason})"


def _same(settings: Settings, item: Entry, value: str) -> bool:
    """Whether the value is the default or one of those that say what we do."""
    wanted = _expanded(settings, value)
    return any(wanted == _expanded(settings, text) for text in (item.default, *item.acts_as))


def _expanded(settings: Settings, text: str) -> str:
    try:
        return " ".join(settings.expand(text).lower().split())
    except ConfigError:
        return " ".join(text.lower().split())
