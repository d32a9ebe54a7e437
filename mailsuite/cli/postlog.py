"""postlog: write lines to the mail log. See postlog(1).

    postlog [-iv] [-c config_dir] [-p priority] [-t tag] [text]        without text: the lines of standard input

The lines go where the suite logs, and to standard error where that is a terminal. -i is taken and means nothing: the
process id is always there. After a fatal or panic line the command waits for a second, as every program would.
Exit: 0, 1.
"""

import logging
import os
import sys
import time
from typing import TYPE_CHECKING

from mailsuite.cli.mailcommand import default_directory, fatal, load, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailsuite.config.settings import Settings

PROGRAM = "postlog"
USAGE = "usage: postlog [-c config_dir] [-i] [-p priority] [-t tag] [-v] [text]"
PANIC = logging.CRITICAL + 5
LEVELS = {"info": logging.INFO, "warn": logging.WARNING, "warning": logging.WARNING, "error": logging.ERROR,
          "fatal": logging.CRITICAL, "panic": PANIC}
WORDS = {logging.WARNING: "warning: ", logging.ERROR: "error: ", logging.CRITICAL: "fatal: ", PANIC: "panic: "}
PAUSE_S = 1.0


def main() -> int:
    """The console script."""
    options, words = parse(PROGRAM, sys.argv[1:], "c:ip:t:v", USAGE, 1)
    given = dict(options)
    priority = given.get("-p", "info").lower()
    if priority not in LEVELS:
        fatal(PROGRAM, f'unknown severity: "{priority}" (use info, warn, error, fatal or panic)', 1)
    settings = load(given.get("-c", default_directory()), PROGRAM, 1)
    target = open_target(settings, given.get("-t") or f"{settings.text('syslog_name')}/{PROGRAM}")
    level = LEVELS[priority]
    for line in [" ".join(words)] if words else _input():
        target.emit(logging.LogRecord(f"mailsuite.{PROGRAM}", level, "", 0, "%s", (line,), None))
        if sys.stderr.isatty():
            print(f"{PROGRAM}: {WORDS.get(level, '')}{line}", file=sys.stderr)
        if level >= logging.CRITICAL:
            time.sleep(PAUSE_S)
    return 0


def _input() -> "Iterator[str]":
    for line in sys.stdin:
        yield line.rstrip("\n")


def open_target(settings: "Settings", tag: str) -> logging.Handler:
    """The mail log, for lines with this tag; ends the command where it may not be written."""
    from mailsuite.base import log
    from mailsuite.base.errors import ConfigError
    from mailsuite.config.maillog import log_file

    class Tagged(log.PostfixFormat):
        def tag(self, record: logging.LogRecord) -> str:
            return f"{tag}[{os.getpid()}]"

        def lines(self, record: logging.LogRecord) -> list[str]:
            return [f"panic: {line.removeprefix('fatal: ')}" if record.levelno == PANIC else line
                    for line in super().lines(record)]

    try:
        file = log_file(settings)
        return log.FileTarget(Tagged(tag), log.open_log_file(*file)) if file else log.SyslogTarget(Tagged(tag))
    except ConfigError as error:
        return fatal(PROGRAM, error.public, 1)
    except OSError as error:
        return fatal(PROGRAM, f"open {error.filename}: {error.strerror}", 1)


if __name__ == "__main__":
    sys.exit(main())
