"""SORT, THREAD and their UID forms (RFC 5256), with ESORT (RFC 5267)."""

import time
from array import array
from collections.abc import Generator

from mailsuite.base.errors import PeerError
from mailsuite.imap.commands.context import Context, Run
from mailsuite.imap.commands.search import (
    charset_of,
    check_numbers,
    extended_result,
    forget_result,
    highest_told,
    keep_updated,
    keywords_of,
    plain_result,
    take_return,
)
from mailsuite.imap.facts import facts_of
from mailsuite.imap.reply import OK, Refusal, Reply
from mailsuite.imap.search import Search
from mailsuite.imap.search_keys import Key, parse_keys, uses_modseq, uses_numbers
from mailsuite.imap.session import Command
from mailsuite.imap.sorting import parse_program, sort
from mailsuite.imap.syntax import Argument, text_of
from mailsuite.imap.threads import render, thread_references, thread_subjects
from mailsuite.imap.view import Selected

ALGORITHMS = ("REFERENCES", "REFS", "ORDEREDSUBJECT")


def do_sort(context: Context, command: Command) -> Run:
    """RFC 5256, BASE.6.4.SORT."""
    selected = context.opened()
    words = list(command.arguments)
    wanted = take_return(context, words)
    if not words or not isinstance(words[0], list):
        raise PeerError("Invalid sort argument")
    program = parse_program(words[0])
    del words[0]
    try:
        key = yield from _key(context, words)
    except Refusal:
        forget_result(selected, wanted)
        raise
    found = Search(selected, time.time(), context.has_left).find(key)
    ordered = sort(selected.mailbox, found, program)
    if wanted.wants("UPDATE"):
        if context.offers("CONTEXT=SORT"):
            yield keep_updated(selected, command, key, ordered, wanted.items,
                               lambda uids: sort(selected.mailbox, uids, program))
        else:
            yield keep_updated(selected, command, key, found, wanted.items)
    if wanted.wants("SAVE"):
        selected.saved = list(found)
    shown = ordered if command.uid else _numbers(selected, ordered)
    highest = highest_told(selected, ordered, wanted) if uses_modseq(key) else 0
    if wanted.options is None:
        yield plain_result(b"SORT", shown, highest)
    elif wanted.options != {"SAVE"}:
        yield extended_result(command, shown, wanted, highest)
    yield from context.sync(expunges=command.uid and not uses_numbers(key), refresh=False, uid=command.uid)
    return Reply(OK, "Sort completed", context.modseq_code())


def _key(context: Context, words: list[Argument]) -> Generator[bytes, None, Key]:
    """Charset and search keys."""
    if not words or not isinstance(words[0], bytes):
        raise PeerError("Invalid charset argument")
    charset = charset_of(words.pop(0))
    key = parse_keys(words, charset, context.params.offered)
    check_numbers(context.opened(), key)
    if uses_modseq(key):
        yield from context.use_modseqs("SEARCH MODSEQ")
    selected = context.opened()
    selected.mention(keywords_of(key))
    return key


def _numbers(selected: Selected, uids: list[int]) -> list[int]:
    positions = {uid: number for number, uid in enumerate(selected.view.uids, 1)}
    return [positions[uid] for uid in uids]


def do_thread(context: Context, command: Command) -> Run:
    """RFC 5256, BASE.6.4.THREAD."""
    selected = context.opened()
    words = list(command.arguments)
    if len(words) < 2 or isinstance(words[0], list) or isinstance(words[1], list):
        raise PeerError("Invalid arguments")
    algorithm = text_of(words.pop(0)).upper()
    if algorithm not in ALGORITHMS:
        raise PeerError("Unknown thread algorithm")
    key = yield from _key(context, words)
    found = Search(selected, time.time(), context.has_left).find(key)
    threads = _threads(selected, found, algorithm, uid=command.uid)
    if threads or not context.offers("IMAP4rev2"):
        yield b"* THREAD %b\r\n" % threads
    else:
        yield b"* THREAD\r\n"             # Dovecot 2.3 puts a space there that RFC 5256's syntax does not have
    yield from context.sync(expunges=command.uid and not uses_numbers(key), refresh=False, uid=command.uid)
    return Reply(OK, "Thread completed", context.modseq_code())


def _threads(selected: Selected, uids: list[int], algorithm: str, *, uid: bool) -> bytes:
    """The threads as told; a client that asks again before anything changed gets the same octets."""
    facts, shown = facts_of(selected.mailbox), array("I", uids).tobytes()
    key = (algorithm, uid, shown, b"" if uid else selected.view.uids.tobytes())
    if facts.thread[0] == key:
        return facts.thread[1]
    known = facts.mails(uids)
    mails = [known[each] for each in uids]
    if algorithm == "ORDEREDSUBJECT":
        roots = thread_subjects(mails)
    else:
        roots = thread_references(mails, by_subject=algorithm == "REFERENCES")
    numbers = {} if uid else {each: number for number, each in enumerate(selected.view.uids, 1)}
    octets = render(roots, (lambda each: each) if uid else numbers.__getitem__)
    facts.thread = (key, octets)
    return octets
