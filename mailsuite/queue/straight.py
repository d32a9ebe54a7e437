"""Straight deliveries: what qmgr, an agent and its workers say to each other, so that a worker gets mail from qmgr.

    token = seal(key, Grant("a@b.test", "/vmail/b.test/a/", ...))       the agent, after a delivery that went well
    Again(group, until, token)                                          in its report of it (queue/agent.py)
    octets = packet([Item(...)], [content])                             qmgr to the worker
    items, contents = read_packet(octets);  unseal(key, items[0].token)         the worker
    read_answer(octets) -> Answer                                       qmgr

An agent that has looked up a recipient, and delivered to its Maildir, lets qmgr repeat that for a moment without asking
it: most mail on a busy system is for somebody who has just got some. The agent is root and decides who may write
where; that stays so. Its word is the grant: path, rules and end, sealed with a key that only agent and worker have. A
worker takes no other work over a link, has one uid, and qmgr cannot make a grant nor change one.

Doors and links. qmgr opens a second connection to the agent's socket and says DOOR; over that the agent gives it one
end of a SOCK_SEQPACKET pair for each worker that has a grant's group (LinkTold and the descriptor). The worker has the
other end and the group's key. A group is one identity under one set of settings.

A packet: 4 octets, the length of what follows them: a JSON array of Items; then their contents. The answer is JSON.
{"bye": true} says that the worker wants to end: qmgr sends no more there, and closes the link when all is answered. So
nothing is ever unread in a link that ends in order; with one that breaks, what was sent may have been delivered, and is
deferred (queue/straight_links.py).
"""

import hmac
import os
import struct

from msgspec import Struct

from mailsuite.base import wire

DOOR = b"door"                      # a line in the place of a request
PACKET_LIMIT = 60 * 1024            # octets
CONTENT_LIMIT = 48 * 1024           # of a message; a larger one is not worth the haste
TOGETHER = 16                       # messages in a packet
RELAY, REASON = "virtual", "delivered to maildir"       # what is reported and logged of them
_MAC = 64                           # hexadecimal digits of HMAC-SHA256
_HEAD = struct.Struct("!I")


class Grant(Struct, array_like=True):
    """What a worker may do again: deliver to the Maildir `path` of `address`, as a request for the worker said it.

    host, limit, sync: as mailbox.ask_maildir has them. original: X-Original-To is written. until: of the machine's
    monotonic clock.
    """

    address: str
    path: str
    host: str
    limit: int
    sync: bool
    original: bool
    until: float


class Again(Struct, array_like=True):
    """An agent's offer to qmgr. group 0: there is more if you open a door."""

    group: int
    until: float = 0.0
    token: str = ""


class LinkTold(Struct):
    """What comes through the door, with a link beside it."""

    group: int
    worker: int                     # process id


class Item(Struct, array_like=True):
    """One message. grant: qmgr's number for the token, which it sends once over a link. Times: epoch seconds."""

    seq: int
    grant: int
    token: str
    queue_id: str
    sender: str
    original: str
    arrival_time: float
    active_time: float
    size: int


class Answer(Struct, omit_defaults=True):
    """delivered: on disk, and in the log. refused: nothing was done; ask the agent. bye: the worker wants to end."""

    delivered: list[int] = []
    refused: list[int] = []
    bye: bool = False


read_answer = wire.Reader(Answer)
read_link = wire.Reader(LinkTold)
_read_grant = wire.Reader(Grant)
_read_items = wire.Reader(list[Item])


def new_key() -> bytes:
    return os.urandom(32)


def seal(key: bytes, grant: Grant) -> str:
    """The grant's token."""
    octets = wire.encode(grant)
    return hmac.digest(key, octets, "sha256").hex() + octets.decode()


def unseal(key: bytes, token: str) -> Grant | None:
    """None: nobody who has the key made it."""
    octets = token[_MAC:].encode("utf-8", "surrogateescape")
    if not hmac.compare_digest(hmac.digest(key, octets, "sha256").hex().encode(),
                               token[:_MAC].encode("utf-8", "surrogateescape")):
        return None
    return _read_grant(octets)


def packet(items: list[bytes], contents: list[bytes]) -> list[bytes]:
    """The parts of a packet, for sendmsg. items: encoded."""
    said = b"[" + b",".join(items) + b"]"
    return [_HEAD.pack(len(said)), said, *contents]


def read_packet(octets: bytes) -> tuple[list[Item], list[bytes]]:
    """Raises ValueError."""
    if len(octets) < _HEAD.size:
        raise ValueError("a packet without its length")
    at = _HEAD.size + _HEAD.unpack_from(octets)[0]
    items = _read_items(octets[_HEAD.size:at])
    contents = []
    for item in items:
        contents.append(octets[at:at + item.size])
        at += item.size
    if at != len(octets) or any(item.size < 0 for item in items):
        raise ValueError("a packet of another length than it says")
    return items, contents
