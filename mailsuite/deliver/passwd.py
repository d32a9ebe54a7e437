"""The machine's accounts, as local needs them; answers are kept for a few seconds.

    accounts.named("alice") -> Account | None          accounts.of_uid(1000)          accounts.default(settings)

The look-up blocks (it is a read of /etc/passwd on most machines); unknown names are not kept.
"""

import os
import pwd
import time
from dataclasses import dataclass

from mailsuite.base.errors import ConfigError
from mailsuite.net.privileges import Identity

KEEP_S = 10.0
_KEEP_MOST = 10000


@dataclass(frozen=True, slots=True)
class Account:
    """One line of the password file."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str

    @property
    def identity(self) -> Identity:
        """Secondary groups are not enabled, as in Postfix."""
        return Identity(self.uid, self.gid, groups=(self.gid,))


class Accounts:
    """A small cache over pwd."""

    def __init__(self) -> None:
        self._by_name: dict[str, tuple[float, Account]] = {}

    def named(self, name: str) -> Account | None:
        now = time.monotonic()
        kept = self._by_name.get(name)
        if kept is not None and kept[0] > now:
            return kept[1]
        try:
            entry = pwd.getpwnam(name)
        except (KeyError, ValueError):
            self._by_name.pop(name, None)
            return None
        account = _account(entry)
        if len(self._by_name) >= _KEEP_MOST:
            self._by_name.clear()
        self._by_name[name] = (now + KEEP_S, account)
        return account

    def of_uid(self, uid: int) -> Account | None:
        try:
            return _account(pwd.getpwuid(uid))
        except KeyError:
            return None

    def default(self, name: str) -> Account:
        """default_privs. Raises ConfigError: unknown, or root where we are root ourselves."""
        if os.geteuid() != 0:
            own = self.of_uid(os.geteuid())
            return own or Account(name, os.geteuid(), os.getegid(), "/", "/bin/sh")
        account = self.named(name)
        if account is None:
            raise ConfigError(f"default_privs: unknown account {name}")
        if account.uid == 0:
            raise ConfigError("default_privs: privileged default user id")
        return account


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_shell)
