"""COMPRESS (RFC 4978); the octets are net/deflate.py's."""

from mailsuite.imap.commands.context import Context, Run, astring, at_least
from mailsuite.imap.reply import NO, OK, Reply
from mailsuite.imap.session import Command


def do_compress(context: Context, command: Command) -> Run:
    """RFC 4978 section 3."""
    yield from ()
    at_least(command.arguments, 1)
    mechanism = astring(command.arguments[0]).upper()
    if context.compress:
        return Reply(NO, "COMPRESSION=DEFLATE already enabled", "COMPRESSIONACTIVE")
    if mechanism != "DEFLATE":
        return Reply(NO, "Unknown compression mechanism")
    context.compress = True
    return Reply(OK, "Begin compression")
