"""Where log lines go, from maillog_file, syslog_name, syslog_facility and Dovecot's log_path.

Descriptors are opened by the master, before any rights are dropped; a reload opens them anew (log rotation).
"""

import contextlib
import logging
import os
from typing import TYPE_CHECKING

from mailsuite.base import log
from mailsuite.base.error_ring import ErrorRing
from mailsuite.base.errors import ConfigError
from mailsuite.config.maillog import log_file

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings
    from mailsuite.config.settings import Settings

_FACILITIES = {"kern": 0, "user": 1, "mail": 2, "daemon": 3, "auth": 4, "syslog": 5, "lpr": 6, "news": 7, "uucp": 8,
               "cron": 9, "authpriv": 10, "ftp": 11, **{f"local{n}": 16 + n for n in range(8)}}


class LogFiles:
    """The open log files of a master. syslog_name: main.cf's, whatever a service's own is."""

    def __init__(self) -> None:
        self.syslog_name = ""
        self.ring = -1              # of the access side's errors; -1: there is none
        self._fds: dict[str, int] = {}
        self._modes: dict[str, int] = {}

    def reopen(self) -> None:
        """After a rotation: the old names are opened anew; children that live on keep the old files."""
        paths = list(self._fds)
        for fd in self._fds.values():
            if fd > 2:
                os.close(fd)
        self._fds.clear()
        for path in paths:
            self.fd(path, self._modes.get(path, 0o600))

    def fd(self, path: str, mode: int = 0o600) -> int:
        """Raises ConfigError when the file can't be opened. mode: of a new file."""
        if path not in self._fds:
            if path in ("/dev/stdout", "/dev/stderr"):
                self._fds[path] = 1 if path.endswith("out") else 2
            else:
                try:
                    self._fds[path] = log.open_log_file(path, mode)
                    self._modes[path] = mode
                except OSError as error:
                    raise ConfigError(f"cannot open the log {path}: {error.strerror}") from error
        return self._fds[path]

    def open_ring(self, dovecot: "DovecotSettings | None") -> None:
        """base_dir exists. Where the file cannot be made, nothing is kept: mail is more important."""
        if dovecot is not None and self.ring < 0:
            with contextlib.suppress(OSError):
                self.ring = ErrorRing.create(os.path.join(dovecot.text("base_dir"), "log-errors.ring"))


def mail_target(settings: "Settings", files: LogFiles) -> logging.Handler:
    form = log.PostfixFormat(settings.text("syslog_name"), files.syslog_name,
                             utf8=settings.text("smtputf8_enable") != "no")
    file = log_file(settings)
    if file:
        return log.FileTarget(form, files.fd(*file))
    return log.SyslogTarget(form, facility=_FACILITIES.get(settings.text("syslog_facility"), 2))


def access_target(dovecot: "DovecotSettings | None", files: LogFiles, mail: logging.Handler) -> logging.Handler:
    if dovecot is None:
        return mail
    path = dovecot.text("info_log_path") or dovecot.text("log_path")
    if path in ("", "syslog"):
        return log.SyslogTarget(log.DovecotFormat(), facility=_FACILITIES.get(dovecot.text("syslog_facility"), 2))
    return log.FileTarget(log.DovecotFormat(), files.fd(path))


def setup_logging(settings: "Settings", dovecot: "DovecotSettings | None", files: LogFiles) -> None:
    """Send this process's lines where the settings say. Raises ConfigError."""
    mail = mail_target(settings, files)
    access = access_target(dovecot, files, mail)
    if files.ring >= 0 and access is not mail:
        access.addFilter(ErrorRing(files.ring, log.DovecotFormat.program))
    log.setup(mail, access)
