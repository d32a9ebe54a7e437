"""postconf: show and edit main.cf and master.cf as Postfix's command does.

    postconf [-dfhHnpx] [-c dir] [-C class] [-o name=value] [name ...]      show parameters
    postconf [-e] name=value ...    postconf -X name ...    postconf -# name ...     edit main.cf
    postconf -M|-F|-P [-fhHx] [pattern ...]     show master.cf; with -e, -X or -# edit it (postconf_master.py)
    postconf -a|-A|-l|-m|-T mode                what this program knows
    postconf -b|-t [file]                       texts of bounces, filled in or as they are written

Errors end it with "postconf: fatal: ..." and status 1; what only looks wrong is a warning. Editing replaces the file
at once and keeps comments, order, owner and mode.
"""

import errno
import os
import sys

from mailsuite.base.errors import ConfigError
from mailsuite.cli.postconf_options import (
    LISTS,
    Options,
    fatal,
    out,
    say,
    warn,
)


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
    """Do what the options say."""
    for flag, words in LISTS.items():
        if flag in options:
            for word in words:
                out(word)
            return
    if "m" in options:
        from mailsuite.maps.opening import known_types

        for word in known_types():
            out(word)
    elif "T" in options:
        show_tls(options.mode)
    elif options.flags & set("bt"):
        show_bounces(options)
    elif options.flags & set("MFP"):
        from mailsuite.cli import postconf_master

        postconf_master.run(options)
    elif options.flags & set("eX#"):
        edit_main(options)
    else:
        show_main(options)


def show_tls(mode: str) -> None:
    """-T: what the TLS library can do."""
    import ssl

    if mode in ("compile-version", "run-version"):
        out(ssl.OPENSSL_VERSION)
    elif mode == "public-key-algorithms":
        for name in ("dsa", "ecdsa", "rsa"):
            out(name)
    else:
        warn(f"unknown 'postconf -T' mode: {mode}")
        sys.exit(1)


def show_bounces(options: Options) -> None:
    """-b, -t: the texts of bounces, from a file or as bounce_template_file has them."""
    from mailsuite.config.command import load_for_command
    from mailsuite.queue.bounce_template import load_templates

    settings = load_for_command(options.directory, warn)
    for path in options.words[:1]:
        if path and not os.access(path, os.R_OK):
            say(f"postfix/bounce: fatal: open {path}: {os.strerror(errno.ENOENT)}")
            sys.exit(1)
        settings = settings.with_overrides({"bounce_template_file": path})
    filled = "b" in options
    for number, (name, template) in enumerate(load_templates(settings, filled=filled).items()):
        if number:
            out("")
        out(f"expanded_{name}_text = <<EOF" if filled else f"{name}_template = <<EOF")
        if not filled:
            out(f"Charset: {'us-ascii' if template.text.isascii() else template.charset}")
            out(f"From: {template.sender}\nSubject: {template.subject}")
            if template.postmaster_subject:
                out(f"Postmaster-Subject: {template.postmaster_subject}")
            out("")
        out(template.text.rstrip("\n"))
        out("EOF")


def edit_main(options: Options) -> None:
    """-e, -X, -# on main.cf."""
    from mailsuite.config.maincf import COMMENT_OUT, edit_main_cf, split_assignment

    if not options.words:
        fatal("-e requires name=value argument" if "e" in options else "missing service argument")
    changes: dict[str, str | None] = {}
    for word in options.words:
        if "\n" in word:
            fatal("-e, -X, or -# accepts no multi-line input")
        if "e" in options:
            name, value = split_assignment(word)
            if name.startswith("#"):
                fatal("-e, -X, or -# accepts no comment input")
            if name in changes:
                warn(f"ignoring earlier request: '{name} = {changes[name]}'")
            changes[name] = value
        elif "=" in word:
            fatal(f"specify one of -e {'-X' if 'X' in options else '-#'}")
        else:
            changes[word] = None if "X" in options else COMMENT_OUT
    path = f"{options.directory}/main.cf"
    for name in edit_main_cf(path, changes):
        warn(f'{path}: multiple entries for "{name}"')


def show_main(options: Options) -> None:
    """Parameters of main.cf, or their defaults."""
    from mailsuite.cli.postconf_main import MainShow

    MainShow(options).run()
