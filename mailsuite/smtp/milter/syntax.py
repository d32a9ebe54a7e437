"""Packets of the milter protocol: values to octets and back.

    packet(b"H", b"c.test\\0") -> octets              PacketBuffer.feed / take -> (letter, data)
    read_reply(letter, data) -> Reply                 raises PeerError for nonsense
    EVENTS["rcpt"]                                    letter, option bits, version of each event

Limits: PacketBuffer takes packets of milter_packet_limit octets; what is longer is an error before it is read.
"""

import struct
from dataclasses import dataclass
from enum import Enum, IntFlag
from typing import NamedTuple

from mailsuite.base.errors import PeerError

BODY_CHUNK = 65535                    # MILTER_CHUNK_SIZE of libmilter
VERSIONS = (2, 3, 4, 6)


class Actions(IntFlag):
    """SMFIF_*: what a milter may ask for at the end of a message."""

    ADD_HEADERS = 0x01
    CHANGE_BODY = 0x02
    ADD_RECIPIENT = 0x04
    DELETE_RECIPIENT = 0x08
    CHANGE_HEADERS = 0x10
    QUARANTINE = 0x20
    CHANGE_FROM = 0x40
    ADD_RECIPIENT_PARAMETERS = 0x80
    SET_SYMBOLS = 0x100


class Steps(IntFlag):
    """SMFIP_*: NO_*: the event is not sent. SILENT_*: it is not answered."""

    NO_CONNECT = 0x01
    NO_HELO = 0x02
    NO_MAIL = 0x04
    NO_RCPT = 0x08
    NO_BODY = 0x10
    NO_HEADER = 0x20
    NO_EOH = 0x40
    SILENT_HEADER = 0x80
    NO_UNKNOWN = 0x100
    NO_DATA = 0x200
    SKIP = 0x400                      # the milter may answer "skip"
    RCPT_REJECTED = 0x800             # it wants to hear of recipients that we refuse
    SILENT_CONNECT = 0x1000
    SILENT_HELO = 0x2000
    SILENT_MAIL = 0x4000
    SILENT_RCPT = 0x8000
    SILENT_DATA = 0x10000
    SILENT_UNKNOWN = 0x20000
    SILENT_EOH = 0x40000
    SILENT_BODY = 0x80000
    LEADING_SPACE = 0x100000          # header values begin right behind the colon

    ALL = 0x1FFFFF


_STEPS_2 = Steps(0x7F)
# What each version may use; libmilter of an older version hangs up when it is offered more.
OFFERED_STEPS = {2: _STEPS_2, 3: _STEPS_2 | Steps.NO_UNKNOWN, 4: _STEPS_2 | Steps.NO_UNKNOWN | Steps.NO_DATA,
                 6: Steps.ALL}
OFFERED_ACTIONS = Actions(0x1FF)


class Event(NamedTuple):
    """letter of the command; the step that leaves it out; the step that leaves its answer out; the first version that
    has it."""

    letter: bytes
    leave_out: Steps
    silent: Steps
    version: int = 2


EVENTS = {
    "connect": Event(b"C", Steps.NO_CONNECT, Steps.SILENT_CONNECT),
    "helo": Event(b"H", Steps.NO_HELO, Steps.SILENT_HELO),
    "mail": Event(b"M", Steps.NO_MAIL, Steps.SILENT_MAIL),
    "rcpt": Event(b"R", Steps.NO_RCPT, Steps.SILENT_RCPT),
    "data": Event(b"T", Steps.NO_DATA, Steps.SILENT_DATA, 4),
    "unknown": Event(b"U", Steps.NO_UNKNOWN, Steps.SILENT_UNKNOWN, 3),
    "header": Event(b"L", Steps.NO_HEADER, Steps.SILENT_HEADER),
    "eoh": Event(b"N", Steps.NO_EOH, Steps.SILENT_EOH),
    "body": Event(b"B", Steps.NO_BODY, Steps.SILENT_BODY),
    "eom": Event(b"E", Steps(0), Steps(0)),
}
NEGOTIATE, MACROS, ABORT, QUIT = b"O", b"D", b"A", b"Q"
SYMBOL_STAGES = ("connect", "helo", "mail", "rcpt", "data", "eom", "eoh")        # as SMFIM_* number them


