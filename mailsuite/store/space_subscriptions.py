"""Subscriptions where there are several namespaces: each keeps its own, or the one above keeps them for it.

    subscriptions(spaces, beginnings=("",)) -> names
    subscribe(spaces, "Public/Board", True, missing=False)      Raises NotPossible: nobody keeps them
"""

from collections.abc import Sequence

from mailsuite.store.errors import NotPossible
from mailsuite.store.names import INBOX, Parts
from mailsuite.store.space import Space
from mailsuite.store.spaces import Spaces
from mailsuite.store.store import UserStore


def reached(prefix: str, beginnings: Sequence[str]) -> bool:
    """Does one of the patterns ask for names of a namespace?"""
    return any(beginning.startswith(prefix) for beginning in beginnings)


def subscriptions(spaces: Spaces, beginnings: Sequence[str]) -> list[str]:
    """Names of all namespaces' subscribed mailboxes."""
    found: list[str] = []
    for space in spaces.own:
        if not space.spec.subscriptions or space.target is not None and not reached(space.prefix, beginnings):
            continue
        if space.spec.listed == "no" and not reached(space.prefix, beginnings):
            continue
        for parts in space.store.subscribed_parts():
            name = _foreign_name(spaces, space.store, parts) if space.target is None else None
            found.append(name or space.shown(space.store.name_of(parts)))
    return list(dict.fromkeys(found))


def _foreign_name(spaces: Spaces, keeper: UserStore, parts: Parts) -> str | None:
    """What an entry for another namespace's mailbox says: its prefix, then the name with that store's own
    separator, cut at the separator of the store that keeps it, as Dovecot writes it."""
    text = keeper.own.join(parts)
    for space in spaces.own:
        if not space.spec.subscriptions and space.target is None and text.startswith(space.prefix) and space.prefix:
            rest = text.removeprefix(space.prefix)
            return space.store.name_of(tuple(rest.split(space.store.own)) if rest else INBOX)
    for spec, pattern, known in spaces.shared:
        found = pattern.owner_of(text, spaces.user) if text.startswith(pattern.begin) else None
        if found is not None and not spec.subscriptions:
            owner, prefix = found
            rest = text.removeprefix(prefix)
            own = known[owner].store.own if owner in known else keeper.own
            levels = rest.split(own) if rest and rest != "INBOX" else []
            return spec.separator.join([prefix.removesuffix(spec.separator), *levels])
    return None


def subscribe(spaces: Spaces, name: str, on: bool, *, missing: bool) -> None:
    """As MailStore.subscribe."""
    space = spaces.find(name)
    if space.spec.subscriptions:
        space.store.subscribe(space.name(name), on, missing=missing)
        return
    keeper = _keeper(spaces, space)
    store = space.store
    parts = store.check_subscribed(name, on and not missing)
    rest = "" if parts == INBOX and space.spec.kind == "public" else store.own.join(parts)
    keeper.store.change_subscription(tuple((space.prefix + rest).split(keeper.store.own)), on)


def _keeper(spaces: Spaces, space: Space) -> Space:
    """The namespace above that keeps the subscriptions. Raises NotPossible."""
    above = [one for one in spaces.own if one.spec.subscriptions and one.target is None
             and space.prefix.startswith(one.prefix) and one.separator == space.separator]
    if not above:
        raise NotPossible("This namespace has no subscriptions")
    return max(above, key=lambda one: len(one.prefix))
