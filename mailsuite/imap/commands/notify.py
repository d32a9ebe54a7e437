"""NOTIFY (RFC 5465): what a client wants to be told at any time, not only when it asks.

    NOTIFY SET STATUS (SELECTED (MessageNew (UID FLAGS) MessageExpunge FlagChange)) (SUBTREE Lists (MessageNew
        MessageExpunge)) (PERSONAL (MailboxName SubscriptionChange))

Here is the command; notices.py finds out what is new, imap/notify_server.py when to look. After NOTIFY the selected
mailbox is told of as SELECTED says, also by NOOP and in IDLE; what a command of this session did itself is always told.
Limits: params.notify_max_mailboxes.
"""

from collections.abc import Iterable, Sequence

from mailsuite.base.errors import PeerError
from mailsuite.imap.commands.context import Context, Run
from mailsuite.imap.commands.name_changes import Group
from mailsuite.imap.commands.notices import Notices, TooMany
from mailsuite.imap.fetch_items import Item, parse_fetch
from mailsuite.imap.reply import NO, OK, Reply
from mailsuite.imap.session import Command
from mailsuite.imap.syntax import Argument, Atom

SELECTED = ("SELECTED", "SELECTED-DELAYED")
FILTERS = (*SELECTED, "INBOXES", "PERSONAL", "SUBSCRIBED", "SUBTREE", "MAILBOXES")
MESSAGES = {"MESSAGENEW": "MessageNew", "MESSAGEEXPUNGE": "MessageExpunge", "FLAGCHANGE": "FlagChange"}
NAMES = {"MAILBOXNAME": "MailboxName", "SUBSCRIPTIONCHANGE": "SubscriptionChange"}
METADATA = {"MAILBOXMETADATACHANGE": "MailboxMetadataChange", "SERVERMETADATACHANGE": "ServerMetadataChange"}
MAX_GROUPS = 100


class _Unsupported(Exception):
    """An event that there is not: NO, not BAD."""


def do_notify(context: Context, command: Command) -> Run:
    """RFC 5465 section 3.1."""
    arguments = command.arguments
    verb = arguments[0].upper() if arguments and isinstance(arguments[0], Atom) else b""
    groups: list[Group] = []
    with_status = False
    if verb == b"SET" and len(arguments) > 1:
        with_status = isinstance(arguments[1], Atom) and arguments[1].upper() == b"STATUS"
        try:
            groups = parse_groups(context, arguments[2 if with_status else 1:])
        except _Unsupported:
            return Reply(NO, "Unsupported NOTIFY events", f"BADEVENT ({' '.join(supported(context).values())})")
    elif verb != b"NONE" or len(arguments) > 1:
        raise PeerError("Invalid arguments")
    notices = Notices(context, groups)
    context.notices = None              # what has happened in the selected mailbox until now is told by the old rules
    yield from context.sync()
    try:
        yield from notices.begin(with_status=with_status)
    except TooMany:
        return Reply(NO, "Too many mailboxes to watch", "NOTIFICATIONOVERFLOW")
    context.notices = notices
    return Reply(OK, "NOTIFY completed")


def supported(context: Context) -> dict[str, str]:
    """The events that can be asked for, by their names in upper case."""
    return {**MESSAGES, **NAMES, **(METADATA if context.offers("METADATA") else {})}


def parse_groups(context: Context, arguments: Sequence[Argument]) -> list[Group]:
    """Event groups. Raises PeerError, _Unsupported."""
    if not arguments or len(arguments) > MAX_GROUPS:
        raise PeerError("Invalid arguments")
    groups = [_group(context, each) for each in arguments]
    if sum(group.chosen in SELECTED for group in groups) > 1:
        raise PeerError("Duplicate selected filter")
    return groups


def _group(context: Context, argument: Argument) -> Group:
    """(filter [mailboxes] events), events being NONE or a list of names."""
    if not isinstance(argument, list) or len(argument) < 2 or not isinstance(argument[0], Atom):
        raise PeerError("Invalid arguments")
    chosen = argument[0].decode("ascii").upper()
    names: tuple[str, ...] = ()
    rest = argument[1:]
    if chosen in ("SUBTREE", "MAILBOXES"):
        given = rest.pop(0)
        names = tuple(context.mailbox(each) for each in (given if isinstance(given, list) else [given]))
        if not names:
            raise PeerError("Invalid arguments")
    if chosen not in FILTERS or len(rest) != 1:
        raise PeerError("Invalid arguments")
    if isinstance(rest[0], Atom) and rest[0].upper() == b"NONE":
        return Group(chosen, names)
    if not isinstance(rest[0], list) or not rest[0]:
        raise PeerError("Invalid arguments")
    events, items = _events(context, rest[0])
    if chosen in SELECTED and events - set(MESSAGES):
        raise PeerError("Only message events may be asked of the selected mailbox")
    if items and chosen not in SELECTED:
        raise PeerError("Invalid arguments")
    return Group(chosen, names, frozenset(events), tuple(items))


def _events(context: Context, words: Iterable[Argument]) -> tuple[set[str], list[Item]]:
    events: set[str] = set()
    items: list[Item] = []
    known, unknown, previous = supported(context), False, ""
    for each in words:
        if isinstance(each, list) and previous == "MESSAGENEW":
            items = without_seen(parse_fetch([each], context.params.offered).items)
            previous = ""
            continue
        if not isinstance(each, Atom):
            raise PeerError("Invalid arguments")
        previous = each.decode("ascii").upper()
        unknown = unknown or previous not in known
        events.add(previous)
    if ("MESSAGENEW" in events) != ("MESSAGEEXPUNGE" in events):
        raise PeerError("MessageNew and MessageExpunge must be together")
    if events & {"FLAGCHANGE", "ANNOTATIONCHANGE"} and "MESSAGENEW" not in events and not unknown:
        raise PeerError("FlagChange requires MessageNew and MessageExpunge")
    if unknown:
        raise _Unsupported
    return events, items


def without_seen(items: Iterable[Item]) -> list[Item]:
    """Items for messages that nobody asked for just now: looking at them is not reading them."""
    return [Item(item.label, item.what, item.section, item.partial) for item in items]
