"""SEARCH and UID SEARCH, with ESEARCH (RFC 4731), SEARCHRES (RFC 5182) and PARTIAL (RFC 5267)."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from mailsuite.base.errors import PeerError
from mailsuite.imap import numbers
from mailsuite.imap.commands.context import UTF8, Context, Run
from mailsuite.imap.commands.message_limit import Limited
from mailsuite.imap.fetch_items import Item, parse_fetch
from mailsuite.imap.partial import Page, parse_partial
from mailsuite.imap.reply import OK, Refusal, Reply, string, uid_required
from mailsuite.imap.search import Search
from mailsuite.imap.search_keys import And, HasFlag, Key, Not, Numbers, Or, parse_keys, uses_modseq, uses_numbers
from mailsuite.imap.session import Command
from mailsuite.imap.syntax import Argument, Atom, String
from mailsuite.imap.text import codec
from mailsuite.imap.updates import MAX_UPDATES, OrderedUpdate, Update
from mailsuite.imap.view import Selected

_OPTIONS = ("MIN", "MAX", "ALL", "COUNT", "SAVE", "CONTEXT", "UPDATE", "PARTIAL", "RELEVANCY")


@dataclass
class Return:
    """RETURN (...) of SEARCH and SORT; options None: the plain reply of RFC 3501.

    items: what UPDATE wants to see of new messages (RFC 5465 section 7).
    """

    options: set[str] | None = None
    partial: Page | None = None
    items: Sequence[Item] = ()

    def wants(self, option: str) -> bool:
        return self.options is not None and option in self.options

    @property
    def ends(self) -> int:
        """How many messages are told when only MIN or MAX or both are asked for; 0 when more is."""
        options = self.options or set()
        return len(options & {"MIN", "MAX"}) if not options & {"ALL", "COUNT", "PARTIAL"} else 0


def do_search(context: Context, command: Command) -> Run:
    """RFC 3501 sections 6.4.4 and 6.4.8."""
    selected = context.opened()
    words = list(command.arguments)
    wanted = take_return(context, words)
    if context.rev2 and wanted.options is None:         # RFC 9051 section 6.4.4: the answer is always ESEARCH
        wanted = Return({"ALL"})
    try:
        charset = take_charset(context, words)
    except Refusal:
        forget_result(selected, wanted)
        raise
    key = parse_keys(words, charset, context.params.offered)
    check_numbers(selected, key)
    with_modseq = uses_modseq(key)
    if with_modseq:
        yield from context.use_modseqs("SEARCH MODSEQ")
    selected.mention(keywords_of(key))
    limited = Limited(context)
    found = _find(selected, key, limited, context.has_left)
    if wanted.wants("UPDATE"):
        yield keep_updated(selected, command, key, found, wanted.items)
    if wanted.wants("SAVE"):
        save_result(selected, found, wanted)
    if wanted.options != {"SAVE"}:
        shown = found if command.uid else numbers_of(selected, found)
        highest = highest_told(selected, found, wanted) if with_modseq else 0
        if wanted.options is None:
            yield plain_result(b"SEARCH", shown, highest)
        else:
            yield extended_result(command, shown, wanted, highest)
    yield from context.sync(expunges=command.uid and not uses_numbers(key), refresh=False, uid=command.uid)
    code = context.modseq_code()
    yield from limited.notice(code)
    return Reply(OK, "Search completed", limited.code(code))


def _find(selected: Selected, key: Key, limited: Limited, stop: Callable[[], bool]) -> list[int]:
    """All that match, or those among as many messages as may be looked at; message sets narrow these down before."""
    search = Search(selected, time.time(), stop)
    if not limited.limit:
        return search.find(key)
    candidates: list[int] = list(selected.view.uids)
    for each in key.keys if isinstance(key, And) else (key,):
        if isinstance(each, Numbers):
            within = search.match(each, candidates)
            candidates = [uid for uid in candidates if uid in within]
    candidates = limited.highest_uids(candidates)
    matching = search.match(key, candidates)
    return [uid for uid in candidates if uid in matching]


def check_numbers(selected: Selected, key: Key) -> None:
    """Raises PeerError when the key has message numbers and the client gave them up (RFC 9586)."""
    if selected.uid_only and uses_numbers(key):
        raise uid_required()


def take_charset(context: Context, words: list[Argument]) -> str:
    """CHARSET at the front, taken away: a codec's name. Raises PeerError, Refusal."""
    if not words or not isinstance(words[0], Atom) or words[0].upper() != b"CHARSET":
        return "utf-8"
    if UTF8 in context.enabled:
        raise PeerError("CHARSET is not allowed once UTF8=ACCEPT is enabled")       # RFC 6855 section 3
    if len(words) < 2:
        raise PeerError("Invalid charset argument")
    charset = charset_of(words[1])
    del words[:2]
    return charset


