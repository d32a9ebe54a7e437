"""Which parameter names mean something: Postfix's, ours, and those that main.cf and master.cf make.

    names = Names(written, services)      written: main.cf's names and values; services: [ServiceNames(...), ...]
    names.known("relay_destination_rate_delay")      names.service / .user / .derived: the classes of `postconf -C`
    names.unused() -> [("main.cf", "relayhots", "a"), ...]      names.undefined() -> [("main.cf", "nosuch"), ...]

Made names: those derived from a transport or command service of master.cf (relay_destination_rate_delay,
X_time_limit), from a table that keeps its settings in main.cf (pgsql:users -> users_hosts), restriction classes, and
any name that main.cf or a -o gives and another value or default refers to.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

from mailsuite.base.errors import ConfigError
from mailsuite.config import expansion, registry
from mailsuite.config.postfix_defaults import COMPUTED, DEFAULTS, transport_suffixes
from mailsuite.config.settings import RAW
from mailsuite.config.table_params import table_parameters


class ServiceNames(NamedTuple):
    """What a line of master.cf has to do with names."""

    service: str
    command: str
    overrides: Mapping[str, str]


def mentioned(value: str) -> set[str]:
    """The names that a value refers to; none when it cannot be read."""
    try:
        return set(expansion.references(value))
    except ConfigError:
        return set()


class Names:
    """The names of one configuration."""

    def __init__(self, written: Mapping[str, str], services: Iterable[ServiceNames]) -> None:
        self.written, self.services = written, list(services)

    @cached_property
    def service(self) -> set[str]:
        """Names that services of master.cf bring with them."""
        return {f"{service.service}_{suffix}" for service in self.services
                for suffix in transport_suffixes(service.command)}

    @cached_property
    def derived(self) -> set[str]:
        """Names that tables and restriction classes bring with them, where main.cf gives them."""
        try:
            names = set(registry.split_items(self.written.get("smtpd_restriction_classes", "")))
        except ConfigError:
            names = set()
        for value in [*self.written.values(), *self._override_values()]:
            names |= table_parameters(value)
        return names & (self.written.keys() | self._override_names())

    @cached_property
    def user(self) -> set[str]:
        """Names that only this configuration defines, and refers to."""
        defined = self.written.keys() | self._override_names()
        return {name for name in defined & self._mentioned if not self._built_in(name)} | self.derived

    def known(self, name: str) -> bool:
        """Whether the name means something here."""
        return self._built_in(name) or name in self.user

    def _built_in(self, name: str) -> bool:
        return name in DEFAULTS or name in COMPUTED or name in self.service or name in registry.declared()

    def _override_values(self) -> Iterator[str]:
        return (value for service in self.services for value in service.overrides.values())

    def _override_names(self) -> set[str]:
        return {name for service in self.services for name in service.overrides}

    @cached_property
    def _mentioned(self) -> set[str]:
        """All names that values and defaults refer to."""
        found = {name for value in self._override_values() for name in mentioned(value)}
        for name, value in self.written.items():
            if name not in RAW:
                found |= mentioned(value)
        return found | _mentioned_by_defaults()

    def unused(self) -> list[tuple[str, str, str]]:
        """(file, name, value) of what is given and means nothing."""
        found = [("main.cf", name, value) for name, value in self.written.items() if not self.known(name)]
        for service in self.services:
            found += [("master.cf", name, value) for name, value in service.overrides.items()
                      if not self.known(name) and ("master.cf", name, value) not in found]
        return found

    def undefined(self) -> list[tuple[str, str]]:
        """(file, name) of what is referred to and nobody defines."""
        names = {("main.cf", other) for name, value in self.written.items() if name not in RAW
                 for other in mentioned(value)}
        names |= {("master.cf", other) for value in self._override_values() for other in mentioned(value)}
        defined = self.written.keys() | self._override_names()
        return sorted(pair for pair in names if not self.known(pair[1]) and pair[1] not in defined)


def _mentioned_by_defaults() -> set[str]:
    return {other for name, value in DEFAULTS.items() if "$" in value and name not in RAW
            for other in mentioned(value)}
