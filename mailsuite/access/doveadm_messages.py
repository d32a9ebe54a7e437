"""doveadm search, fetch, flags, expunge, deduplicate, copy, move, save."""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from mailsuite.access.doveadm_fields import BATCH, Batch, field_of, shown
from mailsuite.access.doveadm_query import Query
from mailsuite.access.doveadm_run import EX_DATAERR, Failed, Run, reason
from mailsuite.imap.search import Search
from mailsuite.imap.view import Selected
from mailsuite.store.api import FlagAction, InvalidName, Mailbox, MailError, MailStore, MessageGone, NoSuchMailbox
from mailsuite.store.names import to_mutf7

BLOCK = 64 * 1024
APPEND_BATCH = 100          # messages that become visible together when they come from another store
_SYSTEM_FLAGS = frozenset({"\\answered", "\\flagged", "\\deleted", "\\seen", "\\draft", "\\recent"})
_KEYWORD = re.compile(r"[^\x00-\x20(){%*\"\\\]\x7f-\U0010ffff]+")


def selectable(store: MailStore, *, parents: bool = False) -> list[str]:
    """All mailboxes that can hold mail, in doveadm's order: INBOX last. parents: also those that hold none."""
    names = [info.name for info in store.list_mailboxes() if info.selectable or parents]
    return sorted(names, key=lambda name: (name == "INBOX", name.lower()))


def found(run: Run, query: Query, *, store: MailStore | None = None, read_only: bool = True,
          missing: str = "Mailbox {}: Mailbox sync failed") -> Iterator[tuple[Selected, list[int]]]:
    """Each mailbox that may have a match, with the UIDs that do.

    missing: how a mailbox is complained of that the query names and that cannot be opened; "" for not at all.
    """
    store = store or run.store
    for mailbox, name in _mailboxes(run, query, store, missing):
        view = mailbox.open_view(read_only=read_only, claim_recent=False)
        try:
            selected = Selected(mailbox, view, name=name)
            yield selected, Search(selected, time.time()).find(query.key)
        finally:
            view.close()


def _mailboxes(run: Run, query: Query, store: MailStore, missing: str) -> Iterator[tuple[Mailbox, str]]:
    names = selectable(store) if query.sole is None else [_stored_name(store, query.sole)]
    for name in names:
        try:
            if query.sole is None and not query.asks_for_guid and not query.may_match(name, str):
                continue
            mailbox = store.open(name)
            if query.asks_for_guid and not query.may_match(name, partial(_guid, mailbox)):
                continue
        except InvalidName as error:
            run.error(f"Syncing mailbox {shown(name)} failed", error)
        except MailError as error:
            if missing or not isinstance(error, NoSuchMailbox):
                run.complain(f"{(missing or 'Syncing mailbox {} failed').format(shown(name))}: {reason(error)}",
                             _status(error))
        else:
            yield mailbox, name


def _guid(mailbox: Mailbox) -> str:
    return mailbox.status().guid


def _stored_name(store: MailStore, name: str) -> str:
    stored = to_mutf7(name)
    return "INBOX" if stored.upper() == "INBOX" else stored


def _status(error: MailError) -> int:
    from mailsuite.access.doveadm_run import status_of
    return status_of(error)


def search(run: Run) -> None:
    query = Query(run.arguments, run.store.separator)
    run.header("mailbox-guid", "uid", hidden=("mailbox-guid", "uid"))
    for selected, uids in found(run, query, missing="Couldn't get mailbox '{}' GUID"):
        guid = selected.mailbox.status().guid if uids else ""
        for uid in uids:
            run.row((guid, str(uid)))


def fetch(run: Run) -> None:
    names = run.arguments[0].lower().split()
    fields = [field_of(name) for name in names]
    query = Query(run.arguments[1:], run.store.separator)
    run.header(*names, streams=[name for name, field in zip(names, fields, strict=True) if field.stream])
    for selected, uids in found(run, query, missing=""):
        for start in range(0, len(uids), BATCH):
            batch = Batch(run, selected, uids[start:start + BATCH])
            for at, uid in enumerate(batch.uids):
                try:
                    row = [field.value(batch, at) for field in fields]
                except MessageGone:
                    continue            # expunged while we looked
                except MailError as error:
                    run.error(f"fetch failed for mailbox {shown(selected.name)} uid {uid}", error)
                    continue
                if row:
                    run.row(row)
        run.flush()


# --- changes ------------------------------------------------------------------------------------------------------


