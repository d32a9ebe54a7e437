"""Commands whose answer is in memory: the event loop gives it itself, without a thread.

    hold = at_hand(context, command)            None: it may have to wait, a thread does it
    if hold is not None and hold.take():        now or never: nothing waits here
        try: run a step of the command
        finally: hold.release()

A thread costs two changes of threads, each of which takes and gives back the interpreter: more than a SELECT of a
mailbox that is open, a NOOP with nothing new, or two thousand lines of flags. `take` gets the mailbox's lock if nobody
has it; a command that looks at the files has to find them as they were, which the times of two folders tell. It is
asked before each step: a step for which it fails is a thread's. So is FETCH of a few small messages answered, as when a
user reads one mail after the other, if the kernel has them in its memory; so are STATUS of a mailbox that is open, and
SEARCH for flags and message sets.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from mailsuite.base.errors import PeerError
from mailsuite.imap.commands.context import Context
from mailsuite.imap.commands.fetch import asked_for
from mailsuite.imap.commands.status import status_items
from mailsuite.imap.session import Command
from mailsuite.imap.syntax import Atom, String, text_of
from mailsuite.store.api import Mailbox, MailStore

FEW_KEYS = 30           # words of a SEARCH that the event loop does
SHORT = 500             # octets of a message set in it
FEW = 8                 # messages that are read and parsed in one step of the event loop


class Hold(Protocol):
    """See above."""

    def take(self) -> bool: ...
    def release(self) -> None: ...


class _Selected:
    """The selected mailbox. unchanged: the command asks whether something happened in it."""

    def __init__(self, mailbox: Mailbox, *, unchanged: bool) -> None:
        self._mailbox, self._unchanged = mailbox, unchanged

    def take(self) -> bool:
        return self._mailbox.hold(unchanged=self._unchanged)

    def release(self) -> None:
        self._mailbox.release()


class _Messages:
    """A few messages of the selected mailbox. seen: the command would mark them \\Seen, in their files."""

    def __init__(self, mailbox: Mailbox, uids: Sequence[int], *, seen: bool) -> None:
        self._mailbox, self._uids, self._seen = mailbox, uids, seen

    def take(self) -> bool:
        if not self._mailbox.hold_messages(self._uids):
            return False
        if self._seen and len(self._mailbox.with_flag(self._uids, "\\Seen")) < len(self._uids):
            self._mailbox.release()
            return False
        return True

    def release(self) -> None:
        self._mailbox.release()


class _Named:
    """A mailbox by name, with the store. claims: the command takes \\Recent. sized: it asks for the octets of all."""

    def __init__(self, store: MailStore, name: str, *, claims: bool = True, sized: bool = False) -> None:
        self._store, self._name, self._claims, self._sized = store, name, claims, sized

    def take(self) -> bool:
        if not self._store.hold(self._name, claims=self._claims):
            return False
        if self._sized and not self._store.open(self._name).total_known:
            self.release()
            return False
        return True

    def release(self) -> None:
        self._store.release(self._name)


def at_hand(context: Context, command: Command) -> Hold | None:
    """What has to be held around each step; None: not for the event loop."""
    find = _FIND.get(command.name)
    return find(context, command) if find is not None and context.notices is None else None


def _noop(context: Context, command: Command) -> Hold | None:
    return _Selected(context.selected.mailbox, unchanged=True) if context.selected is not None else None


def _fetch(context: Context, command: Command) -> Hold | None:
    """Of what never needs a file, or of a few messages, without modifiers."""
    selected = context.selected
    if selected is None:
        return None
    try:
        request, plan = asked_for(context, command)
        if request.changed_since >= 0 or request.vanished or request.partial is not None:
            return None
        if plan.in_memory:
            return _Selected(selected.mailbox, unchanged=False)
        if not plan.told:
            return None
        positions = selected.positions(command.arguments[0], uid=command.uid)
    except PeerError:
        return None
    if sum(map(len, positions)) > FEW:
        return None
    return _Messages(selected.mailbox, selected.uids_at(positions), seen=plan.mark_seen)


def _select(context: Context, command: Command) -> Hold | None:
    """The first of a session, without parameters."""
    store = context.mail.open_store
    if store is None or context.selected is not None or context.utf8 or len(command.arguments) != 1:
        return None
    name = command.arguments[0]
    return _Named(store, text_of(name)) if isinstance(name, Atom | String) else None


def _status(context: Context, command: Command) -> Hold | None:
    """Of what is counted."""
    store = context.mail.open_store
    if store is None or context.utf8 or len(command.arguments) < 2:
        return None
    name = command.arguments[0]
    try:
        items = set(status_items(context, command.arguments[1]))
    except PeerError:
        return None
    if not isinstance(name, Atom | String) or not items <= _COUNTED:
        return None
    return _Named(store, text_of(name), claims=False, sized=not items.isdisjoint(_SIZES))


def _search(context: Context, command: Command) -> Hold | None:
    """For flags, in a message set or among all: one look at each message. With the plain reply."""
    if context.selected is None or len(command.arguments) > FEW_KEYS:
        return None
    sets, joined = 0, False
    for word in command.arguments:
        if not isinstance(word, Atom):
            return None
        if word[:1].isdigit() and len(word) <= SHORT:
            sets += 1
        elif word.upper() not in _FLAG_KEYS:
            return None
        joined = joined or word.upper() in (b"OR", b"NOT")
    if sets > 1 or sets and joined:
        return None
    return _Selected(context.selected.mailbox, unchanged=False)


_SIZES = {"SIZE", "X-SIZE"}
_COUNTED = _SIZES | {"MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "HIGHESTMODSEQ", "X-GUID", "DELETED",
                     "MAILBOXID"}
_FLAG_KEYS = frozenset((b"ALL", b"NOT", b"OR", b"UID", b"ANSWERED", b"DELETED", b"DRAFT", b"FLAGGED", b"SEEN",
                        b"UNANSWERED", b"UNDELETED", b"UNDRAFT", b"UNFLAGGED", b"UNSEEN"))
_FIND: Mapping[str, Callable[[Context, Command], Hold | None]] = {
    "NOOP": _noop, "FETCH": _fetch, "UID FETCH": _fetch, "SELECT": _select, "EXAMINE": _select, "STATUS": _status,
    "SEARCH": _search, "UID SEARCH": _search}
