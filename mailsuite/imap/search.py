"""Evaluates search keys over the messages of a view.

    Search(selected, now).find(key) -> UIDs that match, ascending

Each key takes a list of UIDs and gives the set of those that match; AND hands each key only what the earlier ones left,
cheap keys (flags, numbers, dates) first, so texts are read of few messages. A message set that all have to be in comes
before anything else, and keys of flags alone are asked once for each combination of flags. Blocks; run it in a thread,
unless the keys need nothing but memory (`flags_only`).
"""

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property, partial

from mailsuite.imap import numbers
from mailsuite.imap.facts import facts_of
from mailsuite.imap.mime_keys import Test, matches
from mailsuite.imap.objectid import email_ids
from mailsuite.imap.search_keys import (
    Age,
    All,
    And,
    Day,
    Guid,
    HasFlag,
    Header,
    InMailbox,
    InThread,
    Key,
    MimePart,
    ModSeq,
    Moment,
    Not,
    Numbers,
    ObjectId,
    Or,
    Size,
    Text,
)
from mailsuite.imap.search_text import Stopped, Texts
from mailsuite.imap.sent_date import sent_date
from mailsuite.imap.sieve import Sieve
from mailsuite.imap.text import decode_header, fold
from mailsuite.imap.view import Selected
from mailsuite.message.address import parse_addresses
from mailsuite.message.header import split_fields, unfold
from mailsuite.store.api import MessageGone

ADDRESS_FIELDS = (b"FROM", b"TO", b"CC", b"BCC")
BATCH = 500             # messages whose headers are asked for at once
_COST = {All: 0, InMailbox: 0, Numbers: 0, HasFlag: 1, ModSeq: 1, Guid: 1, ObjectId: 1, Age: 2, Day: 2, Moment: 2,
         Size: 3, Header: 5, InThread: 6, MimePart: 8, Text: 9}


