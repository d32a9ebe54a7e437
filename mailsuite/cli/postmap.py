"""postmap: build, query and change lookup tables.

    postmap [-bfFhimnNoprsuUvw] [-c config_dir] [-d key] [-q key] [map_type:]file...

Without -q, -d or -s it builds hash:, btree: and lmdb: files from their sources. Exit status 0; 1 when a key was not
found or something went wrong (one line "postmap: fatal: ..." on standard error). postalias shares this code.

Scripts call this for every change of a table: modules are imported where they are needed, and keys on standard input
are looked up some thousand at a time.
"""

import gc
import logging
import os
import sys
from collections.abc import Iterator, Sequence

from mailsuite.base.errors import ConfigError, TemporaryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.maps.maps import MapSource
    from mailsuite.maps.tool_options import Options

USAGE = "usage: postmap [-bfFhimnNoprsuUvw] [-c config_dir] [-d key] [-q key] [map_type:]file..."
FLAGS = "bfFhimnNoprsuUvw"
BLOCK = 8 << 20         # octets of keys that are read at a time


class Fatal(Exception):
    """Ends the command: "postmap: fatal: TEXT", exit status 1."""


class CommandLine:
    """letters: as given, in order. values: of c, d, q. names: the tables."""

    def __init__(self) -> None:
        self.letters, self.names = "", list[str]()
        self.values: dict[str, str] = {}


def read_options(program: str, arguments: Sequence[str], flags: str, usage: str) -> CommandLine:
    """Read arguments as getopt(3) does. Raises Fatal."""
    line = CommandLine()
    position = 0
    while position < len(arguments) and arguments[position].startswith("-") and arguments[position] != "-":
        word = arguments[position]
        position += 1
        if word == "--":
            break
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter not in "cdq" and letter not in flags:
                sys.stderr.write(f"{program}: invalid option -- '{letter}'\n")
                raise Fatal(usage)
            _one_task(line, letter)
            line.letters += letter
            if letter not in "cdq":
                continue
            if not letters and position >= len(arguments):
                sys.stderr.write(f"{program}: option requires an argument -- '{letter}'\n")
                raise Fatal(usage)
            if letters:
                line.values[letter], letters = letters, ""
            else:
                line.values[letter] = arguments[position]
                position += 1
    line.names = list(arguments[position:])
    return line


def _one_task(line: CommandLine, letter: str) -> None:
    """Raises Fatal when letter asks for a second task."""
    others = {"s": "qd", "q": "sqd", "d": "sqd"}.get(letter, "")
    if any(other in line.letters for other in others):
        raise Fatal("specify only one of -s or -q or -d" if letter == "s" else "specify only one of -s -q or -d")


def log_to_stderr(program: str) -> None:
    """"postmap: warning: text" for everything that tables complain of."""
    words = {logging.WARNING: "warning: ", logging.ERROR: "error: ", logging.CRITICAL: "fatal: "}

    class Target(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = "".join(char if char.isprintable() else "?" for char in record.getMessage())
            sys.stderr.write(f"{program}: {words.get(record.levelno, '')}{text}\n")

    log = logging.getLogger(f"mailsuite.{program}")
    log.handlers[:] = [Target()]
    log.propagate = False


def load_settings(program: str, line: CommandLine) -> "Settings":
    """main.cf of -c, MAIL_CONFIG or /etc/postfix. Raises ConfigError."""
    from mailsuite.config.command import load_for_command

    return load_for_command(line.values.get("c") or os.environ.get("MAIL_CONFIG") or "/etc/postfix",
                            logging.getLogger(f"mailsuite.{program}").warning, thorough=True)


def stdin_lines() -> Iterator[str]:
    """Keys to delete, one a line."""
    for line in sys.stdin.buffer:
        yield line.rstrip(b"\n").decode("utf-8", "surrogateescape")


def stdin_blocks() -> Iterator[bytes]:
    """Keys of `-q -`: whole lines, some at a time, the last newline left out."""
    rest = b""
    while octets := sys.stdin.buffer.read(BLOCK):
        whole, newline, rest = (rest + octets).rpartition(b"\n")
        if newline:
            yield whole
    if rest:
        yield rest


def message_parts(letters: str) -> Iterator[bytes]:
    """Keys of `-q -` with -h and -b: parts of a message."""
    from mailsuite.maps.mailtext import message_keys

    return message_keys(sys.stdin.buffer.read(), header="h" in letters, body="b" in letters, mime="m" in letters)


def run(program: str, line: CommandLine) -> int:
    """Do what the command line says. Raises Fatal, ConfigError, TemporaryError."""
    letters = line.letters
    if line.values.get("q") != "-" and any(letter in letters for letter in "hbm"):
        raise Fatal("specify -b -h or -m only with \"-q -\"")
    settings = load_settings(program, line)
    from mailsuite.maps.maps import MapSource
    from mailsuite.maps.tool_options import Options

    source = MapSource(settings, program, values_are_files="F" in letters)
    if "m" in letters and not ("h" in letters or "b" in letters):
        source.log.warning("ignoring -m option without -b or -h")
    default = settings.text("default_database_type") or "hash"
    specs = [name if ":" in name else f"{default}:{name}" for name in line.names]
    options = Options.of(letters, smtputf8=settings.text("smtputf8_enable") != "no")
    if "q" in letters or "s" in letters:
        return _ask(program, line, specs, source, options)
    from mailsuite.maps.building import Builder

    builder = Builder(program, source, options)
    if "d" in letters:
        key = line.values["d"]
        return 0 if builder.delete(specs, stdin_lines() if key == "-" else [key]) else 1
    for spec in specs:
        builder.build(spec)
    return 0


def _ask(program: str, line: CommandLine, specs: list[str], source: "MapSource", options: "Options") -> int:
    """-q and -s."""
    from mailsuite.maps.maintain import Tool

    tool, out = Tool(program, source, options), sys.stdout.buffer
    if "s" in line.letters:
        sign = ":" if program == "postalias" else ""
        for spec in specs:
            for key, value in tool.listing(spec):
                out.write(f"{key}{sign}\t{value}\n".encode("utf-8", "surrogateescape"))
        return 0 if specs else 1
    key = line.values["q"]
    if key == "-":
        found = False
        parts = "h" in line.letters or "b" in line.letters
        for octets in tool.query_each(specs, message_parts(line.letters)) if parts else (
                tool.query_many(specs, stdin_blocks())):
            out.write(octets)
            found = found or bool(octets)
        return 0 if found else 1
    answer = tool.query(specs, key)
    if answer is None:
        return 1
    out.write(answer.encode("utf-8", "surrogateescape") + b"\n")
    return 0


def command(program: str, flags: str, usage: str, arguments: list[str] | None = None) -> int:
    """The whole command; returns its exit status."""
    log_to_stderr(program)
    try:
        line = read_options(program, sys.argv[1:] if arguments is None else arguments, flags, usage)
        if not line.names and "s" not in line.letters:
            raise Fatal(usage)
        status = run(program, line)
        sys.stdout.flush()
        return status
    except (Fatal, ConfigError, TemporaryError) as error:
        sys.stdout.flush()
        for text in str(error).split("\n"):
            sys.stderr.write(f"{program}: fatal: {text}\n")
        return 1
    except BrokenPipeError:
        return 1


def main() -> int:
    """The console script."""
    gc.disable()        # a table's entries make no cycles, and looking for them costs a third of the time
    return command("postmap", FLAGS, USAGE)


if __name__ == "__main__":
    sys.exit(main())