class Kind(Enum):
    """What a milter answers."""

    NEGOTIATE = b"O"
    CONTINUE = b"c"
    ACCEPT = b"a"
    REJECT = b"r"
    TEMPFAIL = b"t"
    DISCARD = b"d"
    SKIP = b"s"
    PROGRESS = b"p"
    SHUTDOWN = b"4"
    CONNECTION_FAILURE = b"f"
    REPLY_CODE = b"y"
    ADD_HEADER = b"h"
    INSERT_HEADER = b"i"
    CHANGE_HEADER = b"m"
    CHANGE_FROM = b"e"
    ADD_RECIPIENT = b"+"
    ADD_RECIPIENT_PARAMETERS = b"2"
    DELETE_RECIPIENT = b"-"
    REPLACE_BODY = b"b"
    QUARANTINE = b"q"


_RESPONSES = {
    Kind.ADD_HEADER: "ADDHEADER", Kind.INSERT_HEADER: "INSHEADER", Kind.CHANGE_HEADER: "CHGHEADER",
    Kind.CHANGE_FROM: "CHGFROM", Kind.ADD_RECIPIENT: "ADDRCPT", Kind.ADD_RECIPIENT_PARAMETERS: "ADDRCPT_PAR",
    Kind.DELETE_RECIPIENT: "DELRCPT", Kind.REPLACE_BODY: "REPLBODY", Kind.CONNECTION_FAILURE: "CONN_FAIL",
    Kind.NEGOTIATE: "OPTNEG"}
_EVENT_NAMES = {"eom": "BODYEOB"}


def event_name(event: str) -> str:
    """As the log names it: "SMFIC_RCPT"."""
    return f"SMFIC_{_EVENT_NAMES.get(event, event.upper())}"


def unexpected(kind: Kind | None, event: str) -> PeerError:
    """A response that does not belong there; None: one that nobody knows."""
    shown = f"SMFIR_{_RESPONSES.get(kind, kind.name)}" if kind is not None else "(unknown filter reply)"
    return PeerError(f"unexpected filter response {shown} after event {event_name(event)}")


EDITS = {
    Kind.ADD_HEADER: Actions.ADD_HEADERS, Kind.INSERT_HEADER: Actions.ADD_HEADERS,
    Kind.CHANGE_HEADER: Actions.CHANGE_HEADERS, Kind.CHANGE_FROM: Actions.CHANGE_FROM,
    Kind.ADD_RECIPIENT: Actions.ADD_RECIPIENT, Kind.ADD_RECIPIENT_PARAMETERS: Actions.ADD_RECIPIENT_PARAMETERS,
    Kind.DELETE_RECIPIENT: Actions.DELETE_RECIPIENT, Kind.REPLACE_BODY: Actions.CHANGE_BODY,
    Kind.QUARANTINE: Actions.QUARANTINE}
_STRINGS = {      # kind -> whether a number comes first, least and most number of strings
    Kind.REPLY_CODE: (False, 1, 1), Kind.ADD_HEADER: (False, 2, 2), Kind.INSERT_HEADER: (True, 2, 2),
    Kind.CHANGE_HEADER: (True, 2, 2), Kind.CHANGE_FROM: (False, 1, 2), Kind.ADD_RECIPIENT: (False, 1, 1),
    Kind.ADD_RECIPIENT_PARAMETERS: (False, 1, 2), Kind.DELETE_RECIPIENT: (False, 1, 1), Kind.QUARANTINE: (False, 1, 1)}


