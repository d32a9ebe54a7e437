"""crypt(3): the hashes that /etc/shadow holds, by the C library.

    hashed = crypt(password, "$6$salt$...")        None: no such method, or a broken setting

libcrypt's crypt_r is called through ctypes, which lets other threads run meanwhile; where there is no libcrypt,
passlib's methods do (slower, and they hold the interpreter for the time of one hash).
"""

import ctypes
import ctypes.util
import functools
from collections.abc import Callable

_DATA_SIZE = 160 * 1024          # struct crypt_data has 32768 octets in libxcrypt, 131232 in the older glibc


@functools.cache
def _library() -> "Callable[[bytes, bytes], bytes | None] | None":
    """libcrypt's crypt_r behind a plain function; None where it cannot be had."""
    for name in ("libcrypt.so.1", "libcrypt.so.2", ctypes.util.find_library("crypt")):
        if name is None:
            continue
        try:
            crypt_r = ctypes.CDLL(name, use_errno=True).crypt_r
        except (OSError, AttributeError):
            continue
        crypt_r.restype = ctypes.c_char_p
        crypt_r.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p]

        return functools.partial(_call, crypt_r)
    return None


def _call(crypt_r: Callable[..., bytes | None], password: bytes, setting: bytes) -> bytes | None:
    return crypt_r(password, setting, ctypes.byref(ctypes.create_string_buffer(_DATA_SIZE)))


def crypt(password: bytes, setting: str) -> str | None:
    """Hash password as setting says (a whole hash will do as one); None when that is not possible."""
    if b"\0" in password or "\0" in setting:
        return None
    library = _library()
    if library is None:
        return _by_passlib(password, setting)
    result = library(password, setting.encode("utf-8", "surrogateescape"))
    if result is None or result.startswith(b"*") or len(result) < 13:
        return None
    return result.decode("ascii", "replace")


def _by_passlib(password: bytes, setting: str) -> str | None:
    from passlib import hash as hashes

    for name in ("sha512_crypt", "sha256_crypt", "md5_crypt", "bcrypt", "des_crypt"):
        method = getattr(hashes, name)
        try:
            if method.identify(setting):
                return str(method.genhash(password, setting))
        except ValueError:
            return None
    return None
