"""doveconf: show dovecot.conf as Dovecot's command does.

    doveconf [-a|-d|-n|-N] [-hPSx] [-c file] [-f filter=value]... [name ...]

name: a setting (mail_location), a section (passdb, namespace/inbox) or a setting in one (service/imap/executable).
-a all settings, -d their defaults, -n only those that differ, -N also those set to their default, -s all and hidden
ones: the last of these holds. -h values only, -P passwords too, -S one setting a line, -m MODULE what concerns one
program, -x $name and <file replaced, -f protocol=imap|local=IP|remote=IP|lname=NAME.
A configuration with an error is refused with the first one; what was understood before an unfinished section is shown
all the same. Status 89 for a configuration that cannot be used.
"""

import getopt
import os
import platform
import socket
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

from mailsuite.base.errors import ConfigError

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings
    from mailsuite.config.dovecot_syntax import Node, Value

EX_CONFIG = 89
DEFAULT_FILE = "/etc/dovecot/dovecot.conf"
SCOPES = ("-a", "-d", "-n", "-N", "-s")
FILTERS = {"lname": "local_name", "local": "local", "remote": "remote", "protocol": "protocol", "service": "protocol"}


class Options:
    """The command line."""

    def __init__(self, argv: list[str]) -> None:
        try:
            pairs, self.names = getopt.gnu_getopt(argv, "aAc:dehf:i:m:nNpPsSxt")
        except getopt.GetoptError as error:
            lacks = "requires argument" in error.msg
            letter = "-" if error.opt[1:] else error.opt
            print(f"doveconf: option requires an argument -- '{error.opt}'" if lacks else
                  f"doveconf: invalid option -- '{letter}'", file=sys.stderr)
            sys.exit(EX_CONFIG)
        self.flags = {name[1:] for name, _ in pairs if name not in SCOPES}
        self.flags |= {name[1:] for name, _ in pairs if name in SCOPES and name == _last(pairs)}
        self.module = next((value for name, value in reversed(pairs) if name == "-m"), "")
        self.file = next((value for name, value in reversed(pairs) if name == "-c"),
                         os.environ.get("DOVECONF_FILE") or DEFAULT_FILE)
        self.filters: dict[str, str] = {}
        for name, value in pairs:
            if name == "-f":
                key, _, what = value.partition("=")
                if key not in FILTERS:
                    fatal(f"Unknown filter argument: {value}")
                self.filters[FILTERS[key]] = what

    def __contains__(self, flag: str) -> bool:
        return flag in self.flags


def _last(pairs: list[tuple[str, str]]) -> str:
    """Of -a, -d, -n, -N and -s the last one holds."""
    return next((name for name, _ in reversed(pairs) if name in SCOPES), "")


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
    from mailsuite.config.dovecot_filter import laid_over, overlays, possible
    from mailsuite.config.dovecot_syntax import Node
    from mailsuite.config.dovecot_text import Writer

    errors: list[ConfigError] = []
    root = Node()
    if "d" not in options or os.path.exists(options.file):
        if not options.names:
            header(options)
        parsed = read(options.file, expand="x" in options)
        root, errors = parsed.root, parsed.errors
        for warning in parsed.warnings * (1 if options.names or "d" in options else 2):     # see `refuse`
            print(f"doveconf: Warning: {warning}", file=sys.stderr)
    unfinished = [error for error in errors if "Missing '}'" in error.public]
    if len(unfinished) != len(errors):
        refuse(options, next(error for error in errors if error not in unfinished))
    if not options.names and ("d" not in options or os.path.exists(options.file)):
        system_header(options)
    if "d" in options:
        root = Node()
    if options.filters:
        root = possible(laid_over(root, overlays(root, options.filters)), options.filters)
    settings = DovecotSettings(root, options.file)
    if "x" in options:
        for _, name, value in sorted(_files(root), key=lambda found: (found[2].path, found[2].line)):
            settings.content_of(name, value)
    writer = Writer(settings, sys.stdout, changed="n" in options or "N" in options, all_set="N" in options,
                    values_only="h" in options, secrets="P" in options, expand="x" in options,
                    simple="S" in options, module=options.module, hidden="s" in options)
    if options.names:
        writer.names(options.names)
    else:
        writer.everything()
    sys.stdout.flush()
    whole = not options.names or "S" in options
    if unfinished and whole:
        refuse(options, unfinished[0])
    if whole or writer.shown_sections:
        complain(options, settings, fatally=whole)


def complain(options: Options, settings: "DovecotSettings", *, fatally: bool) -> None:
    """Tell the first contradiction between settings, if there is one, and end with it."""
    from mailsuite.config.dovecot_modules import names_of

    for error in settings.contradictions():
        text = error.public.partition(f"{options.file}: ")[2]
        if options.module and not names_of(options.module).intersection(text.lower().replace(":", " ").split()):
            continue
        print(f"doveconf: Error: {text}", file=sys.stderr)
        if fatally:
            fatal(error.public)
        return


def _files(node: "Node") -> "Iterator[tuple[Node, str, Value]]":
    """All settings that are the content of a file."""
    for name, value in node.values.items():
        if value.file:
            yield node, name, value
    for child in (*node.nodes, *node.filters):
        yield from _files(child)


def refuse(options: Options, error: ConfigError) -> NoReturn:
    """End with an error of the file itself.

    Asked for a whole configuration, Dovecot with its ManageSieve server tells such an error twice: once for the helper
    that looks up the server's capabilities. Scripts that count the lines see what they expect.
    """
    if not options.names:
        print(f"doveconf: Fatal: {error.public}", file=sys.stderr)
    fatal(error.public)


def header(options: Options) -> None:
    """The comment line that says what wrote this, for reports; there before the file is looked at."""
    from mailsuite import __version__

    if "S" not in options:
        print(f"# {__version__} (mailsuite): {options.file}", flush=True)


def system_header(options: Options) -> None:
    """The comment lines about the machine."""
    if "S" in options:
        return
    print(f"# OS: {platform.system()} {platform.release()} {platform.machine()}")
    print(f"# Hostname: {socket.gethostname()}")
    if not {"n", "N", "s"} & options.flags:
        print("# NOTE: Send doveconf -n output instead when asking for help.")
    sys.stdout.flush()