def charset_of(argument: Argument) -> str:
    """A codec's name. Raises PeerError, Refusal."""
    if not isinstance(argument, Atom | String):
        raise PeerError("Invalid charset argument")
    name = codec(bytes(argument))
    if name is None:
        raise Refusal("Unknown charset", "BADCHARSET")
    return name


def take_return(context: Context, words: list[Argument]) -> Return:
    """RETURN (...) at the front, taken away. Raises PeerError."""
    if len(words) < 2 or not isinstance(words[0], Atom) or words[0].upper() != b"RETURN":
        return Return()
    listed = words[1]
    if not isinstance(listed, list):
        return Return()
    del words[:2]
    result = Return(set())
    assert result.options is not None
    left = list(listed)
    while left:
        each = left.pop(0)
        name = each.decode("ascii").upper() if isinstance(each, Atom) else ""
        if name not in _OPTIONS:
            raise PeerError("Unknown SEARCH return option")
        if name == "PARTIAL":
            if result.partial is not None:      # RFC 5267 section 4.4, RFC 9394 section 3.1
                raise PeerError("PARTIAL can be used only once")
            result.partial = _page(left, from_end=context.offers("PARTIAL"))
        elif name == "UPDATE" and left and isinstance(left[0], list):
            result.items = _update_items(context, left.pop(0))
        result.options.add(name)
    if {"PARTIAL", "ALL"} <= result.options:
        raise PeerError("PARTIAL conflicts with ALL")
    if not result.options - {"CONTEXT"}:
        result.options.add("ALL")
    return result


def _page(left: list[Argument], *, from_end: bool) -> Page:
    """from_end: it may count from there (RFC 9394)."""
    if not left:
        raise PeerError("PARTIAL range missing")
    given = left.pop(0)
    try:
        return parse_partial(given if isinstance(given, Atom) else b"", from_end=from_end)
    except ValueError:
        raise PeerError("PARTIAL range broken") from None


def _update_items(context: Context, listed: Argument) -> list[Item]:
    if not listed:
        return []
    try:
        return parse_fetch([listed], context.params.offered).items
    except PeerError as error:
        raise PeerError(f"SEARCH UPDATE fetch-att: Invalid fetch-att list: {error.public}") from error


def numbers_of(selected: Selected, uids: list[int]) -> list[int]:
    """Sequence numbers of ascending UIDs."""
    all_uids = selected.view.uids
    if len(uids) == len(all_uids):
        return list(range(1, len(uids) + 1))
    if len(uids) * 16 < len(all_uids):
        sequence = selected.view.sequence
        return [number for number in map(sequence, uids) if number is not None]
    wanted = set(uids)
    return [number for number, uid in enumerate(all_uids, 1) if uid in wanted]


def plain_result(name: bytes, shown: list[int], highest: int = 0) -> bytes:
    modseq = b" (MODSEQ %d)" % highest if highest else b""
    return b"* %b%b%b\r\n" % (name, numbers.format_list(shown, ascending=name == b"SEARCH"), modseq)


