"""What the checks look at: main.cf, master.cf, dovecot.conf, and small questions about them.

    site = Site.load("/etc/postfix")            never strict: what cannot be read is in site.errors
    site.place("virtual_alias_maps") -> ("/etc/postfix/main.cf", 12)        ("main.cf", 0) for a default
"""

import grp
import os
import pwd
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from mailsuite.base.errors import ConfigError, ConfigErrors
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.config.mastercf import MasterEntry, read_master_cf
from mailsuite.config.settings import Settings


@dataclass
class Site:
    """errors: what every start refuses. now: seconds since 1970. privileged: the suite would run as root."""

    directory: str
    settings: Settings
    entries: list[MasterEntry]
    dovecot: DovecotSettings | None = None
    errors: list[ConfigError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    now: float = field(default_factory=time.time)
    privileged: bool = field(default_factory=lambda: os.geteuid() == 0)

    @classmethod
    def load(cls, directory: str) -> "Site":
        """With the errors of a strict load. Raises ConfigError: there is nothing to look at."""
        from mailsuite.master.configuration import load_configuration
        directory = os.path.abspath(directory)
        errors: list[ConfigError] = []
        warnings: list[str] = []
        notes: list[str] = []
        try:
            configuration = load_configuration(directory)
            warnings, notes = [*configuration.settings.warnings], [*configuration.warnings]
            warnings += configuration.dovecot.warnings if configuration.dovecot is not None else ()
        except ConfigErrors as several:
            errors = several.errors
        except ConfigError as error:
            errors = [error]
        site = cls.of(directory)
        site.errors, site.warnings, site.notes = errors, warnings, notes
        return site

    @classmethod
    def of(cls, directory: str) -> "Site":
        """Without a strict load. Raises ConfigError: main.cf cannot be read."""
        settings = Settings.load(directory, strict=False)
        try:
            entries = read_master_cf(os.path.join(directory, "master.cf"))
        except ConfigError:
            entries = []
        dovecot, path = None, os.path.join(directory, "dovecot.conf")
        if os.path.exists(path):
            try:
                dovecot = DovecotSettings.load(path)
            except ConfigError:
                dovecot = None
        return cls(directory, settings, entries, dovecot)

    # --- main.cf and master.cf --------------------------------------------------------------------------------------

    def text(self, name: str) -> str:
        """A parameter's text; "" where it cannot be expanded (a strict load tells that)."""
        try:
            return self.settings.text(name)
        except ConfigError:
            return ""

    def words(self, name: str) -> list[str]:
        return self.text(name).replace(",", " ").split()

    def place(self, name: str) -> tuple[str, int]:
        """Where a parameter is written, or where it could be."""
        origin = self.settings.origin(name)
        return (origin.file, origin.line) if origin is not None else (f"{self.directory}/main.cf", 0)

    def dovecot_place(self, name: str) -> tuple[str, int]:
        """The same for a setting of dovecot.conf."""
        if self.dovecot is None:
            return "", 0
        file, _, line = self.dovecot.where(name).rpartition(" line ")
        return (file, int(line)) if file else (self.dovecot.path, 0)

    def services(self, command: str) -> Iterator[tuple[MasterEntry, Settings]]:
        """The lines of master.cf with a command, and the settings in force there."""
        for entry in self.entries:
            if entry.command == command:
                yield entry, self.settings.with_overrides(entry.overrides)

    def service_place(self, entry: MasterEntry, name: str) -> tuple[str, int]:
        """Where a parameter of a service is written."""
        return (entry.file, entry.line) if name in entry.overrides else self.place(name)

    def parameters(self) -> Iterator[tuple[str, str, tuple[str, int]]]:
        """(name, expanded text, place) of all that main.cf and master.cf give."""
        for name in self.settings.written:
            yield name, self.text(name), self.place(name)
        for entry in self.entries:
            own = self.settings.with_overrides(entry.overrides)
            for name in entry.overrides:
                try:
                    yield name, own.text(name), (entry.file, entry.line)
                except ConfigError:
                    continue

    # --- accounts and files -----------------------------------------------------------------------------------------

    def mail_owner(self) -> pwd.struct_passwd | None:
        try:
            return pwd.getpwnam(self.text("mail_owner"))
        except KeyError:
            return None

    def setgid_group(self) -> int | None:
        try:
            return grp.getgrnam(self.text("setgid_group")).gr_gid
        except KeyError:
            return None


def may(bits: int, path: str, uid: int, gid: int) -> bool:
    """Whether an account may read (4), write (2), pass (1) a file, and pass all folders above it; True if unknown."""
    try:
        whole = os.path.realpath(path)
        if not _allowed(os.stat(whole), bits, uid, gid):
            return False
        while (parent := os.path.dirname(whole)) != whole:
            whole = parent
            if not _allowed(os.stat(whole), 1, uid, gid):
                return False
    except OSError:
        return True
    return True


def _allowed(found: os.stat_result, bits: int, uid: int, gid: int) -> bool:
    if uid == 0:
        return True
    mode = stat.S_IMODE(found.st_mode)
    given = mode >> 6 if found.st_uid == uid else mode >> 3 if found.st_gid == gid else mode
    return given & bits == bits