def _change_flags(action: FlagAction) -> Callable[[Run], None]:
    def change(run: Run) -> None:
        flags = run.arguments[0].split()
        for flag in flags:
            if flag.startswith("\\") and flag.lower() not in _SYSTEM_FLAGS:
                raise Failed(f"Invalid system flag: {flag}")
        query = Query(run.arguments[1:], run.store.separator)
        wanted = [flag for flag in flags if flag.lower() != "\\recent"]
        if not all(flag.startswith("\\") or _KEYWORD.fullmatch(flag) for flag in wanted):
            run.complain("Invalid keywords: Invalid characters in keyword", EX_DATAERR)
            return
        for selected, uids in found(run, query, read_only=False):
            if uids and (wanted or action is FlagAction.REPLACE):
                with _caught(run, selected):
                    selected.mailbox.store_flags(uids, action, wanted)

    return change


@contextmanager
def _caught(run: Run, selected: Selected) -> Iterator[None]:
    """What goes wrong in one mailbox leaves the others alone."""
    try:
        yield
    except MailError as error:
        run.error(f"Mailbox {shown(selected.name)}", error)


def expunge(run: Run) -> None:
    query = Query(run.arguments, run.store.separator)
    query.must_name_mailboxes("expunge")
    emptied = []
    for selected, uids in found(run, query, read_only=False, missing="Syncing mailbox '{}' failed"):
        if uids:
            with _caught(run, selected):
                selected.mailbox.remove(uids)
        if "d" in run.options and selected.name != "INBOX" and not selected.mailbox.status().messages:
            emptied.append(selected.name)
    for name in emptied:
        try:
            run.store.delete(name)
        except MailError as error:
            run.error(f"Can't delete mailbox {shown(name)}", error)


def deduplicate(run: Run) -> None:
    """Keep the first of the messages with one GUID, or with one Message-ID (-m), in each mailbox."""
    query = Query(run.arguments, run.store.separator)
    for selected, uids in found(run, query, read_only=False):
        seen: set[object] = set()
        doubles = []
        for start in range(0, len(uids), BATCH):
            batch = Batch(run, selected, uids[start:start + BATCH])
            for at, uid in enumerate(batch.uids):
                key = next(iter(batch.header(b"message-id", at)), b"") if "m" in run.options else batch.guids[at]
                if key in seen:
                    doubles.append(uid)
                elif key:
                    seen.add(key)
        if doubles:
            with _caught(run, selected):
                selected.mailbox.remove(doubles)


def _transfer(move: bool) -> Callable[[Run], None]:
    def transfer(run: Run) -> None:
        name, words = run.arguments[0], run.arguments[1:]
        if len(words) > 2 and words[0].lower() == "user":
            words = words[2:]
        source = run.source or run.store
        query = Query(words, source.separator)
        target = open_target(run, name, "Can't open mailbox '{}'")
        if target is None:
            return
        for selected, uids in found(run, query, store=source, read_only=False):
            if uids:
                with _caught(run, selected):
                    put_into(selected.mailbox, uids, target, move=move)

    return transfer


def put_into(source: Mailbox, uids: Sequence[int], target: Mailbox, *, move: bool) -> None:
    """COPY within a store; between stores messages are read and written. Raises MailError."""
    try:
        source.copy(uids, target, move=move)
        return
    except (AssertionError, NotImplementedError):
        pass                            # two kinds of mailboxes
    append_all(source, uids, target)
    if move:
        source.remove(uids)


def append_all(source: Mailbox, uids: Sequence[int], target: Mailbox) -> None:
    """Messages with flags and dates into a mailbox of any kind, APPEND_BATCH at a time. Raises MailError."""
    for start in range(0, len(uids), APPEND_BATCH):
        some = uids[start:start + APPEND_BATCH]
        append = target.begin_append()
        try:
            for uid, date in zip(some, source.dates(some), strict=True):
                flags = source.flags(uid)
                if flags is None:
                    continue
                append.write(source.message(uid).crlf)
                append.finish(flags, date)
            append.commit()
        except BaseException:
            append.abort()
            raise


def open_target(run: Run, name: str, complaint: str) -> Mailbox | None:
    """A mailbox by its UTF-8 name; None after a complaint."""
    try:
        return run.store.open(_stored_name(run.store, name))
    except MailError as error:
        run.error(complaint.format(name), error)
        return None


def save(run: Run) -> None:
    target = open_target(run, run.options.get("m", ["INBOX"])[-1], "Failed to open mailbox {}")
    if target is None or run.content is None:
        return
    append = target.begin_append()
    try:
        append.write(b"")
        while octets := run.content.read(BLOCK):
            append.write(octets)
        append.finish([], None)
        append.commit()
    except MailError as error:
        append.abort()
        run.error("Saving failed", error)
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
    "deduplicate": deduplicate,
    "copy": _transfer(False),
    "move": _transfer(True),
    "save": save,
}