class Search:
    """now: seconds since the epoch, for OLDER and YOUNGER. stop: asked often while messages are read; True ends the
    search by raising search_text.Stopped."""

    def __init__(self, selected: Selected, now: float, stop: Callable[[], bool] = lambda: False) -> None:
        self.selected, self.mailbox, self.now = selected, selected.mailbox, now
        self._texts, self._stop = Texts(selected, stop), stop

    def find(self, key: Key) -> list[int]:
        within, rest = self._narrowed(key)
        if flags_only(rest):
            return self.mailbox.fitting(within, partial(_holds, rest))
        uids = list(within)
        found = self.match(rest, uids)
        return uids if len(found) == len(uids) else [uid for uid in uids if uid in found]

    def _narrowed(self, key: Key) -> tuple[Sequence[int], Key]:
        """UIDs among which all that match are, by the first message set of an AND; what is still to be asked."""
        keys = key.keys if isinstance(key, And) else (key,)
        for at, each in enumerate(keys):
            if isinstance(each, Numbers):
                return self._numbers(each.ranges, each.uid), And((*keys[:at], *keys[at + 1:]))
        return self.selected.view.uids, key

    def match(self, key: Key, uids: Sequence[int]) -> set[int]:
        """Those of uids that match."""
        if not uids:
            return set()
        match key:
            case All():
                return set(uids)
            case And(keys):
                return self._all_of(keys, uids)
            case Or(one, other):
                found = self.match(one, uids)
                return found | self.match(other, [uid for uid in uids if uid not in found])
            case Not(inner):
                return set(uids) - self.match(inner, uids)
            case HasFlag(flag):
                return self._flag(flag, uids)
            case Numbers(ranges, uid):
                return set(self._numbers(ranges, uid)).intersection(uids)
            case Day():
                return self._day(key, uids)
            case Age(seconds, younger):
                limit = self.now - seconds
                return {uid for uid, date in self._dated(uids) if (date >= limit) == younger}
            case Size(octets, larger):
                return {uid for uid, size in zip(uids, self.mailbox.sizes(uids), strict=True)
                        if size is not None and (size > octets if larger else size < octets)}
            case ModSeq(least):
                return {uid for uid, modseq in zip(uids, self.mailbox.modseqs(uids), strict=True)
                        if modseq is not None and modseq >= least}
            case Header(name, text):
                return self._header(name, fold(text), uids)
            case Text(text, headers):
                return self._text(fold(text), headers, uids)
            case InMailbox(fits):
                return set(uids) if fits(self.selected.name, self.guid) else set()
            case Guid(text):
                guids = self.mailbox.identities(uids, "guid") or []
                return {uid for uid, guid in zip(uids, guids, strict=False) if guid == text}
            case ObjectId(name, text):
                known = email_ids(self.mailbox, uids) if name == "EMAILID" else []
                return {uid for uid, one in zip(uids, known, strict=False) if one == text}
            case Moment():
                return self._moment(key, uids)
            case MimePart(test):
                return self._parts(test, uids)
            case InThread(inner):
                return self._thread(inner) & set(uids)

    def _parts(self, test: Test, uids: Sequence[int]) -> set[int]:
        """Reads the messages."""
        found = set[int]()
        for uid in uids:
            if self._stop():
                raise Stopped
            with suppress(MessageGone):
                if matches(test, self.mailbox.message(uid)):
                    found.add(uid)
        return found

    @cached_property
    def guid(self) -> str:
        """The mailbox's."""
        return self.mailbox.status().guid

    def _all_of(self, keys: Sequence[Key], uids: Sequence[int]) -> set[int]:
        left = list(uids)
        for key in sorted(keys, key=_cost):
            found = self.match(key, left)
            left = [uid for uid in left if uid in found]
        return set(left)

    def _flag(self, flag: str, uids: Sequence[int]) -> set[int]:
        if flag == "\\Recent":
            return self.selected.view.recent.intersection(uids)
        return self.mailbox.with_flag(uids, flag)

    def _numbers(self, ranges: numbers.Ranges | None, uid: bool) -> list[int]:
        """Ascending."""
        selected = self.selected
        if ranges is None:
            return selected.uids_at(selected.ranges_of_uids(selected.saved))
        if uid:
            return selected.uids_at(numbers.positions_of_uids(ranges, selected.view.uids))
        count = len(selected.view.uids)
        clipped = [(min(low, count) if low == numbers.STAR else low, min(high, count)) for low, high in ranges]
        there = [each for each in clipped if 0 < each[0] <= each[1]]
        return selected.uids_at(range(low - 1, high) for low, high in (numbers.merge(there) if there else ()))

    # --- dates ----------------------------------------------------------------------------------------------------

    def _dated(self, uids: Sequence[int], *, saved: bool = False) -> Iterator[tuple[int, int]]:
        for start in range(0, len(uids), BATCH):
            batch = uids[start:start + BATCH]
            dates = self.mailbox.saved_dates(batch) if saved else self.mailbox.dates(batch)
            yield from ((uid, date) for uid, date in zip(batch, dates, strict=True) if date is not None)

    def _day(self, key: Day, uids: Sequence[int]) -> set[int]:
        if key.sent:
            days = ((uid, sent_day(value)) for uid, value in self.values(b"date", uids))
        else:
            days = ((uid, local_day(date)) for uid, date in self._dated(uids, saved=key.saved))
        match key.how:
            case "BEFORE":
                return {uid for uid, day in days if day < key.day}
            case "ON":
                return {uid for uid, day in days if day == key.day}
        return {uid for uid, day in days if day >= key.day}

    def _moment(self, key: Moment, uids: Sequence[int]) -> set[int]:
        dated: Iterator[tuple[int, int]]
        match key.which:
            case "SENT":
                dated = ((uid, parsed[0] if (parsed := sent_date(value or b"")) is not None else 0)
                         for uid, value in self.values(b"date", uids))
            case "SAVED":
                dated = self._dated(uids, saved=True)
            case _:
                dated = ((uid, date) for uid, date in self._dated(uids))
        match key.how:
            case "BEFORE":
                return {uid for uid, date in dated if date < key.at_s}
            case "ON":
                return {uid for uid, date in dated if key.at_s <= date < key.at_s + 86400}
        return {uid for uid, date in dated if date >= key.at_s}

    def _thread(self, key: Key) -> set[int]:
        """All messages that Message-ID, References and In-Reply-To tie to those that match."""
        every = list(self.selected.view.uids)
        mails = facts_of(self.mailbox).mails(every)
        groups = Groups()
        for uid in every:
            mail = mails[uid]
            groups.join([uid, *(each for each in (mail.message_id, *mail.references) if each)])
        wanted = {groups.root(uid) for uid in self.match(key, every)}
        return {uid for uid in every if groups.root(uid) in wanted}

    # --- texts ----------------------------------------------------------------------------------------------------

    def values(self, name: bytes, uids: Sequence[int]) -> Iterator[tuple[int, bytes | None]]:
        """The first field of that name of each message; None when it has none."""
        for uid, fields in self._fields(name, uids):
            yield uid, fields[0] if fields else None

    def _fields(self, name: bytes, uids: Sequence[int], sieve: Sieve | None = None
                ) -> Iterator[tuple[int, list[bytes]]]:
        """All fields of that name of each message; of messages that pass the sieve only, if there is one."""
        name = name.lower()
        for start in range(0, len(uids), BATCH):
            batch = uids[start:start + BATCH]
            for uid, octets in zip(batch, self.mailbox.header_fields(batch, [name]), strict=True):
                if octets is not None and (sieve is None or sieve.passes(octets)):
                    yield uid, [unfold(value) for _, value, _ in split_fields(octets)] if len(octets) > 2 else []

    def _header(self, name: bytes, text: str, uids: Sequence[int]) -> set[int]:
        if name in ADDRESS_FIELDS:
            return {uid for uid, fields in self._fields(name, uids, None if {*text} & {*"<>,"} else Sieve(text))
                    if any(not text or text in fold(decode_header(value)) or text in _addresses(value)
                           for value in fields)}
        return {uid for uid, fields in self._fields(name, uids, Sieve(text))
                if any(not text or text in fold(decode_header(value, even=False)) for value in fields)}

    def _text(self, text: str, headers: bool, uids: Sequence[int]) -> set[int]:
        if not text:
            return set(uids)
        return self._texts.holding(text, uids, headers=headers)


