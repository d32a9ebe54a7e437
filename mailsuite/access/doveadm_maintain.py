"""doveadm index, force-resync, purge, altmove, mailbox cache and metadata: what keeps mailboxes in order."""

import re
from collections.abc import Callable, Mapping

from mailsuite.access.doveadm_fields import BATCH, shown
from mailsuite.access.doveadm_folders import matching
from mailsuite.access.doveadm_messages import found
from mailsuite.access.doveadm_query import Query
from mailsuite.access.doveadm_run import EX_DATAERR, EX_NOTFOUND, EX_USAGE, Failed, Run
from mailsuite.store.api import Column, Mailbox, MailError
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


def _key(run: Run) -> None:
    key = run.arguments[1]
    if not key.lower().startswith(("/private/", "/shared/")):
        raise Failed(f"Invalid metadata key '{key}': Must begin with /private or /shared", EX_USAGE)


def metadata(what: str) -> Callable[[Run], None]:
    """get, set, unset: there is no dictionary for attributes, which is how Dovecot answers without one."""
    def change(run: Run) -> None:
        _key(run)
        name = run.arguments[0]
        why, status = _ATTRIBUTES, EX_DATAERR
        if not name:
            why, status = "mailbox name cannot be empty", EX_USAGE
        elif not run.store.exists(to_mutf7(name)):
            why, status = f"Mailbox doesn't exist: {name}", EX_NOTFOUND
        run.complain(f"Failed to {what} attribute: {why}", status)

    return change


def metadata_list(run: Run) -> None:
    """The attributes that each mailbox has of itself."""
    run.header("key", hidden=("key",))
    name = to_mutf7(run.arguments[0])
    run.row(["specialuse"])
    if name and not run.store.exists(name):
        for _ in range(2):
            run.complain(f"Mailbox {run.arguments[0]}: Failed to iterate mailbox attributes: "
                         f"Mailbox doesn't exist: {run.arguments[0]}", EX_NOTFOUND)
    elif name.upper() == "INBOX":
        run.row(["vendor/vendor.dovecot/pvt/server/admin"])
        run.row(["vendor/vendor.dovecot/pvt/server/comment"])


COMMANDS: Mapping[str, Callable[[Run], None]] = {
    "index": index,
    "force-resync": force_resync,
    "purge": purge,
    "altmove": altmove,
    "mailbox cache decision": cache_decision,
    "mailbox cache remove": cache_remove,
    "mailbox cache purge": cache_purge,
    "mailbox metadata get": metadata("get"),
    "mailbox metadata set": metadata("set"),
    "mailbox metadata unset": metadata("set"),
    "mailbox metadata list": metadata_list,
}
