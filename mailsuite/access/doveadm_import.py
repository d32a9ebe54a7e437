"""doveadm import and export: mail between a user's mailboxes and another location on this machine.

import SOURCE-LOCATION DEST-PARENT QUERY      mail at a location into mailboxes below DEST-PARENT ("": beside INBOX)
export DEST-LOCATION QUERY                    mailboxes into a location (maildir:/backup/alice, mbox:~/backup)

Both copy flags, keywords and dates of arrival, and work with the rights of the user. Copied twice is there twice.
"""

from collections.abc import Callable, Mapping

from mailsuite.access.doveadm_fields import shown
from mailsuite.access.doveadm_messages import append_all, found
from mailsuite.access.doveadm_query import Query
from mailsuite.access.doveadm_run import Failed, Run, reason, status_of
from mailsuite.base.errors import ConfigError
from mailsuite.imap.view import Selected
from mailsuite.store.api import Mailbox, MailError, MailStore, NoPermission, NoSuchMailbox, NotPossible
from mailsuite.store.names import from_mutf7, to_mutf7


def _opened(run: Run, location: str, *, make: bool, what: str) -> MailStore:
    """The mail at a location. Raises Failed."""
    if run.open_location is None:
        raise Failed(f"{what}: other locations cannot be opened here")
    try:
        return run.open_location(location, "make" if make else "")
    except ConfigError as error:
        why = error.public.removeprefix("mail_location: ").replace("unknown mailbox format:",
                                                                  "Unknown mail storage driver")
        raise Failed(f"{what} namespace initialization failed: Initializing mail storage from mail_location parameter "
                     f"failed: {why}") from error
    except MailError as error:
        raise Failed(f"{what} from or to {location} failed: {_reason(error)}", status_of(error)) from error


def _reason(error: MailError) -> str:
    """With the path, where the system refused something: it is not one of the user's mailboxes, which are known."""
    return f"{error.public}: {error.detail}" if isinstance(error, NoPermission) and error.detail else reason(error)


def import_(run: Run) -> None:
    location, parent, words = run.arguments[0], run.arguments[1], run.arguments[2:]
    source = _opened(run, location, make=False, what="Import")
    try:
        for selected, uids in found(run, Query(words, source.separator), store=source):
            if uids:
                name = _below(parent, selected.name, source, run.store)
                _into(run, selected, uids, run.store, name, subscribe="s" in run.options)
    finally:
        source.close()


def export(run: Run) -> None:
    target = _opened(run, run.arguments[0], make=True, what="Export")
    try:
        for selected, uids in found(run, Query(run.arguments[1:], run.store.separator)):
            if uids:
                _into(run, selected, uids, target, _below("", selected.name, run.store, target), subscribe=False)
    finally:
        target.close()


def _below(parent: str, name: str, source: MailStore, target: MailStore) -> str:
    """Where a mailbox goes: its levels below the parent, with the target's separator and encoding."""
    levels = name.removeprefix(source.prefix).split(source.separator)
    whole = target.separator.join([*([parent] if parent else []), *(from_mutf7(level) or level for level in levels)])
    return "INBOX" if whole.upper() == "INBOX" else to_mutf7(target.prefix + whole if not parent else whole)


def _opened_or_made(target: MailStore, name: str) -> tuple[Mailbox, str]:
    """A mailbox, and its name: an mbox file has no mailboxes below it, so these come beside it, as "Work.Sub"."""
    try:
        return target.open(name), name
    except NoSuchMailbox:
        try:
            target.create(name)
        except NotPossible:
            name = name.replace(target.separator, "." if target.separator != "." else "-")
            if not target.exists(name):
                target.create(name)
        return target.open(name), name


def _into(run: Run, selected: Selected, uids: list[int], target: MailStore, name: str, *, subscribe: bool) -> None:
    """Messages into a mailbox that is made if need be."""
    try:
        mailbox, name = _opened_or_made(target, name)
        if subscribe:
            target.subscribe(name, True)
        append_all(selected.mailbox, uids, mailbox)
    except MailError as error:
        run.complain(f"Mailbox {shown(name)}: Copying failed: {_reason(error)}", status_of(error))


COMMANDS: Mapping[str, Callable[[Run], None]] = {"import": import_, "export": export}
