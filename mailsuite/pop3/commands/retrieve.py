"""RETR and TOP: a message, or its beginning, as lines (RFC 1939 sections 5 and 7).

A large message is read, changed and sent a block at a time (Maildrop.blocks); others are in memory as a whole.
"""

from collections.abc import Generator, Iterable, Iterator
from itertools import chain

from mailsuite.base.errors import MailError
from mailsuite.message.header import header_size
from mailsuite.message.message import Message
from mailsuite.message.surrogate import ascii_header
from mailsuite.pop3.commands.context import Context, Run, not_deleted, position_of
from mailsuite.pop3.reply import END, expunged, ok, slices, stuffed, top_of
from mailsuite.pop3.session import Done
from mailsuite.pop3.syntax import number_and_lines
from mailsuite.store.api import MessageGone

BLOCK = 64 * 1024
HEADER_LIMIT = 1 << 20      # a longer header counts as ended there


class CutShort(Exception):
    """A message cannot be read to its end, and its beginning was sent: no reply can be told from content any more."""

    def __init__(self, problem: MailError) -> None:
        super().__init__(problem.detail or problem.public)


def do_retr(context: Context, arguments: str) -> Run:
    position = position_of(context, arguments)
    counts, maildrop = context.counts, context.maildrop
    maildrop.retrieved(position)
    counts.retr += 1
    try:
        message = maildrop.message(position)
        size = maildrop.size_of(position, message)
    except MessageGone:
        return _gone(context, position)
    if not context.params.no_flag_updates:
        maildrop.seen.add(position)
    counts.retr_octets += yield from _content(context, ok(f"{size} octets"), message)
    return Done(END)


def do_top(context: Context, arguments: str) -> Run:
    number, lines = number_and_lines(arguments, context.maildrop.count)
    position = not_deleted(context, number)
    context.counts.top += 1
    try:
        message = context.maildrop.message(position)
    except MessageGone:
        return _gone(context, position)
    context.counts.top_octets += yield from _content(context, ok(), message, lines)
    return Done(END)


def _gone(context: Context, position: int) -> Done:
    """Another program expunged it. A client that asks again and again is not served for ever."""
    again, context.maildrop.gone_before = position < context.maildrop.gone_before, position + 1
    return Done(expunged(position + 1), bad=again)


def _content(context: Context, first: bytes, message: Message | Iterator[bytes],
             lines: int | None = None) -> Generator[bytes, None, int]:
    """The reply's first line and the message, of the body only so many lines; returns how many octets that were."""
    sent, pending = 0, first
    blocks: Iterable[bytes]
    needs_end = "oe-ns-eoh" in context.params.workarounds
    if isinstance(message, Message):
        blocks, header_ended = _whole(context, message, lines), needs_end and message.header_ended
    else:
        blocks, header_ended = _streamed(context, message, lines)
    try:
        for block in stuffed(blocks):
            if len(pending) + len(block) > BLOCK:
                sent += len(pending)
                yield pending
                pending = block
            else:
                pending += block
    except MailError as problem:
        if not sent:
            raise
        raise CutShort(problem) from problem
    if needs_end and not header_ended:
        pending += b"\r\n"     # some clients wait for ever for the empty line behind a header
    yield pending
    return sent + len(pending)


def _whole(context: Context, message: Message, lines: int | None) -> Iterator[bytes]:
    end = message.size if lines is None else message.top_size(lines)
    octets = message.octets if "outlook-no-nuls" in context.params.workarounds else message.crlf
    if context.params.utf8_extensions and not context.utf8 and not message.header.isascii():
        header = ascii_header(octets[:message.header_size])     # RFC 6856 section 2.1
        octets = header + octets[message.header_size:end]
        end = len(octets)
    return slices(octets, BLOCK, end)


def _streamed(context: Context, blocks: Iterator[bytes], lines: int | None) -> tuple[Iterable[bytes], bool]:
    """Only the header is in memory as a whole. Returns the blocks, and whether an empty line ended the header."""
    head = bytearray()
    while b"\r\n\r\n" not in head and not head.startswith(b"\r\n") and len(head) < HEADER_LIMIT:
        block = next(blocks, b"")
        if not block:
            break
        head += block
    size = header_size(bytes(head))
    header, body = bytes(head[:size]), chain([bytes(head[size:])], blocks)
    ended = header.startswith(b"\r\n") or header.endswith(b"\r\n\r\n")
    if context.params.utf8_extensions and not context.utf8 and not header.isascii():
        header = ascii_header(header)
    shown = chain([header], body if lines is None else top_of(body, lines))
    if "outlook-no-nuls" in context.params.workarounds:
        return (block.replace(b"\0", b"\x80") for block in shown), ended
    return shown, ended
