"""The log file of the mail side: maillog_file, maillog_file_prefixes, maillog_file_permissions.

    log_file(settings) -> LogFile("/var/log/mail.log", 0o600), None: syslog

A log may only be where maillog_file_prefixes allows it, so that a slip in main.cf does not make root write into another
file. Source: postlogd(8).
"""

from typing import NamedTuple

from mailsuite.base.errors import ConfigError
from mailsuite.config.settings import Settings

MODES = {"0600": 0o600, "0640": 0o640, "0644": 0o644}


class LogFile(NamedTuple):
    """mode: of a new file."""

    path: str
    mode: int


def log_file(settings: Settings) -> LogFile | None:
    """Where the mail side logs; None: to syslog. Raises ConfigError."""
    path = settings.text("maillog_file")
    if not path:
        return None
    prefixes = settings.text("maillog_file_prefixes").replace(",", " ").split()
    if not any(path == prefix or path.startswith(f"{prefix.rstrip('/')}/") for prefix in prefixes):
        raise ConfigError(f"{settings.where('maillog_file')}maillog_file '{path}' does not match any prefix in "
                          "maillog_file_prefixes")
    text = settings.text("maillog_file_permissions")
    if text not in MODES:
        raise ConfigError(f"{settings.where('maillog_file_permissions')}maillog_file_permissions: bad value: {text}, "
                          f"use one of: {', '.join(MODES)}")
    return LogFile(path, MODES[text])
