"""Text in quoted-printable: RFC 2045 section 6.7.

    quoted_line(b"caf\\xe9 ") -> [b"caf=E9=20"]          one line without its end; what is too long becomes several

Each result has at most 76 octets. A "From " or "." at the start of a line needs no care here: the wire doubles dots.
"""

import re

_QUOTE = re.compile(rb"[^\t !-<>-~]")
_LINE = 73                # octets before the "=" that goes on; an encoded octet may end two later


def quoted_line(line: bytes) -> list[bytes]:
    """The lines that stand for it, all but the last ending with "="; broken where Postfix breaks them."""
    line = _QUOTE.sub(lambda found: b"=%02X" % found[0][0], line)
    if line[-1:] in (b" ", b"\t"):
        line = line[:-1] + b"=%02X" % line[-1]
    out, start = [], 0
    while len(line) - start > _LINE:
        end = start + _LINE
        # Never between the octets of "=XX".
        end += 2 if line[end - 1] == 0x3D else 1 if line[end - 2] == 0x3D else 0
        if end >= len(line):
            break
        out.append(line[start:end] + b"=")
        start = end
    out.append(line[start:])
    return out