@dataclass(frozen=True, slots=True)
class Reply:
    """number: the index of INSERT_HEADER and CHANGE_HEADER. strings: what follows. octets: of REPLACE_BODY."""

    kind: Kind
    number: int = 0
    strings: tuple[str, ...] = ()
    octets: bytes = b""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a milter answers to our offer. symbols: the macros it wants, by event."""

    version: int
    actions: Actions
    steps: Steps
    symbols: dict[str, tuple[str, ...]]


def packet(letter: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data) + 1) + letter + data


def string(text: str) -> bytes:
    """A NUL inside would end it early."""
    return text.encode("utf-8", "surrogateescape").replace(b"\0", b"?") + b"\0"


def strings(texts: "list[str] | tuple[str, ...]") -> bytes:
    return b"".join(string(text) for text in texts)


def connect_data(name: str, address: str, port: int) -> bytes:
    """name: "host.test" or "[192.0.2.1]". address "": a Unix socket or a pipe, of which nothing is known."""
    if not address:
        return string(name) + b"U"
    family = b"6" if ":" in address else b"4"
    return string(name) + family + struct.pack(">H", port) + string(address)


def offer(version: int) -> bytes:
    """Our first packet."""
    return packet(NEGOTIATE, struct.pack(">III", version, OFFERED_ACTIONS, OFFERED_STEPS[version]))


def read_agreement(data: bytes) -> Agreement:
    """Raises PeerError."""
    if len(data) < 12:
        raise PeerError("short answer to the options")
    version, actions, steps = struct.unpack(">III", data[:12])
    symbols: dict[str, tuple[str, ...]] = {}
    rest = data[12:]
    while rest:
        names, end, after = rest[4:].partition(b"\0")
        stage = int.from_bytes(rest[:4], "big")
        if len(rest) < 5 or not end or stage >= len(SYMBOL_STAGES):
            raise PeerError("bad list of macros")
        symbols[SYMBOL_STAGES[stage]] = tuple(names.decode("utf-8", "surrogateescape").replace(",", " ").split())
        rest = after
    return Agreement(version, Actions(actions), Steps(steps), symbols)


def read_reply(letter: bytes, data: bytes, event: str) -> Reply:
    """event: what it answers. Raises PeerError: an unknown letter, or data that does not fit it."""
    try:
        kind = Kind(letter)
    except ValueError:
        raise unexpected(None, event) from None
    if kind in (Kind.REPLACE_BODY, Kind.NEGOTIATE):
        return Reply(kind, octets=data)
    shape = _STRINGS.get(kind)
    if shape is None:
        if data:
            raise PeerError(f"too long reply {letter!r}")
        return Reply(kind)
    numbered, least, most = shape
    number = 0
    if numbered:
        if len(data) < 4:
            raise PeerError(f"short reply {letter!r}")
        number, data = int.from_bytes(data[:4], "big"), data[4:]
    words = data.split(b"\0")
    if words.pop() != b"" or not least <= len(words) <= most:
        raise PeerError(f"malformed reply {letter!r}")
    return Reply(kind, number, tuple(word.decode("utf-8", "surrogateescape") for word in words))


class PacketBuffer:
    """Octets not yet made into packets."""

    def __init__(self, limit: int) -> None:
        self._octets, self._limit = bytearray(), limit

    def feed(self, octets: bytes) -> None:
        self._octets += octets

    def take(self) -> tuple[bytes, bytes] | None:
        """Letter and data of one packet, None until one is whole. Raises PeerError; framing is then lost."""
        if len(self._octets) < 4:
            return None
        size = int.from_bytes(self._octets[:4], "big")
        if not size:
            raise PeerError("bad packet length: 0")
        if size > self._limit:
            raise PeerError(f"unreasonable packet length: {size} > {self._limit}")
        if len(self._octets) < 4 + size:
            return None
        letter, data = bytes(self._octets[4:5]), bytes(self._octets[5:4 + size])
        del self._octets[:4 + size]
        return letter, data
