"""sendmail's command line: options of Sendmail and of Postfix, as sendmail(1) has them.

    options, words = read_options(argv, "m")        argv without the program's name; the mode of the name it has

What only Sendmail knew is accepted and does nothing. What is wrong ends the command.
"""

import os
from dataclasses import dataclass, field

from mailsuite.cli.mailcommand import EX_TEMPFAIL, default_directory, fatal, log_trouble, parse, warn

PROGRAM = "sendmail"
LETTERS = "A:B:C:F:GIL:N:O:R:UV:X:ab:ce:f:h:imno:p:r:q:tvx"
USAGE = "usage: sendmail [options]"
ENVID_LIMIT = 100
DEFAULT = "default"
_ENCODINGS = {"8BITMIME": "8bit", "7BIT": "7bit"}


@dataclass
class Options:
    """What the command line said.

    mode: m (deliver), p (listing), i (aliases), s (SMTP), v (verify), d (daemon), h (nothing). verp: None: not asked
    for; DEFAULT: default_verp_delimiters; else what was given. verbose: how often -v was said: once asks for a report.
    aliases: what -oA names. flush: what -q asks for.
    """

    directory: str = field(default_factory=default_directory)
    mode: str = "m"
    sender: str | None = None
    full_name: str | None = None
    from_header: bool = False
    dots: bool = True               # a "." ends the message
    local: bool = True
    notify: int = 0
    ret: str = ""
    envid: str = ""
    verp: str | None = None
    verbose: int = 0
    encoding: str = ""
    aliases: str = ""
    flush: tuple[str, str] | None = None


def read_options(argv: list[str], mode: str) -> tuple[Options, list[str]]:
    """The options and what follows them."""
    options = Options(mode=mode)
    log_trouble(PROGRAM, lambda: _directory_in(argv) or options.directory)
    given, words = parse(PROGRAM, _for_getopt(argv), LETTERS, USAGE, EX_TEMPFAIL)
    for letter, value in given:
        _option(options, letter[1], value)
    if options.verbose == 1 and options.mode == "v":
        fatal(PROGRAM, "-v option cannot be used with -bv", EX_TEMPFAIL)
    if options.from_header and options.mode == "v":
        fatal(PROGRAM, "-t option cannot be used with -bv", EX_TEMPFAIL)
    if options.from_header and options.mode != "m":
        fatal(PROGRAM, "-t can be used only in delivery mode", EX_TEMPFAIL)
    return options, words


def _directory_in(argv: list[str]) -> str:
    """What -C names, wherever it stands: there is the log in which wrong options are told."""
    at = next((at for at, word in enumerate(argv) if word.startswith("-C")), len(argv))
    named = "".join(argv[at:at + 2] if argv[at:at + 1] == ["-C"] else argv[at:at + 1])[2:]
    return _folder(named) if named else ""


def _folder(named: str) -> str:
    return named if os.path.isdir(named) else os.path.dirname(named) or "."


def _for_getopt(argv: list[str]) -> list[str]:
    """getopt knows no options whose argument may be left out: "-q" and "-XV", and "-V" of Postfix before 2.3."""
    words: list[str] = []
    for number, word in enumerate(argv):
        following = argv[number + 1] if number + 1 < len(argv) else ""
        if word == "-q":
            word = "-q."
        elif word == "-V" and len(os.fsencode(following)) == 2:
            warn(PROGRAM, "option -V is deprecated with Postfix 2.3; specify -XV instead")
            word = "-XV."
        elif word.startswith("-V") and len(os.fsencode(word)) == 4:
            warn(PROGRAM, f"option {word} is deprecated with Postfix 2.3; specify -X{word[1:]} instead")
            word = f"-X{word[1:]}"
        elif word == "-XV":
            word = "-XV."
        elif word == "--":
            return words + argv[number:]
        words.append(word)
    return words