def _addresses(value: bytes) -> str:
    """Addresses as they are written today: "Name <local@domain>, <local@domain>"; folded."""
    parts = []
    for address in parse_addresses(value):
        name = decode_header(address.name) + " " if address.name else ""
        at = b"@".join(part for part in (address.mailbox, address.domain) if part).decode("utf-8", "replace")
        parts.append(f"{name}<{at}>")
    return fold(", ".join(parts))


def flags_only(key: Key) -> bool:
    """Do flags decide it, those of the mailbox?"""
    match key:
        case All():
            return True
        case HasFlag(flag):
            return flag != "\\Recent"
        case And(keys):
            return all(map(flags_only, keys))
        case Or(one, other):
            return flags_only(one) and flags_only(other)
        case Not(inner):
            return flags_only(inner)
    return False


def _holds(key: Key, has: Callable[[str], bool]) -> bool:
    """Of a key with flags only."""
    match key:
        case HasFlag(flag):
            return has(flag)
        case And(keys):
            return all(_holds(each, has) for each in keys)
        case Or(one, other):
            return _holds(one, has) or _holds(other, has)
        case Not(inner):
            return not _holds(inner, has)
    return True


def _cost(key: Key) -> int:
    match key:
        case And(keys):
            return max(map(_cost, keys))
        case Or(one, other):
            return max(_cost(one), _cost(other))
        case Not(inner):
            return _cost(inner)
        case Day(sent=True) | Moment(which="SENT"):
            return 5
    return _COST[type(key)]


def local_day(date: float) -> int:
    """Days since the epoch in the server's time zone, as RFC 3501 wants "disregarding timezone"."""
    return int(date + time.localtime(date).tm_gmtoff) // 86400


def sent_day(value: bytes | None) -> int:
    """The day that stands in a Date field; without one, the epoch: such messages are older than anything asked for."""
    parsed = sent_date(value) if value is not None else None
    return 0 if parsed is None else int(parsed[0] + parsed[1]) // 86400


class Groups:
    """Things that belong together, by way of others."""

    def __init__(self) -> None:
        self._above: dict[Hashable, Hashable] = {}

    def root(self, thing: Hashable) -> Hashable:
        """What stands for the thing's group."""
        while (above := self._above.get(thing, thing)) != thing:
            self._above[thing] = self._above.get(above, above)
            thing = above
        return thing

    def join(self, things: Sequence[Hashable]) -> None:
        first = self.root(things[0])
        for thing in things[1:]:
            self._above[self.root(thing)] = first
