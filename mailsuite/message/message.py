"""A whole message in memory, as the wire shows it: CRLF line ends, parsed at most once.

    message = Message.from_stored(octets)       LF or CRLF octets as a Maildir file or an mbox holds them
    message.octets                              the wire form: every LF became CRLF, NUL became 0x80
    message.size                                RFC822.SIZE
    message.header, message.body                octets up to and with the empty line; the rest
    message.structure                           the tree of MIME parts (message/mime.py)
    message.envelope, message.body_octets ...   rendered for IMAP (message/render.py)
    message.section(section) -> bytes           BODY[section]; b"" for a part that isn't there
    message.fields(b"Subject") -> [values]      unfolded raw values, in order
    message.top_size(lines) -> octets           POP3 TOP

Any octets parse; nothing here raises for content. Sections: message/section.py.
"""

from functools import cached_property
from typing import TYPE_CHECKING

from mailsuite.message import header as header_module
from mailsuite.message.crlf import to_crlf

if TYPE_CHECKING:
    from mailsuite.message.mime import Part
    from mailsuite.message.section import Section


class Message:
    """crlf: the message with CRLF line ends. Immutable; what is asked for is computed once and kept."""

    def __init__(self, crlf: bytes) -> None:
        self.crlf = crlf        # as stored but for line ends: ENVELOPE and BODY show a NUL in their own way
        self.octets = crlf.replace(b"\0", b"\x80") if b"\0" in crlf else crlf

    @classmethod
    def from_stored(cls, octets: bytes) -> "Message":
        return cls(to_crlf(octets))

    @property
    def size(self) -> int:
        return len(self.octets)

    @cached_property
    def header_size(self) -> int:
        """Octets of the header with its empty line."""
        return header_module.header_size(self.octets)

    @property
    def header_ended(self) -> bool:
        """Did an empty line end it?"""
        return self.octets.startswith(b"\r\n") or self.octets.endswith(b"\r\n\r\n", 0, self.header_size)

    @property
    def header(self) -> bytes:
        return self.octets[: self.header_size]

    @property
    def body(self) -> bytes:
        return self.octets[self.header_size:]

    @cached_property
    def field_list(self) -> "list[tuple[bytes, bytes, bytes]]":
        """(name in lower case, raw value, the whole field's octets) in order."""
        return header_module.split_fields(self.header)

    def fields(self, name: bytes) -> list[bytes]:
        """Unfolded values of the fields of that name (any case), in order."""
        name = name.lower()
        return [header_module.unfold(value) for field, value, _ in self.field_list if field == name]

    @cached_property
    def structure(self) -> "Part":
        from mailsuite.message.mime import parse_structure
        return parse_structure(self.crlf)

    @cached_property
    def envelope(self) -> bytes:
        from mailsuite.message.envelope import render_envelope
        return render_envelope(self.crlf[: self.header_size])

    @cached_property
    def body_basic(self) -> bytes:
        """FETCH BODY."""
        from mailsuite.message.render import render_body
        return render_body(self.structure, self.crlf, extended=False)

    @cached_property
    def body_structure(self) -> bytes:
        """FETCH BODYSTRUCTURE."""
        from mailsuite.message.render import render_body
        return render_body(self.structure, self.crlf, extended=True)

    def section(self, section: "Section") -> bytes:
        """BODY[section] as octets; b"" for a part that is not there."""
        from mailsuite.message.section import fetch_section
        return fetch_section(self, section)

    def top_size(self, lines: int) -> int:
        """Octets of the header and the first lines of the body: POP3 TOP, RFC 1939 section 7."""
        at = self.header_size
        for _ in range(lines):
            end = self.octets.find(b"\n", at)
            if end < 0:
                return len(self.octets)
            at = end + 1
        return at