def extended_result(command: Command, shown: list[int], wanted: Return, highest: int = 0, *, about: bytes = b""
                    ) -> bytes:
    """ESEARCH: MIN is the first of what is shown, also of a SORT. about: more to tell it by than the tag."""
    out = b"* ESEARCH (TAG %b%b)" % (string(command.tag), about)
    if command.uid:
        out += b" UID"
    if shown and wanted.wants("MIN"):
        out += b" MIN %d" % shown[0]
    if shown and wanted.wants("MAX"):
        out += b" MAX %d" % shown[-1]
    if shown and wanted.wants("ALL"):
        out += b" ALL " + numbers.format_set(shown)
    if wanted.partial is not None:
        part = numbers.format_set(wanted.partial.of(shown)) or b"NIL"
        out += b" PARTIAL (%b %b)" % (wanted.partial.text, part)
    if wanted.wants("RELEVANCY"):
        scored = wanted.ends if wanted.ends and shown else len(shown)
        out += b" RELEVANCY (%b)" % b" ".join([b"1"] * scored)      # nothing here is scored: all are alike
    if wanted.wants("COUNT"):
        out += b" COUNT %d" % len(shown)
    if highest:
        out += b" MODSEQ %d" % highest
    return out + b"\r\n"


def keep_updated(selected: Selected, command: Command, key: Key, found: list[int], items: Sequence[Item],
                 order: Callable[[list[int]], list[int]] | None = None) -> bytes:
    """RETURN (UPDATE). items: told of new messages. order: of a SORT; found is in it. Raises PeerError."""
    if any(update.tag == command.tag for update in selected.updates):
        raise PeerError("Duplicate search update tag")
    if len(selected.updates) >= MAX_UPDATES:
        return b"* NO [NOUPDATE %b] Too many search updates\r\n" % string(command.tag)
    find = partial(_find_now, selected, key)
    if order is None:
        selected.updates.append(Update(command.tag, find, uid=command.uid, found=found, items=items))
    else:
        selected.updates.append(OrderedUpdate(command.tag, lambda: order(find()), uid=command.uid, found=found,
                                              items=items))
    return b""


def _find_now(selected: Selected, key: Key) -> list[int]:
    return Search(selected, time.time()).find(key)


def save_result(selected: Selected, found: list[int], wanted: Return) -> None:
    """RFC 5182 section 2.1: with MIN or MAX alone only those are kept; with PARTIAL its page, too (RFC 9394)."""
    selected.saved = sorted(_told(found, wanted))


def forget_result(selected: Selected, wanted: Return) -> None:
    """A search that was to be saved and got NO leaves nothing saved (RFC 5182 section 2.1)."""
    if wanted.wants("SAVE"):
        selected.saved = []


def _told(found: list[int], wanted: Return) -> Iterable[int]:
    """The messages that a reply is about: all, or the ends and the page that are told."""
    options = wanted.options or {"ALL"}
    if options & {"ALL", "COUNT"} or wanted.partial is None and not options & {"MIN", "MAX"}:
        return found
    page = wanted.partial.of(found) if wanted.partial is not None else []
    return {*page, *found[:1 * ("MIN" in options)], *(found[-1:] if "MAX" in options else [])}


def highest_told(selected: Selected, found: list[int], wanted: Return) -> int:
    """The MODSEQ that stands in a reply (RFC 7162 sections 3.1.5 and 3.1.6, RFC 9394); 0: there is none."""
    modseqs = selected.mailbox.modseqs(list(_told(found, wanted)))
    return max((modseq for modseq in modseqs if modseq is not None), default=0)


def keywords_of(key: Key) -> list[str]:
    """Keywords that are asked for."""
    match key:
        case HasFlag(flag) if not flag.startswith("\\"):
            return [flag]
        case And(keys):
            return [name for each in keys for name in keywords_of(each)]
        case Or(one, other):
            return keywords_of(one) + keywords_of(other)
        case Not(inner):
            return keywords_of(inner)
    return []
