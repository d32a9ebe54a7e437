"""What all parts of postconf share: the command line and the ways to say something.

    options = Options(argv)      "M" in options, options.words      ends the command when it contradicts itself
    show(options, name, value)   one parameter as -h, -H and -f ask
"""

import getopt
import os
import re
import sys
from typing import NoReturn

USAGE = ("usage: postconf [-a (server SASL types)] [-A (client SASL types)] [-b (bounce templates)] [-c config_dir] "
         "[-c param_class] "
         "[-d (parameter defaults)] [-e (edit configuration)] [-f (fold lines)] [-F (master.cf fields)] "
         "[-h (no names)] [-H (no values)] [-l (lock types)] [-m (map types)] [-M (master.cf)] "
         "[-n (non-default parameters)] [-o name=value (override parameter value)] [-p (main.cf, default)] "
         "[-P (master.cf parameters)] [-t (bounce templates)] "
         "[-T compile-version|run-version|public-key-algorithms] [-v (verbose)] "
         "[-x (expand parameter values)] [-X (exclude)] [-# (comment-out)] [name...]")
LINE_LIMIT = 80
LISTS = {"a": ("dovecot",), "A": ("cyrus",), "l": ("flock", "fcntl", "dotlock")}
CLASSES = ("builtin", "service", "user", "all")
# What excludes each other, in the order in which it is looked at: kinds of things to show, ways to show or edit.
MODES = "aAbFlmMpPtT"
EXCLUSIVE = (MODES, "denX#", "efX#", "exX#", "deoX#", "ehHX#")
# What has no meaning with a mode.
_ALL_WAYS = "defhHnoxX#"
USELESS = {**dict.fromkeys("aAblmtT", _ALL_WAYS), "F": "dnX#", "M": "dhHn", "P": "dn#"}


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
        if self.words and "=" in self.words[0] and not self.flags & set("eamAlTbt"):
            self.flags.add("e")
        self._refuse_contradictions()

    def __contains__(self, flag: str) -> bool:
        return flag in self.flags

    def _refuse_contradictions(self) -> None:
        if {"b", "t"} <= self.flags:
            fatal("specify one of -b and -t")
        for together in EXCLUSIVE:
            found = [flag for flag in together if flag in self.flags]
            if len(found) > 1:
                fatal("specify one of " + " ".join(f"-{flag}" for flag in found))
        for mode, others in USELESS.items():
            found = [flag for flag in others if flag in self.flags] if mode in self.flags else []
            if found:
                fatal(f"with option -{mode}, do not specify " + " ".join(f"-{flag}" for flag in found))
        for word in sorted(self.classes - set(CLASSES)):
            fatal(f'unknown -C option value "{word}" in "{word}"')

    def wants(self, kind: str) -> bool:
        """Whether -C lets parameters of this class through."""
        return bool(self.classes & {kind, "all"})


def _getopt_line(error: getopt.GetoptError) -> str:
    if error.msg.startswith("option --"):
        return "invalid option -- '-'"
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


def for_people() -> bool:
    """Whether somebody reads standard error."""
    return sys.stderr.isatty()


def hint(name: str) -> None:
    """Behind a warning of a name, for people only: programs that read standard error get what Postfix says."""
    if for_people():
        from mailsuite.config.manual.entries import nearest

        for found in nearest(name, most=1):
            say(f"postconf: hint: did you mean {found}?")


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


def show(options: Options, name: str, value: str, *, as_is: bool = False) -> None:
    """A name, a value, or both. as_is: blanks stay as they are."""
    value = value if as_is else one_line(value)
    if "h" in options:
        text = value
    elif "H" in options:
        text = name
    else:
        text = f"{name} = {value}".rstrip()
    out(fold(text) if "f" in options else text)
