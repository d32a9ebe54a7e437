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
import getopt
import os
import re
import sys
from typing import NoReturn

from mailsuite.base.errors import ConfigError

USAGE = ("usage: postconf [-a (server SASL types)] [-A (client SASL types)] [-c config_dir] [-C param_class] "
         "[-d (parameter defaults)] [-e (edit configuration)] [-f (fold lines)] [-F (master.cf fields)] "
         "[-h (no names)] [-H (no values)] [-l (lock types)] [-m (map types)] [-M (master.cf)] "
         "[-n (non-default parameters)] [-o name=value (override parameter value)] [-p (main.cf, default)] "
         "[-P (master.cf parameters)] [-t (bounce templates)] "
         "[-T compile-version|run-version|public-key-algorithms] [-v (verbose)] "
         "[-x (expand parameter values)] [-X (exclude)] [-# (comment-out)] [name...]")
LINE_LIMIT = 80
LISTS = {"a": ("dovecot",), "A": ("cyrus",), "l": ("flock", "fcntl", "dotlock")}
CLASSES = ("builtin", "service", "user", "all")


class Options:
    """The command line: flags, and what goes with -c, -C, -o, -T."""

    def __init__(self, argv: list[str]) -> None:
        try:
            pairs, self.words = getopt.gnu_getopt(argv, "aAbc:C:defFhHlmMno:pPtT:vxX#")
        except getopt.GetoptError as error:
            print(f"postconf: {_getopt_line(error)}", file=sys.stderr)
            fatal(USAGE)
        self.flags = {name[1:] for name, _ in pairs}
        values: dict[str, list[str]] = {}
        for name, value in pairs:
            values.setdefault(name[1:], []).append(value)
        self.given_directory = values.get("c", [os.environ.get("MAIL_CONFIG", "")])[-1]
        self.directory = self.given_directory or "/etc/postfix"
        self.classes = {word for text in values.get("C", ["all"]) for word in re.split(r"[\s,]+", text) if word}
        self.overrides = values.get("o", [])
        self.mode = values.get("T", [""])[-1]
        if self.words and "=" in self.words[0] and not self.flags & set("eMFPamAlTbt"):
            self.flags.add("e")
        self._refuse_contradictions()

    def __contains__(self, flag: str) -> bool:
        return flag in self.flags

    def _refuse_contradictions(self) -> None:
        for together in ("FMPpaAlm", "eX#", "de", "dn", "hH"):
            found = [flag for flag in together if flag in self.flags]
            if len(found) > 1:
                fatal("specify one of " + " ".join(f"-{flag}" for flag in found))
        for what, others in (("M", "dn"), ("F", "dnX#"), ("P", "dn#")):
            for other in others:
                if what in self.flags and other in self.flags:
                    fatal(f"with option -{what}, do not specify -{other}")
        for word in sorted(self.classes - set(CLASSES)):
            fatal(f'unknown -C option value "{word}" in "{word}"')

    def wants(self, kind: str) -> bool:
        """Whether -C lets parameters of this class through."""
        return bool(self.classes & {kind, "all"})


def _getopt_line(error: getopt.GetoptError) -> str:
    if "requires argument" in error.msg:
        return f"option requires an argument -- '{error.opt}'"
    return f"invalid option -- '{error.opt[:1]}'"


def say(text: str) -> None:
    """One line on standard error; what a terminal might take for a command becomes "?"."""
    octets = text.encode("utf-8", "surrogateescape")
    print(re.sub(rb"[^ -~]", b"?", octets).decode(), file=sys.stderr)


def fatal(text: str) -> NoReturn:
    """A last line, then out."""
    say(f"postconf: fatal: {text}")
    sys.exit(1)


def warn(text: str) -> None:
    """What only looks wrong."""
    say(f"postconf: warning: {text}")


def out(text: str) -> None:
    """One line on standard output; octets that are not UTF-8 come out as they went in."""
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape") + b"\n")


def fold(text: str) -> str:
    """Break at blanks so that no line is longer than it must be."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > LINE_LIMIT:
            lines.append("    " + word)
        else:
            lines[-1] += f" {word}" if lines[-1] else word
    return "\n".join(lines)


def one_line(value: str) -> str:
    """Runs of white space as one blank."""
    return " ".join(value.split())


def show(options: Options, name: str, value: str) -> None:
    """A name, a value, or both."""
    if "h" in options:
        text = one_line(value)
    elif "H" in options:
        text = name
    else:
        text = f"{name} = {one_line(value)}".rstrip()
    out(fold(text) if "f" in options else text)


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
        for name in ("rsa", "ecdsa", "ed25519", "ed448"):
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
        if not os.access(path, os.R_OK):
            fatal(f"open {path}: {os.strerror(errno.ENOENT)}")
        settings = settings.with_overrides({"bounce_template_file": path})
    filled = "b" in options
    for number, (name, template) in enumerate(load_templates(settings, filled=filled).items()):
        if number:
            out("")
        out(f"expanded_{name}_text = <<EOF" if filled else f"{name}_template = <<EOF")
        if not filled:
            out(f"Charset: {template.charset}\nFrom: {template.sender}\nSubject: {template.subject}")
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
