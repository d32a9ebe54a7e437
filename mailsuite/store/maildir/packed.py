"""Messages that Dovecot's zlib plugin (mail_compress) keeps compressed, one file each, in a Maildir.

    is_packed(octets)                       how the beginning of a file looks; no header field begins so
    octets = unpack(octets)                 the message; raises Damaged
    packer = make_packer("gz", 6)           None: stored as it is; packer.compress(octets), packer.flush()

Formats: gzip, bzip2, xz and lzma are read, gzip and bzip2 written. The S= and W= of a file's name are sizes of the
message, not of the file. Limits: a message of more than MOST octets is damaged: a small file must not fill the memory.
"""

import bz2
import lzma
import zlib
from typing import Protocol

MOST = 512 * 1024 * 1024
STREAMS = 1000              # one behind the other in a file: each copies what is left
MEMORY = 128 * 1024 * 1024  # of an xz dictionary; xz -9 has 64 MB
MAGIC = (b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\0", b"\x5d\0\0", b"\x28\xb5\x2f\xfd", b"Dovecot-LZ4\x0d\x2a\x9b\xc5")
MAGIC_OCTETS = 16
_BZIP2 = b"1AY&SY"          # behind "BZh" and a digit: a header field may begin with BZh


class Damaged(OSError):
    """It is no whole file of its format, or of one that is not there."""


class Packer(Protocol):
    """Of zlib and bz2."""

    def compress(self, octets: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class _Unpacker(Protocol):
    """What bz2's and lzma's decompressors have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def needs_input(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def is_packed(octets: bytes) -> bool:
    """octets: the first dozen or more."""
    return octets.startswith(MAGIC) and (not octets.startswith(b"BZh") or octets[4:10] == _BZIP2)


def unpack(octets: bytes) -> bytes:
    """Several streams one behind the other are one message, as gunzip has it."""
    out: list[bytes] = []
    size = 0
    rest = octets
    try:
        while rest:
            if len(out) == STREAMS:
                raise Damaged("compressed message: too many streams")
            part, rest = _gunzip(rest, MOST - size) if rest.startswith(MAGIC[0]) else _stream(rest, MOST - size)
            out.append(part)
            size += len(part)
    except (zlib.error, lzma.LZMAError, ValueError, EOFError) as error:
        raise Damaged(f"compressed message: {error}") from error
    except OSError as error:                    # bz2's own, and ours
        raise error if isinstance(error, Damaged) else Damaged(f"compressed message: {error}") from error
    return b"".join(out)


def _gunzip(octets: bytes, most: int) -> tuple[bytes, bytes]:
    """One member and what stands behind it."""
    inflate = zlib.decompressobj(31)
    part = inflate.decompress(octets, most + 1)
    if len(part) > most:
        raise Damaged("compressed message: too large")
    if not inflate.eof:
        raise Damaged("compressed message: unexpected end")
    return part, inflate.unused_data.lstrip(b"\0")          # gzip(1) pads with NUL


def _stream(octets: bytes, most: int) -> tuple[bytes, bytes]:
    unpacker: _Unpacker
    if octets.startswith(b"BZh"):
        unpacker = bz2.BZ2Decompressor()
    elif octets.startswith((b"\xfd7zXZ", b"\x5d")):
        unpacker = lzma.LZMADecompressor(memlimit=MEMORY)
    else:
        raise Damaged("compressed message: a format that cannot be read here")
    part = unpacker.decompress(octets, most + 1)
    if len(part) > most:
        raise Damaged("compressed message: too large")
    if not unpacker.eof:
        raise Damaged("compressed message: unexpected end")
    return part, unpacker.unused_data


def make_packer(name: str, level: int) -> Packer | None:
    """name: zlib_save's; level: 0 is the format's usual one."""
    if name == "gz":
        return zlib.compressobj(level or 6, zlib.DEFLATED, 31)
    return bz2.BZ2Compressor(level or 9) if name == "bz2" else None
