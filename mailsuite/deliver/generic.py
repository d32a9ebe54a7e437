"""smtp_generic_maps: addresses of the inside become addresses that the outside can answer to.

    await maps.address("bob@inside.test") -> "bob@isp.test"         envelope
    blocks = await maps.headers(blocks, queue_id)                   the header after smtp_header_checks and the tables

The header is collected (HEADER_LIMIT octets at most) and rewritten as a whole; the body streams by.
Raises TemporaryError when a table could not be asked.
"""

import re
from collections.abc import Iterable
from itertools import chain

from mailsuite.address.syntax import quote_local, split_domain, split_extension, unquote_local
from mailsuite.config.settings import Settings
from mailsuite.deliver.header_checks import HeaderChecks
from mailsuite.maps import MapSource, open_maps
from mailsuite.maps.lookup import find_address

HEADER_LIMIT = 1024 * 1024
ADDRESS_FIELDS = frozenset((
    b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc", b"resent-from", b"resent-sender", b"resent-reply-to",
    b"resent-to", b"resent-cc", b"resent-bcc", b"errors-to", b"mail-followup-to", b"disposition-notification-to",
    b"return-receipt-to"))
_FIELD = re.compile(rb"[^\n]*\n(?:[ \t][^\n]*\n)*|[^\n]+\Z")
_ATEXT = rb"[^\x00-\x20()<>@,;:\\\".\[\]\x7f]"
# A comment, an address (group 1), a quoted display name.
_TOKEN = re.compile(rb"\((?:[^()\\]|\\.)*\)|((?:%b+(?:\.%b+)*|\"(?:[^\"\\]|\\.)*\")@(?:%b+(?:\.%b+)*|\[[^\]]*\]))"
                    rb"|\"(?:[^\"\\]|\\.)*\"" % ((_ATEXT,) * 4), re.DOTALL)


class GenericMaps:
    """One configuration's smtp_generic_maps (or lmtp_generic_maps)."""

    def __init__(self, settings: Settings, prefix: str) -> None:
        self._maps = open_maps(settings.text(f"{prefix}_generic_maps"), MapSource(settings, prefix))
        self._checks = HeaderChecks(settings, prefix)
        self._delimiter = settings.text("recipient_delimiter")
        self._origin = settings.text("myorigin")
        self._propagate = "generic" in settings.text("propagate_unmatched_extensions").replace(",", " ").split()

    async def address(self, address: str) -> str:
        """The address after the tables, in internal form; "" stays ""."""
        if self._maps.empty or not address:
            return address
        domain = split_domain(address)[1]
        found = await find_address(self._maps, address, delimiter=self._delimiter,
                                   is_local=lambda name: name.lower() == self._origin.lower())
        if found is None:
            return address
        new = unquote_local(found.value)
        local, new_domain = split_domain(new)
        if not local:                       # "@domain": the local part stays
            local = split_domain(address)[0]
        if self._propagate and found.extension and split_extension(local, self._delimiter)[1] == "":
            local += found.extension
        return f"{local}@{new_domain or domain}"

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
        name, colon, value = field.partition(b":")
        if not colon or self._maps.empty or name.strip().lower() not in ADDRESS_FIELDS:
            return field
        out, position = [name + colon], 0
        for match in _TOKEN.finditer(value):
            if match[1] is None:
                continue
            old = match[1].decode("utf-8", "surrogateescape")
            new = quote_local(await self.address(unquote_local(old)))
            if new != old:
                out += [value[position:match.start()], new.encode("utf-8", "surrogateescape")]
                position = match.end()
        return b"".join([*out, value[position:]])
