"""Whose rights a command of master.cf has: the attribute `user=name` or `user=name:group` of pipe and spawn.

    identity_of("filter:mail") -> Identity          raises Unknown("username", "filter")
    forbidden(identity, "postfix") -> Forbidden | None

Without root everybody is who we are, and nothing is forbidden.
"""

import grp
import os
import pwd
from enum import Enum

from mailsuite.base.errors import ConfigError
from mailsuite.net.privileges import Identity


class Forbidden(Enum):
    """Rights that a command never has."""

    ROOT = "root"
    ROOT_GROUP = "group 0"
    MAIL_OWNER = "mail_owner"


class Unknown(ConfigError):
    """what: "username" or "group"."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(f"unknown {what}: {name}")
        self.what, self.name = what, name


def identity_of(value: str) -> Identity:
    """The account and group of a user= attribute. Raises Unknown."""
    if os.geteuid() != 0:
        return Identity(os.geteuid(), os.getegid())
    name, colon, group = value.partition(":")
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        raise Unknown("username", name) from None
    try:
        gid = grp.getgrnam(group).gr_gid if colon else account.pw_gid
    except KeyError:
        raise Unknown("group", group) from None
    return Identity(account.pw_uid, gid, groups=(gid,))


def forbidden(identity: Identity, mail_owner: str) -> Forbidden | None:
    """What speaks against running commands as identity. Secondary groups are never enabled."""
    if os.geteuid() != 0:
        return None
    if identity.uid == 0:
        return Forbidden.ROOT
    try:
        if mail_owner and pwd.getpwnam(mail_owner).pw_uid == identity.uid:
            return Forbidden.MAIL_OWNER
    except KeyError:
        pass
    return Forbidden.ROOT_GROUP if identity.gid == 0 else None
