"""CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE."""

from mailsuite.base.errors import PeerError
from mailsuite.imap.commands.context import Context, Run, at_least
from mailsuite.imap.commands.listing import told_mailbox
from mailsuite.imap.commands.names import readable
from mailsuite.imap.commands.status import same_mailbox
from mailsuite.imap.objectid import mailbox_id
from mailsuite.imap.reply import OK, Refusal, Reply
from mailsuite.imap.session import Command
from mailsuite.imap.syntax import Argument, Atom, text_of
from mailsuite.store.api import InvalidName, MailError, NoPermission, NoSuchMailbox, NotPossible

# Uses that a mailbox can be given (RFC 6154, RFC 8457); \All and \Flagged are views, which nobody can make.
USES = ("\\Archive", "\\Drafts", "\\Important", "\\Junk", "\\Sent", "\\Trash")


def do_create(context: Context, command: Command) -> Run:
    """RFC 3501 section 6.3.3, RFC 6154 section 3 (USE), RFC 8474 section 4.1 (MAILBOXID)."""
    at_least(command.arguments, 1)
    name = context.mailbox(command.arguments[0], new=True)
    uses: tuple[str, ...] = ()
    if context.offers("CREATE-SPECIAL-USE") and len(command.arguments) > 1:
        uses = _uses(context, command.arguments[1])
    context.store.create(name, uses)
    plain = name.removesuffix(context.store.separator)
    context.names_changed(plain)
    if context.rev2 and readable(plain) != text_of(command.arguments[0]).removesuffix(context.store.separator):
        yield told_mailbox(context, plain, command.arguments[0])
    code = ""
    if context.offers("OBJECTID") and (guid := _guid(context, plain)):
        code = f"MAILBOXID ({mailbox_id(guid)})"
    return Reply(OK, "Create completed", code)


def _guid(context: Context, name: str) -> str:
    """"" for a name that is only to be a parent."""
    return context.open(name).status().guid if context.store.exists(name) else ""


def _uses(context: Context, argument: Argument) -> tuple[str, ...]:
    """(USE (\\Archive)). Raises PeerError, Refusal [USEATTR]."""
    match argument:
        case [Atom() as word, [*names]] if word.upper() == b"USE" and all(isinstance(each, Atom) for each in names):
            pass
        case _:
            raise PeerError("Invalid arguments")
    known = {use.upper(): use for use in USES}
    wanted = [text_of(each) for each in names]
    for each in wanted:
        if each.upper() not in known:
            raise Refusal(f"Special use {each} can't be given to a mailbox", "USEATTR")
    chosen = tuple(dict.fromkeys(known[each.upper()] for each in wanted))
    taken = {use for info in context.store.list_mailboxes() for use in info.special_use}
    if other := taken.intersection(chosen):
        raise Refusal(f"Another mailbox has the special use {min(other)}", "USEATTR")
    return chosen


def do_delete(context: Context, command: Command) -> Run:
    """RFC 3501 section 6.3.4."""
    at_least(command.arguments, 1)
    name = context.mailbox(command.arguments[0])
    selected = context.selected
    if selected is not None and same_mailbox(selected.name, name) and not same_mailbox(name, "INBOX"):
        context.leave()             # INBOX cannot be deleted, and stays selected
    try:
        context.store.delete(name)
    except NoSuchMailbox as error:
        raise Refusal(error.public, "NONEXISTENT") from error
    context.names_changed(name)
    if context.rev2 and readable(name) != text_of(command.arguments[0]):
        yield told_mailbox(context, name, command.arguments[0], gone=True)
    return Reply(OK, "Delete completed")


def do_rename(context: Context, command: Command) -> Run:
    """RFC 3501 section 6.3.5."""
    at_least(command.arguments, 2)
    new = context.mailbox(command.arguments[1], new=True)
    old = context.mailbox(command.arguments[0])
    try:
        context.store.rename(old, new)
    except NoSuchMailbox as error:
        raise Refusal(error.public, "NONEXISTENT") from error
    except NotPossible:
        if old.upper() != "INBOX" or not context.offers("IMAP4rev2"):
            raise
        _rename_inbox(context, new)
        yield from context.sync(own=True)
    context.names_changed(old, new)
    if context.rev2 and readable(new) != text_of(command.arguments[1]):
        yield told_mailbox(context, new, command.arguments[0])
    return Reply(OK, "Rename completed")


def _rename_inbox(context: Context, new: str) -> None:
    """INBOX stays, and what is below it too: its messages go to a new mailbox (RFC 9051 section 6.3.6)."""
    inbox = context.open("INBOX")
    if not (inbox.may("t") and inbox.may("e")):
        raise NoPermission("INBOX")
    context.store.create(new)
    view = inbox.open_view(read_only=True, claim_recent=False)
    try:
        inbox.copy(list(view.uids), context.open(new, right="i"), move=True)
    except MailError:
        context.store.delete(new)
        raise
    finally:
        view.close()


def do_subscribe(context: Context, command: Command) -> Run:
    """RFC 3501 sections 6.3.6 and 6.3.7."""
    at_least(command.arguments, 1)
    on, name = command.name == "SUBSCRIBE", context.mailbox(command.arguments[0])
    try:
        if on and name.endswith(context.store.separator):
            raise NoSuchMailbox(name)
        context.store.subscribe(name, on)
    except InvalidName as error:
        if on:
            raise NoSuchMailbox(name) from error
        raise
    context.names_changed(name)
    yield from ()
    return Reply(OK, "Subscribe completed" if on else "Unsubscribe completed")
