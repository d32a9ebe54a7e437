"""What Dovecot's transaction log knows that the mail does not say: how far it has counted MODSEQs and UIDs.

    known = read_log("/home/alice/Maildir/dovecot.index.log")           zeros: there is no log that can be read
    known.modseq        no MODSEQ that Dovecot told a client is higher
    known.next_uid, known.uid_validity          as far as log and index tell; 0: they do not

Clients that Dovecot served before us remember its HIGHESTMODSEQ (RFC 7162): ours has to go on above it, or they would
take every later change for known. An mbox file shows neither its UIDVALIDITY nor UIDs before somebody has written into
it. Nothing else is taken from Dovecot's index, and nothing is written into it.

The log begins with a header (version 1, its size, index id, sequence and time, the MODSEQ at its beginning); then come
records: their size (7 bits an octet, the first octet first), a type, what they change. MODSEQs grow by one a record at
most.
Limits: MAX_LOG octets are read.
"""

import os
import struct
from typing import NamedTuple

MAX_LOG = 4 * 1024 * 1024
HEADER = struct.Struct("<BBHIIIIIQ")
RECORD = struct.Struct(">I")
TYPE = struct.Struct("<I")
TYPE_MASK = 0x0FFFFFFF
APPEND, HEADER_UPDATE = 0x2, 0x20
MESSAGE, UPDATE = struct.Struct("<II"), struct.Struct("<HH")
UID_VALIDITY_AT, NEXT_UID_AT = 24, 28               # in the index' header
MAX_NEXT_UID = 0xFFF00000       # a log that says more is not believed
MAX_MODSEQ = 1 << 62


class Known(NamedTuple):
    """See above."""

    modseq: int
    next_uid: int = 0
    uid_validity: int = 0


NOTHING = Known(0)


def read_log(path: str, *, uids: bool = False) -> Known:
    """uids: read all of it and the head of the index beside it, for next_uid."""
    size, octets = _read(path, MAX_LOG if uids else HEADER.size)
    if len(octets) < HEADER.size:
        return NOTHING
    major, _, header_size, *_, modseq = HEADER.unpack_from(octets)
    if major != 1 or header_size < HEADER.size or modseq > MAX_MODSEQ:
        return NOTHING
    most = modseq + max(0, size - header_size) // (RECORD.size + TYPE.size)
    if not uids:
        return Known(most)
    _, index = _read(path.removesuffix(".log"), NEXT_UID_AT + TYPE.size)    # what an older log told is in there
    whole = len(index) == NEXT_UID_AT + TYPE.size
    validity, next_uid = MESSAGE.unpack_from(index, UID_VALIDITY_AT) if whole else (0, 0)
    validity, next_uid = _replay(octets, header_size, validity, next_uid)
    return Known(most, next_uid if next_uid < MAX_NEXT_UID else 0, validity)


def _read(path: str, most: int) -> tuple[int, bytes]:
    """A file's size and its beginning."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return 0, b""
    try:
        return os.fstat(fd).st_size, os.read(fd, most)
    except OSError:
        return 0, b""
    finally:
        os.close(fd)


def _replay(octets: bytes, at: int, validity: int, next_uid: int) -> tuple[int, int]:
    """UIDVALIDITY and next UID after the log's records; reading ends at the first that makes no sense."""
    while at + RECORD.size + TYPE.size <= len(octets):
        packed = RECORD.unpack_from(octets, at)[0]
        size = sum((packed >> 8 * number & 0x7F) << 7 * number + 2 for number in range(4))
        end = at + size
        if packed & 0x80808080 != 0x80808080 or size < RECORD.size + TYPE.size or end > len(octets):
            break
        kind = TYPE.unpack_from(octets, at + RECORD.size)[0] & TYPE_MASK
        body = octets[at + RECORD.size + TYPE.size: end]
        if kind == APPEND and len(body) % MESSAGE.size == 0:
            next_uid = max([next_uid, *(uid + 1 for uid, _ in MESSAGE.iter_unpack(body))])
        elif kind == HEADER_UPDATE:
            validity = _header_update(body, UID_VALIDITY_AT) or validity
            next_uid = max(next_uid, _header_update(body, NEXT_UID_AT))
        at = end
    return validity, next_uid


def _header_update(body: bytes, wanted_at: int) -> int:
    """A number of the index' header, if these changes hold it; else 0."""
    at = found = 0
    while at + UPDATE.size <= len(body):
        offset, size = UPDATE.unpack_from(body, at)
        at += UPDATE.size
        inside = wanted_at - offset
        if inside >= 0 and inside + TYPE.size <= size and at + size <= len(body):
            found = TYPE.unpack_from(body, at + inside)[0]
        at += size + -size % 4
    return found
