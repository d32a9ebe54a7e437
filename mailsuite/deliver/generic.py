"""smtp_generic_maps: addresses of the inside become addresses that the outside can answer to.

    await maps.address("bob@inside.test") -> "bob@isp.test"         envelope
    blocks = await maps.headers(blocks, queue_id)                   the header after smtp_header_checks and the tables

The header is collected (HEADER_LIMIT octets at most) and rewritten as a whole; the body streams by.
Raises TemporaryError when a table could not be asked.
"""

import re
from collections.abc import Iterable
from itertools import chain

from mailsuite.config.settings import Settings
from mailsuite.deliver.header_checks import HeaderChecks
from mailsuite.rewrite.rewriter import Rewriter

HEADER_LIMIT = 1024 * 1024
_FIELD = re.compile(rb"[^\n]*\n(?:[ \t][^\n]*\n)*|[^\n]+\Z")


class GenericMaps:
    """One configuration's smtp_generic_maps (or lmtp_generic_maps)."""

    def __init__(self, settings: Settings, prefix: str) -> None:
        self._maps = Rewriter(settings, prefix).generic_maps(f"{prefix}_generic_maps")
        self._checks = HeaderChecks(settings, prefix)

    async def address(self, address: str) -> str:
        """The address after the tables, in internal form; "" stays ""."""
        return await self._maps.address(address)

    async def headers(self, blocks: Iterable[bytes], queue_id: str) -> Iterable[bytes]:
        """The message with its header checked and its address headers rewritten."""
        if self._maps.empty and self._checks.empty:
            return blocks
        iterator = iter(blocks)
        head = bytearray()
        end = -1
        for block in iterator:
            searched = max(0, len(head) - 1)
            head += block
            end = 0 if head.startswith(b"\n") else head.find(b"\n\n", searched)
            if end >= 0 or len(head) > HEADER_LIMIT:
                break
        if end < 0:
            end = len(head)
        fields, rest = bytes(head[:end + 1]), bytes(head[end + 1:])
        out: list[bytes] = []
        for field in _FIELD.findall(fields):
            if field == b"\n" or self._checks.empty:
                out.append(await self._field(field))
            else:
                out += [await self._field(line) for line in await self._checks.apply(queue_id, field)]
        return chain([b"".join(out), rest], iterator)

    async def _field(self, field: bytes) -> bytes:
        """One header field with its continuation lines."""
        label, colon, value = field.partition(b":")
        if not colon or self._maps.empty or not label.isascii():
            return field
        value = value.removesuffix(b"\n")
        new = await self._maps.header(label.strip().decode("ascii"), value)
        return field if new == value else label + b": " + new + b"\n"
