"""doveadm index, force-resync, purge, altmove, mailbox cache and metadata: what keeps mailboxes in order."""

import re
import sys
from collections.abc import Callable, Mapping

from mailsuite.access.doveadm_fields import BATCH, shown
from mailsuite.access.doveadm_folders import matching
from mailsuite.access.doveadm_messages import found
from mailsuite.access.doveadm_query import Query
from mailsuite.access.doveadm_run import EX_DATAERR, EX_NOTFOUND, EX_USAGE, Failed, Run
from mailsuite.imap.commands.metadata import Annotated, visible
from mailsuite.imap.search_words import looked_at
from mailsuite.store.api import Column, Mailbox, MailError
from mailsuite.store.attributes import SERVER
from mailsuite.store.names import to_mutf7

INDEXED = (Column.SIZE, Column.INTERNALDATE, Column.ENVELOPE, Column.BODYSTRUCTURE)
_ATTRIBUTES = "Mailbox attributes not enabled"


def _mailboxes(run: Run, complaint: str) -> list[tuple[str, Mailbox]]:
    """Those that the masks mean; a name that nothing has is passed over, as Dovecot does."""
    opened = []
    for name in matching(run, run.arguments):
        if not re.search("[*%]", run.arguments[0]) and not run.store.exists(name):
            continue
        try:
            opened.append((name, run.store.open(name)))
        except MailError as error:
            run.error(complaint.format(shown(name)), error)
    return opened


def index(run: Run) -> None:
    """Read out of messages what the index does not know yet. -n: not where more messages are \\Recent."""
    most_recent = int(run.options["n"][-1]) if "n" in run.options else None
    for name, mailbox in _mailboxes(run, "Mailbox {}: Opening failed"):
        if most_recent is not None and mailbox.status().recent > most_recent:
            continue
        view = mailbox.open_view(read_only=True, claim_recent=False)
        try:
            for start in range(0, len(view.uids), BATCH):
                mailbox.columns(list(view.uids[start:start + BATCH]), INDEXED)
            for _ in looked_at(mailbox):
                pass
        except MailError as error:
            run.error(f"Mailbox {shown(name)}: Mail search failed", error)
        finally:
            view.close()


def force_resync(run: Run) -> None:
    """Trust nothing but the files: what the index says of messages is forgotten and found out anew."""
    for name, mailbox in _mailboxes(run, "Opening mailbox {} failed"):
        try:
            mailbox.resync()
        except MailError as error:
            run.error(f"Forcing a resync on mailbox {shown(name)} failed", error)


def purge(run: Run) -> None:
    """Nothing is left behind in these formats that could be purged."""


def altmove(run: Run) -> None:
    """There is no alternative storage in these formats: as with Dovecot, nothing moves. The query is checked."""
    Query(run.arguments, run.store.separator)


def cache_remove(run: Run) -> None:
    query = Query(run.arguments, run.store.separator)
    run.header("mailbox", "uid", "result")
    for selected, uids in found(run, query):
        selected.mailbox.forget_cached(uids)
        for uid in uids:
            run.row((shown(selected.name), str(uid), "ok"))


def cache_purge(run: Run) -> None:
    """The index holds nothing of messages that are gone."""
    for name in matching(run, run.arguments):
        if not run.store.exists(name):
            run.complain(f"Cannot open mailbox {shown(name)}: Mailbox doesn't exist: {shown(name)}", EX_NOTFOUND)


def cache_decision(run: Run) -> None:
    raise Failed("There are no caching decisions: the index keeps sizes, dates, ENVELOPE, BODY, BODYSTRUCTURE and the "
                 "header fields that clients asked for", EX_DATAERR)


# --- metadata -----------------------------------------------------------------------------------------------------


def _key(run: Run) -> str:
    key = run.arguments[1].lower()
    if not key.startswith(("/private/", "/shared/")):
        raise Failed(f"Invalid metadata key '{run.arguments[1]}': Must begin with /private or /shared", EX_USAGE)
    return key


