"""One whole configuration: main.cf, master.cf, dovecot.conf and what follows from them.

    load_configuration("/etc/postfix") -> Configuration        raises ConfigErrors, for all files at once
"""

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailsuite.base.errors import ConfigError, ConfigErrors
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.config.mastercf import read_master_cf
from mailsuite.config.registry import import_all
from mailsuite.config.settings import Settings
from mailsuite.master.accounts import Accounts, find_accounts
from mailsuite.master.plan import ServicePlan, make_plan
from mailsuite.master.services import COMMANDS
from mailsuite.sasl.check import check_authentication

if TYPE_CHECKING:
    from mailsuite.config.mastercf import MasterEntry


@dataclass
class Configuration:
    """directory: where main.cf lies. dovecot: None when there is no dovecot.conf beside it."""

    directory: str
    settings: Settings
    dovecot: DovecotSettings | None
    accounts: Accounts
    plans: list[ServicePlan]
    warnings: tuple[str, ...] = ()


def load_configuration(directory: str) -> Configuration:
    """Read and check all files. Raises ConfigErrors."""
    errors: list[ConfigError] = []
    directory = os.path.abspath(directory)
    import_all()        # a strict load then parses every value before anything starts

    def collect(error: ConfigError) -> None:
        errors.extend(error.errors if isinstance(error, ConfigErrors) else [error])

    settings: Settings | None = None
    dovecot: DovecotSettings | None = None
    entries: list[MasterEntry] | None = None
    try:
        settings = Settings.load(directory)
    except ConfigError as error:
        collect(error)
        with contextlib.suppress(ConfigError):       # with what can be understood, the other files are checked too
            settings = Settings.load(directory, strict=False)
    try:
        entries = read_master_cf(os.path.join(directory, "master.cf"))
    except ConfigError as error:
        collect(error)
    path = os.path.join(directory, "dovecot.conf")
    if os.path.exists(path):
        try:
            dovecot = DovecotSettings.load(path)
            check_authentication(dovecot)
        except ConfigError as error:
            collect(error)
    if settings is not None and entries is not None:
        try:
            accounts = find_accounts(settings, dovecot)
            plans = make_plan(settings, entries, dovecot, accounts)
        except ConfigError as error:
            collect(error)
    if errors:
        raise ConfigErrors(errors)
    assert settings is not None
    return Configuration(directory, settings, dovecot, accounts, plans, tuple(_not_obeyed(entries)))


def _not_obeyed(entries: "list[MasterEntry] | None") -> list[str]:
    """What master.cf asks for and does not get."""
    confined = [f"{entry.name}/{entry.type}" for entry in entries or []
                if entry.chroot and entry.command in COMMANDS]
    if not confined:
        return []
    return [f"chroot is not obeyed (see docs/differences.md): {', '.join(confined)}"]
