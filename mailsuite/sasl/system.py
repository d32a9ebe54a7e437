"""The system's users: getpwnam, getspnam, all users. Blocking; called in the auth service's threads.

Raises: KeyError for an unknown user, PermissionError when the right to read is missing.
"""

import ctypes
import errno
import grp
import pwd
import time
from dataclasses import dataclass


class _Spwd(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("password", ctypes.c_char_p), ("changed", ctypes.c_long),
                ("least", ctypes.c_long), ("most", ctypes.c_long), ("warn", ctypes.c_long),
                ("inactive", ctypes.c_long), ("expires", ctypes.c_long), ("flags", ctypes.c_ulong)]


@dataclass(frozen=True)
class Shadow:
    """An entry of /etc/shadow, or of what NSS has in its place."""

    password: str
    expired: bool


def shadow(user: str) -> Shadow:
    """The stored password of a user (Python's own spwd module ended with 3.12)."""
    libc = ctypes.CDLL(None, use_errno=True)
    entry, area = _Spwd(), ctypes.create_string_buffer(16384)
    result = ctypes.POINTER(_Spwd)()
    code = libc.getspnam_r(user.encode("utf-8", "surrogateescape"), ctypes.byref(entry), area, len(area),
                           ctypes.byref(result))
    if not result:
        if code in (errno.EACCES, errno.EPERM):
            raise PermissionError(code, "cannot read the shadow passwords")
        raise KeyError(user)
    today = int(time.time() // 86400)
    expired = 0 <= entry.expires <= today if entry.expires > 0 else False
    return Shadow((entry.password or b"").decode("utf-8", "surrogateescape"), expired)


def passwd(user: str) -> pwd.struct_passwd:
    return pwd.getpwnam(user)


def uid_of(text: str) -> int:
    """A uid given as number or name. Raises KeyError."""
    return int(text) if text.isdecimal() else pwd.getpwnam(text).pw_uid


def gid_of(text: str) -> int:
    """A gid given as number or name. Raises KeyError."""
    return int(text) if text.isdecimal() else grp.getgrnam(text).gr_gid


def user_names(first_uid: int, last_uid: int) -> list[str]:
    """All users of a range of uids; last_uid 0 is no limit."""
    return [entry.pw_name for entry in pwd.getpwall()
            if entry.pw_uid >= first_uid and (not last_uid or entry.pw_uid <= last_uid)]
