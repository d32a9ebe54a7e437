"""CAPABILITY, NOOP, CHECK, ID, NAMESPACE, LOGOUT, and optional commands that are refused in Dovecot's words."""

from mailsuite.base.errors import PeerError
from mailsuite.imap.commands.context import Context, Run, at_least
from mailsuite.imap.reply import NO, OK, Reply, string
from mailsuite.imap.session import Command
from mailsuite.imap.syntax import String


def do_capability(context: Context, command: Command) -> Run:
    """RFC 3501 section 6.1.1."""
    yield b"* CAPABILITY %b\r\n" % context.params.capability.encode()
    return Reply(OK, "Capability completed")


def do_noop(context: Context, command: Command) -> Run:
    """RFC 3501 section 6.1.2: the client's way to ask what is new."""
    if context.notices is not None:
        yield from context.notices.news()
    yield from context.sync()
    return Reply(OK, "NOOP completed", context.modseq_code())


def do_check(context: Context, command: Command) -> Run:
    """RFC 3501 section 6.4.1."""
    context.opened().mailbox.checkpoint()
    yield from context.sync()
    return Reply(OK, "Check completed", context.modseq_code())


def do_logout(context: Context, command: Command) -> Run:
    """RFC 3501 section 6.1.3."""
    yield b"* BYE Logging out\r\n"
    context.leave()
    return Reply(OK, "Logout completed", close=True)


def do_id(context: Context, command: Command) -> Run:
    """RFC 2971; whatever the client says of itself."""
    words = context.params.id_send.split()
    pairs = [(name, "Mailsuite" if value == "*" and name == "name" else value)
             for name, value in zip(words[::2], words[1::2], strict=False)]
    inside = b" ".join(string(name.encode()) + b" " + string(value.encode()) for name, value in pairs)
    yield b"* ID (%b)\r\n" % inside if pairs else b"* ID NIL\r\n"
    return Reply(OK, "ID completed")


def do_namespace(context: Context, command: Command) -> Run:
    """RFC 2342: one's own, other users', shared."""
    found: dict[str, list[bytes]] = {"private": [], "shared": [], "public": []}
    for one in context.store.namespaces():
        found[one.kind].append(b"(%b %b)" % (string(one.prefix.encode()), string(one.separator.encode())))
    groups = [b"(%b)" % b"".join(each) if each else b"NIL" for each in found.values()]
    yield b"* NAMESPACE %b\r\n" % b" ".join(groups)
    return Reply(OK, "Namespace completed")


def do_cancel_update(context: Context, command: Command) -> Run:
    """RFC 5267 section 4.3.1."""
    yield from ()
    tags = [tag for tag in command.arguments if isinstance(tag, String)]
    if not tags or len(tags) < len(command.arguments):
        raise PeerError("Invalid parameters")
    updates = context.selected.updates if context.selected is not None else []
    for tag in tags:
        if all(update.tag != tag for update in updates):
            return Reply(NO, "Unknown tag")
        updates[:] = [update for update in updates if update.tag != tag]
    return Reply(OK, "Updates cancelled")


def do_cancel(context: Context, command: Command) -> Run:
    """X-CANCEL: a command is over before the next is read."""
    yield from ()
    at_least(command.arguments, 1)
    return Reply(NO, "Command tag not found")
