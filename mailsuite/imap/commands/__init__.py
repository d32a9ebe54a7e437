"""The commands of IMAP, one family a file, and the table that finds them.

    run(context, command) -> Run        a generator: untagged replies, then a Reply; raises nothing
"""

from collections.abc import Callable, Mapping
from enum import Flag, auto
from functools import lru_cache
from typing import NamedTuple

from mailsuite.base.errors import MailError, PeerError
from mailsuite.base.log import access_logger
from mailsuite.imap.commands import (
    acl,
    append,
    basic,
    compress,
    copy,
    enable,
    fetch,
    folders,
    listing,
    metadata,
    multisearch,
    notify,
    quota,
    replace,
    search,
    select,
    sort,
    status,
    store,
    unauthenticate,
    urlauth,
)
from mailsuite.imap.commands.context import UIDONLY, Context, Run
from mailsuite.imap.commands.errors import reply_of
from mailsuite.imap.reply import BAD, Reply, bad_arguments, internal_error, uid_required
from mailsuite.imap.session import Command
from mailsuite.store.api import StoreError

log = access_logger("imap")


class Rule(Flag):
    """What must be so before a command runs."""

    NONE = 0
    SELECTED = auto()       # a mailbox is selected
    NUMBERS = auto()        # it takes or tells message numbers: RFC 9586 section 3


_ANYTIME = Rule.NONE        # here once: to find a member of an enum takes calls


class Entry(NamedTuple):
    run: Callable[[Context, Command], Run]
    rules: Rule = _ANYTIME


COMMANDS: Mapping[str, Entry] = {
    "CAPABILITY": Entry(basic.do_capability),
    "NOOP": Entry(basic.do_noop),
    "LOGOUT": Entry(basic.do_logout),
    "ID": Entry(basic.do_id),
    "COMPRESS": Entry(compress.do_compress),
    "ENABLE": Entry(enable.do_enable),
    "NAMESPACE": Entry(basic.do_namespace),
    "NOTIFY": Entry(notify.do_notify),
    "GETMETADATA": Entry(metadata.do_getmetadata),
    "SETMETADATA": Entry(metadata.do_setmetadata),
    "GENURLAUTH": Entry(urlauth.do_genurlauth),
    "URLFETCH": Entry(urlauth.do_urlfetch),
    "RESETKEY": Entry(urlauth.do_resetkey),
    "CANCELUPDATE": Entry(basic.do_cancel_update),
    "X-CANCEL": Entry(basic.do_cancel),
    "SELECT": Entry(select.do_select),
    "EXAMINE": Entry(select.do_select),
    "CREATE": Entry(folders.do_create),
    "DELETE": Entry(folders.do_delete),
    "RENAME": Entry(folders.do_rename),
    "SUBSCRIBE": Entry(folders.do_subscribe),
    "UNSUBSCRIBE": Entry(folders.do_subscribe),
    "STATUS": Entry(status.do_status),
    "LIST": Entry(listing.do_list),
    "XLIST": Entry(listing.do_list),
    "LSUB": Entry(listing.do_list),
    "SETACL": Entry(acl.do_setacl),
    "DELETEACL": Entry(acl.do_deleteacl),
    "GETACL": Entry(acl.do_getacl),
    "LISTRIGHTS": Entry(acl.do_listrights),
    "MYRIGHTS": Entry(acl.do_myrights),
    "GETQUOTA": Entry(quota.do_getquota),
    "GETQUOTAROOT": Entry(quota.do_getquotaroot),
    "SETQUOTA": Entry(quota.do_setquota),
    "APPEND": Entry(append.do_append),
    "UNAUTHENTICATE": Entry(unauthenticate.do_unauthenticate),
    "REPLACE": Entry(replace.do_replace, Rule.SELECTED),
    "UID REPLACE": Entry(replace.do_replace, Rule.SELECTED),
    "ESEARCH": Entry(multisearch.do_esearch),
    "CHECK": Entry(basic.do_check, Rule.SELECTED),
    "CLOSE": Entry(select.do_close, Rule.SELECTED),
    "UNSELECT": Entry(select.do_unselect, Rule.SELECTED),
    "EXPUNGE": Entry(select.do_expunge, Rule.SELECTED),
    "UID EXPUNGE": Entry(select.do_expunge, Rule.SELECTED),
    "FETCH": Entry(fetch.do_fetch, Rule.SELECTED | Rule.NUMBERS),
    "UID FETCH": Entry(fetch.do_fetch, Rule.SELECTED),
    "STORE": Entry(store.do_store, Rule.SELECTED | Rule.NUMBERS),
    "UID STORE": Entry(store.do_store, Rule.SELECTED),
    "COPY": Entry(copy.do_copy, Rule.SELECTED | Rule.NUMBERS),
    "UID COPY": Entry(copy.do_copy, Rule.SELECTED),
    "MOVE": Entry(copy.do_move, Rule.SELECTED | Rule.NUMBERS),
    "UID MOVE": Entry(copy.do_move, Rule.SELECTED),
    "SEARCH": Entry(search.do_search, Rule.SELECTED | Rule.NUMBERS),
    "UID SEARCH": Entry(search.do_search, Rule.SELECTED),
    "SORT": Entry(sort.do_sort, Rule.SELECTED | Rule.NUMBERS),
    "UID SORT": Entry(sort.do_sort, Rule.SELECTED),
    "THREAD": Entry(sort.do_thread, Rule.SELECTED | Rule.NUMBERS),
    "UID THREAD": Entry(sort.do_thread, Rule.SELECTED),
}       # IDLE is the session's and the server's: it has two ends
# They look at no file while no mailbox is selected, and say less than server.STEP octets.
INSTANT = frozenset(("CAPABILITY", "NOOP", "LOGOUT", "ID", "ENABLE", "NAMESPACE"))
# They may read many messages: threads of their own.
SEARCHES = frozenset(("SEARCH", "ESEARCH", "UID SEARCH", "SORT", "UID SORT", "THREAD", "UID THREAD"))
NAMES = frozenset((*COMMANDS, "IDLE"))


@lru_cache(maxsize=16)
def known(withheld: frozenset[str]) -> frozenset[str]:
    """Names of commands but for those of extensions that are not offered."""
    return NAMES - withheld


def run(context: Context, command: Command) -> Run:
    """Run a command; whatever goes wrong becomes its reply."""
    entry = COMMANDS.get(command.name)
    if entry is None or command.name in context.params.withheld:
        return bad_arguments(command.name, PeerError("Unknown command"))
    if entry.rules is not _ANYTIME:
        if context.selected is None and Rule.SELECTED in entry.rules:
            return Reply(BAD, "No mailbox selected")
        if UIDONLY in context.enabled and Rule.NUMBERS in entry.rules:
            return bad_arguments(command.name, uid_required())
    extended = "IMAP4rev2" in context.params.offered
    return (yield from answered(command.name, entry.run(context, command), extended=extended))


def answered(name: str, steps: Run, *, extended: bool = False) -> Run:
    """The command's steps, with errors told in IMAP's words. extended: with more response codes than Dovecot 2.3."""
    try:
        return (yield from steps)
    except PeerError as error:
        return bad_arguments(name, error)
    except MailError as error:
        if isinstance(error, StoreError):
            log.error("%s: %s", name, error.detail)
        return reply_of(error, extended=extended)
    except Exception:
        log.exception("unforeseen in %s", name)
        return internal_error()
