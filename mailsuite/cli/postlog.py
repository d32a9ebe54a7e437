"""postlog: write lines to the mail log. See postlog(1).

    postlog [-iv] [-c config_dir] [-p priority] [-t tag] [text]        without text: the lines of standard input
"""

import logging
import os
import sys

from mailsuite.cli.mailcommand import default_directory, fatal, load, parse

PROGRAM = "postlog"
USAGE = "usage: postlog [-c config_dir] [-i] [-p priority] [-t tag] [-v] [text]"
LEVELS = {"info": logging.INFO, "warn": logging.WARNING, "warning": logging.WARNING, "error": logging.ERROR,
          "fatal": logging.CRITICAL, "panic": logging.CRITICAL}


def main() -> int:
    """The console script."""
    options, words = parse(PROGRAM, sys.argv[1:], "c:ip:t:v", USAGE, 1)
    given = dict(options)
    priority = given.get("-p", "info").lower()
    if priority not in LEVELS:
        fatal(PROGRAM, f'bad severity: "{priority}"', 1)
    directory = given.get("-c", default_directory())
    settings = load(directory, PROGRAM, 1)
    from mailsuite.base import log
    from mailsuite.base.errors import ConfigError
    from mailsuite.config.maillog import log_file

    tag = given.get("-t", f"{settings.text('syslog_name')}/postlog")
    form = log.PostfixFormat(tag)
    form.tag = lambda record: f"{tag}[{os.getpid()}]"  # type: ignore[method-assign]
    targets: list[logging.Handler] = []
    try:
        file = log_file(settings)
        targets.append(log.FileTarget(form, log.open_log_file(*file)) if file else log.SyslogTarget(form))
    except ConfigError as error:
        fatal(PROGRAM, error.public, 1)
    except OSError as error:
        print(f"{PROGRAM}: warning: open {error.filename}: {error.strerror}", file=sys.stderr)
    for line in [" ".join(words)] if words else (line.rstrip("\n") for line in sys.stdin):
        record = logging.LogRecord(f"mailsuite.{PROGRAM}", LEVELS[priority], "", 0, "%s", (line,), None)
        for target in targets:
            target.emit(record)
        word = {"info": "", "warn": "warning: ", "warning": "warning: "}.get(priority, f"{priority}: ")
        print(f"{PROGRAM}: {word}{line}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