def _option(options: Options, letter: str, value: str) -> None:
    """One option."""
    match letter:
        case "b":
            _mode(options, value)
        case "C":
            options.directory = _folder(value)
        case "F":
            options.full_name = value
        case "f" | "r":
            options.sender = value
        case "G":
            options.local = False
        case "i":
            options.dots = False
        case "I":
            options.mode = "i"
        case "n":
            fatal(PROGRAM, "-n option not supported", EX_TEMPFAIL)
        case "o":
            _old(options, value)
        case "B":
            if value.upper() not in _ENCODINGS:
                fatal(PROGRAM, "-B option needs 8BITMIME or 7BIT", EX_TEMPFAIL)
            options.encoding = _ENCODINGS[value.upper()]
        case "N" | "R" | "V":
            _notification(options, letter, value)
        case "X":
            if value[:1] != "V":
                fatal(PROGRAM, f"unsupported: -X{value[:1]}", EX_TEMPFAIL)
            options.verp = DEFAULT if value == "V." else value[1:]
        case "t":
            options.from_header = True
        case "v":
            options.verbose += 1
        case "q":
            _queue(options, value)


def _mode(options: Options, value: str) -> None:
    if value[:1] in ("m", "p", "i", "s", "v"):
        options.mode = value[0]
    elif value[:1] in ("d", "l"):
        options.mode = "d"
    elif value[:1] in ("h", "H"):
        options.mode = "h"              # there is no host status to be shown or forgotten
    else:
        fatal(PROGRAM, f"unsupported: -b{value[:1]}", EX_TEMPFAIL)


def _old(options: Options, value: str) -> None:
    """-o: options of Sendmail; two of them mean something."""
    if value[:1] == "i":
        options.dots = False
    elif value[:1] == "A":
        if not value[1:]:
            fatal(PROGRAM, "-oA requires pathname", EX_TEMPFAIL)
        options.aliases = value[1:]


def _notification(options: Options, letter: str, value: str) -> None:
    """-N, -R, -V: what cannot be understood is left out with a warning."""
    if letter == "N":
        options.notify = _notify(value)
    elif letter == "R":
        options.ret = value.upper() if value.upper() in ("FULL", "HDRS") else ""
        if not options.ret:
            warn(PROGRAM, "bad -R option value -- ignored")
    elif len(value) > ENVID_LIMIT:
        warn(PROGRAM, "too long -V option value -- ignored")
    elif not value or not value.isascii() or not value.isprintable():
        warn(PROGRAM, "bad syntax in -V option value -- ignored")
    else:
        options.envid = value


def _notify(value: str) -> int:
    """The bits of -N."""
    known = {"never": 1, "success": 2, "failure": 4, "delay": 8}
    bits = 0
    for word in value.lower().replace(",", " ").split():
        if word not in known:
            warn(PROGRAM, f'unknown DSN NOTIFY command value "{word}" in "{value}"')
            bits = 0
            break
        bits |= known[word]
    if not bits or (bits & 1 and bits != 1):
        warn(PROGRAM, "bad -N option value -- ignored")
        return 0
    return bits


def _queue(options: Options, value: str) -> None:
    if value[:1] in ("I", "R") and value[1:] and (options.mode != "m" or options.flush is not None):
        fatal(PROGRAM, f"-q{value[:1]} can be used only in delivery mode", EX_TEMPFAIL)
    if value == ".":
        options.flush = ("flush", "")
    elif value[:1].isdigit():
        options.flush = ("daemon", "")          # an interval is the daemon's: it has queue_run_delay
    elif value[:1] == "I":
        if not value[1:]:
            fatal(PROGRAM, "specify: -qIqueueid", EX_TEMPFAIL)
        options.flush = ("flush_one", value[1:])
    elif value[:1] == "R":
        if not value[1:]:
            fatal(PROGRAM, "specify: -qRsitename", EX_TEMPFAIL)
        options.flush = ("flush_site", value[1:])
    else:
        fatal(PROGRAM, f"-q{value[:1]} is not implemented", EX_TEMPFAIL)
