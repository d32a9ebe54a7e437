"""What a session that said NOTIFY is told of: it remembers what its client knows, and tells the difference.

    notices = Notices(context, groups)
    yield from notices.begin(with_status=True)      what is so now; with STATUS it is told. Raises TooMany
    notices.places                                  paths to watch, each with what an event there is about
    notices.mark(Mark("Lists/One"))                 in any thread: something may have happened there
    notices.news()                                  octets of what is new among what was marked; blocks

The selected mailbox is Selected's business; here stand only the rules for it (`Group` SELECTED, SELECTED-DELAYED).
What this session does itself it need not be told: `added`, `names_changed`, `annotated` take it over silently.
Names: name_changes.py; METADATA: entry_changes.py. Source: RFC 5465 sections 5 and 6.
"""

import os
import threading
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

from mailsuite.base.errors import MailError
from mailsuite.imap.commands.context import Context
from mailsuite.imap.commands.entry_changes import EntryWatch
from mailsuite.imap.commands.name_changes import Group, NameWatch
from mailsuite.imap.fetch_items import Item
from mailsuite.imap.view import Selected
from mailsuite.store.api import Mailbox, NoPermission
from mailsuite.store.watch import CHANGED, CREATED, FOLDER, LOST, NAMES, Event

_ABOUT_MESSAGES = frozenset(("MESSAGENEW", "MESSAGEEXPUNGE", "FLAGCHANGE"))
_ABOUT_ENTRIES = frozenset(("MAILBOXMETADATACHANGE", "SERVERMETADATACHANGE"))


class TooMany(Exception):
    """More mailboxes would have to be watched than one session may."""


class Mark(NamedTuple):
    """What may have changed: the messages of a mailbox, or with about "names" or "entries" these.

    about "doubt": nobody has seen the mailbox change, but nobody was watching.
    """

    mailbox: str
    about: str = "messages"


NAMES_MARK, ENTRIES_MARK = Mark("", "names"), Mark("", "entries")


@dataclass(frozen=True)
class Place:
    """A path to watch. mark: what an event of the kinds in mask is about, whose name is in names (empty: any)."""

    mark: Mark
    mask: int
    names: frozenset[str] = frozenset()

    def fits(self, event: Event) -> bool:
        if event.mask & LOST:
            return True
        return bool(event.mask & self.mask & ~FOLDER) and (not self.mask & FOLDER or bool(event.mask & FOLDER)) and (
            not self.names or event.name in self.names) and not event.name.endswith(".lock")


@dataclass
class _Known:
    """A mailbox as the client was told last. doubt: its flags are not known."""

    messages: int
    uid_next: int
    uid_validity: int
    unseen: int
    modseq: int
    doubt: bool = False
    paths: Sequence[str] = ()
    stamp: object = None        # of the mailbox's files when it was looked at


