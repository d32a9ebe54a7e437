"""LIST over several namespaces: the mailboxes of each, other users' where they share some, the names between.

    list_mailboxes(spaces, beginnings=("",), reference="") -> [MailboxInfo, ...]
"""

from collections.abc import Sequence
from dataclasses import replace

from mailsuite.base.errors import MailError
from mailsuite.base.log import access_logger
from mailsuite.store.api import MailboxInfo
from mailsuite.store.space import Space
from mailsuite.store.space_subscriptions import reached, subscriptions
from mailsuite.store.spaces import NoOwner, Shared, Spaces

log = access_logger("imap")


def list_mailboxes(spaces: Spaces, beginnings: Sequence[str], reference: str) -> list[MailboxInfo]:
    """As MailStore.list_mailboxes."""
    found: list[MailboxInfo] = []
    for space in spaces.own:
        if space.spec.listed != "no" or space.prefix and reached(space.prefix, beginnings):
            found += _listed(spaces, space, roots=space.spec.listed)
    for shared in spaces.shared:
        found += _listed_shared(spaces, shared, beginnings, reference)
    subscribed = set(subscriptions(spaces, beginnings))
    found = [info if info.subscribed == (info.name in subscribed) else replace(info, subscribed=not info.subscribed)
             for info in found]
    return _with_parents(found, spaces.inbox.separator)


def _listed(spaces: Spaces, space: Space, *, roots: str) -> list[MailboxInfo]:
    """roots: whether the namespace's prefix is told: yes, no, or children: when something is below."""
    try:
        infos = space.store.list_mailboxes()
    except MailError as error:
        if not space.spec.may_fail:
            raise
        log.error("namespace %s: %s", space.prefix, error.detail or error.public)
        return []
    shown = [_own_look(spaces, space, info) for info in infos if space.target is None or info.name != "INBOX"]
    rooted = any(info.name == space.root for info in shown)
    below = any(info.name != space.root for info in shown)
    if space.root and space.root.upper() != "INBOX" and (roots == "yes" or roots == "children" and below):
        if rooted:
            shown = [replace(info, has_children=below) if info.name == space.root else info for info in shown]
        else:
            shown.append(MailboxInfo(space.root, selectable=False, has_children=below,
                                     bare=space.store.unlisted_root, separator=_other(spaces, space)))
    return shown


def _other(spaces: Spaces, space: Space) -> str:
    return space.separator if space.separator != spaces.inbox.separator else ""


def _own_look(spaces: Spaces, space: Space, info: MailboxInfo) -> MailboxInfo:
    if space.target is None and not _other(spaces, space):
        return info
    return replace(info, name=space.shown(info.name), separator=_other(spaces, space))


def _listed_shared(spaces: Spaces, shared: Shared, beginnings: Sequence[str], reference: str) -> list[MailboxInfo]:
    spec, pattern = shared.spec, shared.pattern
    if spec.listed == "no" and not reached(pattern.begin, beginnings):
        return []
    named = pattern.owner_of(reference, spaces.user) if reference.startswith(pattern.begin) else None
    found: list[MailboxInfo] = []
    for owner in dict.fromkeys([*([named[0]] if named else []), *shared.spaces, *spaces.owners()]):
        if owner == spaces.user:
            continue
        try:
            space = spaces.of_owner(shared, owner)
            space.asked = space.asked or named is not None and owner == named[0]
            found += _listed(spaces, space, roots="yes" if space.asked else "children")
        except NoOwner:
            continue                    # gone since the owner shared something
        except MailError as error:
            log.error("namespace %s: %s", pattern.prefix_of(owner), error.detail or error.public)
    root = pattern.begin.removesuffix(spec.separator)
    if root and (spec.listed == "yes" or spec.listed == "children" and found):
        found.append(MailboxInfo(root, selectable=False, has_children=bool(found)))
    return found


def _with_parents(infos: list[MailboxInfo], separator: str) -> list[MailboxInfo]:
    """Names between a namespace's prefix and what was found."""
    known = {info.name for info in infos}
    parents: dict[str, MailboxInfo] = {}
    for info in infos:
        own = info.separator or separator
        at = info.name.rfind(own)
        while at > 0:
            parent = info.name[:at]
            if parent not in known and parent.upper() != "INBOX":
                parents[parent] = MailboxInfo(parent, selectable=False, has_children=True, separator=info.separator)
            at = info.name.rfind(own, 0, at)
    return [*infos, *parents.values()]
