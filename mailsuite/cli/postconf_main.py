"""postconf's view of main.cf: which names to show, with which values, and the warnings that go with them."""

import errno
import os
from collections.abc import Mapping

from mailsuite.base.errors import ConfigError
from mailsuite.cli.postconf_options import Options, fatal, hint, show, warn
from mailsuite.config import expansion, registry
from mailsuite.config.command import read_settled
from mailsuite.config.maincf import MainCf, read_text
from mailsuite.config.mastercf_syntax import MasterFile, parse_master_cf
from mailsuite.config.names import Names, ServiceNames
from mailsuite.config.postfix_defaults import COMPUTED, DEFAULTS
from mailsuite.config.settings import RAW, Settings
from mailsuite.config.table_params import table_files

READ_ONLY = frozenset({"process_id", "process_name", "service_name"})


def read_master(directory: str, *, required: bool = False) -> MasterFile:
    """master.cf; when it is not required and not there, a warning. Raises ConfigError for a line that is no service."""
    path = f"{directory}/master.cf"
    try:
        text = read_text(path)
    except ConfigError as error:
        if required:
            raise
        warn(error.public)
        return MasterFile(path, [], [], [])
    master = parse_master_cf(text, path)
    for warning in master.warnings:
        warn(warning)
    if master.errors:
        raise master.errors[0]
    return master


def service_names(master: MasterFile) -> list[ServiceNames]:
    """What names.py wants to know of each service."""
    return [ServiceNames(line.fields[0], line.fields[7], {name: value for _, name, value in line.overrides()})
            for line in master.lines]


def tell_undefined(directory: str, names: Names, file: str) -> None:
    """Warnings before anything is shown: names that are referred to in the file and nobody defines."""
    for found, name in names.undefined():
        if found == file:
            warn(f"{directory}/{file}: undefined parameter: {name}")


def tell_missing(names: Names) -> None:
    """Warnings of tables whose own file cannot be read."""
    for kind, path in sorted({found for name, value in names.written.items() if names.built_in(name)
                              for found in table_files(value)}):
        if not os.access(path, os.R_OK):
            reason = os.strerror(errno.EACCES if os.path.exists(path) else errno.ENOENT)
            warn(f'open "{kind}" configuration "{path}": {reason}')


def check_texts(settings: Settings, names: Names) -> None:
    """Warnings before anything is shown, master.cf's first: names that nobody defines, values that are not in the macro
    language (one of Postfix's own parameters ends the command then), tables whose file is missing.
    """
    for service in names.services:
        _check_values(settings.with_overrides(service.overrides), service.overrides, names)
    tell_undefined(settings.config_directory, names, "master.cf")
    for name in ("myhostname", *([] if settings.is_set("mynetworks") else ["mynetworks"])):
        try:
            settings.text(name)
        except ConfigError as error:
            warn(error.public)
            fatal("dictionary mail_dict: macro processing error")
    tell_undefined(settings.config_directory, names, "main.cf")
    _check_values(settings, settings.written, names)
    tell_missing(names)
    if settings.is_set("compatibility_level"):
        expanded(settings, "relay_domains")           # any default that depends on it


def _check_values(settings: Settings, values: Mapping[str, str], names: Names) -> None:
    for name, value in values.items():
        if name in RAW or "$" not in value:
            continue
        if names.built_in(name):
            expanded(settings, name)
        elif faults := _faults(value):
            warn(faults[0].public)


def _faults(value: str) -> list[expansion.ExpansionError]:
    faults: list[expansion.ExpansionError] = []
    expansion.references(value, faults)
    return faults


def tell_unused(directory: str, names: Names, *, files: tuple[str, ...] = ("main.cf", "master.cf")) -> None:
    """Warnings after all was shown: names that are given and mean nothing."""
    for file, name, value in names.unused():
        if file in files:
            warn(f"{directory}/{file}: unused parameter: {name}={value}")
            hint(name)


def expanded(settings: Settings, name: str) -> str:
    """The value with all $name replaced, as -x shows it."""
    try:
        return settings.raw(name) if name in RAW else settings.text(name)
    except ConfigError as error:
        warn(error.public)
        fatal("macro processing error")


class MainShow:
    """One run of postconf [-d|-n] [-x] [name ...]."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.defaults_only = "d" in options
        main_cf = MainCf("") if self.defaults_only else read_settled(f"{options.directory}/main.cf", warn)
        written = {entry.name: entry.value for entry in main_cf.entries}
        for override in options.overrides:
            name, equals, value = override.partition("=")
            if not equals:
                fatal(f"invalid parameter override: {override}: missing '=' after attribute name")
            if not name.strip():
                fatal(f"invalid parameter override: {override}: missing attribute name")
            written[name.strip()] = value.strip()
        if options.given_directory and not self.defaults_only:
            written["config_directory"] = options.directory
        # Only a name that Postfix does not have makes it worth while to look at our own.
        if not options.words or any(name not in DEFAULTS for name in {*written, *options.words}):
            registry.import_all()
        self.settings = Settings(options.directory, written)
        services = [] if self.defaults_only and options.words else service_names(self._master())
        self.names = Names(written, services)

    def _master(self) -> MasterFile:
        try:
            return read_master(self.options.directory)
        except ConfigError as error:
            fatal(error.public)

    def run(self) -> None:
        """Show what was asked for, then warn."""
        if not self.defaults_only:
            for name in READ_ONLY & self.settings.written.keys():
                warn(f"{self.options.directory}/main.cf: read-only parameter assignment: "
                     f"{name}={self.settings.raw(name)}")
            check_texts(self.settings, self.names)
        for name in self.options.words or self._all():
            if not self.names.known(name):
                warn(f"{name}: unknown parameter")
                hint(name)
            elif "n" not in self.options or self.settings.is_set(name):
                expand = "x" in self.options
                show(self.options, name, expanded(self.settings, name) if expand else self.settings.raw(name))
        if not self.defaults_only:
            tell_unused(self.options.directory, self.names)

    def _all(self) -> list[str]:
        found: set[str] = set()
        if self.options.wants("builtin"):
            found |= {*DEFAULTS, *COMPUTED, *registry.declared()}
        if self.options.wants("service"):
            found |= self.names.service
        if self.options.wants("user") and not self.defaults_only:
            found |= self.names.user & self.settings.written.keys()
        return sorted(found)
