"""Reading messages of a mailbox: rendered columns from the index, or from the mail the first time.

    reader = Reader(mailbox)
    reader.columns(uids, [Column.SIZE, Column.ENVELOPE])
    reader.header_fields(uids, [b"subject"]);  reader.message(uid)

What had to be computed goes into the index, so a second client finds it there. Limits: KEPT_OCTETS of messages read
lately stay in memory (a client that fetches a large one in pieces reads the file once).
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from mailsuite.message.crlf import to_stored, wire_size
from mailsuite.message.message import Message
from mailsuite.message.stored import stored_envelope, stored_fields
from mailsuite.store.api import Column, MessageGone
from mailsuite.store.index_later import Cached

if TYPE_CHECKING:
    from mailsuite.store.mailbox_reading import ReadMailbox

KEPT_OCTETS = 32 * 1024 * 1024
KEPT_MESSAGES = 16
SMALL = 128 * 1024      # octets of one that an event loop works with
MAX_KEY = 1000          # octets of names of header fields that are kept

_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_CACHED: dict[Column, Callable[[Cached], Any]] = {
    Column.SIZE: attrgetter("size"), Column.INTERNALDATE: attrgetter("date"), Column.ENVELOPE: attrgetter("envelope"),
    Column.BODY: attrgetter("body"), Column.BODYSTRUCTURE: attrgetter("structure")}
_BESIDE = {Column.SIZE, Column.INTERNALDATE}            # often known without reading the message
_STRUCTURES = {Column.BODY, Column.BODYSTRUCTURE}


def _stored_header(message: Message) -> bytes:
    """The usual ones are taken apart faster with the line ends of files."""
    return to_stored(message.crlf[:message.header_size])


def _told_by(message: Message, columns: Sequence[Column]) -> Cached:
    return Cached(message.size, None, stored_envelope(_stored_header(message)) if Column.ENVELOPE in columns else None,
                  message.body_basic if Column.BODY in columns else None,
                  message.body_structure if Column.BODYSTRUCTURE in columns else None)


def render_date(seconds: int) -> bytes:
    """b'"14-Nov-2023 22:13:20 +0000"' in the machine's zone."""
    try:
        at = time.localtime(seconds)
    except (OverflowError, OSError, ValueError):
        at = time.localtime(0)
    year, month, day, hour, minute, second, *_ = at
    return b'"%02d-%b-%04d %02d:%02d:%02d %b"' % (day, _MONTHS[month - 1], year, hour, minute, second,
                                                  _offset(at.tm_gmtoff))


