"""STORE and UID STORE, with UNCHANGEDSINCE (RFC 7162)."""

from collections.abc import Sequence

from mailsuite.base.errors import PeerError
from mailsuite.imap import numbers
from mailsuite.imap.commands.context import Context, Run
from mailsuite.imap.commands.message_limit import Limited
from mailsuite.imap.flags import parse_flags
from mailsuite.imap.reply import OK, Reply
from mailsuite.imap.session import Command
from mailsuite.imap.syntax import Argument, Atom, String, number
from mailsuite.imap.view import Selected
from mailsuite.store.api import FlagAction, StoreResult

_ACTIONS = {"FLAGS": FlagAction.REPLACE, "+FLAGS": FlagAction.ADD, "-FLAGS": FlagAction.REMOVE}


def do_store(context: Context, command: Command) -> Run:
    """RFC 3501 section 6.4.6."""
    selected = context.opened()
    arguments = list(command.arguments)
    if len(arguments) < 2 or not isinstance(arguments[0], Atom):
        raise PeerError("Invalid arguments")
    unchanged_since = _modifiers(arguments.pop(1)) if isinstance(arguments[1], list) else None
    if len(arguments) < 2 or not isinstance(arguments[1], Atom):
        raise PeerError("Invalid arguments")
    name, silent = _silent(arguments[1].decode("ascii").upper())
    if name not in _ACTIONS:
        raise PeerError("Invalid arguments")
    given = arguments[2] if len(arguments) > 2 and isinstance(arguments[2], list) else arguments[2:]
    flags = parse_flags(given, context.params.max_keyword_length)
    limited = Limited(context)
    ranges = limited.highest(selected, selected.positions(arguments[0], uid=command.uid))
    if unchanged_since is not None:
        yield from context.use_modseqs("STORE UNCHANGEDSINCE")
    if selected.read_only:
        if selected.powerless:
            selected.mention(flags)
        yield from context.sync(expunges=command.uid)
        if selected.powerless:
            return Reply(OK, "Store completed")
        return Reply(OK, "Store ignored with read-only mailbox")
    uids = selected.uids_at(ranges)
    selected.mention(flags)
    if unchanged_since is not None and not _any_unchanged(selected, uids, unchanged_since):
        # Without a call of the store: a keyword is not made for nothing.
        result = StoreResult([], list(uids))
    else:
        result = selected.mailbox.store_flags(uids, _ACTIONS[name], flags, unchanged_since=unchanged_since,
                                              silent_for=selected.view if silent else None)
    if not silent and len(result.changed) < len(uids):
        yield _gone_lines(selected, uids, _ACTIONS[name], flags, command.uid)
    if "\\Deleted" in flags and name != "-FLAGS":
        context.counts.deleted += len(result.changed)
    if silent and selected.modseqs and result.changed:
        yield modseq_lines(selected, result.changed, command.uid)
    yield from context.sync(expunges=command.uid, refresh=False, recent=True, own=True,
                            uid=command.uid and (not silent or selected.modseqs))
    if result.refused:
        yield from context.modseq_line()
        code = f"MODIFIED {_modified(selected, result.refused, command.uid)}"
    else:
        code = context.modseq_code()
    yield from limited.notice(code)
    return Reply(OK, "Conditional store failed" if result.refused else "Store completed", limited.code(code))


def _any_unchanged(selected: Selected, uids: list[int], since: int) -> bool:
    return any(modseq is not None and modseq <= since for modseq in selected.mailbox.modseqs(uids))


def _gone_lines(selected: Selected, uids: list[int], action: FlagAction, flags: list[str], uid_command: bool) -> bytes:
    """Messages that another session expunged are still there for this client: it is told what it asked for."""
    gone = [uid for uid, modseq in zip(uids, selected.mailbox.modseqs(uids), strict=True) if modseq is None]
    out = []
    for uid in gone:
        before = selected.flags_text([uid])[0].decode().split()
        after = set(flags) if action is FlagAction.REPLACE else (
            set(before) | set(flags) if action is FlagAction.ADD else set(before) - set(flags))
        if selected.view.sequence(uid) is not None and after != set(before):
            shown = _named(selected, uid, uid_command)
            out.append(b"%b%bFLAGS (%b))\r\n" % (selected.opening(uid), shown, " ".join(sorted(after)).encode()))
    return b"".join(out)


def _silent(name: str) -> tuple[str, bool]:
    return (name.removesuffix(".SILENT"), True) if name.endswith(".SILENT") else (name, False)


def _modifiers(argument: Argument) -> int | None:
    assert isinstance(argument, list)
    unchanged_since: int | None = None
    words = iter(argument)
    for each in words:
        if not isinstance(each, Atom):
            raise PeerError("Invalid STORE modifiers")
        value = next(words, None)
        if not isinstance(value, Atom | String):
            raise PeerError("Invalid STORE modifiers")
        if each.upper() != b"UNCHANGEDSINCE":
            raise PeerError("Unknown STORE modifier")
        unchanged_since = number(value, 2**63 - 1)
        if unchanged_since is None:
            raise PeerError("Invalid modseq")
    return unchanged_since


def modseq_lines(selected: Selected, uids: Sequence[int], uid_command: bool) -> bytes:
    """The new MODSEQs are told also when the new flags are not (RFC 7162 section 3.1.3): silent STORE, FETCH BODY[]."""
    out = []
    for uid, modseq in zip(uids, selected.mailbox.modseqs(uids), strict=True):
        if selected.view.sequence(uid) is not None and modseq is not None:
            selected.known_modseq = max(selected.known_modseq, modseq)
            shown = _named(selected, uid, uid_command or selected.vanished)
            out.append(b"%b%bMODSEQ (%d))\r\n" % (selected.opening(uid), shown, modseq))
    return b"".join(out)


def _named(selected: Selected, uid: int, wanted: bool) -> bytes:
    """The UID item of a FETCH, where it is wanted and does not stand in front."""
    return b"UID %d " % uid if (wanted or selected.rev2) and not selected.uid_only else b""


def _modified(selected: Selected, uids: list[int], uid_command: bool) -> str:
    told = sorted(uids) if uid_command else [
        number for number in map(selected.view.sequence, sorted(uids)) if number is not None]
    return numbers.format_set(told).decode()
