"""FETCH and UID FETCH: stored octets joined to replies, a block of messages at a time.

What the index holds (flags, dates, sizes, ENVELOPE, BODYSTRUCTURE) comes as columns and is joined by one format
operation per message; only sections need the message itself. \\Seen is set for a block before it is rendered, so its
FLAGS are right. Messages that are gone give NIL, and the reply says so.
"""

from collections.abc import Generator, Iterable, Sequence
from itertools import chain, repeat
from typing import Any

from mailsuite.base.errors import PeerError
from mailsuite.imap.binary import BrokenEncoding, UnknownEncoding, binary_content
from mailsuite.imap.commands.context import Context, Run
from mailsuite.imap.commands.fetch_plan import PREVIEWS, Asked, Plan, Planned, is_whole, planned
from mailsuite.imap.commands.message_limit import Limited
from mailsuite.imap.commands.select import vanished_earlier
from mailsuite.imap.commands.store import modseq_lines
from mailsuite.imap.facts import previews_of
from mailsuite.imap.fetch_items import FetchRequest, Item, Special, count_first, ordered
from mailsuite.imap.numbers import parse_set
from mailsuite.imap.objectid import email_ids
from mailsuite.imap.preview import Previews, preview
from mailsuite.imap.reply import OK, Refusal, Reply, astring, string
from mailsuite.imap.session import Command
from mailsuite.imap.syntax import Atom
from mailsuite.imap.view import BLOCK, Selected
from mailsuite.message.section import Kind, Section
from mailsuite.store.api import Column, FlagAction, Message, MessageGone
from mailsuite.store.fetching import render_date

BODIES = 512 * 1024                                    # octets of whole messages in a block
_FUZZY = (Special.SNIPPET, Special.LAZY_SNIPPET)
# What is said of messages that are gone, where the grammar has no NIL; as Dovecot says it.
_EMPTY_BODY = b'"text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0'
_GONE = {
    Column.INTERNALDATE: b'"01-Jan-1970 00:00:00 +0000"', Column.SIZE: b"0", Column.MODSEQ: b"1",
    Column.ENVELOPE: b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)", Column.BODY: b"(%b)" % _EMPTY_BODY,
    Column.BODYSTRUCTURE: b"(%b NIL NIL NIL NIL)" % _EMPTY_BODY}


def do_fetch(context: Context, command: Command) -> Run:
    """RFC 3501 section 6.4.5 and 6.4.8, RFC 7162 section 3.1.4."""
    selected = context.opened()
    if len(command.arguments) < 2 or not isinstance(command.arguments[0], Atom):
        raise PeerError("Invalid arguments")
    request, plan = asked_for(context, command)
    _check_vanished(context, request, command.uid)
    ranges = selected.positions(command.arguments[0], uid=command.uid)
    if request.partial is not None:
        if not command.uid:
            raise PeerError("PARTIAL is for UID FETCH")
        ranges = selected.ranges_of_uids(request.partial.of(selected.uids_at(ranges)))
    if request.changed_since >= 0 or request.has(Column.MODSEQ):
        yield from context.use_modseqs("FETCH CHANGEDSINCE" if request.changed_since >= 0 else "FETCH MODSEQ")
    if request.vanished and command.arguments[0] != b"$" and request.changed_since < selected.mailbox.highest_modseq:
        yield vanished_earlier(selected, parse_set(command.arguments[0]))
    if request.changed_since >= 0:
        ranges = _changed(selected, ranges, request.changed_since)
    limited = Limited(context)
    ranges = limited.highest(selected, ranges)
    rows = Rows(context, selected, plan)
    for block in rows.blocks(ranges):
        yield from block
    if selected.modseqs and rows.marked and not request.has(Column.MODSEQ):
        yield modseq_lines(selected, rows.marked, False)
    yield from context.sync(expunges=command.uid, refresh=False, uid=command.uid)
    if request.has(Column.MODSEQ):
        selected.told_modseqs()
    if rows.gone:
        yield from context.modseq_line()
    code = "EXPUNGEISSUED" if rows.gone else context.modseq_code()
    yield from limited.notice(code)
    return Reply(OK, "Some messages were already expunged" if rows.gone else "Fetch completed", limited.code(code))


def asked_for(context: Context, command: Command) -> Planned:
    """With a mailbox selected. Raises PeerError."""
    selected, arguments = context.opened(), command.arguments[1:]
    return planned(arguments, Asked(context.params.offered, command.uid or selected.rev2, selected.uid_only,
                                    selected.read_only))


def _check_vanished(context: Context, request: FetchRequest, uid: bool) -> None:
    if not request.vanished:
        return
    if not uid:
        raise PeerError("Unknown FETCH modifier")
    if "QRESYNC" not in context.enabled:
        raise PeerError("QRESYNC not enabled")
    if request.changed_since < 0:
        raise PeerError("VANISHED used without CHANGEDSINCE")


