"""COPY and MOVE with their UID forms; UIDPLUS tells the new UIDs (RFC 4315, RFC 6851)."""

from mailsuite.imap import numbers
from mailsuite.imap.commands.context import Context, Run, at_least
from mailsuite.imap.commands.message_limit import Limited, check_save_limit
from mailsuite.imap.reply import NO, OK, Refusal, Reply
from mailsuite.imap.session import Command
from mailsuite.store.api import CopyResult, Mailbox, MessageGone, NoSuchMailbox, NotSelectable


def do_copy(context: Context, command: Command) -> Run:
    """RFC 3501 section 6.4.7."""
    return _copy(context, command, move=False)


def do_move(context: Context, command: Command) -> Run:
    """RFC 6851."""
    return _copy(context, command, move=True)


def _copy(context: Context, command: Command, *, move: bool) -> Run:
    selected = context.opened()
    if move and selected.view.read_only and context.offers("IMAP4rev2"):
        # Dovecot 2.3 moves out of a mailbox that was opened with EXAMINE; RFC 9051 section 6.3.3 forbids that.
        raise Refusal("Mailbox is read-only", "READ-ONLY")
    at_least(command.arguments, 2)
    target_name = context.mailbox(command.arguments[1])
    limited = Limited(context)
    ranges = selected.positions(command.arguments[0], uid=command.uid)
    uids = selected.uids_at(limited.highest(selected, ranges) if move else ranges)
    if not move:
        check_save_limit(context, len(uids))
    if not uids:
        yield from context.sync()
        return Reply(OK, "No messages found")
    target = open_target(context, target_name)
    try:
        if move and None in selected.mailbox.modseqs(uids):
            raise MessageGone
        result = selected.mailbox.copy(uids, target, move=move)
    except MessageGone as error:
        yield from context.sync()
        return Reply(NO, error.public, "EXPUNGEISSUED")
    context.added(target, result.target_uids)
    code = _copyuid(result) if target.may("r") else ""      # who may not read there learns no UIDs
    if move:
        if code:
            yield b"* OK [%b] Moved UIDs.\r\n" % code.encode()
        context.counts.expunged += len(result.source_uids)
        yield from context.sync(own=True)
        code = context.modseq_code()
        yield from limited.notice(code)
        return Reply(OK, "Move completed", limited.code(code))
    yield from context.sync(refresh=context.has_selected(target), own=context.has_selected(target))
    if context.has_selected(target):
        yield from context.modseq_line()
    return Reply(OK, "Copy completed", code)


def _copyuid(result: CopyResult) -> str:
    source, target = numbers.format_set(result.source_uids), numbers.format_set(result.target_uids)
    return f"COPYUID {result.uid_validity} {source.decode()} {target.decode()}"


def open_target(context: Context, name: str) -> Mailbox:
    """The mailbox that messages go to; a client may make one that is missing."""
    try:
        return context.open(name, right="i")
    except (NoSuchMailbox, NotSelectable) as error:
        raise Refusal(error.public, "TRYCREATE") from error
