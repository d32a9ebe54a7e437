"""As whom a user's mail is served: uid, gid and groups from the databases and the settings.

    who = identity_of(user, settings)          raises NotAllowed: the administrator wants no mail of such a user here

mail_uid and mail_gid stand in for what the databases do not say; first_valid_uid and the like bound both. Called in the
access parent; looks into the group database (local files, or what NSS has in their place).
"""

import grp
import os
import pwd
from collections.abc import Callable
from typing import TYPE_CHECKING

from mailsuite.base.errors import PermanentError
from mailsuite.net.privileges import Identity
from mailsuite.sasl.user import UserInfo

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings


class NotAllowed(PermanentError):
    """detail is for the log; the client learns that something is wrong, not what."""

    def __init__(self, detail: str) -> None:
        super().__init__("internal error", detail=detail)


def identity_of(user: UserInfo, settings: "DovecotSettings") -> Identity:
    """The identity of a user's worker. Without root all are who we are, and no bounds are set. Raises NotAllowed."""
    if os.geteuid() != 0:
        return Identity(os.geteuid(), os.getegid())
    _check_chroot(user, settings)
    uid, whose_uid = (user.uid, "userdb lookup") if user.uid is not None else (
        _number(settings.text("mail_uid"), _uid, "mail_uid"), "mail_uid setting")
    gid, whose_gid = (user.gid, "userdb lookup") if user.gid is not None else (
        _number(settings.text("mail_gid"), _gid, "mail_gid"), "mail_gid setting")
    if uid is None:
        raise NotAllowed("Couldn't drop privileges: User is missing UID (see mail_uid setting)")
    if gid is None:
        raise NotAllowed("Couldn't drop privileges: User is missing GID (see mail_gid setting)")
    _check("UID", uid, whose_uid, settings.number("first_valid_uid"), settings.number("last_valid_uid"))
    _check("GID", gid, whose_gid, settings.number("first_valid_gid"), settings.number("last_valid_gid"))
    if uid == 0:
        raise NotAllowed(f"Mail access for users with UID 0 is not permitted (uid from {whose_uid})")
    privileged = _number(settings.text("mail_privileged_group"), _gid, "mail_privileged_group")
    return Identity(uid, gid, _groups(user, gid, settings), privileged_gid=-1 if privileged is None else privileged)


def _check_chroot(user: UserInfo, settings: "DovecotSettings") -> None:
    """A user who is to be confined to a folder is not served outside of it. Raises NotAllowed.

    "/./" in a home marks where a chroot would begin, and the paths are the same without one.
    """
    folder, whose = user.fields.get("chroot", ""), "userdb returned"
    if not folder:
        folder, whose = settings.text("mail_chroot"), "mail_chroot has"
    if not folder:
        return
    path = os.path.normpath(folder)
    valid = [os.path.normpath(one) for one in settings.text("valid_chroot_dirs").split(":") if one]
    if not any(path == one or path.startswith(one + "/") for one in valid):
        raise NotAllowed(f"Invalid settings in userdb: {whose} invalid chroot directory: {folder} "
                         "(see valid_chroot_dirs setting)")
    raise NotAllowed(f"chroot to {folder} is not supported (see docs/differences.md)")


def _check(kind: str, number: int, source: str, first: int, last: int) -> None:
    if number < first or (last and number > last):
        bound = f"first_valid_{kind.lower()}" if number < first else f"last_valid_{kind.lower()}"
        raise NotAllowed(f"Mail access for users with {kind} {number} not permitted (see {bound} in config file, "
                         f"{kind.lower()} from {source}).")


def _number(text: str, find: Callable[[str], int], name: str) -> int | None:
    if not text:
        return None
    try:
        return int(text) if text.isdecimal() else find(text)
    except KeyError:
        raise NotAllowed(f"{name} = {text}: there is no such name on this machine") from None


def _uid(name: str) -> int:
    return pwd.getpwnam(name).pw_uid


def _gid(name: str) -> int:
    return grp.getgrnam(name).gr_gid


def _groups(user: UserInfo, gid: int, settings: "DovecotSettings") -> tuple[int, ...]:
    """Supplementary groups: those of system_groups_user, and mail_access_groups."""
    groups = set()
    if user.system_groups_user:
        groups |= set(os.getgrouplist(user.system_groups_user, gid))
    for name in settings.text("mail_access_groups").replace(",", " ").split():
        found = _number(name, _gid, "mail_access_groups")
        if found is not None:
            groups.add(found)
    return tuple(sorted(groups))