@lru_cache(maxsize=256)
def _offset(seconds: int) -> bytes:
    """Of the zone, as it stands in a date."""
    east = seconds // 60
    return b"%b%02d%02d" % (b"-" if east < 0 else b"+", abs(east) // 60, abs(east) % 60)


_RENDER: dict[Column, Callable[[int], bytes]] = {Column.INTERNALDATE: render_date, Column.SIZE: b"%d".__mod__}


class Reader:
    """Used under the mailbox's lock."""

    def __init__(self, mailbox: "ReadMailbox") -> None:
        self._mailbox = mailbox
        self._kept: OrderedDict[int, Message] = OrderedDict()
        self._octets = 0
        self._in_hand: dict[int, Message] = {}

    def columns(self, uids: Sequence[int], columns: Sequence[Column]) -> list[list[bytes | None]]:
        slow = [column for column in columns if column in _CACHED]
        if slow == [Column.SIZE]:           # the names of the files may tell, without a look at each
            rows = list(map(Cached, self.sizes(uids)))
        else:
            known, gone = self._rows(uids, slow) if slow else {}, Cached()
            rows = [known.get(uid, gone) for uid in uids] if slow else []
        result: list[list[bytes | None]] = []
        for column in columns:
            if column not in _CACHED:
                result.append(self._fast(uids, column))
                continue
            values: list[Any] = list(map(_CACHED[column], rows))
            if column in _RENDER:
                render = _RENDER[column]
                values = [None if value is None else render(value) for value in values]
            result.append(values)
        return result

    def _fast(self, uids: Sequence[int], column: Column) -> list[bytes | None]:
        """From memory."""
        if column is Column.UID:
            return [b"%d" % uid for uid in uids]
        if column is Column.MODSEQ:
            return [None if value is None else b"%d" % value for value in self._mailbox.modseqs(uids)]
        rows = self._mailbox.rows
        if len(uids) == len(rows.uids) and rows.uids.tolist() == list(uids):
            return list(self._mailbox.table.render_all(rows.flags))
        bits = [rows.flags[at] if at is not None else rows.departed.get(uid)
                for uid, at in zip(uids, rows.positions(uids), strict=True)]
        if None in bits:
            return [None if one is None else self._mailbox.table.render(one) for one in bits]
        return list(self._mailbox.table.render_all(one or 0 for one in bits))

    def _rows(self, uids: Sequence[int], columns: Sequence[Column]) -> dict[int, Cached]:
        """What the columns need of each message that is there, found out where the index doesn't know it."""
        held = self.in_hand(uids) if Column.INTERNALDATE not in columns else None
        if held is not None:
            return {uid: _told_by(message, columns) for uid, message in zip(uids, held, strict=True)}
        known = self._mailbox.index.cached(uids)
        takes = [_CACHED[column] for column in columns]
        missing = [uid for uid in uids if uid not in known or None in [take(known[uid]) for take in takes]]
        if missing:
            found = dict(self._find_out(missing, known, frozenset(columns)))
            self._mailbox.index.store(list(found.items()))
            for uid in missing:
                known.pop(uid, None)            # gone, unless it was found
            known.update(found)
        return known

    def _find_out(self, uids: list[int], known: dict[int, Cached], columns: frozenset[Column]) -> Iterator[
            tuple[int, Cached]]:
        """Rows with what the columns ask for; reads messages only where that is needed."""
        mailbox, empty = self._mailbox, Cached()
        if not columns - _BESIDE:
            unread = []
            for uid in uids:
                row = known.get(uid, empty)
                size = row.size if row.size is not None else mailbox.named_size(uid)
                if size is None and Column.SIZE in columns:
                    unread.append(uid)
                    continue
                with suppress(MessageGone):
                    yield uid, row._replace(size=size, date=mailbox.stored_date(uid) if row.date is None else row.date)
            uids = unread
        for uid, octets, date in mailbox.read_many(uids):
            row = known.get(uid, empty)
            envelope, body, structure = row.envelope, row.body, row.structure
            if columns & _STRUCTURES:
                message = Message.from_stored(octets)
                if Column.BODY in columns:
                    body = body or message.body_basic
                if Column.BODYSTRUCTURE in columns:
                    structure = structure or message.body_structure
            if envelope is None and Column.ENVELOPE in columns:
                envelope = stored_envelope(octets)
            yield uid, Cached(wire_size(octets), date, envelope, body, structure)

    def sizes(self, uids: Sequence[int]) -> list[int | None]:
        named = self._mailbox.named_sizes(uids)
        known = {uid: size for uid, size in zip(uids, named, strict=True) if size is not None}
        unknown = [uid for uid in uids if uid not in known]
        if unknown:
            rows = self._rows(unknown, [Column.SIZE])
            known.update({uid: row.size for uid, row in rows.items() if row.size is not None})
        return [known.get(uid) for uid in uids]

    def dates(self, uids: Sequence[int]) -> list[int | None]:
        rows = self._rows(uids, [Column.INTERNALDATE])
        return [rows[uid].date if uid in rows else None for uid in uids]

    def header_fields(self, uids: Sequence[int], names: Sequence[bytes], negate: bool) -> list[bytes | None]:
        wanted = frozenset(name.lower() for name in names)
        held = self.in_hand(uids)
        if held is not None:
            return [stored_fields(_stored_header(message), wanted, negate=negate) for message in held]
        key = (b"!" if negate else b"") + b" ".join(sorted(wanted))
        known = self._mailbox.index.fields(key, uids)
        missing = [uid for uid in uids if uid not in known]
        if missing:
            new = [(uid, stored_fields(octets, wanted, negate=negate))
                   for uid, octets in self._mailbox.read_headers(missing)]
            known.update(new)
            if not negate and len(key) < MAX_KEY:
                self._mailbox.index.store_fields(key, new)
        return [known.get(uid) for uid in uids]

    def message(self, uid: int) -> Message:
        message = self._kept.get(uid)
        if message is not None:
            self._kept.move_to_end(uid)
            return message
        message = Message.from_stored(self._mailbox.read_stored(uid))
        self._keep(uid, message)
        return message

    def _keep(self, uid: int, message: Message) -> None:
        self._kept[uid] = message
        self._octets += message.size
        while len(self._kept) > 1 and (self._octets > KEPT_OCTETS or len(self._kept) > KEPT_MESSAGES):
            _, old = self._kept.popitem(last=False)
            self._octets -= old.size

    # --- without waiting ----------------------------------------------------------------------------------------------

    def take(self, uids: Sequence[int]) -> bool:
        """Have a few messages in hand, if all are small and in memory; until `let_go` they tell of themselves."""
        held: dict[int, Message] = {}
        for uid in uids:
            message = self._kept.get(uid)
            if message is None:
                message = self._mailbox.message_at_once(uid)
                if message is None:
                    return False
                self._keep(uid, message)
            if len(message.crlf) > SMALL:
                return False
            held[uid] = message
        self._in_hand = held
        return True

    def let_go(self) -> None:
        self._in_hand = {}

    def in_hand(self, uids: Sequence[int]) -> list[Message] | None:
        """These messages, if all of them are."""
        held = self._in_hand
        return [held[uid] for uid in uids] if held and all(uid in held for uid in uids) else None

    def forget(self) -> None:
        """Nothing is kept: the last session left, or the file was written anew."""
        self._kept.clear()
        self._octets = 0
