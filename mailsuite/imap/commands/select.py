"""SELECT, EXAMINE, CLOSE, UNSELECT, EXPUNGE."""

from collections.abc import Generator
from dataclasses import dataclass

from mailsuite.base.errors import PeerError
from mailsuite.imap import numbers
from mailsuite.imap.commands.context import UIDONLY, Context, Run, at_least, word
from mailsuite.imap.commands.listing import told_mailbox
from mailsuite.imap.commands.message_limit import Limited
from mailsuite.imap.objectid import mailbox_id
from mailsuite.imap.reply import OK, Reply, uid_required
from mailsuite.imap.session import Command
from mailsuite.imap.syntax import Argument, Atom, number
from mailsuite.imap.view import Selected
from mailsuite.store.api import Column


@dataclass(frozen=True)
class _Known:
    """What a QRESYNC client remembers (RFC 7162 section 3.2.5). uids: None for all."""

    uid_validity: int
    modseq: int
    uids: numbers.Ranges | None


def do_select(context: Context, command: Command) -> Run:
    """RFC 3501 sections 6.3.1 and 6.3.2. Whatever comes of it, the old mailbox is closed."""
    examine = command.name == "EXAMINE"
    if context.leave():
        yield b"* OK [CLOSED] Previous mailbox closed.\r\n"
    if not command.arguments:
        raise PeerError("Invalid arguments")
    name = context.mailbox(command.arguments[0])
    condstore, known = _options(context, command.arguments[1:2])
    if condstore:
        yield from context.use_modseqs()
    mailbox = context.open(name)
    view = mailbox.open_view(read_only=examine or not mailbox.writable, claim_recent=not examine)
    selected = context.selected = Selected(mailbox, view, name=mailbox.name, rev2=context.rev2,
                                           uid_only=UIDONLY in context.enabled)
    selected.modseqs = "CONDSTORE" in context.enabled and mailbox.keeps_modseqs
    selected.vanished = "QRESYNC" in context.enabled
    if selected.modseqs:
        context.mail.modseqs.add(selected.name)
    yield b"".join(_picture(context, selected))
    if context.rev2:
        yield told_mailbox(context, mailbox.name, command.arguments[0])
    if known is not None and known.uid_validity == mailbox.uid_validity and mailbox.keeps_modseqs:
        yield from _catch_up(selected, known)
    return Reply(OK, "Examine completed" if examine else "Select completed",
                 "READ-ONLY" if selected.read_only else "READ-WRITE")


def _picture(context: Context, selected: Selected) -> Generator[bytes, None, None]:
    mailbox, view = selected.mailbox, selected.view
    yield selected.flags_lines()
    yield b"* %d EXISTS\r\n" % selected.exists
    if not selected.rev2:
        yield b"* %d RECENT\r\n" % selected.recent
    if not selected.rev2 and not selected.uid_only and (unseen := mailbox.first_unseen(view)):
        yield b"* OK [UNSEEN %d] First unseen.\r\n" % unseen
    if context.offers("OBJECTID"):
        yield b"* OK [MAILBOXID (%b)] Ok\r\n" % mailbox_id(mailbox.guid).encode()
    yield b"* OK [UIDVALIDITY %d] UIDs valid\r\n" % mailbox.uid_validity
    yield b"* OK [UIDNEXT %d] Predicted next UID\r\n" % mailbox.uid_next
    if not mailbox.keeps_modseqs:
        yield b"* OK [NOMODSEQ] No permanent modsequences\r\n"
    elif selected.name in context.mail.modseqs:
        selected.known_modseq = view.modseq
        yield b"* OK [HIGHESTMODSEQ %d] Highest\r\n" % selected.known_modseq


def _options(context: Context, arguments: list[Argument]) -> tuple[bool, _Known | None]:
    """CONDSTORE and QRESYNC; what is no list is ignored, as Dovecot does."""
    condstore, known = False, None
    words = iter(arguments[0] if arguments and isinstance(arguments[0], list) else [])
    for argument in words:
        if not isinstance(argument, Atom):
            raise PeerError("SELECT options contain non-atoms")
        match word(argument):
            case "CONDSTORE":
                condstore = True
            case "QRESYNC":
                if "QRESYNC" not in context.enabled:
                    raise PeerError("QRESYNC not enabled")
                known = _known(context, next(words, None))
                condstore = True
            case _:
                raise PeerError("Unknown FETCH modifier")
    return condstore, known


def _known(context: Context, argument: Argument | None) -> _Known:
    if not isinstance(argument, list):
        raise PeerError("QRESYNC parameters missing")
    if UIDONLY in context.enabled and argument and isinstance(argument[-1], list):
        raise uid_required()            # RFC 9586 section 3.3: no seq-match-data
    if len(argument) < 2:
        raise PeerError("Invalid QRESYNC parameters")
    validity, modseq = number(argument[0]), number(argument[1], 2**63 - 1)
    if validity is None or modseq is None:
        raise PeerError("Invalid QRESYNC parameters")
    rest, uids = argument[2:], None
    if rest and isinstance(rest[0], Atom):
        uids = _fixed_set(rest.pop(0), "Invalid QRESYNC known-uids")
    if rest and isinstance(pairs := rest[0], list):
        del rest[0]
        _check_pairs(pairs)
    if rest:
        raise PeerError("Invalid QRESYNC parameters")
    return _Known(validity, modseq, uids)


