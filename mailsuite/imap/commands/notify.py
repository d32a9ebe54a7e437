"""NOTIFY (RFC 5465), in part.

What it asks about the selected mailbox is told at every command and in IDLE anyway. Of other mailboxes the STATUS that
the client asks for at first is told; later changes there it learns by STATUS.
"""

from collections.abc import Generator, Iterable

from mailsuite.base.errors import MailError, PeerError
from mailsuite.imap.commands.context import Context, Run
from mailsuite.imap.commands.status import status_line
from mailsuite.imap.reply import OK, Reply
from mailsuite.imap.session import Command
from mailsuite.imap.syntax import Argument, Atom, text_of

_FILTERS = (b"SELECTED", b"SELECTED-DELAYED", b"INBOXES", b"PERSONAL", b"SUBSCRIBED", b"SUBTREE", b"MAILBOXES")
_EVENTS = (b"MESSAGENEW", b"MESSAGEEXPUNGE", b"FLAGCHANGE", b"ANNOTATIONCHANGE", b"MAILBOXNAME",
           b"SUBSCRIPTIONCHANGE", b"MAILBOXMETADATACHANGE", b"SERVERMETADATACHANGE")


def do_notify(context: Context, command: Command) -> Run:
    """RFC 5465 section 3."""
    arguments = command.arguments
    if not arguments or not isinstance(arguments[0], Atom):
        raise PeerError("Invalid arguments")
    match arguments[0].upper():
        case b"NONE":
            pass
        case b"SET":
            groups = arguments[1:]
            with_status = bool(groups) and isinstance(groups[0], Atom) and groups[0].upper() == b"STATUS"
            if with_status:
                groups = groups[1:]
            if not groups or not all(map(_is_event_group, groups)):
                raise PeerError("Invalid arguments")
            if with_status:
                yield from _statuses(context, groups)
        case _:
            raise PeerError("Invalid arguments")
    yield from context.sync()
    return Reply(OK, "NOTIFY completed")


def _is_event_group(argument: Argument) -> bool:
    """(filter [mailboxes] events), events being NONE or a list of names, MessageNew followed by what to fetch."""
    match argument:
        case [Atom() as chosen, *_, last] if chosen.upper() in _FILTERS:
            if isinstance(last, Atom):
                return last.upper() == b"NONE"
            return isinstance(last, list) and all(
                isinstance(event, list) or event.upper() in _EVENTS for event in last)
    return False


def _statuses(context: Context, groups: Iterable[Argument]) -> Generator[bytes, None, None]:
    """The first STATUS of each mailbox that is watched for messages, but for the selected one."""
    selected = context.selected.name if context.selected is not None else None
    seen = {selected}
    for group in groups:
        assert isinstance(group, list)
        events = {event.upper() for event in group[-1] if isinstance(event, Atom)}
        if not events & {b"MESSAGENEW", b"MESSAGEEXPUNGE"}:
            continue
        items = ["MESSAGES", "UIDNEXT", "UIDVALIDITY"] + ["HIGHESTMODSEQ"] * (b"FLAGCHANGE" in events)
        for name in _mailboxes(context, group):
            if name not in seen:
                seen.add(name)
                try:
                    yield status_line(context, name, items)
                except MailError:
                    continue        # it is not there, or not for mail


def _mailboxes(context: Context, group: list[Argument]) -> list[str]:
    """Names that a filter stands for."""
    store, chosen = context.store, text_of(group[0]).upper()
    names = [info.name for info in store.list_mailboxes() if info.selectable]
    if chosen == "INBOXES":
        return ["INBOX"]
    if chosen == "PERSONAL":
        return names
    if chosen == "SUBSCRIBED":
        return store.subscriptions()
    if chosen in ("MAILBOXES", "SUBTREE") and len(group) > 2:
        given = group[1] if isinstance(group[1], list) else [group[1]]
        wanted = [text_of(each) for each in given if isinstance(each, bytes)]
        if chosen == "MAILBOXES":
            return wanted
        return [name for name in names
                if any(name == each or name.startswith(each + store.separator) for each in wanted)]
    return []
