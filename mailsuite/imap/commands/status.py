"""STATUS: what is known of a mailbox without selecting it; LIST ... RETURN (STATUS) tells the same.

    items = status_items(context, argument)           each once, in Dovecot's order
    status_line(context, "INBOX", items) -> b"* STATUS INBOX (MESSAGES 3)\\r\\n"

Source: RFC 3501 section 6.3.10, RFC 7162 (HIGHESTMODSEQ), RFC 8438 (SIZE), RFC 9051 (DELETED), RFC 8474 (MAILBOXID),
RFC 7889 (APPENDLIMIT), RFC 9208 (DELETED-STORAGE).
"""

from collections.abc import Mapping

from mailsuite.base.errors import PeerError
from mailsuite.imap.commands.context import Context, Run, at_least
from mailsuite.imap.objectid import mailbox_id
from mailsuite.imap.reply import OK, Reply
from mailsuite.imap.session import Command
from mailsuite.imap.syntax import Argument, Atom

STATUS_ITEMS = ("MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "HIGHESTMODSEQ", "SIZE", "X-SIZE", "X-GUID",
                "DELETED", "DELETED-STORAGE", "MAILBOXID", "APPENDLIMIT")
# Items of extensions that Dovecot 2.3 does not have.
_OFFERED_WITH: Mapping[str, tuple[str, ...]] = {
    "DELETED": ("IMAP4rev2",), "DELETED-STORAGE": ("IMAP4rev2", "QUOTA"), "MAILBOXID": ("OBJECTID",),
    "APPENDLIMIT": ("APPENDLIMIT",)}


def status_items(context: Context, argument: Argument) -> list[str]:
    """Items of a STATUS list. Raises PeerError."""
    if not isinstance(argument, list):
        raise PeerError("Invalid arguments")
    if not argument:
        raise PeerError("Empty status list")
    wanted = set()
    for item in argument:
        if not isinstance(item, Atom):
            raise PeerError("Status list contains non-atoms")
        name = item.decode("ascii").upper()
        if name not in STATUS_ITEMS or not all(map(context.offers, _OFFERED_WITH.get(name, ()))):
            raise PeerError(f"Invalid status item {name}")
        wanted.add(name)
    return [name for name in STATUS_ITEMS if name in wanted]


def status_line(context: Context, name: str, items: list[str]) -> bytes:
    """One STATUS reply. Raises MailError."""
    mailbox = context.open(name)
    status = mailbox.status(size="SIZE" in items or "X-SIZE" in items, deleted="DELETED-STORAGE" in items)
    messages, recent, unseen, uid_next = status.messages, status.recent, status.unseen, status.uid_next
    deleted = status.deleted
    if context.selected is not None and context.selected.mailbox is mailbox:    # as far as the client has been told
        view, uid_next = context.selected.view, context.selected.uid_next
        messages, recent = len(view.uids), len(view.recent)
        unseen = messages - mailbox.count_with(view.uids, "\\Seen")
        deleted = mailbox.count_with(view.uids, "\\Deleted") if "DELETED" in items else 0
    limit = context.append_limit()
    values: dict[str, int | str] = {
        "MESSAGES": messages, "RECENT": 0 if context.rev2 else recent, "UIDNEXT": uid_next,
        "UIDVALIDITY": status.uid_validity, "UNSEEN": unseen,
        "HIGHESTMODSEQ": status.highest_modseq if mailbox.keeps_modseqs else 0,
        "SIZE": status.size or 0, "X-SIZE": status.size or 0, "X-GUID": status.guid,
        "DELETED": deleted, "DELETED-STORAGE": (status.deleted_octets + 1023) // 1024,
        "MAILBOXID": f"({mailbox_id(status.guid)})", "APPENDLIMIT": "NIL" if limit is None else limit}
    text = " ".join(f"{item} {values[item]}" for item in items)
    return b"* STATUS %b (%b)\r\n" % (context.shown(name), text.encode())


def do_status(context: Context, command: Command) -> Run:
    """RFC 3501 section 6.3.10."""
    at_least(command.arguments, 2)
    name, items = context.mailbox(command.arguments[0]), status_items(context, command.arguments[1])
    if "HIGHESTMODSEQ" in items:
        yield from context.use_modseqs()
    yield status_line(context, name, items)
    if context.selected is not None and same_mailbox(context.selected.name, name):
        return Reply(OK, "Status on selected mailbox completed", "CLIENTBUG")
    return Reply(OK, "Status completed")


def same_mailbox(one: str, other: str) -> bool:
    return one == other or one.upper() == other.upper() == "INBOX"
