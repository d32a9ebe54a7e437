"""postcat: show the contents of queue files, in Postfix's words. See postcat(1).

    postcat [-bdehov] [-c config_dir] [-q] [file|queue_id ...]

-b body, -e envelope, -h header; all without these. -q: the words are queue ids. -o: offsets of the records. Without a
word, standard input. Exit: 0, 1.
"""

import os
import sys
import time
from typing import TYPE_CHECKING

from mailsuite.cli.mailcommand import default_directory, fatal, load, parse, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailsuite.config.settings import Settings
    from mailsuite.queue.envelope import Envelope
    from mailsuite.queue.file import Stored

PROGRAM = "postcat"
USAGE = ("usage: postcat [-b (body text)] [-c config_dir] [-d (decimal record type)] [-e (envelope records)] "
         "[-h (header text)] [-q (access queue)] [-v] [file(s)...]")
QUEUES = ("incoming", "active", "deferred", "hold", "corrupt", "maildrop", "saved")
BLOCK = 256 * 1024


def main() -> int:
    """The console script."""
    options, words = parse(PROGRAM, sys.argv[1:], "bc:dehoqsv", USAGE, 1)
    given = {option for option, _ in options}
    directory = next((value for option, value in reversed(options) if option == "-c"), default_directory())
    parts = {letter for letter in "beh" if f"-{letter}" in given} or set("beh")
    settings = load(directory, PROGRAM, 1)
    out = Out(offsets="-o" in given)
    if "-q" in given:
        for word in words:
            name, fd = _find(settings, word)
            show(name, fd, parts, out)
    elif words:
        for word in words:
            try:
                fd = os.open(word, os.O_RDONLY)
            except OSError as error:
                fatal(PROGRAM, f"open {word}: {error.strerror}", 1)
            show(word, fd, parts, out)
    else:
        show("stdin", _spooled(), parts, out)
    out.flush()
    return 0


def _find(settings: "Settings", queue_id: str) -> tuple[str, int]:
    """(name below the queue directory, descriptor); ends the command when there is none."""
    from mailsuite.queue.ids import is_id
    from mailsuite.queue.store import open_store
    store = open_store(settings)
    if not is_id(queue_id):
        fatal(PROGRAM, f"bad mail queue ID: {queue_id}", 1)
    reason = "No such file or directory"
    for queue in QUEUES + QUEUES:
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
    """Standard output; with offsets, each record's place stands before it."""

    def __init__(self, *, offsets: bool) -> None:
        self._offsets = offsets
        self._file = sys.stdout.buffer

    def line(self, octets: bytes, offset: int) -> None:
        if self._offsets:
            self._file.write(b"%9d " % offset)
        self._file.write(octets + b"\n")

    def marker(self, what: str, name: str) -> None:
        self._file.write(f"*** {what} {name} ***\n".encode("utf-8", "surrogateescape"))

    def flush(self) -> None:
        self._file.flush()


def show(name: str, fd: int, parts: set[str], out: Out) -> None:
    """Print one file. Closes fd."""
    from mailsuite.queue.file import Damaged, read
    try:
        stored = read(fd, with_done=True)
    except Damaged:
        os.close(fd)
        warn(PROGRAM, f"{name}: input is not a valid queue file")
        return
    if "e" in parts:
        out.marker("ENVELOPE RECORDS", name)
        for text in records(stored, os.path.basename(name)):
            out.line(text.encode("utf-8", "surrogateescape"), 0)
        out.marker("MESSAGE CONTENTS", name)
    if "h" in parts or "b" in parts:
        _content(fd, stored, parts, out)
    if "e" in parts:
        out.marker("HEADER EXTRACTED", name)
        out.marker("MESSAGE FILE END", name)
    os.close(fd)


def _content(fd: int, stored: "Stored", parts: set[str], out: Out) -> None:
    """Header and body: the empty line between them belongs to the body."""
    in_header = True
    for offset, line in _lines(fd, stored.offset, stored.size):
        if in_header and not line:
            in_header = False
        if ("h" if in_header else "b") in parts:
            out.line(line, offset)
        elif not in_header:
            return


def _lines(fd: int, start: int, size: int) -> "Iterator[tuple[int, bytes]]":
    at, end, rest = start, start + size, b""
    line_at = start
    while at < end:
        block = os.pread(fd, min(BLOCK, end - at), at)
        if not block:
            break
        at += len(block)
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        for line in lines:
            yield line_at, line
            line_at += len(line) + 1
    if rest:
        yield line_at, rest


def records(stored: "Stored", queue_id: str) -> "Iterator[str]":
    """The envelope as Postfix's postcat lists it."""
    from mailsuite.address.syntax import quote_local
    envelope = stored.envelope
    arrival = time.strftime("%a %b %e %H:%M:%S %Y", time.localtime(envelope.arrival_time))
    yield (f"message_size: {stored.size:15d} {stored.offset:15d} {len(stored.recipients):15d} {0:15d} "
           f"{stored.size:15d} {0:15d}")
    yield f"message_arrival_time: {arrival}"
    yield f"create_time: {arrival}"
    if envelope.filter:
        yield f"content_filter: {envelope.filter}"
    for name, value in attributes(envelope, queue_id, before_sender=True):
        yield f"named_attribute: {name}={value}"
    if envelope.full_name:
        yield f"sender_fullname: {envelope.full_name}"
    yield f"sender: {quote_local(envelope.sender)}"
    for name, value in attributes(envelope, queue_id, before_sender=False):
        yield f"named_attribute: {name}={value}"
    for recipient in stored.recipients:
        if recipient.notify:
            yield f"named_attribute: notify_flags={int(recipient.notify)}"
        if recipient.orcpt:
            yield f"named_attribute: dsn_orig_rcpt={recipient.orcpt}"
        if recipient.original:
            yield f"original_recipient: {quote_local(recipient.original)}"
        yield f"{'done_recipient' if recipient.number < 0 else 'recipient'}: {quote_local(recipient.address)}"


def attributes(envelope: "Envelope", queue_id: str, *, before_sender: bool) -> "list[tuple[str, str]]":
    """Postfix's named attributes that have a value."""
    origin = envelope.origin
    if before_sender:
        ret = {"": "", "FULL": "1", "HDRS": "2"}[envelope.ret.value]
        found = [("encoding", envelope.encoding),
                 ("smtputf8", "yes" if envelope.smtputf8 else ""),
                 ("sasl_method", origin.sasl_method), ("sasl_username", origin.sasl_username),
                 ("sasl_sender", origin.sasl_sender), ("envelope_id", envelope.envid), ("ret_flags", ret)]
        context = ("rewrite_context", "local" if envelope.local else "remote")
        found = [*found, context] if envelope.program == "pickup" else [
            ("log_ident", origin.log_ident or queue_id), context, *found]
    else:
        kind = "6" if ":" in origin.client_address else "2"
        facts = [("client_name", origin.client_name), ("reverse_client_name", origin.reverse_client_name),
                 ("client_address", origin.client_address), ("client_port", origin.client_port),
                 ("server_address", origin.server_address), ("server_port", origin.server_port),
                 ("helo_name", origin.helo_name), ("protocol_name", origin.protocol_name)]
        found = [(f"log_{name}", value) for name, value in facts[:1] + facts[2:4]]
        local = envelope.program == "pickup"
        found += [("log_message_origin", "" if local else origin.message_origin), ("log_helo_name", origin.helo_name),
                  ("log_protocol_name", origin.protocol_name), *facts,
                  ("client_address_type", kind if origin.client_address else "")]
    return [(name, value) for name, value in found if value]


if __name__ == "__main__":
    sys.exit(main())
