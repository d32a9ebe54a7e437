"""Headers as they stream by: found, changed, dropped, added.

    split_header(block) -> (headers, rest)       logical header lines, continuation lines joined, LF kept inside
    name_of(header) -> b"message-id"

A header begins with a name of printable ASCII without colon or blank, then optional blanks, then a colon (RFC 5322
section 2.2; the blanks are section 4.5.8's). The first line that is neither a header nor a continuation ends the
header, whether or not an empty line stands there.
"""

import re

NAME = re.compile(rb"([!-9;-~]{1,998})[ \t]*:")

SENDER_FIELDS = frozenset({b"from", b"sender", b"reply-to", b"errors-to", b"return-receipt-to", b"resent-from",
                           b"resent-sender", b"resent-reply-to", b"disposition-notification-to"})
DESTINATION_FIELDS = frozenset({b"to", b"cc", b"bcc", b"resent-to", b"resent-cc", b"resent-bcc"})


def name_of(header: bytes) -> bytes:
    """The name in lower case, b"" for what is no header."""
    match = NAME.match(header)
    return match[1].lower() if match else b""


def value_of(header: bytes) -> bytes:
    """What stands behind the colon, without white space around it."""
    return header.partition(b":")[2].strip()


def split_header(block: bytes, *, whole: bool) -> tuple[list[bytes], bytes | None, bytes]:
    """Take the header fields from the start of block.

    whole: nothing follows. Returns (fields with their continuation lines and without the last LF; the body, from its
    separating empty line on, or None when the header goes on; what could not yet be judged).
    """
    fields: list[bytes] = []
    end_at = 0 if block.startswith(b"\n") else block.find(b"\n\n") + 1
    known_end = end_at > 0 or block.startswith(b"\n")
    text = block[:end_at] if known_end else block
    lines = text.split(b"\n")
    tail = lines.pop()              # b"" after a line end, else an unfinished line
    if whole and tail and not known_end:
        lines.append(tail)
        tail = b""
    at = 0
    for line in lines:
        if line[:1] in (b" ", b"\t") and fields:
            fields[-1] += b"\n" + line
        elif NAME.match(line):
            fields.append(line)
        else:                       # no header line: the body begins here, without an empty line
            return fields, b"\n" + block[at:], b""
        at += len(line) + 1
    if known_end:
        return fields, block[end_at:], b""
    if whole:
        return fields, b"", b""
    # The next line may continue the last field.
    rest = (fields.pop() + b"\n" if fields else b"") + tail
    return fields, None, rest
