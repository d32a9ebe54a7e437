"""ESEARCH (RFC 7377): one search in several mailboxes, none of which is selected for it.

    ESEARCH IN (mailboxes "folder1" subtree "folder2") RETURN (COUNT ALL) unseen

The mailboxes are chosen as for NOTIFY, with SUBTREE-ONE besides. What may not be read, or is gone meanwhile, is passed
over. Answers come as mailboxes are done; one without a match gets none. Limits: params.search_max_mailboxes.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from mailsuite.base.errors import MailError, PeerError
from mailsuite.imap.commands.context import Context, Run
from mailsuite.imap.commands.name_changes import Group, NameWatch
from mailsuite.imap.commands.search import (
    Return,
    extended_result,
    keep_updated,
    save_result,
    take_charset,
    take_return,
)
from mailsuite.imap.reply import OK, Refusal, Reply
from mailsuite.imap.search import Search
from mailsuite.imap.search_keys import parse_keys
from mailsuite.imap.session import Command
from mailsuite.imap.syntax import Argument, Atom
from mailsuite.imap.view import Selected

_PLAIN = ("SELECTED", "INBOXES", "PERSONAL", "SUBSCRIBED")
_NAMED = ("SUBTREE", "SUBTREE-ONE", "MAILBOXES")


def do_esearch(context: Context, command: Command) -> Run:
    """RFC 7377 section 2."""
    words = list(command.arguments)
    groups = _sources(context, words)
    wanted = take_return(context, words)
    if wanted.options is None:
        wanted = Return({"ALL"})
    only_selected = all(group.chosen == "SELECTED" for group in groups)
    if any(group.chosen == "SELECTED" for group in groups) and context.selected is None:
        raise PeerError("No mailbox selected")
    if wanted.wants("SAVE") and not only_selected:
        raise PeerError("SAVE is for the selected mailbox only")
    if wanted.wants("UPDATE") and context.selected is None:
        raise PeerError("No mailbox selected")
    key = parse_keys(words, take_charset(context, words), context.params.offered)
    named = replace(command, uid=True)
    for name in _mailboxes(context, groups):
        with _opened(context, name) as selected:
            if selected is None:
                continue
            found = Search(selected, time.time(), context.has_left).find(key)
            if selected is context.selected and wanted.wants("UPDATE"):
                yield keep_updated(selected, named, key, found, wanted.items)
            if wanted.wants("SAVE"):
                save_result(selected, found, wanted)
            if found and wanted.options != {"SAVE"}:
                about = b" MAILBOX %b UIDVALIDITY %d" % (context.shown(name), selected.mailbox.uid_validity)
                yield extended_result(named, found, wanted, about=about)
    yield from context.sync(refresh=False, uid=True)
    return Reply(OK, "Search completed", context.modseq_code())


def _sources(context: Context, words: list[Argument]) -> list[Group]:
    """IN (...) at the front, taken away. Raises PeerError."""
    if len(words) < 2 or not isinstance(words[0], Atom) or words[0].upper() != b"IN" or not isinstance(words[1], list):
        return [Group("SELECTED")]
    given = words[1]
    del words[:2]
    groups: list[Group] = []
    items = iter(given)
    for each in items:
        chosen = each.decode("ascii").upper() if isinstance(each, Atom) else ""
        if chosen in _PLAIN:
            groups.append(Group(chosen))
            continue
        names = next(items, None)
        if chosen not in _NAMED or names is None or names == []:
            raise PeerError("Invalid source options")
        groups.append(Group(chosen, tuple(
            context.mailbox(name) for name in (names if isinstance(names, list) else [names]))))
    if not groups:
        raise PeerError("Invalid source options")
    return groups


def _mailboxes(context: Context, groups: list[Group]) -> list[str]:
    """Each once. Raises Refusal [LIMIT]."""
    found: dict[str, None] = {}
    if any(group.chosen == "SELECTED" for group in groups) and context.selected is not None:
        found[context.selected.name] = None
    others = [group for group in groups if group.chosen != "SELECTED"]
    if others:
        names = NameWatch(context, others)
        names.look()
        found |= {name: None for name, each in names.now.items()
                  if each.info.selectable and any(names.covers(group, each.info) for group in others)}
    if len(found) > context.params.search_max_mailboxes:
        raise Refusal(f"More than {context.params.search_max_mailboxes} mailboxes", "LIMIT")
    return list(found)


@contextmanager
def _opened(context: Context, name: str) -> Iterator[Selected | None]:
    """The selected mailbox as the client knows it; another one as it is now, None when it can't be read."""
    if context.selected is not None and context.selected.name == name:
        yield context.selected
        return
    try:
        mailbox = context.open(name)
        view = mailbox.open_view(read_only=True, claim_recent=False)
    except MailError:
        yield None
        return
    try:
        yield Selected(mailbox, view, name=name, rev2=context.rev2)
    finally:
        view.close()
