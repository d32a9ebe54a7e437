"""A message as a remote server gets to see it: checked, with the addresses of the outside, in 7 bits where it must be.

    outgoing = Outgoing(settings, "smtp")
    await outgoing.address("bob@inside.test") -> "bob@isp.test"                 the envelope: smtp_generic_maps
    blocks = outgoing.blocks(blocks, queue_id, to_7bit=True)                    iterate with "for" or "async for"

What labels itself 8bit or binary becomes quoted-printable for a server without 8BITMIME, part by part (RFC 6152); text
without a label is left as it is, as Postfix leaves it. The header is kept in memory (HEADER_LIMIT octets at most), the
body streams by; without a table that looks into it, and without conversion, it is not looked at.
Iterating raises TemporaryError when a table could not be asked.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import chain

from mailsuite.config.settings import Settings
from mailsuite.deliver.header_checks import ContentChecks
from mailsuite.message.mime_pass import MIME_FIELDS, PART, PRIMARY, MimeLimits, MimePass, Problem
from mailsuite.queue.params import MIME_BOUNDARY_LENGTH_LIMIT, MIME_NESTING_LIMIT
from mailsuite.rewrite.rewriter import Rewriter

HEADER_LIMIT = 1024 * 1024
PIECE = 16 * 1024               # octets that are looked at in one go, before others have their turn
_FIELD = re.compile(rb"[^\n]*\n(?:[ \t][^\n]*\n)*|[^\n]+\Z")


class Outgoing:
    """One configuration's tables for what leaves."""

    def __init__(self, settings: Settings, prefix: str) -> None:
        self._maps = Rewriter(settings, prefix).generic_maps(f"{prefix}_generic_maps")
        self._checks = ContentChecks(settings, prefix)
        self._limits = MimeLimits(nesting=settings[MIME_NESTING_LIMIT], boundary=settings[MIME_BOUNDARY_LENGTH_LIMIT])

    async def address(self, address: str) -> str:
        """The address after the tables, in internal form; "" stays ""."""
        return await self._maps.address(address)

    def blocks(self, blocks: Iterable[bytes], queue_id: str, *, to_7bit: bool = False,
               front: bytes = b"") -> Iterable[bytes] | AsyncIterator[bytes]:
        """The message with LF line ends as it is to be sent. front: header lines to put in front."""
        if front:
            blocks = chain([front], blocks)
        if self._maps.empty and not (self._checks.header_on or self._checks.deep or to_7bit):
            return blocks
        return self._passed(iter(blocks), queue_id, to_7bit)

    async def _passed(self, blocks: Iterator[bytes], queue_id: str, to_7bit: bool) -> AsyncIterator[bytes]:
        head, rest = _header(blocks)
        visitor = _Visitor(self._checks, queue_id)
        run = MimePass(visitor, self._limits, to_7bit=to_7bit) if self._checks.deep or to_7bit else None
        out: list[bytes] = []
        for line in _FIELD.findall(head):
            field = line.removesuffix(b"\n")
            kind = run.field(field) if run is not None else _kind(field)
            if run is not None and run.relabelled:
                continue
            for new in await visitor.header(field, kind):
                out.append(await self._mapped(new) + b"\n")
        yield b"".join(out)
        if run is None:
            yield rest
            for block in blocks:
                yield block
            return
        for block in chain([rest], blocks):
            for at in range(0, len(block), PIECE):
                yield await run.lines(block[at:at + PIECE])
                await asyncio.sleep(0)
        yield await run.end()

    async def _mapped(self, field: bytes) -> bytes:
        """One header field with its continuation lines after smtp_generic_maps."""
        label, colon, value = field.partition(b":")
        if not colon or self._maps.empty or not label.isascii():
            return field
        new = await self._maps.header(label.strip().decode("ascii"), value)
        return field if new == value else label + b": " + new


class _Visitor:
    """What MimePass tells of a message."""

    def __init__(self, checks: ContentChecks, queue_id: str) -> None:
        self._checks, self._queue_id = checks, queue_id

    async def header(self, field: bytes, kind: str) -> list[bytes]:
        return await self._checks.header(self._queue_id, field, kind)

    async def body(self, line: bytes, offset: int) -> list[bytes]:
        return await self._checks.body(self._queue_id, line)

    def problem(self, problem: Problem, text: bytes) -> None:
        """Of mail that was taken nobody wants to hear."""


def _kind(field: bytes) -> str:
    return PART if field.partition(b":")[0].rstrip().lower() in MIME_FIELDS else PRIMARY


def _header(blocks: Iterator[bytes]) -> tuple[bytes, bytes]:
    """The header, and what of the blocks read so far comes behind it, the empty line first."""
    head, end = bytearray(), -1
    for block in blocks:
        searched = max(0, len(head) - 1)
        head += block
        end = 0 if head.startswith(b"\n") else head.find(b"\n\n", searched) + 1 or -1
        if end >= 0 or len(head) > HEADER_LIMIT:
            break
    if end < 0:
        end = len(head)
    return bytes(head[:end]), bytes(head[end:])
