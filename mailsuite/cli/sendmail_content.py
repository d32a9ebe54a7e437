"""The message that sendmail reads from its standard input, on its way into the queue.

    recipients = Content(dots=True, line_ends="always").copy(source, draft.write, read_header=True)
    probe(sender, words)                the message of sendmail -bv
"""

from collections.abc import Callable, Iterator
from typing import BinaryIO

BLOCK = 64 * 1024
HEADER_LIMIT = 1024 * 1024      # octets of a header that -t reads
LINE_ENDS = ("always", "strict", "never")       # sendmail_fix_line_endings
_RECIPIENT_FIELDS = (b"to", b"cc", b"bcc")


def addresses(text: str) -> list[str]:
    """Addresses of a list, in internal form."""
    from mailsuite.address.header import parse_addresses
    from mailsuite.address.syntax import unquote_local
    return [unquote_local(address) for address in parse_addresses(text).addresses() if address]


class Content:
    """A message on its way from standard input into the queue.

    dots: a line with a single "." ends it. line_ends: whether CRLF becomes LF: "always", "never", or "strict": when the
    first line ends in CRLF.
    """

    def __init__(self, dots: bool, line_ends: str = "always") -> None:
        self._dots, self._line_ends = dots, line_ends

    def copy(self, source: BinaryIO, write: Callable[[bytes], None], *, read_header: bool) -> list[str]:
        """Copy the message, LF line ends; return the recipients of its header, when asked."""
        recipients: list[str] = []
        header: bytes | None = b""
        first = True
        for block in self._blocks(source):
            if first:
                block, first = _without_from_line(block), False
            if header is not None:
                header += block
                end = 0 if header.startswith(b"\n") else header.find(b"\n\n") + 1
                if not end and not header.startswith(b"\n") and len(header) < HEADER_LIMIT:
                    continue            # the header is kept back until it is whole
                if read_header:
                    recipients = header_recipients(header)
                block, header = header, None
            write(block)
        if header:
            if read_header:
                recipients = header_recipients(header)
            write(header)
        return recipients

    def _blocks(self, source: BinaryIO) -> Iterator[bytes]:
        """Whole lines in blocks; ends at a single dot, if that is meant; the last line gets its end."""
        rest = b""
        mends = {"always": True, "never": False}.get(self._line_ends)       # None: the first line tells
        while octets := source.read(BLOCK):
            octets = rest + octets
            cut = octets.rfind(b"\n") + 1
            rest, whole = octets[cut:], octets[:cut]
            if mends is None and whole:
                mends = whole[: whole.index(b"\n")].endswith(b"\r")
            if mends and b"\r\n" in whole:
                whole = whole.replace(b"\r\n", b"\n")
            if self._dots and (whole.startswith(b".\n") or b"\n.\n" in whole):
                yield b"" if whole.startswith(b".\n") else whole[: whole.index(b"\n.\n") + 1]
                return
            yield whole
        if mends:
            rest = rest.removesuffix(b"\r")
        if rest and not (self._dots and rest == b"."):
            yield rest + b"\n"


def probe(sender: str, recipients: list[str]) -> bytes:
    """The message of sendmail -bv; it is never delivered. recipients: as they were given."""
    from mailsuite.address.syntax import quote_local
    to = ",\n\t".join(" ".join(address.split()) for address in recipients)
    return f"From: {quote_local(sender)}\nSubject: probe\nTo:\t{to}\n".encode("utf-8", "surrogateescape")


def _without_from_line(block: bytes) -> bytes:
    """mbox separators on top are no header."""
    while block.startswith((b"From ", b">From ")):
        block = block.partition(b"\n")[2]
    return block


def header_recipients(block: bytes) -> list[str]:
    """Addresses of To, Cc, Bcc; of the Resent- ones when there are any."""
    from mailsuite.queue.headers import name_of, split_header, value_of
    fields, _, _ = split_header(block, whole=True)
    by_name: dict[bytes, list[bytes]] = {}
    for item in fields:
        by_name.setdefault(name_of(item), []).append(value_of(item))
    prefix = b"resent-" if any(name.startswith(b"resent-") for name in by_name) else b""
    found: list[str] = []
    for name in _RECIPIENT_FIELDS:
        for value in by_name.get(prefix + name, []):
            found += addresses(value.decode("utf-8", "surrogateescape"))
    return found
