"""What identifies a message of an mbox: a hash of header fields that a copy keeps and no two deliveries share.

    header_md5(header, whole=False) -> "d34673922a653815690ab325c2f4c13e"

header: CRLF octets without the state headers; of MD5_FIELDS alone, or of all fields with whole (mbox_md5 = all).
mbox_md5 = apop3d is what Dovecot took over from the Linux port of solid-pop3d: the values of Date and Message-ID up to
the first Received, that one, and X-Delivery-ID. pop3_uidl_format = %m and %g show it.
"""

import hashlib

from mailsuite.message.header import split_fields

MD5_FIELDS = (b"date", b"message-id", b"received", b"x-delivery-id")


def header_md5(header: bytes, *, whole: bool = False) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    received = False
    for name, value, text in split_fields(header):
        if not whole:
            if name not in MD5_FIELDS or b":" not in text or (received and name != b"x-delivery-id"):
                continue
            received = received or name == b"received"
        elif b":" not in text:
            value = text
        # One white space behind the colon is no part of the value; those of continuation lines are.
        digest.update((value[1:] if value[:1] in (b" ", b"\t") else value).replace(b"\r\n", b""))
    return digest.hexdigest()
