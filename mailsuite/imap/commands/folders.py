"""CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE, STATUS."""

from mailsuite.base.errors import PeerError
from mailsuite.imap.commands.context import Context, Run, astring, at_least
from mailsuite.imap.reply import OK, Refusal, Reply, mailbox_name
from mailsuite.imap.session import Command
from mailsuite.imap.syntax import Argument, Atom
from mailsuite.store.api import InvalidName, NoSuchMailbox

STATUS_ITEMS = ("MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "HIGHESTMODSEQ", "SIZE", "X-SIZE", "X-GUID")


def do_create(context: Context, command: Command) -> Run:
    """RFC 3501 section 6.3.3. (USE (...)) of RFC 6154 is accepted; special uses are configured."""
    at_least(command.arguments, 1)
    context.store.create(astring(command.arguments[0]))
    yield from ()
    return Reply(OK, "Create completed")


def do_delete(context: Context, command: Command) -> Run:
    """RFC 3501 section 6.3.4."""
    at_least(command.arguments, 1)
    name = astring(command.arguments[0])
    selected = context.selected
    if selected is not None and _same(selected.name, name):
        context.leave()
    try:
        context.store.delete(name)
    except NoSuchMailbox as error:
        raise Refusal(error.public, "NONEXISTENT") from error
    yield from ()
    return Reply(OK, "Delete completed")


def do_rename(context: Context, command: Command) -> Run:
    """RFC 3501 section 6.3.5."""
    at_least(command.arguments, 2)
    try:
        context.store.rename(astring(command.arguments[0]), astring(command.arguments[1]))
    except NoSuchMailbox as error:
        raise Refusal(error.public, "NONEXISTENT") from error
    yield from ()
    return Reply(OK, "Rename completed")


def do_subscribe(context: Context, command: Command) -> Run:
    """RFC 3501 sections 6.3.6 and 6.3.7."""
    at_least(command.arguments, 1)
    on, name = command.name == "SUBSCRIBE", astring(command.arguments[0])
    try:
        if on and name.endswith(context.store.separator):
            raise NoSuchMailbox(name)
        context.store.subscribe(name, on)
    except InvalidName as error:
        if on:
            raise NoSuchMailbox(name) from error
        raise
    yield from ()
    return Reply(OK, "Subscribe completed" if on else "Unsubscribe completed")


def _same(one: str, other: str) -> bool:
    return one == other or one.upper() == other.upper() == "INBOX"


def status_items(argument: Argument) -> list[str]:
    """Items of a STATUS list, each once, in Dovecot's order. Raises PeerError."""
    if not isinstance(argument, list):
        raise PeerError("Invalid arguments")
    if not argument:
        raise PeerError("Empty status list")
    wanted = set()
    for item in argument:
        if not isinstance(item, Atom):
            raise PeerError("Status list contains non-atoms")
        name = item.decode("ascii").upper()
        if name not in STATUS_ITEMS:
            raise PeerError(f"Invalid status item {name}")
        wanted.add(name)
    return [name for name in STATUS_ITEMS if name in wanted]


def status_line(context: Context, name: str, items: list[str]) -> bytes:
    """One STATUS reply. Raises MailError."""
    mailbox = context.open(name)
    status = mailbox.status(size="SIZE" in items or "X-SIZE" in items)
    messages, recent, unseen, uid_next = status.messages, status.recent, status.unseen, status.uid_next
    if context.selected is not None and context.selected.mailbox is mailbox:    # as far as the client has been told
        view, uid_next = context.selected.view, context.selected.uid_next
        messages, recent = len(view.uids), len(view.recent)
        unseen = messages - len(mailbox.with_flag(view.uids, "\\Seen"))
    values: dict[str, int | str] = {
        "MESSAGES": messages, "RECENT": recent, "UIDNEXT": uid_next,
        "UIDVALIDITY": status.uid_validity, "UNSEEN": unseen, "HIGHESTMODSEQ": status.highest_modseq,
        "SIZE": status.size or 0, "X-SIZE": status.size or 0, "X-GUID": status.guid}
    text = " ".join(f"{item} {values[item]}" for item in items)
    return b"* STATUS %b (%b)\r\n" % (mailbox_name(name), text.encode())


def do_status(context: Context, command: Command) -> Run:
    """RFC 3501 section 6.3.10, RFC 7162 (HIGHESTMODSEQ), RFC 8438 (SIZE)."""
    at_least(command.arguments, 2)
    name, items = astring(command.arguments[0]), status_items(command.arguments[1])
    if "HIGHESTMODSEQ" in items:
        yield from context.use_modseqs()
    yield status_line(context, name, items)
    if context.selected is not None and _same(context.selected.name, name):
        return Reply(OK, "Status on selected mailbox completed", "CLIENTBUG")
    return Reply(OK, "Status completed")
