"""Cipher grades (smtpd_tls_ciphers = medium) and exclusions as an OpenSSL cipher list.

    cipher_list("medium", "aNULL, RC4") -> "aNULL:-aNULL:HIGH:MEDIUM:+RC4:@STRENGTH:!aNULL:!RC4"

TLS 1.3 suites are not chosen by this list. Raises: ConfigError for an unknown grade.
"""

import re

from mailsuite.base.errors import ConfigError

GRADES = {
    "high": "aNULL:-aNULL:HIGH:@STRENGTH",
    "medium": "aNULL:-aNULL:HIGH:MEDIUM:+RC4:@STRENGTH",
    "low": "aNULL:-aNULL:HIGH:MEDIUM:LOW:+RC4:@STRENGTH",
    "export": "aNULL:-aNULL:HIGH:MEDIUM:LOW:EXPORT:+RC4:@STRENGTH",
    "null": "eNULL:!aNULL",
}
_WORD = re.compile(r"[A-Za-z0-9_@+=.-]+")


def cipher_list(grade: str, exclude: str = "", *, grades: "dict[str, str] | None" = None) -> str:
    """grades: the administrator's own lists (tls_high_cipherlist...), put over the defaults. Raises ConfigError."""
    known = GRADES | {name: text for name, text in (grades or {}).items() if text}
    chosen = known.get(grade.lower())
    if chosen is None:
        raise ConfigError(f'unknown TLS cipher grade "{grade}"')
    words = [word for word in re.split(r"[\s,:]+", exclude) if word]
    for word in words:
        if not _WORD.fullmatch(word):
            raise ConfigError(f'bad word "{word}" in a list of excluded TLS ciphers')
    return ":".join([chosen, *(f"!{word}" for word in words)])
