"""The configuration as its services see it: main.cf with the overrides of each master.cf line.

    site = Site.load("/etc/postfix")         raises ConfigError
    site.smtpd("submission") -> Service      site.transport("local") -> MasterEntry | None
"""

import os
from dataclasses import dataclass

from mailsuite.base.errors import ConfigError
from mailsuite.config.mastercf import MasterEntry, read_master_cf
from mailsuite.config.settings import Settings
from mailsuite.explain.model import Decision


@dataclass(frozen=True)
class Service:
    """A line of master.cf and the settings in force there. entry: None without master.cf."""

    settings: Settings
    entry: MasterEntry | None = None

    @property
    def name(self) -> str:
        return f"{self.entry.name}/{self.entry.type}" if self.entry is not None else ""


class Site:
    """What `explain` asks of main.cf and master.cf."""

    def __init__(self, settings: Settings, entries: list[MasterEntry]) -> None:
        self.settings, self.entries = settings, entries

    @classmethod
    def load(cls, directory: str) -> "Site":
        """Raises ConfigError."""
        directory = os.path.abspath(directory)
        settings = Settings.load(directory, strict=False)
        path = os.path.join(directory, "master.cf")
        return cls(settings, read_master_cf(path) if os.path.exists(path) else [])

    def _service(self, entry: MasterEntry | None) -> Service:
        if entry is None:
            return Service(self.settings)
        return Service(self.settings.with_overrides(entry.overrides), entry)

    def smtpd(self, name: str = "") -> Service | None:
        """The smtpd that listens as that name; without one, the first of master.cf. Raises ConfigError: no such one."""
        found = [entry for entry in self.entries if entry.command == "smtpd"]
        if not name:
            return self._service(found[0]) if found else None
        for entry in found:
            if name in (entry.name, f"{entry.name}/{entry.type}") or entry.name.rpartition(":")[2] == name:
                return self._service(entry)
        raise ConfigError(f"no service {name} with the command smtpd in {self.settings.config_directory}/master.cf")

    def transport(self, name: str) -> Service | None:
        """What delivers for a transport; None: master.cf has no such line."""
        entry = next((entry for entry in self.entries if entry.name == name and entry.type == "unix"), None)
        return self._service(entry) if entry is not None else None

    def locate(self, decision: Decision, service: Service | None = None) -> Decision:
        """Say where the parameter that decided is written, if no table's line is known; all steps inside too."""
        for inner in decision.steps:
            self.locate(inner, service)
        if not decision.file:
            decision.file, decision.line = self.where(decision.by.partition(",")[0], service)
        return decision

    def where(self, parameter: str, service: Service | None = None) -> tuple[str, int]:
        """File and line of a parameter; "" and 0 for a default."""
        entry = service.entry if service is not None else None
        if entry is not None and parameter in entry.overrides:
            return entry.file, entry.line
        origin = self.settings.origin(parameter)
        return (origin.file, origin.line) if origin is not None else ("", 0)
