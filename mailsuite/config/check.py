"""All that is wrong with main.cf, found before anything starts.

    errors, warnings = check_settings(settings)
    errors[0].public == "/etc/postfix/main.cf, line 7: relayhots: unknown parameter, did you mean relayhost?"
    warnings[0] == "/etc/postfix/main.cf, line 8: biff: known, but not obeyed (...); see docs/differences.md"

Known names are those of names.py, with the transports that every master.cf has.
A value is checked by the Param that declares it, else by the kind that Postfix's default shows.
"""

import difflib
import os
import re
from collections.abc import Iterator

from mailsuite.base.errors import ConfigError
from mailsuite.config import registry
from mailsuite.config.maillog import log_file
from mailsuite.config.mastercf import MasterEntry, read_master_cf
from mailsuite.config.names import Names, ServiceNames
from mailsuite.config.postfix_defaults import COMPUTED, DEFAULTS, kind_of
from mailsuite.config.settings import RAW, Settings

# Transports that every master.cf has; main.cf may be written before it.
_STANDARD = [ServiceNames(name, "smtp", {}) for name in (
    "smtp", "lmtp", "local", "virtual", "relay", "error", "retry", "discard")]

_PARSERS = {"time": registry.seconds(most=2**63), "boolean": registry.boolean(), "number": registry.integer(
    least=-2**31, most=2**63 - 1)}


def check_settings(settings: Settings) -> tuple[list[ConfigError], list[str]]:
    """Everything wrong with names and values, in the order of lines; and warnings: what nobody defines, or obeys."""
    from mailsuite.config.manual.unobeyed import unobeyed

    registry.import_all()
    entries = _entries(settings.config_directory)
    names = Names(settings.written, [
        *_STANDARD, *(ServiceNames(entry.name, entry.command, entry.overrides) for entry in entries)])
    errors = in_order([*(ConfigError(f"{settings.where(name)}{text}") for name in settings.written
                         for text in _check(settings, name, names)), *_check_log(settings)])
    errors += [ConfigError(f"{entry.where}: {entry.name}/{entry.type}: -o {text}") for entry in entries
               for text in _check_overrides(settings, entry, names)]
    warnings = [f"{settings.config_directory}/{file}: undefined parameter: {name}"
                for file, name in names.undefined()]
    return errors, [*warnings, *unobeyed(settings, entries)]


def in_order(errors: list[ConfigError]) -> list[ConfigError]:
    """Sorted by line; those without one come first."""

    def line(error: ConfigError) -> int:
        match = re.search(r", line (\d+): ", error.public)
        return int(match[1]) if match else 0

    return sorted(errors, key=line)


def _entries(config_directory: str) -> list[MasterEntry]:
    """The services of master.cf. Its own errors are told by who starts them."""
    path = f"{config_directory}/master.cf"
    if not os.path.exists(path):
        return []
    try:
        return read_master_cf(path)
    except ConfigError:
        return []


def _check_log(settings: Settings) -> list[ConfigError]:
    try:
        log_file(settings)
    except ConfigError as error:
        return [error]
    return []


def _check_overrides(settings: Settings, entry: MasterEntry, names: Names) -> Iterator[str]:
    """What is wrong with a service's -o parameters, as they are in force there."""
    if entry.overrides:
        own = settings.with_overrides(entry.overrides)
        service = ServiceNames(entry.name, entry.command, entry.overrides)
        for name in entry.overrides:
            yield from _check(own, name, names, service)


def _check(settings: Settings, name: str, names: Names, service: ServiceNames | None = None) -> Iterator[str]:
    if not names.known(name, service):
        close = difflib.get_close_matches(name, {*DEFAULTS, *COMPUTED, *registry.declared()}, n=1, cutoff=0.75)
        yield f"{name}: unknown parameter" + (f", did you mean {close[0]}?" if close else "")
        return
    if name in RAW:
        return
    try:
        text = settings.text(name)
        param = registry.declared().get(name)
        if param is not None:
            param.parse(text)
        elif (parse := _PARSERS.get(kind_of(name))) is not None:
            parse(text)
    except ConfigError as err:
        yield f"{name}: {err.public}"
