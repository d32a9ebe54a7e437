"""UNAUTHENTICATE (RFC 8437): the connection goes back to a login process, as if nobody had logged in.

The worker of a user only gives it away: it says OK, leaves the mailbox, and hands the client's descriptor to its parent
with the octets that came behind the command. access/way_back.py has the way.
"""

from mailsuite.imap.commands.context import Context, Run
from mailsuite.imap.reply import NO, OK, Reply
from mailsuite.imap.session import Command


def do_unauthenticate(context: Context, command: Command) -> Run:
    """RFC 8437 section 3."""
    yield from ()
    if context.compress:
        # The octets behind the command are half a compressed stream's.
        return Reply(NO, "UNAUTHENTICATE is not possible once COMPRESS is active", "CANNOT")
    context.leave()
    context.notices = None
    context.given_back = True
    return Reply(OK, "Unauthenticate completed")
