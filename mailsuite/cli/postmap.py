"""postmap: build, query and change lookup tables.

    postmap [-bfFhimnNoprsuUvw] [-c config_dir] [-d key] [-q key] [map_type:]file...

Without -q, -d or -s it builds hash:, btree: and lmdb: files from their sources. Exit status 0; 1 when a key was not
found or something went wrong (one line "postmap: fatal: ..." on standard error). postalias shares this code.
"""

import logging
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mailsuite.base.errors import ConfigError, TemporaryError

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.maps.maintain import Tool

USAGE = "usage: postmap [-bfFhimnNoprsuUvw] [-c config_dir] [-d key] [-q key] [map_type:]file..."
FLAGS = "bfFhimnNoprsuUvw"


class Fatal(Exception):
    """Ends the command: "postmap: fatal: TEXT", exit status 1."""


def read_options(program: str, arguments: list[str], flags: str, usage: str) -> tuple[dict[str, str], list[str]]:
    """Letters with their values, and the remaining arguments; as getopt(3) reads them. Raises Fatal."""
    found: dict[str, str] = {}
    position = 0
    while position < len(arguments) and arguments[position].startswith("-") and arguments[position] != "-":
        word = arguments[position]
        position += 1
        if word == "--":
            break
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter in "cdq":
                if not letters and position >= len(arguments):
                    sys.stderr.write(f"{program}: option requires an argument -- '{letter}'\n")
                    raise Fatal(usage)
                if letters:
                    found[letter], letters = letters, ""
                else:
                    found[letter] = arguments[position]
                    position += 1
            elif letter in flags:
                found[letter] = ""
            else:
                sys.stderr.write(f"{program}: invalid option -- '{letter}'\n")
                raise Fatal(usage)
    return found, arguments[position:]


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


def load_settings(program: str, options: dict[str, str]) -> "Settings":
    """main.cf of -c, MAIL_CONFIG or /etc/postfix. Raises ConfigError."""
    import os

    from mailsuite.config.command import load_for_command

    return load_for_command(options.get("c") or os.environ.get("MAIL_CONFIG") or "/etc/postfix",
                            logging.getLogger(f"mailsuite.{program}").warning)


def make_tool(program: str, options: dict[str, str], settings: "Settings") -> "Tool":
    """What does the work, with the letters of the command line."""
    from mailsuite.maps.maintain import Options, Tool
    from mailsuite.maps.maps import MapSource

    return Tool(program, MapSource(settings, program), Options(
        fold="f" not in options, warn_duplicates="w" not in options, replace="r" in options,
        incremental="i" in options, inherit_mode="p" not in options, keep_root="o" in options,
        utf8="u" not in options and settings.text("smtputf8_enable") != "no", from_files="F" in options))


def stdin_lines() -> Iterator[str]:
    """Keys, one a line."""
    for line in sys.stdin.buffer:
        yield line.rstrip(b"\n").decode("utf-8", "surrogateescape")


def stdin_keys(options: dict[str, str]) -> Iterator[str]:
    """Keys of `-q -`: lines, or the parts of a message with -h, -b, -m."""
    if not any(letter in options for letter in "hbm"):
        return stdin_lines()
    from mailsuite.maps.mailtext import message_keys

    text = sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
    return message_keys(text, header="h" in options, body="b" in options, mime="m" in options)


def write_line(text: str) -> None:
    """A line on standard output, with the octets that the table has."""
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape") + b"\n")


def run(program: str, options: dict[str, str], names: list[str]) -> int:
    """Do what the options say. Raises Fatal, ConfigError, TemporaryError."""
    if ("q" in options) + ("d" in options) + ("s" in options) > 1:
        raise Fatal("specify only one of -s -q or -d")
    if options.get("q") != "-" and any(letter in options for letter in "hbm"):
        raise Fatal("specify -b -h or -m only with \"-q -\"")
    settings = load_settings(program, options)
    tool = make_tool(program, options, settings)
    default = settings.text("default_database_type") or "hash"
    specs = [name if ":" in name else f"{default}:{name}" for name in names]
    if "q" in options and options["q"] == "-":
        found = False
        for key, value in tool.query_each(specs, stdin_keys(options)):
            write_line(f"{key}\t{value}")
            found = True
        return 0 if found else 1
    if "q" in options:
        answer = tool.query(specs, options["q"])
        if answer is None:
            return 1
        write_line(answer)
        return 0
    if "d" in options:
        return 0 if tool.delete(specs, stdin_lines() if options["d"] == "-" else [options["d"]]) else 1
    for spec in specs:
        if "s" in options:
            for key, value in tool.listing(spec):
                write_line(f"{key}{':' if program == 'postalias' else ''}\t{value}")
        else:
            tool.build(spec)
    return 0


def command(program: str, flags: str, usage: str, arguments: list[str] | None = None) -> int:
    """The whole command; returns its exit status."""
    log_to_stderr(program)
    try:
        options, names = read_options(program, sys.argv[1:] if arguments is None else arguments, flags, usage)
        if not names:
            raise Fatal(usage)
        status = run(program, options, names)
        sys.stdout.flush()
        return status
    except (Fatal, ConfigError, TemporaryError) as error:
        sys.stdout.flush()
        for line in str(error).split("\n"):
            sys.stderr.write(f"{program}: fatal: {line}\n")
        return 1
    except BrokenPipeError:
        return 1


def main() -> int:
    """The console script."""
    return command("postmap", FLAGS, USAGE)


if __name__ == "__main__":
    sys.exit(main())
