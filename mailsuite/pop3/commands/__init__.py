"""The commands of POP3 after login, and the table that finds them.

    run(context, command) -> Run        a generator: blocks of the reply, then a Done; raises nothing

A command runs in a thread, one block at a time; the server writes a block and waits until the client has read it.
Source: RFC 1939 sections 5 to 7, RFC 2449, RFC 6856.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field

from mailsuite.base.errors import MailError, PeerError
from mailsuite.base.log import access_logger
from mailsuite.message.surrogate import ascii_header
from mailsuite.pop3.commands.errors import refusal
from mailsuite.pop3.counts import Counts
from mailsuite.pop3.maildrop import Maildrop
from mailsuite.pop3.params import Params
from mailsuite.pop3.reply import END, INTERNAL, error, expunged, listing, ok, stuffed
from mailsuite.pop3.session import Command, Done
from mailsuite.pop3.syntax import lang_reply, message_number, number_and_lines
from mailsuite.pop3.uidl import NotAvailable
from mailsuite.store.api import Message, MessageGone

Run = Generator[bytes, None, Done]
CAPABILITIES = ("CAPA", "TOP", "UIDL", "RESP-CODES", "PIPELINING", "AUTH-RESP-CODE")
BLOCK = 64 * 1024
log = access_logger("pop3")


@dataclass
class Context:
    """One session's world."""

    maildrop: Maildrop
    params: Params = field(default_factory=Params)
    extra: Mapping[str, object] = field(default_factory=dict)       # of its log lines
    utf8: bool = False                                              # the client said UTF8
    updated: bool = False                                           # QUIT has carried out what was marked
    counts: Counts = field(default_factory=Counts)


def _position(context: Context, arguments: str) -> int:
    """The position of a message that is there. Raises PeerError."""
    return _not_deleted(context, message_number(arguments, context.maildrop.count))


def _not_deleted(context: Context, number: int) -> int:
    if number - 1 in context.maildrop.deleted:
        raise PeerError("Message is deleted.")
    return number - 1


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
    sizes = context.maildrop.sizes
    if arguments:
        position = _position(context, arguments)
        return Done(ok(f"{position + 1} {sizes[position]}"))
    left = context.maildrop.left
    return Done(ok(f"{len(left)} messages:") + listing([b"%d %d\r\n" % (at + 1, sizes[at]) for at in left]))


def do_uidl(context: Context, arguments: str) -> Run:
    if arguments:
        position = _position(context, arguments)
        return Done(b"+OK %d %b\r\n" % (position + 1, context.maildrop.uidls[position]))
    yield ok()
    uidls = context.maildrop.uidls
    return Done(listing([b"%d %b\r\n" % (at + 1, uidls[at]) for at in context.maildrop.left]))


def do_retr(context: Context, arguments: str) -> Run:
    position = _position(context, arguments)
    counts, maildrop = context.counts, context.maildrop
    maildrop.retrieved(position)
    counts.retr += 1
    message = _message(context, position)
    if message is None:
        return _gone(context, position)
    if not context.params.no_flag_updates:
        maildrop.seen.add(position)
    first = ok(f"{maildrop.sizes[position]} octets")
    counts.retr_octets += yield from _content(context, first, message, message.size)
    return Done(END)


def do_top(context: Context, arguments: str) -> Run:
    number, lines = number_and_lines(arguments, context.maildrop.count)
    position = _not_deleted(context, number)
    context.counts.top += 1
    message = _message(context, position)
    if message is None:
        return _gone(context, position)
    context.counts.top_octets += yield from _content(context, ok(), message, message.top_size(lines))
    return Done(END)


def _message(context: Context, position: int) -> Message | None:
    try:
        return context.maildrop.message(position)
    except MessageGone:
        return None


def _gone(context: Context, position: int) -> Done:
    """Another program expunged it. A client that asks again and again is not served for ever."""
    again, context.maildrop.gone_before = position < context.maildrop.gone_before, position + 1
    return Done(expunged(position + 1), bad=again)


def _content(context: Context, first: bytes, message: Message, end: int) -> Generator[bytes, None, int]:
    """The reply's first line and the message up to end, in blocks; returns how many octets that were."""
    octets = message.octets if "outlook-no-nuls" in context.params.workarounds else message.crlf
    if context.params.utf8_extensions and not context.utf8 and not message.header.isascii():
        header = ascii_header(octets[:message.header_size])     # RFC 6856 section 2.1
        octets = header + octets[message.header_size:end]
        end = len(octets)
    sent = 0
    pending = first
    for block in stuffed(octets, BLOCK, end):
        if len(pending) + len(block) > BLOCK:
            sent += len(pending)
            yield pending
            pending = block
        else:
            pending += block
    if "oe-ns-eoh" in context.params.workarounds and not message.header_ended:
        pending += b"\r\n"     # some clients wait for ever for the empty line behind a header
    yield pending
    return sent + len(pending)


def do_dele(context: Context, arguments: str) -> Run:
    position = _position(context, arguments)
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
    except MailError as problem:
        log.error("%s: %s", command.name, problem.detail or problem.public, extra=context.extra)
        return Done(refusal(problem))
    except Exception:
        log.exception("unforeseen in %s", command.name, extra=context.extra)
        return Done(INTERNAL)