def _changed(selected: Selected, ranges: Iterable[range], since: int) -> list[range]:
    """Those positions whose MODSEQ is higher."""
    found: list[range] = []
    for each in ranges:
        modseqs = selected.mailbox.modseqs(selected.uids_at([each]))
        for position, modseq in zip(each, modseqs, strict=True):
            if modseq is not None and modseq > since:
                if found and found[-1].stop == position:
                    found[-1] = range(found[-1].start, position + 1)
                else:
                    found.append(range(position, position + 1))
    return found


class Rows:
    """Renders FETCH replies. gone: a message was missing. refused: why BINARY of one could not be decoded."""

    def __init__(self, context: Context, selected: Selected, plan: Plan) -> None:
        self.context, self.selected, self.plan = context, selected, plan
        self.mailbox, self.gone = selected.mailbox, False
        self.refused: Refusal | None = None
        self.marked: list[int] = []             # UIDs that became \Seen, with CONDSTORE
        self._wires: Sequence[bytes | None] = ()        # of whole messages: those of the block

    def blocks(self, ranges: Iterable[range]) -> Generator[Iterable[bytes], None, None]:
        for each in ranges:
            start = each.start
            while start < each.stop:
                stop = min(start + self.plan.size, each.stop)
                uids = self.selected.uids_at([range(start, stop)])
                if self.plan.whole:
                    self._wires = self.mailbox.read_wire(uids, BODIES)
                    uids = uids[:len(self._wires)]
                    stop = start + len(uids)
                yield self._block(range(start + 1, stop + 1), uids)
                start = stop

    def _block(self, sequence: Sequence[int], uids: list[int]) -> Iterable[bytes]:
        if self.selected.uid_only:
            sequence = uids
        newly_seen = self._mark(uids) if self.plan.mark_seen else set()
        columns = self._values(uids)
        if self.plan.segments:
            yield from _pieces(self._joined([sequence, *columns]))
            return
        if self.plan.plain or not self.plan.needs_message and not newly_seen:
            rows = zip(sequence, *columns, strict=True)
            yield from _pieces(self.plan.template * len(sequence) % tuple(chain.from_iterable(rows)))
            return
        flags = self.selected.flags_text(uids) if newly_seen and not self.plan.has_flags else []
        place = count_first(self.plan.items)
        out: list[bytes] = []
        size = 0
        for position, number in enumerate(sequence):
            uid = uids[position]
            pieces = self._row(uid, [column[position] for column in columns])
            if flags and uid in newly_seen:
                pieces[2 * place:2 * place] = (b" FLAGS (%b)" % flags[position], b"")
            pieces = pieces or [b" UID %d" % uid]
            out += (self.plan.opening % number, pieces[0][1:], *pieces[1:], b")\r\n")
            if self.refused:
                yield b"".join(out)
                raise self.refused
            size += sum(map(len, pieces))
            if size >= BLOCK:
                yield from _pieces(b"".join(out))
                out, size = [], 0
        yield b"".join(out)

    def _joined(self, columns: Sequence[Sequence[Any]]) -> bytes:
        """Rows with whole messages, which are copied once."""
        parts: list[Iterable[bytes]] = []
        wires, at = [octets or b"" for octets in self._wires], 0
        for text, width in self.plan.segments:
            rows = zip(*columns[at:at + width], strict=True)
            parts += (map(text.__mod__, rows), wires)
            at += width
        rest = columns[at:]
        parts.append(map(self.plan.tail.__mod__, zip(*rest, strict=True)) if rest else repeat(self.plan.tail))
        return b"".join(chain.from_iterable(zip(*parts, strict=False)))

    def _mark(self, uids: list[int]) -> set[int]:
        seen = self.mailbox.with_flag(uids, "\\Seen")
        unseen = [uid for uid in uids if uid not in seen]
        if not unseen:
            return set()
        changed = self.mailbox.store_flags(unseen, FlagAction.ADD, ["\\Seen"], silent_for=self.selected.view).changed
        if self.selected.modseqs:
            self.marked += changed
        return set(changed)

    # --- values that come for many messages at once ---------------------------------------------------------------

    def _values(self, uids: list[int]) -> list[Sequence[Any]]:
        """A list of octets for each item; sections that need the message get an empty place."""
        fetched = iter(self.mailbox.columns(uids, self.plan.columns)) if self.plan.columns else iter(())
        result: list[Sequence[Any]] = []
        for item in self.plan.items:
            if self.plan.plain and item.what is Column.UID:
                result.append(uids)
            elif item.what is Column.FLAGS:
                result.append(self.selected.with_recent(uids, next(fetched)))
            elif isinstance(item.what, Column):
                result.append(self._present(next(fetched), _GONE.get(item.what, b"NIL")))
            elif item in self.plan.needs_message:
                result.append([b""] * len(uids))
            elif is_whole(item):
                result.append(self._bodies(item))
            elif isinstance(item.what, Section):
                result.append(self._fields(uids, item))
            else:
                result.append(self._special(uids, item.what))
        return result

    def _present(self, column: list[bytes | None], missing: bytes = b"NIL") -> Sequence[bytes]:
        if None in column:
            self.gone = True
            return [missing if value is None else value for value in column]
        return column  # type: ignore[return-value]  # no None is left

    def _bodies(self, item: Item) -> list[bytes]:
        """Literals; with segments only how they begin."""
        self.context.counts.bodies += len(self._wires)
        self.context.counts.body_octets += sum(map(len, filter(None, self._wires)))
        if not self.plan.segments:
            return [self._literal(item, octets) for octets in self._wires]
        return list(self._present([None if octets is None else b"{%d}\r\n" % len(octets) for octets in self._wires]))

    def _fields(self, uids: list[int], item: Item) -> list[bytes]:
        assert isinstance(item.what, Section)
        found = self.mailbox.header_fields(uids, item.what.names, negate=item.what.kind is Kind.FIELDS_NOT)
        self.context.counts.headers += len(uids)
        return [self._literal(item, octets) for octets in found]

    def _special(self, uids: list[int], what: Special) -> list[bytes]:
        if what in PREVIEWS:
            return self._previews(uids, what)
        if what is Special.SAVEDATE:
            return [b"NIL" if date is None else render_date(date) for date in self.mailbox.saved_dates(uids)]
        if what is Special.EMAILID:
            ids = email_ids(self.mailbox, uids)
            return list(self._present([None if one is None else b"(%b)" % one.encode() for one in ids]))
        if what is Special.THREADID:
            return [b"NIL"] * len(uids)
        if what is Special.REAL_UID:
            return [b"%d" % uid for uid in uids]
        if what is Special.MAILBOX:
            return [astring(self.mailbox.name.encode())] * len(uids)
        guids = self.mailbox.identities(uids, "guid") or [""] * len(uids)
        return [astring(guid.encode("utf-8", "surrogateescape")) if guid else b"NIL" for guid in guids]

    def _previews(self, uids: list[int], what: Special) -> list[bytes]:
        """LAZY: only of what was looked at before (RFC 8970 section 3.1)."""
        known = previews_of(self.mailbox)
        found: list[bytes] = []
        for uid in uids:
            text = known.get(uid)
            if text is None and what in (Special.PREVIEW, Special.SNIPPET):
                text = self._look(known, uid)
            if text is None:
                found.append(b"NIL")
            else:
                found.append(b"(FUZZY %b)" % string(text) if what in _FUZZY else string(text))
        return found

    def _look(self, known: Previews, uid: int) -> bytes | None:
        try:
            return known.put(uid, preview(self.mailbox.message(uid)))
        except MessageGone:
            self.gone = True
            return None

    def _literal(self, item: Item, octets: bytes | None) -> bytes:
        if octets is None:
            self.gone = True
            return b"NIL"
        if item.partial is not None:
            start, length = item.partial
            octets = octets[start:] if length is None else octets[start:start + length]
        return b"{%d}\r\n%b" % (len(octets), octets)

    # --- values from the message itself ---------------------------------------------------------------------------

    def _row(self, uid: int, values: list[bytes]) -> list[bytes]:
        """The items of one message, two pieces each, the first begins with a blank; refused: the next could not be
        made."""
        message: Message | None = None
        if self.plan.needs_message:
            try:
                message = self.mailbox.message(uid)
            except MessageGone:
                self.gone = True
        pieces: list[bytes] = []
        for item, form, value in zip(self.plan.items, self.plan.forms, values, strict=True):
            made = self._from_message(item, message) if item in self.plan.needs_message else value
            if made is None:
                break
            pieces += (form, made) if form.endswith(b" ") else (form % made, b"")
        return pieces

    def _from_message(self, item: Item, message: Message | None) -> bytes | None:
        """None: it has an encoding that nobody knows."""
        if message is None:
            return b"0" if item.what is Special.BINARY_SIZE else b"NIL"
        counts = self.context.counts
        if isinstance(item.what, Section):
            octets = message.section(item.what)
            counts.bodies += 1
            counts.body_octets += len(octets)
            return self._literal(item, octets)
        assert isinstance(item.what, Special)
        assert item.section is not None
        try:
            content = binary_content(message, item.section)
        except (UnknownEncoding, BrokenEncoding) as error:
            self.refused = Refusal(error.public, "PARSE" if isinstance(error, BrokenEncoding) else "UNKNOWN-CTE")
            return None
        if item.what is Special.BINARY_SIZE:
            return b"%d" % len(content.octets)
        literal = self._literal(item, content.octets)
        return b"~" + literal if content.decoded else literal


def show(context: Context, selected: Selected, uids: Sequence[int], items: Sequence[Item]
         ) -> Generator[bytes, None, None]:
    """FETCH replies that nobody asked for just now: of new messages, for NOTIFY."""
    plan = Plan(ordered(list(items)), read_only=selected.read_only, uid_only=selected.uid_only)
    rows = Rows(context, selected, plan)
    for block in rows.blocks(selected.ranges_of_uids(uids)):
        yield from block


def _pieces(octets: bytes) -> Iterable[bytes]:
    """A large block is handed over piece by piece."""
    if len(octets) <= 16 * BLOCK:
        yield octets
        return
    for at in range(0, len(octets), BLOCK):
        yield octets[at:at + BLOCK]
