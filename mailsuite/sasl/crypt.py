"""crypt(3): the hashes that /etc/shadow holds, by the C library.

    hashed = crypt(password, "$6$salt$...")        None: no such method, or a broken setting
    setting = gensalt("$y$", 5)                    a new setting of a method of libcrypt; None: there is none

libcrypt's crypt_r is called through ctypes, which lets other threads run meanwhile. What it does not know (Apache's
$apr1$, phpass, $pbkdf2-sha256$, $argon2id$, $scrypt$, $bcrypt-sha256$ ...), and everything where there is no libcrypt,
is left to libpass (imported as passlib), which holds the interpreter for the time of one hash.
"""

import ctypes
import ctypes.util
import functools
import os
from collections.abc import Callable

_NAMES = ("libcrypt.so.1", "libcrypt.so.2", ctypes.util.find_library("crypt"))
_DATA_SIZE = 160 * 1024          # struct crypt_data has 32768 octets in libxcrypt, 131232 in the older glibc


@functools.cache
def _library() -> "Callable[[bytes, bytes], bytes | None] | None":
    """libcrypt's crypt_r behind a plain function; None where it cannot be had."""
    for name in _NAMES:
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
    if library is not None and not setting.startswith(_PASSLIB_ONLY):
        result = library(password, setting.encode("utf-8", "surrogateescape"))
        if result is None or result.startswith(b"*") or len(result) < 13:
            return None
        return result.decode("ascii", "replace")
    return _by_passlib(password, setting)


def gensalt(prefix: str, cost: int) -> str | None:
    """A fresh setting for crypt."""
    for name in _NAMES:
        if name is None:
            continue
        try:
            function = ctypes.CDLL(name, use_errno=True).crypt_gensalt_rn
        except (OSError, AttributeError):
            continue
        function.restype = ctypes.c_char_p
        function.argtypes = [ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p,
                             ctypes.c_int]
        made: bytes | None = function(prefix.encode(), cost, os.urandom(16), 16,
                                      ctypes.create_string_buffer(192), 192)
        return None if made is None else made.decode("ascii")
    return None


_PASSLIB_ONLY = ("$apr1$", "$P$", "$H$", "$pbkdf2", "$argon2", "$scrypt$", "$bcrypt-sha256$", "$p5k2$", "$bcrypt$")
_METHODS = ("sha512_crypt", "sha256_crypt", "md5_crypt", "bcrypt", "des_crypt", "bsdi_crypt", "sha1_crypt",
            "sun_md5_crypt", "apr_md5_crypt", "phpass", "pbkdf2_sha1", "pbkdf2_sha256", "pbkdf2_sha512", "argon2",
            "scrypt", "bcrypt_sha256", "cta_pbkdf2_sha1", "dlitz_pbkdf2_sha1")


def _by_passlib(password: bytes, setting: str) -> str | None:
    from passlib import hash as hashes

    for name in _METHODS:
        method = getattr(hashes, name, None)
        try:
            if method is None or not method.identify(setting):
                continue
            if setting.startswith(_PASSLIB_ONLY):
                return setting if method.verify(password, setting) else "*"
            return str(method.genhash(password, setting))
        except (ValueError, TypeError, RuntimeError):       # broken, of another method, or its backend is missing
            continue
    return None
