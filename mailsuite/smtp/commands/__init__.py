"""The commands of the SMTP server: one family a file, all in one table."""

from collections.abc import Callable, Mapping
from enum import Flag, auto
from typing import TYPE_CHECKING, NamedTuple

from mailsuite.smtp.commands.auth import do_auth
from mailsuite.smtp.commands.burl import do_burl
from mailsuite.smtp.commands.chunking import do_bdat
from mailsuite.smtp.commands.data import do_data
from mailsuite.smtp.commands.greeting import do_ehlo, do_helo, do_quit, do_starttls
from mailsuite.smtp.commands.mail import do_mail, do_rcpt, do_rset
from mailsuite.smtp.commands.other import do_etrn, do_noop, do_vrfy
from mailsuite.smtp.commands.proxy import do_xclient, do_xforward
from mailsuite.smtp.outcome import Outcome, refused
from mailsuite.smtp.syntax import Word

if TYPE_CHECKING:
    from mailsuite.smtp.session import ServerSession


class Rule(Flag):
    NONE = 0
    BEFORE_TLS = auto()    # allowed while TLS is required and not yet on
    LAST = auto()          # nothing may be sent behind it before its reply is there: RFC 2920 section 3.1
    JUNK = auto()          # counted against smtpd_junk_command_limit
    OBSERVED = auto()      # observers are told, as the command has no question of its own
    QUIT = auto()          # answered also to a client that was refused at connect time


class Entry(NamedTuple):
    name: str              # as in "disconnect from ..."
    run: "Callable[[ServerSession, list[Word]], Outcome]"
    rules: Rule = Rule.NONE


def _unknown(session: "ServerSession", words: list[Word]) -> Outcome:
    return refused("500 5.5.2 Error: command not recognized")


UNKNOWN = Entry("unknown", _unknown)
BURL = Entry("burl", do_burl)          # a command only where smtpd_burl_path is set

COMMANDS: Mapping[str, Entry] = {
    "HELO": Entry("helo", do_helo, Rule.BEFORE_TLS | Rule.LAST | Rule.JUNK),
    "EHLO": Entry("ehlo", do_ehlo, Rule.BEFORE_TLS | Rule.LAST | Rule.JUNK),
    "XCLIENT": Entry("xclient", do_xclient, Rule.BEFORE_TLS),
    "XFORWARD": Entry("xforward", do_xforward, Rule.BEFORE_TLS),
    "STARTTLS": Entry("starttls", do_starttls, Rule.BEFORE_TLS | Rule.OBSERVED),
    "AUTH": Entry("auth", do_auth, Rule.OBSERVED),
    "MAIL": Entry("mail", do_mail),
    "RCPT": Entry("rcpt", do_rcpt),
    "DATA": Entry("data", do_data, Rule.LAST),
    "BDAT": Entry("bdat", do_bdat),
    "BURL": BURL,
    "RSET": Entry("rset", do_rset, Rule.JUNK | Rule.OBSERVED),
    "NOOP": Entry("noop", do_noop, Rule.BEFORE_TLS | Rule.LAST | Rule.JUNK | Rule.OBSERVED),
    "VRFY": Entry("vrfy", do_vrfy, Rule.LAST | Rule.JUNK | Rule.OBSERVED),
    "ETRN": Entry("etrn", do_etrn, Rule.JUNK | Rule.OBSERVED),
    "QUIT": Entry("quit", do_quit, Rule.BEFORE_TLS | Rule.QUIT | Rule.OBSERVED),
}

JUNK = frozenset(entry.name for entry in COMMANDS.values() if Rule.JUNK in entry.rules)
# The order of the counts in "disconnect from ...".
COUNTED = (*(entry.name for entry in COMMANDS.values()), UNKNOWN.name)
