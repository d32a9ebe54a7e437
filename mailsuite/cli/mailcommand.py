"""What the queue's commands share: options, configuration, the way they fail. Standard library only at import.

    options = parse(argv, "c:d:v", usage)          getopt(3) as Postfix's commands use it
    settings = load(options.config_directory, program)
    fatal("postqueue", "Cannot flush mail queue - mail system is down", 69)
"""

import getopt
import logging
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings

EX_USAGE, EX_DATAERR, EX_UNAVAILABLE, EX_SOFTWARE, EX_TEMPFAIL = 64, 65, 69, 70, 75


_log_targets: dict[str, logging.Handler] = {}         # of log_also
_directories: dict[str, Callable[[], str]] = {}       # of log_trouble


def fatal(program: str, text: str, status: int, settings: "Settings | None" = None) -> NoReturn:
    """One line on standard error, then out. With settings, log_also or log_trouble in the mail log too."""
    print(f"{program}: fatal: {text}", file=sys.stderr)
    _write_log(program, logging.CRITICAL, text, settings)
    sys.exit(status)


def _write_log(program: str, level: int, text: str, settings: "Settings | None" = None) -> None:
    if settings is None and program in _directories and program not in _log_targets:
        settings = _settings_at(_directories[program]())
    if settings is not None and program not in _log_targets:
        log_also(program, settings)
    if program in _log_targets:
        record = logging.LogRecord(f"mailsuite.{program}", level, "", 0, "%s", (text,), None)
        _log_targets[program].emit(record)


def log_trouble(program: str, directory: Callable[[], str]) -> None:
    """From now on `fatal` and `warn` write to the mail log that this configuration folder names, if it can be read."""
    _directories[program] = directory


def _settings_at(directory: str) -> "Settings | None":
    from mailsuite.base.errors import ConfigError
    from mailsuite.config.command import load_for_command
    try:
        return load_for_command(directory, lambda _: None)
    except (ConfigError, OSError):
        return None


def warn(program: str, text: str) -> None:
    print(f"{program}: warning: {text}", file=sys.stderr)
    if program in _directories:
        _write_log(program, logging.WARNING, text)


def parse(program: str, argv: list[str], letters: str, usage: str, status: int) -> tuple[list[tuple[str, str]],
                                                                                        list[str]]:
    """(options, words). What is wrong ends the command with getopt's line and the usage."""
    try:
        return getopt.getopt(argv, letters)
    except getopt.GetoptError as error:
        if "requires argument" in error.msg:
            print(f"{program}: option requires an argument -- '{error.opt}'", file=sys.stderr)
        else:
            # getopt(3) takes "--help" for the option "-", which nobody has.
            long_option = error.msg.startswith("option --")
            print(f"{program}: invalid option -- '{'-' if long_option else error.opt[:1]}'", file=sys.stderr)
        fatal(program, usage, status)


def default_directory() -> str:
    return os.environ.get("MAIL_CONFIG") or "/etc/postfix"


def load(config_directory: str, program: str, status: int = EX_TEMPFAIL) -> "Settings":
    """main.cf as it is: what is wrong elsewhere in it must not keep a queue command from its work."""
    from mailsuite.base.errors import ConfigError
    from mailsuite.config.command import load_for_command
    try:
        return load_for_command(config_directory, lambda text: warn(program, text), thorough=True)
    except (ConfigError, OSError) as error:
        fatal(program, str(error), status)


def log_also(program: str, settings: "Settings", *, aloud: bool = True) -> logging.Logger:
    """A logger whose lines go to the mail log (where it may be written) and, aloud, shortened to standard error."""
    from mailsuite.base import log
    from mailsuite.base.errors import ConfigError
    from mailsuite.config.maillog import log_file

    class Both(logging.Handler):
        def __init__(self) -> None:
            super().__init__()
            form = log.PostfixFormat(settings.text("syslog_name"), utf8=settings.text("smtputf8_enable") != "no")
            self.target: logging.Handler | None = None
            try:
                file = log_file(settings)
                self.target = log.FileTarget(form, log.open_log_file(*file)) if file else log.SyslogTarget(form)
            except (OSError, ConfigError):
                pass                # an ordinary user may not write there; master complains of a bad name

        def emit(self, record: logging.LogRecord) -> None:
            word = {logging.WARNING: "warning: ", logging.ERROR: "error: "}.get(record.levelno, "")
            if aloud:
                log.say(f"{program}: {word}{record.getMessage()}")
            if self.target is not None:
                self.target.emit(record)

    target = Both()
    log.setup(target, target)
    if target.target is not None:
        _log_targets[program] = target.target
    return log.logger(program)


def become_owner(queue_directory: str) -> None:
    """Root goes on with the rights of the queue's owner: who owns these folders may put anything into them, and root
    must not follow it there. Nothing where the owner is root, or there is no queue yet. Raises OSError."""
    try:
        found = os.stat(f"{queue_directory}/incoming")
    except FileNotFoundError:
        return
    if os.geteuid() == 0 != found.st_uid:
        from mailsuite.net.privileges import Identity, drop_privileges
        drop_privileges(Identity(found.st_uid, found.st_gid))
