"""auth_verbose_passwords: what the log says of a wrong password.

    shown = shown_password("sha1:6");  shown(Secret(b"x")) -> " (SHA1 of given password: 11f6ad)"

"no", "plain" (or "yes") or "sha1", the latter two with ":LENGTH" to cut the text. A right password is never shown.
"""

import hashlib
from collections.abc import Callable

from mailsuite.base.errors import ConfigError
from mailsuite.base.secret import Secret

Shown = Callable[[Secret | None], str]


def shown_password(setting: str) -> Shown:
    """Raises ConfigError."""
    kind, colon, length = setting.strip().lower().partition(":")
    if kind not in ("no", "yes", "plain", "sha1") or (colon and (not length.isdecimal() or int(length) < 1)):
        raise ConfigError(f"auth_verbose_passwords: {setting}: expected no, plain, sha1, plain:LENGTH or sha1:LENGTH")
    end = int(length) if colon else None

    def shown(password: Secret | None) -> str:
        if password is None or kind == "no":
            return ""
        if kind == "sha1":
            return f" (SHA1 of given password: {hashlib.sha1(password.reveal()).hexdigest()[:end]})"
        # What is no text must not change the look of the log.
        text = "".join(char if char.isprintable() else "?" for char in password.reveal().decode("utf-8", "replace"))
        return f" (given password: {text[:end]})"

    return shown


NOTHING_SHOWN = shown_password("no")
