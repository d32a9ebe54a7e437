"""SORT, THREAD and their UID forms (RFC 5256), with ESORT (RFC 5267)."""

import time
from collections.abc import Generator

from mailsuite.base.errors import PeerError
from mailsuite.imap.commands.context import Context, Run
from mailsuite.imap.commands.search import charset_of, extended_result, keywords_of, plain_result, take_return
from mailsuite.imap.reply import OK, Reply
from mailsuite.imap.search import Search
from mailsuite.imap.search_keys import parse_keys, uses_modseq
from mailsuite.imap.session import Command
from mailsuite.imap.sorting import Sorter, parse_program
from mailsuite.imap.syntax import Argument, Atom
from mailsuite.imap.threads import Mail, message_ids, render, thread_references, thread_subjects
from mailsuite.imap.view import Selected

ALGORITHMS = ("REFERENCES", "REFS", "ORDEREDSUBJECT")


def do_sort(context: Context, command: Command) -> Run:
    """RFC 5256, BASE.6.4.SORT."""
    selected = context.opened()
    words = list(command.arguments)
    wanted = take_return(words)
    if not words or not isinstance(words[0], list):
        raise PeerError("Missing or invalid sort program")
    program = parse_program(words[0])
    del words[0]
    found = yield from _found(context, words)
    ordered = Sorter(selected).sort(found, program)
    if wanted.wants("SAVE"):
        selected.saved = list(found)
    shown = ordered if command.uid else _numbers(selected, ordered)
    if wanted.options is None:
        yield plain_result(b"SORT", shown)
    elif wanted.options != {"SAVE"}:
        yield extended_result(command, shown, wanted)
    yield from context.sync(expunges=command.uid, refresh=False, uid=command.uid)
    return Reply(OK, "Sort completed", context.modseq_code())


def _found(context: Context, words: list[Argument]) -> Generator[bytes, None, list[int]]:
    """Charset and keys: the UIDs that match."""
    if not words or not isinstance(words[0], bytes):
        raise PeerError("Missing charset argument" if not words else "Invalid charset argument")
    charset = charset_of(words.pop(0))
    key = parse_keys(words, charset)
    if uses_modseq(key):
        yield from context.use_modseqs()
    selected = context.opened()
    selected.mention(keywords_of(key))
    return Search(selected, time.time()).find(key)


def _numbers(selected: Selected, uids: list[int]) -> list[int]:
    positions = {uid: number for number, uid in enumerate(selected.view.uids, 1)}
    return [positions[uid] for uid in uids]


def do_thread(context: Context, command: Command) -> Run:
    """RFC 5256, BASE.6.4.THREAD."""
    selected = context.opened()
    words = list(command.arguments)
    name = words.pop(0) if words else None
    if not isinstance(name, Atom):
        raise PeerError("Invalid thread algorithm argument")
    algorithm = name.decode("ascii").upper()
    if algorithm not in ALGORITHMS:
        raise PeerError("Unknown thread algorithm")
    found = yield from _found(context, words)
    mails = _mails(selected, found, references=algorithm != "ORDEREDSUBJECT")
    if algorithm == "ORDEREDSUBJECT":
        roots = thread_subjects(mails)
    else:
        roots = thread_references(mails, by_subject=algorithm == "REFERENCES")
    numbers = {} if command.uid else {uid: number for number, uid in enumerate(selected.view.uids, 1)}
    yield b"* THREAD %b\r\n" % render(roots, (lambda uid: uid) if command.uid else numbers.__getitem__)
    yield from context.sync(expunges=command.uid, refresh=False, uid=command.uid)
    return Reply(OK, "Thread completed", context.modseq_code())


def _mails(selected: Selected, uids: list[int], *, references: bool) -> list[Mail]:
    sorter, search = Sorter(selected), Search(selected, 0.0)
    dates, subjects = sorter.sent_dates(uids), sorter.subjects(uids)
    if not references:
        return [Mail(uid, dates[uid], *subjects[uid]) for uid in uids]
    ids = dict(search.values(b"message-id", uids))
    cited = dict(search.values(b"references", uids))
    answered = dict(search.values(b"in-reply-to", uids))
    mails = []
    for uid in uids:
        own = message_ids(ids.get(uid))
        above = message_ids(cited.get(uid)) or message_ids(answered.get(uid))[:1]
        mails.append(Mail(uid, dates[uid], *subjects[uid], message_id=own[0] if own else b"", references=above))
    return mails