class Notices:
    """Of one session; groups as the client said them. All but mark() belongs to the thread of the session's turn."""

    def __init__(self, context: Context, groups: Sequence[Group]) -> None:
        self._context, self._store = context, context.store
        self._selected = next((each for each in groups if each.chosen.startswith("SELECTED")), Group("SELECTED"))
        self._groups = [each for each in groups if each is not self._selected]
        events = frozenset().union(*(each.events for each in self._groups))
        self._wants_messages = bool(events & _ABOUT_MESSAGES)
        self._wants_entries = bool(events & _ABOUT_ENTRIES) and self._store.attributes is not None
        self._known: dict[str, _Known] = {}
        self._names = NameWatch(context, self._groups)
        self._entries = EntryWatch(context, self._names, server="SERVERMETADATACHANGE" in events)
        self._lock, self._marks = threading.Lock(), set[Mark]()
        self.places: dict[str, list[Place]] = {}
        self.generation = 0                         # of places

    # --- the selected mailbox --------

    @property
    def tells_messages(self) -> bool:
        """Of the selected mailbox: new and expunged messages."""
        return "MESSAGENEW" in self._selected.events

    @property
    def tells_flags(self) -> bool:
        return "FLAGCHANGE" in self._selected.events

    @property
    def tells_expunges_at_once(self) -> bool:
        return self.tells_messages and self._selected.chosen == "SELECTED"

    @property
    def items(self) -> tuple[Item, ...]:
        """What is fetched of new messages."""
        return self._selected.items

    def left(self, selected: Selected) -> None:
        """The client has left a mailbox and knows what it was told there."""
        known = self._known.get(selected.name)
        if known is not None:
            uids = selected.view.uids
            unseen = len(uids) - selected.mailbox.count_with(uids, "\\Seen")
            self._known[selected.name] = replace(known, messages=len(uids), uid_next=selected.uid_next, unseen=unseen,
                                                 modseq=selected.mailbox.highest_modseq)
            self.mark(Mark(selected.name))

    # --- the beginning --------

    def begin(self, *, with_status: bool) -> Generator[bytes, None, None]:
        """Find out what is so. Raises TooMany."""
        if not self._groups:
            return
        with suppress(MailError):
            self._store.open("INBOX")       # there have to be folders to watch
        self._names.look()
        watched = self._watched()
        for name, events in watched.items():
            yield self._look_first(name, events, tell=with_status)
        if self._wants_entries:
            self._entries.look()
        self._arrange()

    def _watched(self) -> dict[str, frozenset[str]]:
        """Mailboxes whose messages are watched, with the events of each. Raises TooMany."""
        if not self._wants_messages:
            return {}
        found = {name: self._names.events_of(each.info) & _ABOUT_MESSAGES
                 for name, each in self._names.now.items() if each.info.selectable}
        watched = {name: events for name, events in found.items() if events}
        if len(watched) > self._context.params.notify_max_mailboxes:
            raise TooMany
        return watched

    def _look_first(self, name: str, events: frozenset[str], *, tell: bool) -> bytes:
        try:
            mailbox = self._store.open(name)
            self._known[name] = known = self._look(mailbox)
        except NoPermission:
            return self._names.line(self._names.info(name), "\\NoAccess")
        except MailError:
            return b""              # it is gone, or not for mail
        selected = self._context.selected
        if not tell or (selected is not None and selected.name == name):
            return b""
        items = ["MESSAGES", "UIDNEXT", "UIDVALIDITY"]
        if "FLAGCHANGE" in events:
            items.append("HIGHESTMODSEQ")
        return self._status_line(name, known, items)

    def _look(self, mailbox: Mailbox) -> _Known:
        stamp = self._store.stamp(mailbox.name)
        status = mailbox.status()
        return _Known(status.messages, status.uid_next, status.uid_validity, status.unseen, status.highest_modseq,
                      paths=mailbox.watch_paths(), stamp=stamp)

    def _status_line(self, name: str, known: _Known, items: Iterable[str]) -> bytes:
        values = {"MESSAGES": known.messages, "UIDNEXT": known.uid_next, "UIDVALIDITY": known.uid_validity,
                  "UNSEEN": known.unseen, "HIGHESTMODSEQ": known.modseq}
        text = " ".join(f"{item} {values[item]}" for item in items)
        return b"* STATUS %b (%b)\r\n" % (self._context.shown(name), text.encode())

    # --- what to watch --------

    def _arrange(self) -> None:
        """Say anew which paths matter; first those that are few, so that a limit of watches cuts mailboxes only."""
        places: dict[str, list[Place]] = {}

        def place(path: str, mark: Mark, mask: int, names: Collection[str] = ()) -> None:
            places.setdefault(path, []).append(Place(mark, mask, frozenset(names)))

        # All filters but one depend on which mailboxes there are, and a named one may come into being.
        for folder, name in self._store.name_places():
            if name.startswith("*"):
                place(folder, NAMES_MARK, NAMES | FOLDER if name == "*/" else NAMES)
            else:
                place(folder, NAMES_MARK, NAMES | CHANGED, (name,))
        if self._wants_entries and self._store.attributes is not None:
            folder, name = os.path.split(self._store.attributes.path)
            place(folder, ENTRIES_MARK, CREATED | CHANGED, (name,))
        for mailbox, known in self._known.items():
            for path in known.paths:
                place(path, Mark(mailbox), NAMES | CHANGED)
        if places != self.places:
            self.places, self.generation = places, self.generation + 1

    def mark(self, mark: Mark) -> None:
        with self._lock:
            self._marks.add(mark)

    def mark_all(self) -> None:
        """Nobody knows what happened."""
        with self._lock:
            self._marks |= {NAMES_MARK, ENTRIES_MARK, *(Mark(name, "doubt") for name in list(self._known))}

    @property
    def marked(self) -> bool:
        return bool(self._marks)

    def _taken(self) -> set[Mark]:
        with self._lock:
            marks, self._marks = self._marks, set()
        return marks

    # --- news --------

    def news(self) -> Iterator[bytes]:
        """What is new, of other mailboxes than the selected one."""
        try:
            yield from self._news(self._taken())
        except TooMany:                     # RFC 5465 section 5.8: from here on as after NOTIFY NONE
            self._groups, self._selected = [], Group("SELECTED")
            self.places, self.generation = {}, self.generation + 1
            yield b"* OK [NOTIFICATIONOVERFLOW] Too many mailboxes to watch.\r\n"

    def _news(self, marks: set[Mark]) -> Iterator[bytes]:
        if not self._groups or not marks:
            return
        if NAMES_MARK in marks:
            yield from self._names.changes()
            self._follow()
        if ENTRIES_MARK in marks and self._wants_entries:
            yield from self._entries.changes()
        watched = self._watched()
        selected = self._context.selected
        for mark in sorted(marks):
            if mark.about in ("messages", "doubt") and mark.mailbox in watched and (
                    selected is None or selected.name != mark.mailbox) and (
                    mark.about == "messages" or self._is_stale(mark.mailbox)):
                yield self._message_news(mark.mailbox, watched[mark.mailbox])

    def _is_stale(self, name: str) -> bool:
        known = self._known.get(name)
        try:
            return known is None or known.stamp is None or self._store.stamp(name) != known.stamp
        except MailError:
            return True

    def _message_news(self, name: str, events: frozenset[str]) -> bytes:
        before = self._known.get(name)
        try:
            now = self._look(self._store.open(name))
        except MailError:
            return b""                      # its name tells what became of it
        self._known[name] = now
        if before is None:
            before = _Known(0, 1, now.uid_validity, 0, now.modseq, doubt=True)
        items = self._changed_items(before, now, events)
        return self._status_line(name, now, items) if items else b""

    def _changed_items(self, before: _Known, now: _Known, events: frozenset[str]) -> list[str]:
        condstore = "CONDSTORE" in self._context.enabled
        another = now.uid_validity != before.uid_validity
        messages = another or (now.messages, now.uid_next) != (before.messages, before.uid_next)
        if messages and "MESSAGENEW" in events:
            items = ["MESSAGES", "UIDNEXT", "UNSEEN"]
        elif "FLAGCHANGE" in events and not messages and not before.doubt and (
                now.unseen != before.unseen or (condstore and now.modseq != before.modseq)):
            items = ["UNSEEN"] * (now.unseen != before.unseen)
            another = another or condstore
        else:
            return []
        return items + ["UIDVALIDITY"] * another + ["HIGHESTMODSEQ"] * condstore

    def _follow(self) -> None:
        """Watch the mailboxes that there are now. Raises TooMany."""
        known, renamed = {}, self._names.renamed
        for name in self._watched():
            old = self._known.get(renamed.get(name, name))
            if old is not None:
                known[name] = old if name not in renamed else replace(old, paths=self._paths_of(name))
            else:                           # what comes into a new mailbox before we look is told
                known[name] = _Known(0, 1, 0, 0, 0, doubt=True, paths=self._paths_of(name))
                self._known_new(name, known[name])
        self._known = known
        self._arrange()

    def _known_new(self, name: str, known: _Known) -> None:
        try:
            known.uid_validity = self._store.open(name).uid_validity
        except MailError:
            return
        self.mark(Mark(name))

    def _paths_of(self, name: str) -> Sequence[str]:
        try:
            return self._store.open(name).watch_paths()
        except MailError:
            return ()

    # --- what this session did itself --------

    def added(self, mailbox: Mailbox, uids: Sequence[int]) -> None:
        """It put messages into a mailbox that is not selected."""
        known = self._known.get(mailbox.name)
        if known is not None and uids:
            known.messages += len(uids)
            known.uid_next, known.doubt = max(known.uid_next, uids[-1] + 1), True

    def names_changed(self, *names: str) -> None:
        """It created, deleted, renamed or subscribed to these, or what lies below them."""
        if not self._groups:
            return
        self._names.own(names)
        self._follow()
        self.mark(NAMES_MARK)

    def annotated(self) -> None:
        """It changed entries; what others changed in the same moment is told later or not at all."""
        if self._wants_entries:
            self._entries.look()
