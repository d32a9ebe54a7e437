"""doveadm search, fetch, flags, expunge, move, copy, save.

A query is a SEARCH with one more key, MAILBOX pattern; without it all mailboxes are searched.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping

from mailsuite.access.doveadm_folders import matching, shown
from mailsuite.access.doveadm_run import EX_USAGE, Failed, Run
from mailsuite.imap.search import Search
from mailsuite.imap.search_keys import Key, parse_keys
from mailsuite.imap.sent_date import sent_date
from mailsuite.imap.syntax import Argument, Atom, String
from mailsuite.imap.view import Selected
from mailsuite.message.message import Message
from mailsuite.store.api import Column, FlagAction, Mailbox, MailError
from mailsuite.store.names import to_mutf7

_ATOM = re.compile(rb"[^\x00-\x20(){\"\x7f-\xff]+")
# Keys whose argument is a text, however it looks.
_TEXTS = frozenset({"BCC", "BODY", "CC", "FROM", "SUBJECT", "TEXT", "TO"})


class Query:
    """A parsed query. patterns: what MAILBOX said; named: whether it said anything."""

    def __init__(self, words: list[str]) -> None:
        self.patterns: list[str] = []
        self._words = [part for word in words for part in _split(word)]
        arguments = self._arguments(nested=False)
        self.named = bool(self.patterns)
        self.patterns = self.patterns or ["*"]
        self.key: Key = parse_keys(arguments or [Atom(b"ALL")], "utf-8")

    def _arguments(self, *, nested: bool) -> list[Argument]:
        found: list[Argument] = []
        while self._words:
            word = self._words.pop(0)
            name = word.upper()
            if word == ")":
                break
            if word == "(":
                found.append(self._arguments(nested=True))
            elif name == "MAILBOX" and not nested:
                self.patterns.append(self._next(name))
            else:
                raw = word.encode("utf-8", "surrogateescape")
                found.append(Atom(raw) if _ATOM.fullmatch(raw) else String(raw))
                for _ in range({"HEADER": 2}.get(name, int(name in _TEXTS))):
                    found.append(String(self._next(name).encode("utf-8", "surrogateescape")))
        return found

    def _next(self, name: str) -> str:
        if not self._words:
            raise Failed(f"Missing parameter for {name}")
        return self._words.pop(0)


def _split(word: str) -> list[str]:
    """Parentheses may stick to their neighbours."""
    head, tail = [], []
    while word.startswith("(") and len(word) > 1:
        head.append("(")
        word = word[1:]
    while word.endswith(")") and len(word) > 1:
        tail.append(")")
        word = word[:-1]
    return [*head, word, *tail]


def found(run: Run, query: Query, *, read_only: bool = True) -> Iterator[tuple[Selected, list[int]]]:
    """Each mailbox that fits, with the UIDs that match."""
    names = []
    for pattern in query.patterns:
        names += matching(run, [pattern]) if re.search("[*%]", pattern) else [to_mutf7(pattern)]
    for name in dict.fromkeys(names):
        try:
            mailbox = run.store.open(name)
        except MailError as error:
            run.error(f"Can't open mailbox '{shown(name)}'", error)
            continue
        view = mailbox.open_view(read_only=read_only, claim_recent=False)
        try:
            selected = Selected(mailbox, view, name=name)
            yield selected, Search(selected, time.time()).find(query.key)
        finally:
            view.close()


def search(run: Run) -> None:
    query = Query(run.arguments)
    run.header("mailbox-guid", "uid")
    for selected, uids in found(run, query):
        guid = selected.mailbox.status().guid if uids else ""
        for uid in uids:
            run.row([guid, str(uid)])


# --- fetch --------------------------------------------------------------------------------------------------------


class _Item:
    """One message of which fields are asked; what costs is read once."""

    def __init__(self, run: Run, selected: Selected, uid: int) -> None:
        self.run, self.selected, self.uid, self.mailbox = run, selected, uid, selected.mailbox
        self._message: Message | None = None

    @property
    def message(self) -> Message:
        if self._message is None:
            self._message = self.mailbox.message(self.uid)
        return self._message

    def column(self, column: Column) -> str:
        return (self.mailbox.columns([self.uid], [column])[0][0] or b"").decode("utf-8", "surrogateescape")


def _lf(octets: bytes) -> str:
    return octets.replace(b"\r\n", b"\n").decode("utf-8", "surrogateescape")


def _received(item: _Item) -> str:
    date = item.mailbox.dates([item.uid])[0]
    return "" if date is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(date))


def _sent(item: _Item) -> str:
    values = item.message.fields(b"Date")
    parsed = sent_date(values[0]) if values else None
    if parsed is None:
        return ""
    stamp, offset_s = parsed
    sign, minutes = ("-" if offset_s < 0 else "+"), abs(offset_s) // 60
    local = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(stamp + offset_s))
    return f"{local} ({sign}{minutes // 60:02d}{minutes % 60:02d})"


def _flags(item: _Item) -> str:
    """System flags, \\Recent, keywords: in that order."""
    flags = sorted(item.mailbox.flags(item.uid) or [], key=lambda flag: not flag.startswith("\\"))
    system = [flag for flag in flags if flag.startswith("\\")]
    recent = ["\\Recent"] if item.uid in item.selected.view.recent else []
    return " ".join([*system, *recent, *flags[len(system):]])


def _inside(rendered: str) -> str:
    """ENVELOPE and the like come without their outer parentheses."""
    return rendered[1:-1] if rendered.startswith("(") else rendered


FIELDS: Mapping[str, Callable[[_Item], str]] = {
    "user": lambda item: item.run.store.user,
    "mailbox": lambda item: shown(item.selected.name),
    "mailbox-guid": lambda item: item.mailbox.status().guid,
    "seq": lambda item: str(item.selected.view.sequence(item.uid) or ""),
    "uid": lambda item: str(item.uid),
    "guid": lambda item: (item.mailbox.identities([item.uid], "guid") or [""])[0],
    "flags": _flags,
    "modseq": lambda item: item.column(Column.MODSEQ),
    "hdr": lambda item: _lf(item.message.header),
    "body": lambda item: _lf(item.message.body),
    "text": lambda item: _lf(item.message.octets),
    "text.utf8": lambda item: _lf(item.message.octets),
    "size.physical": lambda item: str(item.message.size - item.message.octets.count(b"\r\n")),
    "size.virtual": lambda item: item.column(Column.SIZE),
    "date.received": _received,
    "date.sent": _sent,
    "date.saved": _received,
    "imap.envelope": lambda item: _inside(item.column(Column.ENVELOPE)),
    "imap.body": lambda item: _inside(item.column(Column.BODY)),
    "imap.bodystructure": lambda item: _inside(item.column(Column.BODYSTRUCTURE)),
}


def _field(name: str) -> Callable[[_Item], str]:
    if name.startswith("hdr.") and len(name) > 4:
        header = name[4:].encode("ascii", "replace")
        return lambda item: "\n".join(value.strip().decode("utf-8", "surrogateescape")
                                      for value in item.message.fields(header))
    if name not in FIELDS:
        raise Failed(f"Unknown fetch field: {name}")
    return FIELDS[name]


def fetch(run: Run) -> None:
    if not run.arguments:
        raise Failed("Missing fetch fields", EX_USAGE)
    names = run.arguments[0].split()
    fields = [_field(name) for name in names]
    query = Query(run.arguments[1:])
    run.header(*names)
    for selected, uids in found(run, query):
        for uid in uids:
            item = _Item(run, selected, uid)
            try:
                run.row([field(item) for field in fields])
            except MailError as error:
                run.error(f"fetch failed for mailbox {shown(selected.name)} uid {uid}", error)


# --- changes ------------------------------------------------------------------------------------------------------


def _change_flags(action: FlagAction) -> Callable[[Run], None]:
    def change(run: Run) -> None:
        flags, query = run.arguments[0].split(), Query(run.arguments[1:])
        for selected, uids in found(run, query, read_only=False):
            if uids:
                selected.mailbox.store_flags(uids, action, flags)

    return change


def expunge(run: Run) -> None:
    query = Query(run.arguments)
    if not query.named:
        raise Failed("expunge: To avoid accidents, search query must contain MAILBOX in all search branches", EX_USAGE)
    for selected, uids in found(run, query, read_only=False):
        if uids:
            selected.mailbox.remove(uids)


def _transfer(move: bool) -> Callable[[Run], None]:
    def transfer(run: Run) -> None:
        name, query = run.arguments[0], Query(run.arguments[1:])
        target = _target(run, name)
        if target is None:
            return
        for selected, uids in found(run, query, read_only=False):
            if uids and selected.mailbox is not target:
                selected.mailbox.copy(uids, target, move=move)

    return transfer


def _target(run: Run, name: str) -> Mailbox | None:
    try:
        return run.store.open(to_mutf7(name))
    except MailError as error:
        run.error(f"Can't open mailbox '{name}'", error)
        return None


def save(run: Run) -> None:
    target = _target(run, run.options.get("m", ["INBOX"])[-1])
    if target is None:
        return
    append = target.begin_append()
    try:
        append.write(run.content)
        append.finish([], None)
        append.commit()
    except BaseException:
        append.abort()
        raise


COMMANDS: Mapping[str, Callable[[Run], None]] = {
    "search": search,
    "fetch": fetch,
    "flags add": _change_flags(FlagAction.ADD),
    "flags remove": _change_flags(FlagAction.REMOVE),
    "flags replace": _change_flags(FlagAction.REPLACE),
    "expunge": expunge,
    "copy": _transfer(False),
    "move": _transfer(True),
    "save": save,
}
