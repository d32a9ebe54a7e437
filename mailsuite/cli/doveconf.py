"""doveconf: show dovecot.conf as Dovecot's command does.

    doveconf [-a|-d|-n|-N] [-hPSx] [-c file] [-f filter=value]... [name ...]

name: a setting (mail_location), a section (passdb, namespace/inbox) or a setting in one (service/imap/executable).
-a all settings, -d their defaults, -n only those that differ, -N also those set to their default, -h values only,
-P passwords too, -S one setting a line, -x $name and <file replaced, -f protocol=imap|local=IP|remote=IP|lname=NAME.
Without -n and names a configuration with an error is refused with the first one; with -n what was understood before
an unfinished section is shown all the same. Status 89 for a configuration that cannot be used.
"""

import getopt
import os
import platform
import socket
import sys
from typing import NoReturn

from mailsuite.base.errors import ConfigError

EX_CONFIG = 89
DEFAULT_FILE = "/etc/dovecot/dovecot.conf"
USAGE = ("usage: doveconf [-aAdhnNPSx] [-c <config file>] [-f <filter>] [-m <module>] [<name> ...]")
FILTERS = {"lname": "local_name", "local": "local", "remote": "remote", "protocol": "protocol", "service": "protocol"}


class Options:
    """The command line."""

    def __init__(self, argv: list[str]) -> None:
        try:
            pairs, self.names = getopt.gnu_getopt(argv, "aAc:dehf:i:m:nNpPsSxt")
        except getopt.GetoptError as error:
            print(f"doveconf: invalid option -- '{error.opt[:1]}'", file=sys.stderr)
            print(USAGE, file=sys.stderr)
            sys.exit(EX_CONFIG)
        self.flags = {name[1:] for name, _ in pairs}
        self.file = next((value for name, value in reversed(pairs) if name == "-c"),
                         os.environ.get("DOVECONF_FILE") or DEFAULT_FILE)
        self.filters: dict[str, str] = {}
        for name, value in pairs:
            if name == "-f":
                key, equals, what = value.partition("=")
                if not equals or key not in FILTERS:
                    fatal(f"Unknown filter argument: {value}")
                self.filters[FILTERS[key]] = what

    def __contains__(self, flag: str) -> bool:
        return flag in self.flags


def fatal(text: str) -> NoReturn:
    """One line on standard error, then out."""
    print(f"doveconf: Fatal: {text}", file=sys.stderr)
    sys.exit(EX_CONFIG)


def main() -> None:
    """The console script."""
    try:
        run(Options(sys.argv[1:]))
        sys.stdout.flush()
    except ConfigError as error:
        fatal(error.public)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def run(options: Options) -> None:
    """Read, show, complain."""
    from mailsuite.config.dovecot import DovecotSettings, read
    from mailsuite.config.dovecot_filter import laid_over, overlays
    from mailsuite.config.dovecot_syntax import Node
    from mailsuite.config.dovecot_text import Writer

    errors: list[ConfigError] = []
    root = Node()
    if "d" not in options or os.path.exists(options.file):
        parsed = read(options.file, expand="x" in options)
        root, errors = parsed.root, parsed.errors
        if not options.names:
            header(options)
        for warning in parsed.warnings:
            print(f"doveconf: Warning: {warning}", file=sys.stderr)
    unfinished = [error for error in errors if "Missing '}'" in error.public]
    if errors and (len(unfinished) != len(errors) or "n" not in options):
        refuse(options, next(error for error in errors if error not in unfinished or "n" not in options))
    if "d" in options:
        root = Node()
    if options.filters:
        layers = overlays(root, options.filters)
        root = laid_over(root, layers)
        root.filters = [node for node in root.filters if node in layers]
    settings = DovecotSettings(root, options.file)
    writer = Writer(settings, sys.stdout, changed="n" in options or "N" in options, all_set="N" in options,
                    values_only="h" in options, secrets="P" in options, expand="x" in options,
                    simple="S" in options)
    if options.names:
        writer.names(options.names)
    else:
        writer.everything()
    sys.stdout.flush()
    if unfinished:
        refuse(options, unfinished[0])
    for error in settings.contradictions() if "n" in options and not options.names else ():
        print(f"doveconf: Error: {error.public.partition(f'{options.file}: ')[2]}", file=sys.stderr)
        fatal(error.public)


def refuse(options: Options, error: ConfigError) -> NoReturn:
    """End with an error of the file itself.

    Asked for a whole configuration, Dovecot with its ManageSieve server tells such an error twice: once for the helper
    that looks up the server's capabilities. Scripts that count the lines see what they expect.
    """
    if not options.names:
        print(f"doveconf: Fatal: {error.public}", file=sys.stderr)
    fatal(error.public)


def header(options: Options) -> None:
    """The comment lines that say what wrote this, for reports."""
    from mailsuite import __version__

    if "S" in options or "h" in options:
        return
    print(f"# {__version__} (mailsuite): {options.file}")
    print(f"# OS: {platform.system()} {platform.release()} {platform.machine()}")
    print(f"# Hostname: {socket.gethostname()}")
    if "n" not in options and "N" not in options:
        print("# NOTE: Send doveconf -n output instead when asking for help.")
