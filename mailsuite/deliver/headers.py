"""The lines that a final delivery puts in front of a message, and the mark that stops a loop.

    delivery_header("bob@example.test", "team@example.test", "alice@example.test")
        b"Return-Path: <bob@example.test>\\nX-Original-To: team@example.test\\nDelivered-To: alice@example.test\\n"
    delivered_to(fd, offset, size) -> {"alice@example.test"}       what earlier hops wrote, folded to lower case
"""

import os
import re

from mailsuite.address.syntax import quote_local

HEADER_LIMIT = 256 * 1024        # octets of a header that are searched for Delivered-To
_DELIVERED = re.compile(rb"^delivered-to[ \t]*:[ \t]*(.*)$", re.IGNORECASE | re.MULTILINE)


def delivery_header(sender: str | None, original: str, delivered: str) -> bytes:
    """sender None, or an empty original or delivered: leave that line out."""
    lines = []
    if sender is not None:
        lines.append(f"Return-Path: <{quote_local(sender)}>\n")
    if original:
        lines.append(f"X-Original-To: {quote_local(original)}\n")
    if delivered:
        lines.append(f"Delivered-To: {quote_local(delivered)}\n")
    return "".join(lines).encode("utf-8", "surrogateescape")


def delivered_to(fd: int, offset: int, size: int) -> set[str]:
    """The addresses in a message's Delivered-To headers, lower case. Raises OSError."""
    head = b"\n"
    end = -1
    while len(head) < min(size + 1, HEADER_LIMIT) and end < 0:
        block = os.pread(fd, min(16384, size + 1 - len(head)), offset + len(head) - 1)
        if not block:
            break
        searched = max(0, len(head) - 1)
        head += block
        end = head.find(b"\n\n", searched)
    if b"elivered-" not in head and b"ELIVERED-" not in head.upper():
        return set()
    return {found.strip().decode("utf-8", "surrogateescape").lower()
            for found in _DELIVERED.findall(head[:end] if end >= 0 else head)}