def _entries(run: Run, complaint: str) -> Annotated | None:
    """Of the mailbox in question, or with -s the server's; None: it was said why there are none."""
    name = "" if "s" in run.options else run.arguments[0]
    why, status = "", 0
    if not name and "s" not in run.options:
        why, status = "mailbox name cannot be empty", EX_USAGE
    elif name and not run.store.exists(to_mutf7(name)):
        why, status = f"Mailbox doesn't exist: {name}", EX_NOTFOUND
    elif run.store.attributes is None:
        why, status = _ATTRIBUTES, EX_DATAERR
    if why:
        missing = status == EX_NOTFOUND and complaint == "set" and run.store.attributes is not None
        run.complain(f"Failed to {'open mailbox' if missing else complaint + ' attribute'}: {why}", status)
        return None
    return Annotated(run.store, to_mutf7(name))


def metadata_get(run: Run) -> None:
    """The value of an entry; "" when there is none."""
    key = _key(run)
    entries = _entries(run, "get")
    if entries is not None:
        run.header("value", hidden=("value",))
        run.row([entries.read().get(key, b"").decode("utf-8", "surrogateescape")])


def metadata_set(run: Run) -> None:
    """set MAILBOX KEY VALUE, unset MAILBOX KEY. No limits here: the administrator's word counts."""
    key = _key(run)
    value = run.arguments[2].encode("utf-8", "surrogateescape") if len(run.arguments) > 2 else None
    entries = _entries(run, "set")
    if entries is None:
        return
    try:
        entries.change({key: value}, max_size=sys.maxsize, max_entries=sys.maxsize)
    except MailError as error:
        run.complain(f"Failed to set attribute: {error.public}", EX_DATAERR)


def metadata_list(run: Run) -> None:
    """Names of entries: those that are kept, then those that each mailbox has of itself. A prefix is left out of what
    is shown; with -p only its scope is put in front."""
    run.header("key", hidden=("key",))
    name = to_mutf7(run.arguments[0])
    prefix = run.arguments[1].lower() if len(run.arguments) > 1 else ""
    if not prefix.startswith(("/private/", "/shared/")):
        prefix = ""
    exists = "s" in run.options or not name or run.store.exists(name)
    stored: Mapping[str, bytes] = {}
    if exists and run.store.attributes is not None and (name or "s" in run.options):
        held = run.store.attributes_of("INBOX" if "s" in run.options else name)
        stored = visible(held.read() if held else {}, server="s" in run.options, internal=True)
    for scope in ("/private/", "/shared/"):
        own = _own_entries(run, name, scope)
        for key in [*(key for key in stored if key.startswith(scope) and key not in own), *own]:
            if key.startswith(prefix):
                rest = key[len(prefix or scope):]
                run.row([scope + rest if "p" in run.options else rest])
    if not exists:
        for _ in range(1 if run.store.attributes is not None else 2):
            run.complain(f"Mailbox {run.arguments[0]}: Failed to iterate mailbox attributes: "
                         f"Mailbox doesn't exist: {run.arguments[0]}", EX_NOTFOUND)


def _own_entries(run: Run, name: str, scope: str) -> list[str]:
    """Those of every mailbox."""
    if "s" in run.options:
        return []
    kept = run.store.attributes is not None
    if scope == "/private/":
        return ["/private/comment"] * kept + ["/private/specialuse"]
    server = [f"/shared/{SERVER}admin", f"/shared/{SERVER}comment"] if name.upper() == "INBOX" else []
    return ["/shared/comment"] * kept + server


COMMANDS: Mapping[str, Callable[[Run], None]] = {
    "index": index,
    "force-resync": force_resync,
    "purge": purge,
    "altmove": altmove,
    "mailbox cache decision": cache_decision,
    "mailbox cache remove": cache_remove,
    "mailbox cache purge": cache_purge,
    "mailbox metadata get": metadata_get,
    "mailbox metadata set": metadata_set,
    "mailbox metadata unset": metadata_set,
    "mailbox metadata list": metadata_list,
}
