"""The commands of POP3 after login, and the table that finds them.

    run(context, command) -> Run        a generator: blocks of the reply, then a Done; raises nothing
    waits(context, command) -> bool     False: it needs nothing but memory, no thread is worth it

A command runs in a thread, one block at a time; the server writes a block and waits until the client has read it.
Source: RFC 1939 sections 5 to 7, RFC 2449, RFC 6856.
"""

from collections.abc import Callable, Mapping

from mailsuite.base.errors import MailError, PeerError
from mailsuite.base.log import access_logger
from mailsuite.pop3.commands.context import Context, Run, position_of
from mailsuite.pop3.commands.errors import refusal
from mailsuite.pop3.commands.retrieve import CutShort, do_retr, do_top
from mailsuite.pop3.reply import END, INTERNAL, error, listing, ok
from mailsuite.pop3.session import Command, Done
from mailsuite.pop3.syntax import lang_reply
from mailsuite.pop3.uidl import NotAvailable

__all__ = ["COMMANDS", "Context", "Run", "run", "waits"]

CAPABILITIES = ("CAPA", "TOP", "UIDL", "RESP-CODES", "PIPELINING", "AUTH-RESP-CODE")
log = access_logger("pop3")


def do_capa(context: Context, arguments: str) -> Run:
    yield from ()
    more = ("UTF8", "LANG") if context.params.utf8_extensions else ()
    return Done(ok() + listing([name.encode() + b"\r\n" for name in (*CAPABILITIES, *more)]))


def do_lang(context: Context, arguments: str) -> Run:
    yield from ()
    lines = lang_reply(arguments)
    return Done("".join(f"{line}\r\n" for line in lines).encode(), bad=lines[0].startswith("-"))


def do_utf8(context: Context, arguments: str) -> Run:
    yield from ()
    return Done(error("UTF8 comes before the login."), bad=True)


def do_noop(context: Context, arguments: str) -> Run:
    yield from ()
    return Done(ok())


def do_stat(context: Context, arguments: str) -> Run:
    count, size = context.maildrop.left_size()
    yield from ()
    return Done(ok(f"{count} {size}"))


def do_list(context: Context, arguments: str) -> Run:
    yield from ()
    maildrop = context.maildrop
    if arguments:
        position = position_of(context, arguments)
        return Done(ok(f"{position + 1} {maildrop.sizes[position]}"))
    return Done(b"".join((ok(f"{maildrop.count - len(maildrop.deleted)} messages:"), maildrop.listing(), END)))


def do_uidl(context: Context, arguments: str) -> Run:
    if arguments:
        position = position_of(context, arguments)
        context.maildrop.uidls_told = True
        return Done(b"+OK %d %b\r\n" % (position + 1, context.maildrop.uidls[position]))
    yield ok()
    return Done(context.maildrop.uidl_listing() + END)


def do_dele(context: Context, arguments: str) -> Run:
    position = position_of(context, arguments)
    context.maildrop.deleted.add(position)
    yield from ()
    return Done(ok("Marked to be deleted."))


def do_rset(context: Context, arguments: str) -> Run:
    context.maildrop.reset()
    yield from ()
    return Done(ok())


def do_last(context: Context, arguments: str) -> Run:
    """RFC 1460: the highest number that was ever retrieved; only where pop3_enable_last says so."""
    yield from ()
    return Done(ok(str(context.maildrop.last)))


def do_quit(context: Context, arguments: str) -> Run:
    """The one place where messages are removed."""
    maildrop = context.maildrop
    yield from ()
    try:
        maildrop.update()
    except MailError as problem:
        log.error("QUIT: %s", problem.detail or problem.public, extra=context.extra)
        return Done(refusal(problem), close=True)
    context.updated = True
    context.counts.deleted = len(maildrop.deleted)
    if maildrop.deleted:
        context.counts.deleted_octets = sum(maildrop.sizes[position] for position in maildrop.deleted)
    return Done(ok("Logging out, messages deleted." if maildrop.deleted else "Logging out."), close=True)


COMMANDS: Mapping[str, Callable[[Context, str], Run]] = {
    "CAPA": do_capa, "DELE": do_dele, "LANG": do_lang, "LAST": do_last, "LIST": do_list, "NOOP": do_noop,
    "QUIT": do_quit, "RETR": do_retr, "RSET": do_rset, "STAT": do_stat, "TOP": do_top, "UIDL": do_uidl, "UTF8": do_utf8}

# They neither look at files nor at all messages.
INSTANT = frozenset({"CAPA", "DELE", "LANG", "LAST", "NOOP", "RSET", "UTF8"})


def waits(context: Context, command: Command) -> bool:
    """Whether a command may look at files, or has much to say."""
    maildrop = context.maildrop
    match command.name:
        case "RETR" | "TOP":
            number = command.arguments.partition(" ")[0][:10]
            return not (number.isdecimal() and maildrop.in_hand(int(number) - 1))
        case "STAT":
            return not maildrop.sizes_known
        case "LIST":
            return not (maildrop.sizes_known if command.arguments else maildrop.listing_known)
        case "UIDL":
            return not command.arguments or "uidls" not in maildrop.__dict__
        case "QUIT":
            return maildrop.has_news
        case name:
            return name in COMMANDS and name not in INSTANT


def run(context: Context, command: Command) -> Run:
    """Run a command; whatever goes wrong becomes its reply."""
    found, params = COMMANDS.get(command.name), context.params
    asked_for = {"LAST": params.enable_last, "LANG": params.utf8_extensions, "UTF8": params.utf8_extensions}
    if found is None or not asked_for.get(command.name, True):
        return Done(error(f"Unknown command: {command.name}" if command.name else "Unknown command."), bad=True)
    try:
        return (yield from found(context, command.arguments))
    except PeerError as problem:
        return Done(error(problem.public), bad=True)
    except NotAvailable as problem:      # the +OK of the listing may be under way
        log.error("UIDL: %s", problem, extra=context.extra)
        return Done(b"", close=True, reason="POP3 UIDLs couldn't be listed")
    except CutShort as problem:
        log.error("%s: %s", command.name, problem, extra=context.extra)
        return Done(b"", close=True, reason="A message couldn't be read to its end")
    except MailError as problem:
        log.error("%s: %s", command.name, problem.detail or problem.public, extra=context.extra)
        return Done(refusal(problem))
    except Exception:
        log.exception("unforeseen in %s", command.name, extra=context.extra)
        return Done(INTERNAL)
