"""ENABLE (RFC 5161): what changes how the server speaks, and so is asked for.

CONDSTORE and QRESYNC (RFC 7162), IMAP4rev2 (RFC 9051), UTF8=ACCEPT (RFC 6855), UIDONLY (RFC 9586).
"""

from collections.abc import Mapping

from mailsuite.base.errors import PeerError
from mailsuite.imap.commands.context import REV2, UIDONLY, UTF8, Context, Run
from mailsuite.imap.reply import BAD, OK, Reply
from mailsuite.imap.session import Command
from mailsuite.imap.syntax import Atom

# In upper case -> as it is told back.
ENABLEABLE: Mapping[str, str] = {"CONDSTORE": "CONDSTORE", "QRESYNC": "QRESYNC", REV2: "IMAP4rev2", UTF8: UTF8,
                                 UIDONLY: UIDONLY}
_BEFORE_SELECT = frozenset((REV2, UTF8, UIDONLY))       # they change what a selected mailbox looks like


def do_enable(context: Context, command: Command) -> Run:
    """RFC 5161: what is not known is left out of the answer."""
    names: list[str] = []
    for argument in command.arguments:
        if not isinstance(argument, Atom):
            raise PeerError("Invalid arguments")
        name = argument.decode("ascii").upper()
        if name in ENABLEABLE and context.offers(ENABLEABLE[name]) and name not in names:
            names.append(name)
    if context.selected is not None and not _BEFORE_SELECT.isdisjoint(names):
        return Reply(BAD, "ENABLE must come before a mailbox is selected")
    before = "CONDSTORE" in context.enabled
    for name in names:
        if name in ("CONDSTORE", "QRESYNC"):
            yield from context.use_modseqs()
        context.enabled.add(name)
        if name == "QRESYNC" and context.selected is not None:
            context.selected.vanished = True
            # Told with the next reply, unless MODSEQs were told before: as Dovecot.
            context.selected.known_modseq = context.selected.view.modseq if before else 0
    if names or context.offers("IMAP4rev2"):        # RFC 9051 section 6.3.1; Dovecot 2.3 says nothing of nothing
        yield b"* ENABLED%b\r\n" % "".join(" " + ENABLEABLE[name] for name in names).encode()
    return Reply(OK, "Enabled")
