"""ENVELOPE of a header: RFC 3501 section 7.4.2, rendered once and kept.

    render_envelope(header) -> b'("date" "subject" ((...)) ... "<message-id>")'

As Dovecot does: of several Date, Subject, Message-ID and In-Reply-To fields the last counts, address fields add up;
Sender and Reply-To stand in as From when they hold no address; NUL is shown as U+FFFD.
"""

from mailsuite.message.address import Address, parse_addresses, render_addresses
from mailsuite.message.header import first_text, split_fields, unfold
from mailsuite.message.quote import human, nstring

_ADDRESSES = {b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc"}
_TEXTS = {b"date", b"subject", b"in-reply-to", b"message-id"}


def render_envelope(header: bytes) -> bytes:
    texts: dict[bytes, bytes] = {}
    lists: dict[bytes, list[Address]] = {}
    for name, value, whole in split_fields(header):
        if name in _ADDRESSES:
            if b":" in whole:
                lists.setdefault(name, []).extend(parse_addresses(unfold(value)))
        elif name in _TEXTS and b":" in whole:
            texts[name] = first_text(value) if name == b"subject" else unfold(value)
    from_ = render_addresses(lists.get(b"from", []))
    sender, reply_to = lists.get(b"sender"), lists.get(b"reply-to")
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        nstring(texts.get(b"date")), human(texts.get(b"subject")),
        from_, render_addresses(sender) if sender else from_, render_addresses(reply_to) if reply_to else from_,
        render_addresses(lists.get(b"to", [])),
        render_addresses(lists.get(b"cc", [])), render_addresses(lists.get(b"bcc", [])),
        nstring(texts.get(b"in-reply-to")), nstring(texts.get(b"message-id")))
