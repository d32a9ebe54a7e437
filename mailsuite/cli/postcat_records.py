"""A queue file as the records that Postfix's would have; what postcat prints.

    for record in envelope(stored, "4A2F1C83D", drafted=False): ...     before the content
    for record in extracted(stored): ...                                 behind it
    for record in content(fd, stored): ...                               a line of the message each

Record(kind, offset, text): kind is the letter of Postfix's record type ("S" sender, "R" recipient...), offset the place
in our file where that is written; of facts that share one line of it, the line's.
"""

import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mailsuite.queue.envelope import Envelope
    from mailsuite.queue.file import Stored

BLOCK = 256 * 1024


class Record(NamedTuple):
    """kind: one letter. text: without line end."""

    kind: str
    offset: int
    text: bytes


def envelope(stored: "Stored", queue_id: str, *, drafted: bool) -> Iterator[Record]:
    """drafted: a file of maildrop/, which cleanup has not seen."""
    facts = stored.envelope
    at = stored.offset + stored.size
    arrival = time.strftime("%a %b %e %H:%M:%S %Y", time.localtime(facts.arrival_time))
    if not drafted:
        yield Record("C", 0, b"message_size: %15d %15d %15d %15d %15d %15d" % (
            stored.shown_size, stored.offset, len(stored.recipients), 0, stored.shown_size, facts.smtputf8))
    yield Record("T", at, b"message_arrival_time: " + arrival.encode())
    if not drafted:
        yield Record("A", at, b"create_time: " + arrival.encode())
    if facts.filter:
        yield _text("L", at, "content_filter", facts.filter)
    for name, value in _before_sender(facts, queue_id, drafted=drafted):
        yield _attribute(at, name, value)
    if facts.full_name:
        yield _text("F", at, "sender_fullname", facts.full_name)
    yield _text("S", at, "sender", facts.sender)
    for name, value in _after_sender(facts):
        yield _attribute(at, name, value)
    if facts.verp:
        yield _text("V", at, "verp_delimiters", facts.verp)
    yield from _recipients(stored, drafted=drafted)


def _recipients(stored: "Stored", *, drafted: bool) -> Iterator[Record]:
    for one in stored.recipients:
        at = abs(one.number) - 1            # its line begins one octet before its mark
        if one.notify:
            yield _attribute(at, "notify_flags", str(int(one.notify)))
        if one.orcpt:
            yield _attribute(at, "dsn_orig_rcpt", one.orcpt)
        if one.original and not drafted:
            yield _text("O", at, "original_recipient", one.original)
        kind, name = ("D", "done_recipient") if one.number < 0 else ("R", "recipient")
        yield _text(kind, at, name, one.address)


def extracted(stored: "Stored") -> Iterator[Record]:
    """What cleanup found in the header."""
    if stored.envelope.encoding:
        yield _attribute(stored.offset + stored.size, "encoding", stored.envelope.encoding)


def content(fd: int, stored: "Stored") -> Iterator[Record]:
    """The message, line by line. Memory: the longest line and a block. Raises OSError."""
    at, end = stored.offset, stored.offset + stored.size
    line_at, begun = at, list[bytes]()          # a line longer than a block is joined once, at its end
    while at < end:
        block = os.pread(fd, min(BLOCK, end - at), at)
        if not block:
            break
        at += len(block)
        lines = block.split(b"\n")
        begun.append(lines[0])
        for following in lines[1:]:
            line = b"".join(begun)
            yield Record("N", line_at, line)
            line_at += len(line) + 1
            begun = [following]
    if rest := b"".join(begun):
        yield Record("N", line_at, rest)


def _text(kind: str, offset: int, name: str, value: str) -> Record:
    return Record(kind, offset, f"{name}: {value}".encode("utf-8", "surrogateescape"))


def _attribute(offset: int, name: str, value: str) -> Record:
    return Record("A", offset, f"named_attribute: {name}={value}".encode("utf-8", "surrogateescape"))


def _before_sender(facts: "Envelope", queue_id: str, *, drafted: bool) -> list[tuple[str, str]]:
    origin = facts.origin
    ret = {"": "", "FULL": "1", "HDRS": "2"}[facts.ret.value]
    asked = [("envelope_id", facts.envid), ("ret_flags", ret)]
    context = [("rewrite_context", "local" if facts.local else "remote")]
    login = [("sasl_method", origin.sasl_method), ("sasl_username", origin.sasl_username),
             ("sasl_sender", origin.sasl_sender)]
    found = [*asked, *context] if drafted or facts.program == "pickup" else [
        ("log_ident", origin.log_ident or queue_id), *context, *login, *asked]
    return [(name, value) for name, value in found if value]


def _after_sender(facts: "Envelope") -> list[tuple[str, str]]:
    origin = facts.origin
    kind = "" if not origin.client_address else "6" if ":" in origin.client_address else "2"
    client = [("client_name", origin.client_name), ("client_address", origin.client_address),
              ("client_port", origin.client_port)]
    hello = [("helo_name", origin.helo_name), ("protocol_name", origin.protocol_name)]
    local = facts.program in ("pickup", "sendmail")
    found = [("encoding", facts.encoding), *((f"log_{name}", value) for name, value in client),
             ("log_message_origin", "" if local else origin.message_origin),
             *((f"log_{name}", value) for name, value in hello),
             client[0], ("reverse_client_name", origin.reverse_client_name), *client[1:],
             ("server_address", origin.server_address), ("server_port", origin.server_port), *hello,
             ("client_address_type", kind)]
    return [(name, value) for name, value in found if value]
