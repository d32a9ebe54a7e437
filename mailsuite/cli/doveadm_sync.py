"""doveadm sync and backup: the user's worker does it; here are the options, the progress bar, the state's file.

-s takes the state itself, as Dovecot's does, and the new one is printed; a path (it begins with "/" or "./") is a file
that the state is read from and, when all went well, written to.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from mailsuite.base.errors import ConfigError
from mailsuite.cli.access_link import ask
from mailsuite.cli.doveadm import EX_CONFIG, EX_TEMPFAIL, Doveadm, Exit
from mailsuite.cli.human_values import parse_size, parse_time

VALUES = "uFSalmgnxsTteOIrE"
FLAGS = "A1fPRUNdD"


@dataclass
class Outcome:
    """What the worker said of one user. numbers: as sync.report.Result has them."""

    status: int = EX_TEMPFAIL
    state: str | None = None
    numbers: Mapping[str, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


def sync(doveadm: Doveadm, arguments: list[str]) -> int:
    """doveadm sync, doveadm backup."""
    found, rest = doveadm.options(arguments, VALUES, FLAGS)
    if bool(rest) == ("d" in found):
        doveadm.usage()
    values = checked(found)
    status = 0
    for user in users(doveadm, found):
        state, path = _state(found)
        with Progress(user, verbose=doveadm.verbose) as progress:
            outcome = synchronize(doveadm, user, rest, found, values, state, progress)
        status = outcome.status or status
        if path is not None and outcome.state is not None and outcome.status in (0, 2):
            from mailsuite.base.files import write_whole
            write_whole(path, outcome.state.encode() + b"\n")
        elif outcome.state is not None:
            print(outcome.state)
    return status


def checked(found: Mapping[str, list[str]]) -> dict[str, object]:
    """Values of options that are more than a text. Raises Exit."""
    values: dict[str, object] = {}
    for letter, name, parse in (("t", "since", parse_time), ("e", "until", parse_time), ("I", "max_size", parse_size)):
        if letter in found:
            values[name] = _parsed(letter, found[letter][-1], parse)
    guid = found.get("g", [""])[-1]
    if guid and (len(guid) != 32 or not set(guid.lower()) <= set("0123456789abcdef")):
        raise Exit(EX_TEMPFAIL, f"Fatal: Invalid -g parameter: {guid}")
    return values


def _parsed(letter: str, text: str, parse: Callable[[str], float]) -> float:
    try:
        return parse(text)
    except ValueError as error:
        raise Exit(EX_TEMPFAIL, f"Fatal: Invalid -{letter} parameter: {text}") from error


def users(doveadm: Doveadm, found: Mapping[str, list[str]]) -> list[str]:
    """Whom -A, -F and -u mean. Raises Exit."""
    if "F" in found:
        try:
            lines = Path(found["F"][-1]).read_text("utf-8", "surrogateescape").splitlines()
        except OSError as error:
            raise Exit(EX_TEMPFAIL, f"Fatal: open({found['F'][-1]}) failed: {error.strerror}") from error
        return [line.strip() for line in lines if line.strip()]
    wanted = found.get("u", ["*"] if "A" in found else [])
    if not wanted:
        name = os.environ.get("USER", "")
        if not name:
            raise Exit(EX_TEMPFAIL, "Fatal: USER environment is missing and -u option not used")
        return [name]
    if not any("*" in mask or "?" in mask for mask in wanted):
        return wanted
    from mailsuite.access import doveadm_direct
    from mailsuite.cli.doveadm_mail import listed_names, serves

    path = doveadm.socket_path("auth-userdb")
    try:
        return list(listed_names(path, wanted[-1]) if serves(path) else
                    doveadm_direct.names(doveadm.settings, wanted[-1]))
    except Exit as error:
        raise Exit(error.status, f"{error.text}\ndoveadm: Error: Failed to iterate through some users") from error


def _state(found: Mapping[str, list[str]]) -> tuple[str, Path | None]:
    """The old state, and the file for the new one."""
    given = found.get("s", [""])[-1]
    if not given.startswith(("/", "./")):
        return given, None
    path = Path(given)
    try:
        return path.read_text("ascii", "replace"), path
    except FileNotFoundError:
        return "", path
    except OSError as error:
        raise Exit(EX_TEMPFAIL, f"Fatal: open({given}) failed: {error.strerror}") from error


def synchronize(doveadm: Doveadm, user: str, rest: list[str], found: Mapping[str, list[str]],
                values: Mapping[str, object], state: str, progress: "Progress") -> Outcome:
    """Ask the user's worker, and show what it says. Raises Exit."""
    request = {"command": doveadm.command.words, "arguments": rest, "user": user,
               "options": {letter: given for letter, given in found.items() if letter != "s"} |
               ({"s": [""]} if "s" in found else {}), "settings": doveadm.overrides, "sync": dict(values)}
    outcome = Outcome()
    path = found.get("S", [doveadm.socket_path("imap")])[-1]
    own = not {"u", "A", "F"}.intersection(found) and os.geteuid() == 0
    with tempfile.TemporaryFile() as file:              # a state may be larger than a request
        file.write(state.encode("ascii", "replace"))
        file.flush()
        file.seek(0)
        for said in _said(doveadm, path, request, file, own=own, here=own or "S" not in found):
            _hear(outcome, said, progress)
    if not outcome.numbers and outcome.status == EX_TEMPFAIL and not outcome.errors:
        progress.say("Error: the access service ended the connection")
    return outcome


