"""All that is wrong with main.cf, found before anything starts.

    errors, warnings = check_settings(settings)
    errors[0].public == "/etc/postfix/main.cf, line 7: relayhots: unknown parameter, did you mean relayhost?"

A name is known when Postfix has it, a module of ours declares it, or it is derived: from a transport of master.cf
(relay_destination_rate_delay), from a command service (X_time_limit), from a table (pgsql:NAME -> NAME_hosts), from
smtpd_restriction_classes; or when some known parameter or a -o in master.cf refers to it.
A value is checked by the Param that declares it, else by the kind that Postfix's default shows.
"""

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping

from mailsuite.base.errors import ConfigError, ConfigErrors
from mailsuite.config import expansion, registry
from mailsuite.config.mastercf import MasterEntry, read_master_cf
from mailsuite.config.postfix_defaults import COMPUTED, DEFAULTS, TRANSPORT_COMMANDS, kind_of, transport_suffixes
from mailsuite.config.settings import RAW, Settings
from mailsuite.config.table_params import table_parameters

_PARSERS = {"time": registry.seconds(most=2**63), "boolean": registry.boolean(), "number": registry.integer(
    least=-2**31, most=2**63 - 1)}


def check_settings(settings: Settings) -> tuple[list[ConfigError], list[str]]:
    """Everything wrong with names and values, in the order of lines; and warnings of names that nobody defines."""
    registry.import_all()
    services, overridden = _master_entries(settings.config_directory)
    known = known_names(settings.written, services, overridden)
    errors: list[ConfigError] = []
    warnings: list[str] = []
    for name, value in settings.written.items():
        errors += [ConfigError(f"{settings.where(name)}{text}") for text in _check(settings, name, known)]
        if name not in RAW:
            warnings += [f"{settings.where(name)}undefined parameter: {other}"
                         for other in sorted(_mentioned(value)) if settings.raw_or_none(other) is None]
    return sorted(errors, key=lambda error: _line_of(error.public)), warnings


def _line_of(text: str) -> int:
    match = re.search(r", line (\d+): ", text)
    return int(match[1]) if match else 0


def _master_entries(config_directory: str) -> tuple[list[MasterEntry], list[str]]:
    """The services, and the values that their -o give. Errors of master.cf are told by who starts it."""
    path = f"{config_directory}/master.cf"
    if not os.path.exists(path):
        return [], []
    try:
        services = read_master_cf(path)
    except ConfigErrors:
        return [], []
    return services, [value for service in services for value in service.overrides.values()]


def known_names(written: Mapping[str, str], services: Iterable[MasterEntry], overridden: Iterable[str]) -> set[str]:
    """Every name that may stand in main.cf, other than references to it."""
    known = set(DEFAULTS) | set(COMPUTED) | set(registry.declared())
    transports = {"smtp", "lmtp", "local", "virtual", "relay", "error", "retry", "discard"}
    for service in services:
        known |= {f"{service.name}_{suffix}" for suffix in transport_suffixes(service.command)}
        if service.command in TRANSPORT_COMMANDS:
            transports.add(service.name)
    for transport in transports:
        known |= {f"{transport}_{suffix}" for suffix in transport_suffixes("smtp")}
    known |= set(registry.split_items(written.get("smtpd_restriction_classes", "")))
    values = [*written.values(), *overridden]
    for value in values:
        known |= table_parameters(value)
    for value in values:
        known |= _mentioned(value)
    return known


def _mentioned(value: str) -> set[str]:
    try:
        return set(expansion.references(value))
    except ConfigError:
        return set()


def _check(settings: Settings, name: str, known: set[str]) -> Iterator[str]:
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
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
