"""MD5's state after whole blocks, which hashlib does not show: CRAM-MD5 secrets are stored that way.

    state_after(block)                    16 octets, little-endian words
    digest_from(state, message, prefix)   the digest of prefix octets (already in state) and message

Pure Python, some 60 microseconds a block; a login by CRAM-MD5 costs four or five. Source: RFC 1321 section 3.4.
"""

import math
import struct

_SHIFTS = ((7, 12, 17, 22), (5, 9, 14, 20), (4, 11, 16, 23), (6, 10, 15, 21))
_SINES = [int(abs(math.sin(i + 1)) * 2**32) for i in range(64)]
_START = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)
_MASK = 0xFFFFFFFF


def _block(state: tuple[int, ...], block: bytes) -> tuple[int, ...]:
    words = struct.unpack("<16I", block)
    a, b, c, d = state
    for i in range(64):
        turn = i >> 4
        if turn == 0:
            mixed, k = (b & c) | (~b & d), i
        elif turn == 1:
            mixed, k = (d & b) | (~d & c), (5 * i + 1) & 15
        elif turn == 2:
            mixed, k = b ^ c ^ d, (3 * i + 5) & 15
        else:
            mixed, k = c ^ (b | (~d & _MASK)), (7 * i) & 15
        total = (a + (mixed & _MASK) + _SINES[i] + words[k]) & _MASK
        shift = _SHIFTS[turn][i & 3]
        a, d, c, b = d, c, b, (b + ((total << shift | total >> (32 - shift)) & _MASK)) & _MASK
    return tuple((old + new) & _MASK for old, new in zip(state, (a, b, c, d), strict=True))


def state_after(block: bytes) -> bytes:
    """The state after one block of 64 octets."""
    return struct.pack("<4I", *_block(_START, block))


def digest_from(state: bytes, message: bytes, prefix: int = 64) -> bytes:
    """MD5 of `prefix` octets whose state is given, followed by message."""
    total = prefix + len(message)
    padded = message + b"\x80" + b"\0" * ((55 - total) % 64) + struct.pack("<Q", total * 8)
    words: tuple[int, ...] = struct.unpack("<4I", state)
    for start in range(0, len(padded), 64):
        words = _block(words, padded[start:start + 64])
    return struct.pack("<4I", *words)
