"""GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208).

A root's limits are shown as its default rule has them, whatever a single mailbox may hold, as Dovecot does; the
administrator sets them in the configuration, nobody here.
"""

from mailsuite.base.errors import PeerError
from mailsuite.imap.commands.context import Context, Run, astring, at_least
from mailsuite.imap.reply import NO, OK, Refusal, Reply, string
from mailsuite.imap.session import Command
from mailsuite.store.quota import RootState


def do_getquotaroot(context: Context, command: Command) -> Run:
    """RFC 9208 section 4.1.2."""
    at_least(command.arguments, 1)
    name = context.mailbox(command.arguments[0])
    quota = context.store.quota_of(name)
    roots = [root for root in quota.state(name) if not root.hidden] if quota is not None else []
    if not any(map(_limited, roots)):
        return Reply(OK, "No quota")
    yield b"* QUOTAROOT %b\r\n" % b" ".join([context.shown(name), *[_text(root.name) for root in roots]])
    for root in roots:
        yield _line(root)
    return Reply(OK, "Getquotaroot completed")


def do_getquota(context: Context, command: Command) -> Run:
    """RFC 9208 section 4.1.1."""
    quota = context.store.quota
    at_least(command.arguments, 1)
    name = astring(command.arguments[0])
    root = next((root for root in quota.state() if root.name == name), None) if quota is not None else None
    if root is None:
        raise Refusal("Quota root doesn't exist")
    if _limited(root):
        yield _line(root)
    return Reply(OK, "Getquota completed")


def do_setquota(context: Context, command: Command) -> Run:
    """RFC 9208 section 4.1.3."""
    at_least(command.arguments, 2)
    astring(command.arguments[0])
    if not isinstance(command.arguments[1], list):
        raise PeerError("Invalid arguments")
    yield from ()
    return Reply(NO, "Quota can be changed only by admin")


def _text(text: str) -> bytes:
    """An atom where that is possible, as Dovecot writes roots."""
    octets = text.encode("utf-8", "surrogateescape")
    return octets if text and text.isascii() and text.isalnum() else string(octets)


def _limited(root: RootState) -> bool:
    return any(resource.limit is not None for resource in root.resources)


def _line(root: RootState) -> bytes:
    items = [b"%b %d %d" % (resource.name.encode(), resource.used, resource.limit)
             for resource in root.resources if resource.limit is not None]
    return b"* QUOTA %b (%b)\r\n" % (_text(root.name), b" ".join(items))
