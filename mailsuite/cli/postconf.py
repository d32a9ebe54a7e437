"""postconf: show and edit main.cf and master.cf as Postfix's command does.

    postconf [-dfhHnpx] [-c dir] [-C class] [-o name=value] [name ...]      show parameters
    postconf [-e] name=value ...    postconf -X name ...    postconf -# name ...     edit main.cf
    postconf -M|-F|-P [-fhHx] [pattern ...]     show master.cf; with -e, -X or -# edit it (postconf_master.py)
    postconf -a|-A|-l|-m|-T mode                what this program knows
    postconf -b|-t [file]                       texts of bounces, filled in or as they are written

Errors end it with "postconf: fatal: ..." and status 1; what only looks wrong is a warning. Editing replaces the file
at once and keeps comments, order, owner and mode.
"""

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
    from mailsuite.queue.bounce_template import TemplateError, fill_in, load
    from mailsuite.queue.bounce_text import Template

    settings = load_for_command(options.directory, warn)
    path = options.words[0] if options.words else settings.text("bounce_template_file")

    def text_of(template: Template) -> str:
        if "b" in options:
            return f"expanded_{template.name}_text = <<EOF\n{fill_in(template, settings, _bounce_warning)}EOF"
        copies = f"Postmaster-Subject: {template.postmaster_subject}\n" if template.postmaster_subject else ""
        return (f"{template.name}_template = <<EOF\nCharset: {template.charset}\nFrom: {template.sender}\n"
                f"Subject: {template.subject}\n{copies}\n{template.text}EOF")

    try:
        texts = [text_of(template) for template in load(path, _bounce_warning).values()]
    except TemplateError as error:
        say(f"postfix/bounce: fatal: {error.public}")
        sys.exit(1)
    out("\n\n".join(texts))


def _bounce_warning(text: str) -> None:
    say(f"postfix/bounce: warning: {text}")


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
