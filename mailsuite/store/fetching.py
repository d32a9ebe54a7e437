"""Reading messages of a mailbox: rendered columns from the index, or from the mail the first time.

    reader = Reader(mailbox)
    reader.columns(uids, [Column.SIZE, Column.ENVELOPE])
    reader.header_fields(uids, [b"subject"]);  reader.message(uid)

What had to be computed goes into the index, so a second client finds it there. Limits: KEPT_OCTETS of messages read
lately stay in memory (a client that fetches a large one in pieces reads the file once).
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

from mailsuite.message.header import pick_fields
from mailsuite.message.message import Message
from mailsuite.store.api import Column, MessageGone
from mailsuite.store.index import Cached

if TYPE_CHECKING:
    from mailsuite.store.mailbox import BaseMailbox

KEPT_OCTETS = 32 * 1024 * 1024
KEPT_MESSAGES = 16

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CACHED: dict[Column, Callable[[Cached], bytes | int | None]] = {
    Column.SIZE: lambda row: row.size, Column.INTERNALDATE: lambda row: row.date,
    Column.ENVELOPE: lambda row: row.envelope, Column.BODY: lambda row: row.body,
    Column.BODYSTRUCTURE: lambda row: row.structure}


def render_date(seconds: int) -> bytes:
    """b'"14-Nov-2023 22:13:20 +0000"' in the machine's zone."""
    try:
        at = time.localtime(seconds)
    except (OverflowError, OSError, ValueError):
        at = time.localtime(0)
    east = at.tm_gmtoff // 60
    sign = "-" if east < 0 else "+"
    return (f'"{at.tm_mday:02}-{_MONTHS[at.tm_mon - 1]}-{at.tm_year:04} {at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} '
            f'{sign}{abs(east) // 60:02}{abs(east) % 60:02}"').encode()


def _rendered(column: Column, value: bytes | int) -> bytes:
    if isinstance(value, bytes):
        return value
    return render_date(value) if column is Column.INTERNALDATE else b"%d" % value


class Reader:
    """Used under the mailbox's lock."""

    def __init__(self, mailbox: "BaseMailbox") -> None:
        self._mailbox = mailbox
        self._kept: OrderedDict[int, Message] = OrderedDict()
        self._octets = 0

    def columns(self, uids: Sequence[int], columns: Sequence[Column]) -> list[list[bytes | None]]:
        slow = [column for column in columns if column in _CACHED]
        rows = self._rows(uids, slow) if slow else {}
        result: list[list[bytes | None]] = []
        for column in columns:
            if column in _CACHED:
                take = _CACHED[column]
                values = [take(rows[uid]) if uid in rows else None for uid in uids]
                result.append([None if value is None else _rendered(column, value) for value in values])
            else:
                result.append(self._fast(uids, column))
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
        known = self._mailbox.index.cached(uids)
        empty = Cached()
        new: list[tuple[int, Cached]] = []
        takes = [_CACHED[column] for column in columns]
        missing = [uid for uid in uids if uid not in known or any(take(known[uid]) is None for take in takes)]
        with self._mailbox.bulk() if missing else nullcontext():
            for uid in missing:
                try:
                    row = self._find_out(uid, known.get(uid, empty), columns)
                except MessageGone:
                    known.pop(uid, None)
                    continue
                known[uid] = row
                new.append((uid, row))
        if new:
            self._mailbox.index.store(new)
        return known

    def _find_out(self, uid: int, row: Cached, columns: Sequence[Column]) -> Cached:
        """Row with what columns ask for; reads the message only when that is needed."""
        size, date = row.size, row.date
        if date is None:
            date = self._mailbox.stored_date(uid)
        if size is None:
            size = self._mailbox.stored_size(uid)
        content = [column for column in columns if column not in (Column.SIZE, Column.INTERNALDATE)]
        if size is not None and not content:
            return row._replace(size=size, date=date)
        message = self.message(uid)
        return Cached(
            message.size, date,
            message.envelope if Column.ENVELOPE in columns and row.envelope is None else row.envelope,
            message.body_basic if Column.BODY in columns and row.body is None else row.body,
            message.body_structure if Column.BODYSTRUCTURE in columns and row.structure is None else row.structure)

    def sizes(self, uids: Sequence[int]) -> list[int | None]:
        known: dict[int, int] = {}
        unknown = []
        for uid in uids:
            size = self._mailbox.named_size(uid)
            if size is None:
                unknown.append(uid)
            else:
                known[uid] = size
        if unknown:
            rows = self._rows(unknown, [Column.SIZE])
            known.update({uid: row.size for uid, row in rows.items() if row.size is not None})
        return [known.get(uid) for uid in uids]

    def dates(self, uids: Sequence[int]) -> list[int | None]:
        rows = self._rows(uids, [Column.INTERNALDATE])
        return [rows[uid].date if uid in rows else None for uid in uids]

    def header_fields(self, uids: Sequence[int], names: Sequence[bytes], negate: bool) -> list[bytes | None]:
        wanted = frozenset(name.lower() for name in names)
        key = (b"!" if negate else b"") + b" ".join(sorted(wanted))
        known = self._mailbox.index.fields(key, uids)
        new: list[tuple[int, bytes]] = []
        missing = [uid for uid in uids if uid not in known]
        with self._mailbox.bulk() if missing else nullcontext():
            for uid in missing:
                try:
                    octets = pick_fields(self.message(uid).header, wanted, negate=negate, end=not negate)
                except MessageGone:
                    continue
                known[uid] = octets
                new.append((uid, octets))
        if new and not negate and len(key) < 1000:
            self._mailbox.index.store_fields(key, new)
        return [known.get(uid) for uid in uids]

    def message(self, uid: int) -> Message:
        message = self._kept.get(uid)
        if message is not None:
            self._kept.move_to_end(uid)
            return message
        message = Message.from_stored(self._mailbox.read_stored(uid))
        self._kept[uid] = message
        self._octets += message.size
        while len(self._kept) > 1 and (self._octets > KEPT_OCTETS or len(self._kept) > KEPT_MESSAGES):
            _, old = self._kept.popitem(last=False)
            self._octets -= old.size
        return message

    def forget(self) -> None:
        """Nothing is kept: the last session left, or the file was written anew."""
        self._kept.clear()
        self._octets = 0
