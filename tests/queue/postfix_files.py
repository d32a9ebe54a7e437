"""Queue files as Postfix writes them, for its own tools to read. Source: what `postcat -od` shows of real ones."""

import os
from collections.abc import Sequence
from pathlib import Path


def record(kind: str, text: str) -> bytes:
    """Type, length in groups of seven bits, text."""
    data, out = text.encode(), bytearray(kind.encode())
    length = len(data)
    while True:
        out.append(length & 0x7F | (0x80 if length > 0x7F else 0))
        length >>= 7
        if not length:
            return bytes(out) + data


def write_postfix_file(path: Path, *, arrival: float, sender: str, recipients: Sequence[str],
                       done: Sequence[str] = ()) -> None:
    """done: recipients that need no delivery any more."""
    content = record("N", "Subject: x") + record("N", "") + record("N", "body")
    envelope = (record("T", f"{int(arrival)} 0") + record("A", f"create_time={int(arrival)}") + record("S", sender)
                + b"".join(record("O", one) + record("D" if one in done else "R", one) for one in recipients))
    sizes = "%15d %15d %15d %15d %15d %15d"
    offset = len(record("C", sizes % ((0,) * 6))) + len(envelope) + len(record("M", ""))
    head = record("C", sizes % (len(content), offset, len(recipients), 0, len(content), 0))
    path.write_bytes(head + envelope + record("M", "") + content + record("X", "") + record("E", ""))
    os.chmod(path, 0o700)
