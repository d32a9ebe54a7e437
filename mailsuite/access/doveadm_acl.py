"""doveadm acl get, rights, set, add, remove, delete, recalc, debug: a mailbox's ACL as the administrator sees it.

They ask for no rights of the user (-u), who only says which namespaces there are and what "owner" means.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from mailsuite.access.doveadm_run import EX_NOTFOUND, EX_USAGE, Failed, Run
from mailsuite.acl.entries import BadAcl, Entry, Identifier, parse_identifier, put
from mailsuite.acl.rights import BY_NAME, NAMES, NONE, Rights, file_text, names
from mailsuite.base.errors import MailError
from mailsuite.store.api import NoSuchMailbox
from mailsuite.store.names import Parts, to_mutf7

if TYPE_CHECKING:
    from mailsuite.store.acl import NamespaceAcl


def _opened(run: Run) -> "tuple[NamespaceAcl, Parts] | None":
    """The mailbox's ACLs; None after a complaint."""
    name = to_mutf7(run.arguments[0])
    try:
        found = run.store.acl_of(name)
        if found is None:
            raise Failed("ACL not enabled", EX_NOTFOUND)
        if not run.store.exists(name):
            raise NoSuchMailbox(run.arguments[0])
    except MailError as error:
        run.error(f"Can't open mailbox {run.arguments[0]}", error)
        return None
    return found


def get(run: Run) -> None:
    run.header("ID", "Global", "Rights")
    if (found := _opened(run)) is None:
        return
    acl, parts = found
    for entry in acl.entries(parts):
        if "m" in run.options and not acl.who.matches(entry):
            continue
        words = [NAMES[letter] for letter in file_text(entry.rights or NONE)]
        words += ["-" + NAMES[letter] for letter in file_text(entry.denied or NONE)]
        run.row([str(entry.who), "global" if entry.who.everywhere else "", " ".join(words)])


def rights(run: Run) -> None:
    run.header("Rights")
    if (found := _opened(run)) is not None:
        run.row([names(found[0].rights(found[1]))])


def _parsed(run: Run) -> tuple[Identifier, Rights, Rights]:
    """Whose, and the rights that are given and, with "-" in front, taken away."""
    before = f"doveadm({run.user.user}): "
    try:
        who = parse_identifier(run.arguments[1])
    except BadAcl:
        raise Failed(f"Invalid ID: {run.arguments[1]}", EX_USAGE, before=before) from None
    given, denied = set[str](), set[str]()
    for word in run.arguments[2:]:
        if word.removeprefix("-") not in BY_NAME:
            raise Failed(f"Invalid right '{word}'", EX_USAGE, before=before)
        (denied if word.startswith("-") else given).add(BY_NAME[word.removeprefix("-")])
    return who, frozenset(given), frozenset(denied)


def _change(run: Run, update: Callable[[Sequence[Entry]], Sequence[Entry]]) -> None:
    if (found := _opened(run)) is None:
        return
    try:
        found[0].change(found[1], update)
    except MailError as error:
        run.error("Failed to set ACL", error)


def _with(entries: Sequence[Entry], who: Identifier, given: Rights | None, denied: Rights | None) -> Sequence[Entry]:
    return put(put(entries, who, given, denied=False), who, denied, denied=True)


def set_(run: Run) -> None:
    who, given, denied = _parsed(run)
    _change(run, lambda entries: _with(entries, who, given if given or not denied else None, denied or None))


def _old(entries: Sequence[Entry], who: Identifier) -> Entry:
    return next((entry for entry in entries if entry.who == who), Entry(who))


def add(run: Run) -> None:
    who, given, denied = _parsed(run)

    def update(entries: Sequence[Entry]) -> Sequence[Entry]:
        old = _old(entries, who)
        return _with(entries, who, (old.rights or NONE) | given if given or old.rights is not None else None,
                     (old.denied or NONE) | denied if denied or old.denied is not None else None)

    _change(run, update)


def remove(run: Run) -> None:
    who, given, denied = _parsed(run)

    def update(entries: Sequence[Entry]) -> Sequence[Entry]:
        old = _old(entries, who)
        return _with(entries, who, None if old.rights is None else old.rights - given,
                     None if old.denied is None else old.denied - denied)

    _change(run, update)


def delete(run: Run) -> None:
    who, _, _ = _parsed(run)
    _change(run, lambda entries: [entry for entry in entries if entry.who != who])


def recalc(run: Run) -> None:
    """acl_shared_dict tells who may see something of the user's INBOX namespace, as the ACLs have it now."""
    found = run.store.acl_of("INBOX")
    if found is None:
        raise Failed("ACL not enabled", EX_NOTFOUND)
    found[0].tell_shared()


def debug(run: Run) -> None:
    name = run.arguments[0]
    found = run.store.acl_of(to_mutf7(name))
    if found is None:
        raise Failed("ACL not enabled", EX_NOTFOUND)
    acl, parts = found
    where = acl.place
    stored = where.own.join(parts)
    if not run.store.exists(to_mutf7(name)):
        run.complain(f"Mailbox '{stored}' in namespace '{where.prefix}' doesn't exist in "
                     f"{run.store.path(to_mutf7(name))}", EX_NOTFOUND)
        return
    held = acl.rights(parts)
    run.inform(f"Mailbox '{stored}' is in namespace '{where.prefix}'")
    run.inform(f"Mailbox path: {run.store.path(to_mutf7(name))}")
    run.inform("Per-user private flags in mailbox: \\Seen" if where.own_flags else
               "All message flags are shared across users in mailbox")
    user = acl.who.user
    run.inform(f"User {user} has rights: {names(held)}" if held else f"User {user} has no rights for mailbox")
    if "l" not in held:
        run.say({"error": f"User {user} is missing 'lookup' right"})
    elif acl.who.owner:
        run.inform("Mailbox in user's private namespace")
    elif acl.owner:
        _tell_sharing(run, acl)
    else:
        run.inform("Mailbox is in public namespace")
    seen = any(info.name == to_mutf7(name) or info.name == where.name_of(parts) for info in
               run.store.list_mailboxes([to_mutf7(name)], to_mutf7(name)) if info.selectable)
    run.inform(f"Mailbox {name} is {'' if seen else 'NOT '}visible in LIST")


def _tell_sharing(run: Run, acl: "NamespaceAcl") -> None:
    told = acl.told_shared()
    if told is None:
        run.say({"error": "acl_shared_dict not set"})
    elif told:
        run.inform(f"User {acl.owner} found from ACL shared dict")
    else:
        run.say({"error": f"User {acl.owner} not found from ACL shared dict"})


COMMANDS: Mapping[str, Callable[[Run], None]] = {
    "acl get": get, "acl rights": rights, "acl set": set_, "acl add": add, "acl remove": remove,
    "acl delete": delete, "acl recalc": recalc, "acl debug": debug}
