"""Which mailboxes a NOTIFY is about, and what becomes of their names (RFC 5465 sections 5.4, 5.5 and 6).

    names = NameWatch(context, groups)
    names.look()                                    what there is
    names.events_of(info)                           what is asked about a mailbox
    names.changes() -> LIST replies                 looks again; names.renamed: new names to old ones
    names.own(["Work"])                             this session changed these: taken over without a word

A name that was renamed is found by its folder's inode. "inboxes" is "personal", because a Sieve script may deliver to
any mailbox.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mailsuite.base.errors import MailError
from mailsuite.imap.commands.context import Context
from mailsuite.imap.commands.status import same_mailbox
from mailsuite.imap.fetch_items import Item
from mailsuite.imap.reply import string
from mailsuite.store.api import MailboxInfo

RETRIES = 3         # listings; INBOX and mailboxes made at their first use need not be there


@dataclass(frozen=True)
class Group:
    """Of NOTIFY SET. chosen: the filter. events: in upper case. items: what is fetched of new messages."""

    chosen: str
    names: tuple[str, ...] = ()
    events: frozenset[str] = frozenset()
    items: tuple[Item, ...] = ()


@dataclass(frozen=True)
class Name:
    """A name as LIST shows it. identity: of its folder or file, which stays when it is renamed."""

    info: MailboxInfo
    identity: tuple[int, int] | None = None


class NameWatch:
    """now: all names as they were when last looked at, subscribed ones that do not exist among them."""

    def __init__(self, context: Context, groups: Sequence[Group]) -> None:
        self._context, self._store, self._groups = context, context.store, groups
        self._wants_names = any("MAILBOXNAME" in group.events for group in groups)
        self._foreign = [each.prefix for each in self._store.namespaces() if each.kind != "private" and each.prefix]
        self.now: dict[str, Name] = {}
        self.renamed: dict[str, str] = {}

    def look(self) -> None:
        self.now = self._list()

    def info(self, name: str) -> MailboxInfo:
        return self.now[name].info if name in self.now else MailboxInfo(name)

    def covers(self, group: Group, info: MailboxInfo) -> bool:
        """Whether a filter of NOTIFY or ESEARCH means a mailbox."""
        name, separator = info.name, self._store.separator
        match group.chosen:
            case "PERSONAL" | "INBOXES":
                return not any(name.startswith(prefix) or name + separator == prefix for prefix in self._foreign)
            case "SUBSCRIBED":
                return info.subscribed
            case "SUBTREE-ONE":
                return any(same_mailbox(name, each) or name.rpartition(separator)[0] == each for each in group.names)
            case "SUBTREE":
                return any(same_mailbox(name, each) or name.startswith(each + separator) for each in group.names)
        return any(same_mailbox(name, each) for each in group.names)

    def events_of(self, info: MailboxInfo) -> frozenset[str]:
        found: frozenset[str] = frozenset()
        for group in self._groups:
            if self.covers(group, info):
                found |= group.events
        return found

    def _list(self) -> dict[str, Name]:
        """Twice, where a folder went away between the listing and the look at it: it may have got another name."""
        for _ in range(RETRIES):
            found = self._listed()
            if not self._wants_names or all(each.identity is not None or not each.info.selectable
                                            for each in found.values()):
                break
        return found

    def _listed(self) -> dict[str, Name]:
        infos = {info.name: info for info in self._store.list_mailboxes()}
        for name in self._store.subscriptions():
            infos.setdefault(name, MailboxInfo(name, selectable=False, subscribed=True))
        if not self._wants_names:
            return {name: Name(info) for name, info in infos.items()}
        return {name: Name(info, self._identity(name)) for name, info in infos.items()}

    def _identity(self, name: str) -> tuple[int, int] | None:
        try:
            status = os.stat(self._store.path(name))
        except (OSError, MailError):
            return None
        return status.st_dev, status.st_ino

    def changes(self) -> Iterator[bytes]:
        """LIST replies for all that is different, in the order of the names."""
        before, self.now = self.now, self._list()
        self.renamed = _renamed(before, self.now) if self._wants_names else {}
        yield from self._lines(before, self.now, self.renamed)

    def own(self, names: Sequence[str]) -> None:
        """Take over what became of these names and of those around them."""
        separator, before, now = self._store.separator, self.now, self._list()

        def concerned(name: str) -> bool:
            return any(same_mailbox(name, each) or name.startswith(each + separator)
                       or each.startswith(name + separator) for each in names)

        self.now = {**{name: each for name, each in before.items() if not concerned(name)},
                    **{name: each for name, each in now.items() if concerned(name)}}
        self.renamed = _renamed({name: each for name, each in before.items() if concerned(name)}, now)

    def _lines(self, before: dict[str, Name], now: dict[str, Name], renamed: dict[str, str]) -> Iterator[bytes]:
        old_names = set(renamed.values())
        affected = {name for name in before.keys() | now.keys() if _exists(before, name) != _exists(now, name)}
        affected |= {parent for name in affected if (parent := self._parent(name))}
        changed = {name for name in before.keys() & now.keys()
                   if before[name].info.subscribed != now[name].info.subscribed}
        for name in sorted(affected | changed):
            if name in old_names and name not in now:
                continue                    # told with its new name
            info = (now.get(name) or before.get(name) or Name(MailboxInfo(name, selectable=False))).info
            events = self.events_of(info) | (self.events_of(before[name].info) if name in before else frozenset())
            old = renamed.get(name)
            if old is not None:
                events |= self.events_of(before[old].info)
                if (parent := self._parent(name)) in renamed and renamed[parent] == self._parent(old):
                    continue                # it came along with its parent
            if (name in affected and "MAILBOXNAME" in events) or (
                    "SUBSCRIPTIONCHANGE" in events and _subscribed(before, name) != _subscribed(now, name)):
                missing = ["\\NonExistent"] if not _exists(now, name) else []
                yield self.line(replace(info, has_children=info.has_children and name in now), *missing, old=old)

    def _parent(self, name: str) -> str:
        return name.rpartition(self._store.separator)[0]

    def line(self, info: MailboxInfo, *flags: str, old: str | None = None) -> bytes:
        said = [*flags]
        if not info.selectable and "\\NonExistent" not in flags:
            said.append("\\Noselect")
        if "\\NonExistent" not in flags or info.has_children:
            said.append("\\HasChildren" if info.has_children else
                        "\\NoInferiors" if info.no_inferiors else "\\HasNoChildren")
        if info.subscribed:
            said.append("\\Subscribed")
        said += info.special_use
        more = b' ("OLDNAME" (%b))' % self._context.shown(old) if old is not None else b""
        separator = info.separator or self._store.separator
        return b"* LIST (%b) %b %b%b\r\n" % (" ".join(said).encode(), string(separator.encode()),
                                              self._context.shown(info.name), more)


def _exists(names: dict[str, Name], name: str) -> bool:
    """Other than as a subscription to nothing."""
    return name in names and (names[name].info.selectable or names[name].info.has_children)


def _subscribed(names: dict[str, Name], name: str) -> bool:
    return name in names and names[name].info.subscribed


def _renamed(before: dict[str, Name], now: dict[str, Name]) -> dict[str, str]:
    """New names to old ones: the same folder or file, elsewhere."""
    def missing(each: Name, name: str, names: dict[str, Name]) -> bool:
        return each.identity is not None and (name not in names or names[name].identity != each.identity)

    gone = {each.identity: name for name, each in before.items() if missing(each, name, now)}
    return {name: gone[each.identity] for name, each in now.items()
            if missing(each, name, before) and each.identity in gone}
