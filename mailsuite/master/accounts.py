"""The accounts the suite runs as: Postfix's and Dovecot's default names.

As root each part drops to its own account; as an ordinary user everything is that user and nothing here applies.
`mailsuite accounts` makes the missing ones. Raises ConfigErrors naming that command when one is missing.
"""

import grp
import os
import pwd
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailsuite.base.errors import ConfigError, ConfigErrors

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings
    from mailsuite.config.settings import Settings


@dataclass(frozen=True)
class Accounts:
    """privileged: the master is root. Users are (name, uid, gid); None in an unprivileged suite."""

    privileged: bool
    mail_owner: tuple[str, int, int] | None = None
    setgid_group: int = -1
    internal_user: tuple[str, int, int] | None = None
    login_user: tuple[str, int, int] | None = None

    @property
    def owner_of_sockets(self) -> tuple[int, int] | None:
        """Who owns what lies in private/ and public/."""
        return (self.mail_owner[1], self.mail_owner[2]) if self.mail_owner else None

    @property
    def login_sockets(self) -> tuple[int, int] | None:
        """Sockets that only root and the login processes may use."""
        return (0, self.login_user[2]) if self.login_user else None

    def user(self, name: str, dovecot: "DovecotSettings") -> tuple[str, int, int]:
        """`user` of a service. Raises ConfigError for an unknown name."""
        return _uid(_named(name, dovecot))

    def listener_owner(self, user: str, group: str, dovecot: "DovecotSettings") -> tuple[int, int] | None:
        """uid and gid of a unix_listener. Raises ConfigError for an unknown name."""
        if not self.privileged:
            return None
        user = _named(user, dovecot)
        group = {"$default_internal_group": dovecot.text("default_internal_group")}.get(group, group)
        uid = _uid(user)[1] if user else 0
        try:
            gid = grp.getgrnam(group).gr_gid if group and not group.isdigit() else int(group or -1)
        except KeyError:
            raise ConfigError(f"unix_listener: unknown group \"{group}\"") from None
        return uid, gid


def _named(user: str, dovecot: "DovecotSettings") -> str:
    return {"$default_internal_user": dovecot.text("default_internal_user"),
            "$default_login_user": dovecot.text("default_login_user")}.get(user, user)


def _uid(name: str) -> tuple[str, int, int]:
    try:
        entry = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
    except KeyError:
        raise ConfigError(f"no account \"{name}\" on this machine: make it with \"mailsuite accounts\"") from None
    return entry.pw_name, entry.pw_uid, entry.pw_gid


def find_accounts(settings: "Settings", dovecot: "DovecotSettings | None") -> Accounts:
    """The accounts that these settings name. Raises ConfigErrors with all that are missing."""
    if os.geteuid() != 0:
        return Accounts(privileged=False)
    errors: list[ConfigError] = []

    def user(name: str) -> tuple[str, int, int] | None:
        try:
            return _uid(name)
        except ConfigError as error:
            errors.append(error)
            return None

    owner = user(settings.text("mail_owner"))
    group = settings.text("setgid_group")
    gid = -1
    try:
        gid = grp.getgrnam(group).gr_gid
    except KeyError:
        errors.append(ConfigError(f"no group \"{group}\" on this machine: make it with \"mailsuite accounts\""))
    internal = user(dovecot.text("default_internal_user")) if dovecot is not None else None
    login = user(dovecot.text("default_login_user")) if dovecot is not None else None
    if owner is not None and owner[1] == 0:
        errors.append(ConfigError("mail_owner must not be root"))
    errors += _wrong_default_privs(settings.text("default_privs"), owner[1] if owner is not None else 0)
    if errors:
        raise ConfigErrors(errors)
    return Accounts(True, owner, gid, internal, login)


def _wrong_default_privs(name: str, owner: int) -> list[ConfigError]:
    """What speaks against running commands of root's aliases as this account."""
    try:
        uid = pwd.getpwnam(name).pw_uid
    except KeyError:
        return [ConfigError(f"default_privs: no account \"{name}\" on this machine")]
    if uid == 0:
        return [ConfigError(f"default_privs: {name} is root; name an account without rights")]
    return [ConfigError("default_privs: must not be mail_owner, whose files are the queue")] if uid == owner else []


def make_accounts(settings: "Settings", dovecot: "DovecotSettings | None") -> list[str]:
    """Make the accounts and groups that are missing, as Debian's packages do; returns what was made.

    Raises ConfigError when not root or when useradd fails.
    """
    if os.geteuid() != 0:
        raise ConfigError("only root can make accounts")
    made: list[str] = []
    group = settings.text("setgid_group")
    if not _known(grp.getgrnam, group):
        _run("groupadd", "--system", group)
        made.append(f"group {group}")
    names = [settings.text("mail_owner")]
    if dovecot is not None:
        names += [dovecot.text("default_internal_user"), dovecot.text("default_login_user")]
    for name in names:
        if not _known(pwd.getpwnam, name):
            _run("useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent",
                 "--shell", "/usr/sbin/nologin", name)
            made.append(f"user {name}")
    return made


def _known(look_up: object, name: str) -> bool:
    try:
        look_up(name)       # type: ignore[operator]  # getpwnam or getgrnam
    except KeyError:
        return False
    return True


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
