"""What a command would change, shown or carried out.

    plan = Plan()
    plan.edit(EditedFile(path, old, new, table="hash:/etc/postfix/virtual", tool="postmap"))
    plan.move("/vmail/demo/anna", "/vmail/.trash/anna@demo.test.20261121T143000")
    print(plan.diff())
    with locked(site.directory): ... make the plan ...; carry_out(plan, settings)

Each file is put in its place whole, by renaming, with its old owner and mode; a link stays a link. A kill at any
instant leaves the old or the new file. An indexed table is built anew after its text, and once more by the next
command when that was cut off (`is_stale`).
Raises: Refused: nothing was changed; the text says what to do.
"""

import difflib
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mailsuite.base.errors import ConfigError
from mailsuite.base.files import fsync_directory, write_whole

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings

INDEXED = ("hash", "btree", "lmdb", "cdb")
_SECRET = re.compile(r"(\{[A-Za-z0-9.-]+\})[^:\n]+")


class Refused(ConfigError):
    """What was asked for would break something, or cannot be done here."""


@dataclass(frozen=True)
class EditedFile:
    """tool and table: "postmap" and "hash:/etc/x" where an index belongs to it. mode: of a file that is new."""

    path: str
    old: str
    new: str
    table: str = ""
    tool: str = ""
    mode: int = 0o644


@dataclass
class Plan:
    """In the order in which things are done: files, then moves. notes: what the administrator should know or do.

    main_cf: main.cf changes, so a running system has to read it again.
    """

    files: list[EditedFile] = field(default_factory=list)
    moves: list[tuple[str, str]] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    main_cf: bool = False

    def edit(self, file: EditedFile) -> None:
        """A second change of a file goes on from the first."""
        for at, other in enumerate(self.files):
            if other.path == file.path:
                self.files[at] = EditedFile(file.path, other.old, file.new, other.table or file.table,
                                            other.tool or file.tool, other.mode)
                return
        self.files.append(file)

    def text_of(self, path: str) -> str | None:
        """What the plan makes of a file so far."""
        return next((file.new for file in self.files if file.path == path), None)

    def diff(self) -> str:
        """As `diff -u` shows it; of password hashes only the scheme."""
        parts: list[str] = []
        for file in self.files:
            parts += difflib.unified_diff(_lines(file.old), _lines(file.new), file.path, file.path)
        parts += [f"move {source} to {target}\n" for source, target in self.moves]
        return _SECRET.sub(r"\1...", "".join(parts))


def _lines(text: str) -> list[str]:
    return [line + "\n" for line in text.removesuffix("\n").split("\n")] if text else []


@contextmanager
def locked(directory: str) -> Iterator[None]:
    """One command at a time on a site; others wait. Raises Refused."""
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(f"open {directory}: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def carry_out(plan: Plan, settings: "Settings") -> None:
    """Raises Refused: what came before it is done, the file that it names is unchanged."""
    for file in plan.files:
        if file.old != file.new:
            _write(file)
        if file.tool and (file.old != file.new or is_stale(file.table)):
            build(file.tool, file.table, settings)
    for source, target in plan.moves:
        _move(source, target)


def _write(file: EditedFile) -> None:
    path = Path(os.path.realpath(file.path))
    content = file.new.encode("utf-8", "surrogateescape")
    try:
        if path.exists():
            status = path.stat()
            owner = (status.st_uid, status.st_gid)
            write_whole(path, content, mode=status.st_mode & 0o7777,
                        owner=owner if os.geteuid() == 0 or owner != (os.geteuid(), os.getegid()) else None)
        else:
            write_whole(path, content, mode=file.mode)
    except OSError as error:
        raise Refused(f"{file.path} cannot be written: {error.strerror}; it is unchanged") from error


def _move(source: str, target: str) -> None:
    """Into a folder for its owner's eyes only."""
    folder = os.path.dirname(target)
    try:
        if not os.path.isdir(folder):
            os.mkdir(folder, 0o700)
            status = os.stat(os.path.dirname(folder))
            if os.geteuid() == 0:
                os.chown(folder, status.st_uid, status.st_gid)
        os.rename(source, target)
        fsync_directory(folder)
        fsync_directory(os.path.dirname(source))
    except FileNotFoundError:
        return
    except OSError as error:
        raise Refused(f"{source} cannot be moved to {target}: {error.strerror}; it stays where it is") from error


def is_stale(table: str) -> bool:
    """Is the index older than its text?"""
    kind, _, name = table.partition(":")
    if kind not in INDEXED:
        return False
    from mailsuite.maps.indexed import SUFFIX

    try:
        return os.stat(name + SUFFIX[kind]).st_mtime_ns < os.stat(name).st_mtime_ns
    except OSError:
        return os.path.exists(name)


def build(tool: str, table: str, settings: "Settings") -> None:
    """What postmap or postalias would do. Raises Refused."""
    from mailsuite.base.errors import TemporaryError
    from mailsuite.maps.building import Builder
    from mailsuite.maps.maps import MapSource
    from mailsuite.maps.tool_options import Options

    options = Options.of("", smtputf8=settings.text("smtputf8_enable") != "no")
    try:
        Builder(tool, MapSource(settings, tool), options).build(table)
    except (ConfigError, TemporaryError) as error:
        raise Refused(f"{tool} {table}: {error}") from error
