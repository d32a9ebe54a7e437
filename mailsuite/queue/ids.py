"""Queue ids: short names, unique among the queue files that exist.

    new_id(seconds, inode, long_ids=False) -> "4A2F1C83D"          long: "4Fz1Qx3c9Tz7W"
    hashed("deferred", "4A2F1C83D", depth=1) -> "deferred/4/4A2F1C83D"

Short: five hexadecimal digits of the microseconds, then the inode number in hexadecimal, at least six digits in all.
Long (enable_long_queue_ids): seconds in base 52 (6 digits at least), microseconds in base 52 (4 digits), "z", the
inode in base 51; the alphabet has no vowels, so ids spell no words. Both are as Postfix makes them and safe in a
path, a log line and a Received header.

A message that may never become a file has no inode: in its place is "0" and a number of COUNTED bits that a process
counts up from a random start (counted_id). No inode number begins with "0", so such an id is never that of another
file's inode. Two of them are equal if they were made in the same microsecond of a second with the same number, by
chance once in 2**28 * 10**6 pairs: who makes files of such messages looks whether the name is taken
(journal_reader.py, QueueStore.move).
Limits: a short id may come back after its file is gone.
"""

import re

COUNTED = 28                # bits
_DIGITS = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"
_VALID = re.compile(r"[0-9A-Za-z]{6,40}")
_SHORT = re.compile(r"[0-9A-F]{6,40}")
_LONG = re.compile(r"[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{6,}[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{4}z\w+")


def _base(number: int, base: int, least: int) -> str:
    text = ""
    while number:
        number, digit = divmod(number, base)
        text = _DIGITS[digit] + text
    return text.rjust(least, "0")


def new_id(seconds: float, inode: int, *, long_ids: bool = False) -> str:
    """The id of a file made at a time (epoch seconds) with an inode number."""
    whole = int(seconds)
    micro = int((seconds - whole) * 1_000_000)
    if long_ids:
        return _base(whole, 52, 6) + _base(micro, 52, 4) + "z" + _base(inode, 51, 1)
    return f"{micro:05X}{inode:X}"


def counted_id(seconds: float, number: int, *, long_ids: bool = False) -> str:
    """The id of a message without a file; number: below 2**COUNTED."""
    whole = int(seconds)
    micro = int((seconds - whole) * 1_000_000)
    if long_ids:
        return f"{_base(whole, 52, 6)}{_base(micro, 52, 4)}z0{_base(number, 51, 5)}"
    return f"{micro:05X}0{number:07X}"


def is_counted(queue_id: str) -> bool:
    """Whether an id is one of `counted_id`: it has nothing to do with an inode number."""
    if is_long(queue_id):
        at = queue_id.rindex("z") + 1
        return queue_id[at:at + 1] == "0" and len(queue_id) > at + 1
    return len(queue_id) == 13 and queue_id[5] == "0"


def is_long(queue_id: str) -> bool:
    """Whether an id has the long form."""
    return len(queue_id) >= 12 and _LONG.fullmatch(queue_id) is not None


def with_inode(queue_id: str, inode: int, *, long_ids: bool = False) -> str:
    """The id that a file of this name should have: the same microseconds, its own inode number. long_ids: a long one
    stays long, else it becomes short. A counted one stays as it is."""
    if is_counted(queue_id):
        return queue_id
    if is_long(queue_id):
        start = queue_id[:queue_id.rindex("z")]
        return f"{start}z{_base(inode, 51, 1)}" if long_ids else f"{_hash_name(queue_id)}{inode:X}"
    return f"{queue_id[:5]}{inode:X}"


def is_id(text: str) -> bool:
    """Whether a name can be a queue id; other names in queue folders are none of our business."""
    return _VALID.fullmatch(text) is not None


def _hash_name(queue_id: str) -> str:
    """What the subfolders are named after: a long id's microseconds in hexadecimal, reversed by none."""
    if is_long(queue_id):
        at = queue_id.rindex("z")
        micro = 0
        for digit in queue_id[at - 4:at]:
            micro = micro * 52 + _DIGITS.index(digit)
        return f"{micro:05X}"
    return queue_id


def looks_like_id(text: str) -> bool:
    """Whether we, or Postfix, would give such an id; a word that a human mistyped does not."""
    return _SHORT.fullmatch(text) is not None or is_long(text)


def may_be_id(text: str) -> bool:
    """Whether Postfix would take it for the name of a queue file; commands complain of what it would not."""
    return 0 < len(text) <= 100 and text.isascii() and text.replace("_", "a").isalnum()


def hashed(queue: str, queue_id: str, depth: int) -> str:
    """The path below the queue directory. depth 0: no subfolders. Raises ValueError for what is no id."""
    if not is_id(queue_id):
        raise ValueError(f"not a queue id: {queue_id!r}")
    if depth <= 0:
        return f"{queue}/{queue_id}"
    return f"{queue}/{'/'.join(_hash_name(queue_id).ljust(depth, '_')[:depth])}/{queue_id}"
