"""LIST, LSUB and XLIST: which mailboxes are told, and what is said of each.

What a client asks for, LIST-EXTENDED's options too, is parsed in list_request.py; patterns are list_patterns.py's.
Source: RFC 3501 sections 6.3.8 and 6.3.9, RFC 5258, RFC 9051 section 6.3.9.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

from mailsuite.acl.rights import imap_text
from mailsuite.base.errors import MailError, PeerError
from mailsuite.imap.commands.acl import rights_of
from mailsuite.imap.commands.context import Context, Run
from mailsuite.imap.commands.list_patterns import Matcher, by_readable_name, matcher_of
from mailsuite.imap.commands.list_request import ListRequest, parse_list
from mailsuite.imap.commands.metadata import list_metadata
from mailsuite.imap.commands.names import readable, utf8_astring
from mailsuite.imap.commands.status import status_line
from mailsuite.imap.reply import OK, Reply, string
from mailsuite.imap.session import Command
from mailsuite.imap.syntax import Argument, text_of
from mailsuite.store.api import MailboxInfo

_CHILDINFO = b" (CHILDINFO (%b))"


def do_list(context: Context, command: Command) -> Run:
    """RFC 3501 sections 6.3.8 and 6.3.9."""
    lsub = command.name == "LSUB"
    request = parse_list(context, command.arguments, lsub)
    if request.metadata and not context.offers("LIST-METADATA"):
        raise PeerError("Unknown return options")
    done = Reply(OK, "Lsub completed" if lsub else "List completed")
    if request.patterns == [""] and not isinstance(command.arguments[-1], list):
        if not lsub and not request.extended:
            yield _root(context, request.reference)
        return done
    patterns = [request.reference + pattern for pattern in request.patterns]
    if not context.utf8:
        patterns = [readable(pattern) for pattern in patterns]
    matches = by_readable_name(matcher_of(context, patterns))
    if lsub:
        below = by_readable_name(matcher_of(context, [pattern for pattern in patterns if pattern.endswith("%")]))
        yield b"".join(_lsub_lines(context, request, matches, below))
        return done
    for info, childinfo in _chosen(context, request, matches):
        yield _line(context, info, _flags(info, request), _CHILDINFO % b" ".join(childinfo) if childinfo else b"")
        if request.rights and info.selectable:
            yield _rights_line(context, info)
        if request.status and info.selectable:
            try:
                yield status_line(context, info.name, request.status)
            except MailError as error:      # one unreadable mailbox must not hide the others
                yield b"* NO %b\r\n" % error.public.encode("utf-8", "surrogateescape")
        if request.metadata and info.selectable:
            with suppress(MailError):
                yield list_metadata(context, info.name, request.metadata)
    return done


# --- LIST -----------------------------------------------------------------------------------------------------------

def _chosen(context: Context, request: ListRequest, matches: Matcher) -> Iterable[tuple[MailboxInfo, list[bytes]]]:
    """The mailboxes to tell, and what CHILDINFO says."""
    infos = context.store.list_mailboxes(request.beginnings, request.reference)
    if "SUBSCRIBED" in request.select:
        infos = _with_missing(infos, context.store.subscriptions(request.beginnings))
    recursive = "RECURSIVEMATCH" in request.select
    selecting = request.select & {"SUBSCRIBED", "SPECIAL-USE"}
    # A parent stands for children that are not told themselves (RFC 5258 section 4).
    chosen = [info.name for info in infos if _is_selected(info, selecting) and not matches(info.name)]
    parents = _parents(context, chosen) if recursive else set()
    by_name = {info.name for info in infos}
    for parent in sorted(parents - by_name):
        infos.append(MailboxInfo(parent, selectable=False, has_children=True))
    told = [info for info in infos if matches(info.name)]
    if any(info.veiled for info in told):
        above = _parents(context, [info.name for info in told if not info.veiled])
        told = [info for info in told if not info.veiled or info.name not in above
                or info.subscribed and "SUBSCRIBED" in selecting]
    special = _parents(context, [info.name for info in infos if info.special_use]) if recursive else set()
    special &= _roots(context)
    if recursive:
        # One that is told anyway has CHILDINFO for children that are told, too: RFC 9051 section 6.3.9.6, table 3.
        parents |= _parents(context, [info.name for info in infos if _is_selected(info, selecting)]) & {
            info.name for info in told if _is_selected(info, selecting)}
    for info in told:
        stands = recursive and info.name in parents
        if not selecting or _is_selected(info, selecting) or stands:
            yield info, [b'"%b"' % each.encode() for each in ("SUBSCRIBED", "SPECIAL-USE")
                         if stands and each in selecting or each == "SPECIAL-USE" and info.name in special]


def _roots(context: Context) -> set[str]:
    """Names of namespaces: of those Dovecot tells special uses below."""
    return {space.prefix.removesuffix(space.separator) for space in context.store.namespaces()}


def _is_selected(info: MailboxInfo, selecting: set[str]) -> bool:
    return not (("SUBSCRIBED" in selecting and not info.subscribed)
                or ("SPECIAL-USE" in selecting and not info.special_use))


def _with_missing(infos: list[MailboxInfo], subscriptions: list[str]) -> list[MailboxInfo]:
    """Subscribed names need not exist."""
    known, subscribed = {info.name for info in infos}, set(subscriptions)
    marked = [replace(info, subscribed=True) if info.name in subscribed else info for info in infos]
    missing = [name for name in subscriptions if name not in known]
    return marked + [MailboxInfo(name, selectable=False, subscribed=True) for name in missing]


def _parents(context: Context, names: Iterable[str]) -> set[str]:
    """Of names, as far as their namespace tells them."""
    found = set()
    for name in names:
        separator, begin = context.store.separator_of(name), context.store.subscribed_above(name)
        at = name.rfind(separator)
        while at > 0 and name[:at].startswith(begin):
            found.add(name[:at])
            at = name.rfind(separator, 0, at)
    return found


def _flags(info: MailboxInfo, request: ListRequest) -> list[str]:
    flags = []
    if info.subscribed and ("SUBSCRIBED" in request.wanted or "SUBSCRIBED" in request.select):
        flags.append("\\Subscribed")
    if not info.selectable and not info.bare:
        flags.append("\\NonExistent" if request.extended and not info.folder else "\\Noselect")
    missing_parent = request.rev2 and not info.selectable and not info.bare and info.has_children
    if info.no_inferiors:
        flags.append("\\NoInferiors")           # the extended form tells it unasked (RFC 5258 section 4)
    elif not request.extended or "CHILDREN" in request.wanted or missing_parent:      # RFC 9051 section 6.3.9.6
        flags.append("\\HasChildren" if info.has_children else "\\HasNoChildren")
    if info.marked or (info.no_inferiors and "SUBSCRIBED" in request.select):      # as Dovecot tells it
        flags.append("\\Marked" if info.marked else "\\UnMarked")
    if not request.extended or "SPECIAL-USE" in request.wanted or "SPECIAL-USE" in request.select:
        flags += info.special_use
    return flags


def _line(context: Context, info: MailboxInfo, flags: Sequence[str], more: bytes = b"", word: bytes = b"LIST") -> bytes:
    separator = info.separator or context.store.separator
    return b"* %b (%b) %b %b%b\r\n" % (word, " ".join(flags).encode(), string(separator.encode()),
                                        context.shown(info.name), more)


def _rights_line(context: Context, info: MailboxInfo) -> bytes:
    """RFC 8440."""
    try:
        return b"* MYRIGHTS %b %b\r\n" % (context.shown(info.name), imap_text(rights_of(context, info.name)).encode())
    except MailError:
        return b""                  # what cannot be found out is left out


def told_mailbox(context: Context, name: str, given: Argument | None = None, *, gone: bool = False) -> bytes:
    """LIST of one mailbox that a command is about; given: as the client spelled it, told when that differs.

    Source: RFC 9051 sections 6.3.2 and 6.3.9.7.
    """
    info = next((each for each in context.store.list_mailboxes() if each.name == name), MailboxInfo(name))
    flags = ["\\HasChildren" if info.has_children else "\\NoInferiors" if info.no_inferiors else "\\HasNoChildren",
             *(["\\Subscribed"] if info.subscribed else []), *info.special_use]
    if gone:
        flags = ["\\NonExistent"]
    elif not info.selectable:
        flags.insert(0, "\\Noselect" if info.folder else "\\NonExistent")
    more = b""
    if given is not None and (old := text_of(given)) != readable(name):
        more = b' ("OLDNAME" (%b))' % utf8_astring(old)
    return _line(context, info, flags, more)


def _root(context: Context, reference: str) -> bytes:
    """LIST "" "": the separator, and the root of the reference."""
    separator = context.store.separator_of(reference)
    at = reference.find(separator)
    root = reference[:at + 1] if at >= 0 else ""
    return b"* LIST (\\Noselect) %b %b\r\n" % (string(separator.encode()), context.shown(root))


# --- LSUB -----------------------------------------------------------------------------------------------------------

def _lsub_lines(context: Context, request: ListRequest, matches: Matcher, below: Matcher) -> Iterable[bytes]:
    """Subscribed names; with "%" at the end of a pattern, also a parent of one, as \\Noselect (RFC 3501 section 6.3.9).

    below: what such patterns match.
    """
    subscriptions = context.store.subscriptions(request.beginnings)
    seen = set()

    def line(name: str, flags: Sequence[str]) -> bytes:
        return _line(context, MailboxInfo(name, separator=context.store.separator_of(name)), flags, word=b"LSUB")

    for name in subscriptions:
        if matches(name):
            seen.add(name)
            yield line(name, _special_use(context, name))
    for name in subscriptions:
        if matches(name):
            continue
        for parent in sorted(_parents(context, [name]), key=len, reverse=True):
            if parent not in seen and below(parent):
                seen.add(parent)
                if parent not in subscriptions:
                    yield line(parent, ["\\Noselect"])
                break


def _special_use(context: Context, name: str) -> tuple[str, ...]:
    try:
        return context.store.special_use(name)
    except MailError:
        return ()                   # of another user's mailbox that cannot be reached any more
