"""doveadm fts: look after the full text, and ask it.

optimize    what is gone leaves the file, small segments become one, the file shrinks
rescan      the same, after all that the file holds was checked; what it left out is tried again
lookup      what the full text alone says of a query's texts: messages that match, and those that would have to be read
tokenize    the words of a text as they are kept
"""

from collections.abc import Callable, Iterator, Mapping

from mailsuite.access.doveadm_fields import shown
from mailsuite.access.doveadm_messages import selectable
from mailsuite.access.doveadm_query import Query
from mailsuite.access.doveadm_run import EX_NOTFOUND, Failed, Run
from mailsuite.fulltext.database import FullText
from mailsuite.fulltext.mailbox import MailboxText
from mailsuite.fulltext.segment import encoded
from mailsuite.imap import numbers
from mailsuite.imap.search_keys import And, Key, Text
from mailsuite.imap.text import fold
from mailsuite.store.api import Mailbox, MailError


def _full_texts(run: Run) -> Mapping[str, FullText]:
    """By the prefix of the namespace. Raises Failed."""
    texts = run.store.full_texts()
    if not texts:
        raise Failed("fts not enabled: plugin { fts = no }, or there is no folder for indexes", EX_NOTFOUND)
    return texts


def _wanted(run: Run) -> list[FullText]:
    """Of the namespace that is named, else of all. Raises Failed."""
    texts = _full_texts(run)
    if not run.arguments:
        return list(dict.fromkeys(texts.values()))
    prefix = run.arguments[0]
    text = texts.get(prefix or run.store.prefix)
    if text is None:
        raise Failed(f"Namespace prefix not found: {prefix}", EX_NOTFOUND)
    return [text]


def optimize(run: Run) -> None:
    for text in _wanted(run):
        _tidy(run, text, lambda box: None)


def rescan(run: Run) -> None:
    for text in _wanted(run):
        _tidy(run, text, MailboxText.rescan)


def _tidy(run: Run, text: FullText, first: Callable[[MailboxText], None]) -> None:
    for name in text.names():
        try:
            if not run.store.exists(name):
                text.forget(name)
                continue
            mailbox = run.store.open(name)
        except MailError as error:
            run.error(f"Mailbox {shown(name)}: Opening failed", error)
            continue
        box, present = mailbox.fulltext, _present(mailbox)
        if box is not None:
            first(box)
            while box.tidy(present, thorough=True):
                pass
    text.compact()


def _present(mailbox: Mailbox) -> set[int]:
    view = mailbox.open_view(read_only=True, claim_recent=False)
    try:
        return set(view.uids)
    finally:
        view.close()


def lookup(run: Run) -> None:
    query = Query(run.arguments, run.store.separator)
    texts = list(_texts(query.key))
    if not texts:
        raise Failed("No text, body in the query that must match")
    _full_texts(run)
    run.header("mailbox", "uids", "maybe")
    for name in selectable(run.store) if query.sole is None else [query.sole]:
        if query.sole is None and not query.may_match(name, str):
            continue
        try:
            mailbox = run.store.open(name)
        except MailError as error:
            run.error(f"Mailbox {shown(name)}: Opening failed", error)
            continue
        box = mailbox.fulltext
        if box is not None:
            definite, maybe = _asked(box, texts, _present(mailbox))
            run.row((shown(name), _set(definite), _set(maybe)))


def _asked(box: MailboxText, texts: list[Text], present: set[int]) -> tuple[set[int], set[int]]:
    """Messages that match all the texts, and those that may."""
    definite, possible = set(present), set(present)
    for key in texts:
        text = fold(key.text)
        pieces = text.split()
        kept, hits = box.find(list(map(encoded, pieces)), headers=key.headers)
        possible &= hits | (present - kept)
        definite &= hits if pieces == [text] else set()
    return definite, possible - definite


def _texts(key: Key) -> Iterator[Text]:
    """Those that every match must hold."""
    match key:
        case Text(text) if text:
            yield key
        case And(keys):
            for each in keys:
                yield from _texts(each)


def _set(uids: set[int]) -> str:
    return numbers.format_set(sorted(uids)).decode()


def tokenize(run: Run) -> None:
    run.header("token", hidden=("token",))
    for word in fold(" ".join(run.arguments)).split():
        run.row((word,))


COMMANDS: Mapping[str, Callable[[Run], None]] = {
    "fts lookup": lookup, "fts optimize": optimize, "fts rescan": rescan, "fts tokenize": tokenize}
