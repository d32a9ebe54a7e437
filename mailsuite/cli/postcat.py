"""postcat: show the contents of queue files, in Postfix's words. See postcat(1).

    postcat [-bdehoqrv] [-c config_dir] [-s offset] [file|queue_id ...]

-b body, -e envelope, -h header; all without these. -q: the words are queue ids, looked for in all queues and among the
damaged files. -d and -o put each record's type and place in our file before it; -s leaves out what lies before a place.
-r is taken: our files have no pointers. Without a word, standard input. Of a damaged file what can be read is shown,
with a warning. Exit: 0, 1.
"""

import os
import sys
from typing import TYPE_CHECKING

from mailsuite.cli.mailcommand import default_directory, fatal, load, parse, warn

if TYPE_CHECKING:
    from mailsuite.cli.postcat_records import Record
    from mailsuite.config.settings import Settings
    from mailsuite.queue.file import Stored

PROGRAM = "postcat"
USAGE = ("usage: postcat [-b (body text)] [-c config_dir] [-d (decimal record type)] [-e (envelope records)] "
         "[-h (header text)] [-q (access queue)] [-v] [file(s)...]")
QUEUES = ("incoming", "active", "deferred", "hold", "maildrop", "corrupt", "saved")


def main() -> int:
    """The console script."""
    options, words = parse(PROGRAM, sys.argv[1:], "bc:dehoqrs:v", USAGE, 1)
    given = dict(options)
    start = given.get("-s", "0")
    if not (start.isascii() and start.isdigit()):
        fatal(PROGRAM, f"bad offset: {start}", 1)
    parts = {letter for letter in "beh" if f"-{letter}" in given} or set("beh")
    settings = load(given.get("-c", default_directory()), PROGRAM, 1)
    out = Out(offsets="-o" in given, types="-d" in given, start=int(start))
    if "-q" in given:
        for word in words:
            name, fd = _find(settings, word)
            show(name, fd, parts, out)
    elif words:
        for word in words:
            try:
                fd = os.open(word, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as error:
                fatal(PROGRAM, f"open {word}: {error.strerror}", 1)
            show(word, fd, parts, out)
    else:
        show("stdin", _spooled(), parts, out)
    out.flush()
    return 0


def _find(settings: "Settings", queue_id: str) -> tuple[str, int]:
    """(name below the queue directory, descriptor); ends the command when there is none."""
    from mailsuite.queue.ids import is_id, may_be_id
    from mailsuite.queue.store import open_store
    from mailsuite.queue.to_files import bring_to_files
    store = open_store(settings)
    bring_to_files(store)
    if not may_be_id(queue_id):
        fatal(PROGRAM, f"bad mail queue ID: {queue_id}", 1)
    reason = "No such file or directory"
    for queue in QUEUES + QUEUES if is_id(queue_id) else ():
        try:
            return store.path(queue, queue_id)[len(store.directory) + 1:], store.open(queue, queue_id)
        except FileNotFoundError:
            continue
        except OSError as error:
            reason = error.strerror or str(error)
    return fatal(PROGRAM, f"open queue file {queue_id}: {reason}", 1)


def _spooled() -> int:
    """Standard input as something that can be read at any place."""
    import shutil
    import tempfile
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.flush()
        return os.dup(copy.fileno())


class Out:
    """Standard output; with offsets and types, each record's place and type stand before it."""

    def __init__(self, *, offsets: bool = False, types: bool = False, start: int = 0) -> None:
        self._offsets, self._types, self._start = offsets, types, start
        self._file = sys.stdout.buffer

    def record(self, record: "Record") -> None:
        if record.offset < self._start:
            return
        if self._offsets:
            self._file.write(b"%9d " % record.offset)
        if self._types:
            self._file.write(b"%3d " % ord(record.kind))
        self._file.write(record.text + b"\n")

    def marker(self, what: str, name: str) -> None:
        """The first line of all, which is no record."""
        self._file.write(f"*** {what} {name} ***\n".encode("utf-8", "surrogateescape"))

    def flush(self) -> None:
        try:
            self._file.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)        # "postcat | head" is no error


def show(name: str, fd: int, parts: set[str], out: Out) -> None:
    """Print one file. Closes fd. Ends the command, after what could be read, when the file is damaged."""
    from mailsuite.queue.salvage import salvage
    try:
        if not os.fstat(fd).st_size:
            return
        stored, fault = salvage(fd)
        if stored is None:
            warn(PROGRAM, f"{name}: input is not a valid queue file")
            return
        try:
            _show(name, fd, stored, parts, out)
        except BrokenPipeError:
            out.flush()
            return
    except OSError as error:
        fatal(PROGRAM, f"read {name}: {error.strerror}", 1)
    finally:
        os.close(fd)
    if fault:
        out.flush()
        warn(PROGRAM, f"{name}: {fault}")
        fatal(PROGRAM, "record read error", 1)


def _show(name: str, fd: int, stored: "Stored", parts: set[str], out: Out) -> None:
    from mailsuite.cli import postcat_records as records

    def marker(kind: str, offset: int, what: str) -> None:
        text = f"*** {what} {name} ***".encode("utf-8", "surrogateescape")
        out.record(records.Record(kind, offset, text))

    end = stored.offset + stored.size
    if "e" in parts:
        out.marker("ENVELOPE RECORDS", name)
        for record in records.envelope(stored, os.path.basename(name), drafted=stored.envelope.program == "sendmail"):
            out.record(record)
        marker("M", stored.offset, "MESSAGE CONTENTS")
    if "h" in parts or "b" in parts:
        in_header = True
        for record in records.content(fd, stored):
            if in_header and not record.text:
                in_header = False           # the empty line belongs to the body
            if ("h" if in_header else "b") in parts:
                out.record(record)
            elif not in_header:
                break
    if "e" in parts:
        marker("X", end, "HEADER EXTRACTED")
        for record in records.extracted(stored):
            out.record(record)
        marker("E", os.fstat(fd).st_size, "MESSAGE FILE END")


if __name__ == "__main__":
    sys.exit(main())