def _said(doveadm: Doveadm, path: str, request: Mapping[str, Any], file: BinaryIO, *, own: bool,
          here: bool) -> Iterator[dict[str, Any]]:
    """What the worker says; without the access service (here), what a child process with the user's rights says."""
    if not own:
        try:
            yield from ask(path, {"doveadm": request}, [file.fileno()])
            return
        except (FileNotFoundError, ConnectionRefusedError) as error:
            if not here:
                raise Exit(EX_TEMPFAIL, f"doveadm({request['user']}): Fatal: net_connect_unix({path}) failed: "
                                        f"{error.strerror}") from error
        except OSError as error:
            raise Exit(EX_TEMPFAIL, f"doveadm({request['user']}): Error: {path}: {error.strerror}") from error
    from mailsuite.access import doveadm_direct
    from mailsuite.config.dovecot import DovecotSettings

    try:
        plain = DovecotSettings.load(doveadm.config)        # -o is the synchronization's affair: "imapc:" is no store
    except ConfigError as error:
        raise Exit(EX_CONFIG, f"Fatal: {error.public}") from error
    yield from doveadm_direct.carry_out(plain, request, file, own=own)


def _hear(outcome: Outcome, said: Mapping[str, Any], progress: "Progress") -> None:
    if "progress" in said:
        progress.step(said["progress"])
    elif "note" in said:
        progress.note(said["note"])
    elif "error" in said or "fatal" in said:
        text = str(said.get("error", said.get("fatal")))
        outcome.errors.append(text)
        progress.say(f"Error: {text}")
    elif "state" in said:
        outcome.state = said["state"]
    elif "result" in said:
        outcome.numbers = said["result"]
        progress.done(said["result"])
    elif "status" in said:
        outcome.status = int(said["status"])


class Progress:
    """One user's bar on a terminal; elsewhere only errors, and with -v what was done. quiet: not even a bar."""

    def __init__(self, user: str, *, verbose: bool = False, quiet: bool = False) -> None:
        self._user, self._verbose = user, verbose
        self._bar: Any = None
        if sys.stderr.isatty() and not quiet:
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar
            self._bar = Bar(TextColumn("{task.description}", markup=False), BarColumn(),
                            TextColumn("{task.fields[messages]} messages"), DownloadColumn(), TimeRemainingColumn(),
                            console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(user, total=None, messages=0)
            self._messages = 0

    def __enter__(self) -> "Progress":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self, what: Mapping[str, Any]) -> None:
        if self._bar is None:
            return
        if "folder" in what:
            self._messages = 0
            self._bar.reset(self._task, total=None, messages=0,
                            description=f"{self._user}: {what['folder']} ({what['at']}/{what['of']})")
        elif "copied" in what:
            self._messages += what["copied"]
            self._bar.update(self._task, advance=what["octets"], messages=self._messages)
        else:
            self._bar.update(self._task, total=what["octets"])

    def say(self, text: str) -> None:
        """A line about this user."""
        line = f"doveadm({self._user}): {text}"
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False)
        else:
            print(line, file=sys.stderr)

    def note(self, text: str) -> None:
        if self._verbose:
            self.say(f"Info: {text}")

    def done(self, numbers: Mapping[str, int]) -> None:
        self.note("{folders} mailboxes, {copied} messages copied ({octets} octets), {flags} with changed flags, "
                  "{removed} removed, {skipped} refused, {folders_made} mailboxes made, {folders_removed} removed"
                  .format_map(numbers))
