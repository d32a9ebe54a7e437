"""Which parameter names mean something: Postfix's, ours, and those that main.cf and master.cf make.

    names = Names(written, services)      written: main.cf's names and values; services: [ServiceNames(...), ...]
    names.known("relay_destination_rate_delay")      names.service / .user: the classes of `postconf -C`
    names.unused() -> [("main.cf", "relayhots", "a"), ...]      names.undefined() -> [("main.cf", "nosuch"), ...]

Made names: those derived from a transport or command service of master.cf (relay_destination_rate_delay,
X_time_limit), from a table that keeps its settings in main.cf (pgsql:users -> users_hosts), restriction classes, and
any name that main.cf or a -o gives and another value or default refers to.
"""

from collections.abc import Iterable, Mapping
from functools import cache, cached_property
from typing import NamedTuple

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
    """The names that a value refers to; of one that cannot be read, those before the fault."""
    return set(expansion.references(value, faults=[]))


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
    def user(self) -> set[str]:
        """Names that only this configuration defines, and refers to from somewhere that sees them."""
        defined = self.written.keys() | self._override_names()
        return {name for name in defined & (self._global | self._from_services) if not self.built_in(name)}

    def known(self, name: str, service: ServiceNames | None = None) -> bool:
        """Whether the name means something in main.cf, or as a -o of the service."""
        if self.built_in(name):
            return True
        if service is None:
            return name in self.user
        return name in self._global or name in _all_mentioned(service.overrides) \
            or name in self.written and name in self.user

    def built_in(self, name: str) -> bool:
        """Whether the name means something in every configuration (with these services)."""
        return name in DEFAULTS or name in COMPUTED or name in self.service or name in registry.declared()

    def _override_names(self) -> set[str]:
        return {name for service in self.services for name in service.overrides}

    @cached_property
    def _global(self) -> set[str]:
        """All names that main.cf and defaults refer to."""
        return _all_mentioned(self.written) | _mentioned_by_defaults()

    @cached_property
    def _from_services(self) -> set[str]:
        """All names that -o values refer to and that the same service does not give itself."""
        return {name for service in self.services
                for name in _all_mentioned(service.overrides) - service.overrides.keys()}

    def unused(self) -> list[tuple[str, str, str]]:
        """(file, name, value) of what is given and means nothing."""
        found = [("main.cf", name, value) for name, value in self.written.items() if not self.known(name)]
        for service in self.services:
            found += [("master.cf", name, value) for name, value in service.overrides.items()
                      if not self.known(name, service) and ("master.cf", name, value) not in found]
        return found

    def undefined(self) -> list[tuple[str, str]]:
        """(file, name) of what is referred to and nobody defines."""
        names = {("main.cf", name) for name in
                 _all_mentioned(self.written, tables=False) - self.written.keys() - self._override_names()}
        for service in self.services:
            names |= {("master.cf", name) for name in
                      _all_mentioned(service.overrides, tables=False) - self.written.keys() - service.overrides.keys()}
        return sorted(pair for pair in names if not self.built_in(pair[1]))


def _all_mentioned(values: Mapping[str, str], *, tables: bool = True) -> set[str]:
    """The names that values refer to, as $name, as a restriction class, or (tables) as what a table keeps here."""
    found = _classes(values)
    for name, value in values.items():
        if name not in RAW:
            found |= mentioned(value)
        if tables:
            found |= table_parameters(value)
    return found


def _classes(values: Mapping[str, str]) -> set[str]:
    """The restriction classes that smtpd_restriction_classes names; none when it cannot be read."""
    depth = 0

    def find(name: str) -> str:
        nonlocal depth
        depth += 1
        if depth > expansion.MAX_DEPTH:
            raise expansion.ExpansionError("refers to itself")
        return expansion.expand(values.get(name, DEFAULTS.get(name, "")), find)

    try:
        return set(find("smtpd_restriction_classes").replace(",", " ").split())
    except expansion.ExpansionError:
        return set()


@cache
def _mentioned_by_defaults() -> frozenset[str]:
    return frozenset(other for name, value in DEFAULTS.items() if "$" in value and name not in RAW
                     for other in mentioned(value))