def _check_pairs(pairs: list[Argument]) -> None:
    """The message sequence match data: looked at, but not needed, since all that is gone is told."""
    sets = [_fixed_set(pairs[at] if len(pairs) > at else None, problem) for at, problem in enumerate((
        "Invalid QRESYNC known-sequence-set", "Invalid QRESYNC known-uid-set"))]
    if len(pairs) > 2:
        raise PeerError("Too many parameters to QRESYNC known set")
    sizes = [sum(high - low + 1 for low, high in ranges) for ranges in sets]
    if sizes[0] != sizes[1]:
        raise PeerError("Invalid QRESYNC sets")


def _fixed_set(argument: Argument | None, problem: str) -> numbers.Ranges:
    """A set without "*". Raises PeerError with the problem."""
    try:
        ranges = numbers.parse_set(argument if isinstance(argument, Atom) else b"")
    except ValueError:
        raise PeerError(problem) from None
    if ranges[-1][1] == numbers.STAR:
        raise PeerError(problem)
    return ranges


def vanished_earlier(selected: Selected, known: numbers.Ranges | None) -> bytes:
    """UIDs of the known set that are gone: without a log of expunges all of them are named, which RFC 7162 allows."""
    last = selected.mailbox.uid_next - 1
    gone: numbers.Ranges = []
    uids = selected.view.uids
    for low, high in known if known is not None else [(1, numbers.STAR)]:
        low, high = min(low, last), min(high, last)
        for position in numbers.positions_of_uids([(low, high)], uids) if low >= 1 else []:
            for uid in uids[position.start:position.stop]:
                if uid > low:
                    gone.append((low, uid - 1))
                low = uid + 1
        if 1 <= low <= high:
            gone.append((low, high))
    if not gone:
        return b""
    text = ",".join(f"{low}:{high}" if low < high else str(low) for low, high in gone)
    return b"* VANISHED (EARLIER) %b\r\n" % text.encode()


def _catch_up(selected: Selected, known: _Known) -> Generator[bytes, None, None]:
    if known.modseq < selected.mailbox.highest_modseq:
        yield vanished_earlier(selected, known.uids)
    uids = list(selected.view.uids)
    if known.uids is not None:
        uids = selected.uids_at(numbers.positions_of_uids(known.uids, selected.view.uids))
    changed = [uid for uid, modseq in zip(uids, selected.mailbox.modseqs(uids), strict=True)
               if modseq is not None and modseq > known.modseq]
    flags, modseqs = selected.flags_text(changed), selected.mailbox.columns(changed, [Column.MODSEQ])[0]
    named = b"" if selected.uid_only else b"UID %d "
    yield b"".join(b"%b%bFLAGS (%b) MODSEQ (%b))\r\n" % (
        selected.opening(uid), named and named % uid, flag, modseq or b"1")
        for uid, flag, modseq in zip(changed, flags, modseqs, strict=True))


def do_close(context: Context, command: Command) -> Run:
    """RFC 3501 section 6.4.2: expunge without a word."""
    selected = context.opened()
    allowed = selected.read_only or selected.mailbox.may("e")
    if not selected.read_only and allowed:
        context.counts.expunged += len(selected.mailbox.expunge())
    context.leave()
    yield from ()
    return Reply(OK, "Close completed" if allowed else "Closed without expunging: Permission denied")


def do_unselect(context: Context, command: Command) -> Run:
    """RFC 3691."""
    context.leave()
    yield from ()
    return Reply(OK, "Unselect completed")


def do_expunge(context: Context, command: Command) -> Run:
    """RFC 3501 section 6.4.3, and UID EXPUNGE (RFC 4315). In a read-only mailbox it does nothing, silently."""
    selected = context.opened()
    uids: list[int] | None = None
    limited = Limited(context)
    if command.uid:
        at_least(command.arguments, 1)
        uids = selected.uids_at(selected.positions(command.arguments[0], uid=True))
        doomed = selected.mailbox.with_flag(uids, "\\Deleted") if limited.limit else ()
        uids = limited.highest_uids([uid for uid in uids if uid in doomed]) if limited.limit else uids
    if not selected.read_only and not selected.mailbox.may("e"):
        yield from context.sync()
        return Reply(OK, "Expunge ignored: Permission denied")
    if not selected.read_only and uids != []:
        context.counts.expunged += len(selected.mailbox.expunge(uids))
    yield from context.sync(own=True)
    code = context.modseq_code()
    yield from limited.notice(code)
    return Reply(OK, "Expunge completed", limited.code(code))
