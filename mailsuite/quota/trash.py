"""The trash plugin: when a quota is full, the oldest messages of certain mailboxes make room.

    trash = Trash("/etc/dovecot/dovecot-trash.conf.ext")
    trash.make_room(open_mailbox, Usage(octets, messages), wire=False)      removes at least as much, or nothing

The file has a priority and a mailbox's name in each line. Mailboxes of the lowest number are emptied first, those of
one number together, the oldest message first (by INTERNALDATE). spare: a mailbox whose messages are wanted just now.
Call it without holding the lock of a mailbox: it takes those of the mailboxes it empties, one after the other.
What can go wrong: the file is missing or damaged (logged, nothing makes room), a mailbox does not exist (passed over).
"""

import logging
from collections.abc import Callable
from functools import cached_property
from heapq import merge
from typing import TYPE_CHECKING, NamedTuple

from mailsuite.base.errors import MailError
from mailsuite.store.names import to_mutf7
from mailsuite.store.quota import Usage

if TYPE_CHECKING:
    from mailsuite.store.api import Mailbox

FILE_LIMIT = 64 * 1024
log = logging.getLogger("mailsuite.dovecot.trash")

OpenMailbox = Callable[[str], "Mailbox"]


class _Old(NamedTuple):
    """A message that may go."""

    received: int
    uid: int
    size: int
    mailbox: "Mailbox"


class Trash:
    """path: what `trash` of plugin { } says."""

    def __init__(self, path: str) -> None:
        self._path = path

    @cached_property
    def _groups(self) -> list[list[str]]:
        """Names of mailboxes, those that go first in front."""
        by_priority: dict[int, list[str]] = {}
        try:
            with open(self._path, encoding="utf-8", errors="surrogateescape") as file:
                lines = file.read(FILE_LIMIT).splitlines()
        except OSError as error:
            log.error("open(%s) failed: %s", self._path, error.strerror)
            return []
        for line in lines:
            if not line.strip() or line.startswith("#"):
                continue
            number, _, name = line.partition(" ")
            if not number.lstrip("-").isdecimal() or not name.strip():
                log.error("%s: Invalid config line: %s", self._path, line)
                return []
            by_priority.setdefault(int(number), []).append(to_mutf7(name.strip()))
        return [by_priority[number] for number in sorted(by_priority)]

    def make_room(self, open_mailbox: OpenMailbox, needed: Usage, *, wire: bool, spare: str = "") -> bool:
        """Whether so much was removed. wire: sizes are counted with CRLF line ends."""
        going: list[_Old] = []
        octets, messages = needed
        for names in self._groups:
            for old in merge(*(self._messages(open_mailbox, name, wire) for name in names if name != spare),
                             key=lambda old: old.received):
                if octets <= 0 and messages <= 0:
                    break
                going.append(old)
                octets, messages = octets - old.size, messages - 1
        if octets > 0 or messages > 0:
            return False
        chosen: dict[str, tuple[Mailbox, list[int]]] = {}
        for old in going:
            chosen.setdefault(old.mailbox.name, (old.mailbox, []))[1].append(old.uid)
        for mailbox, uids in chosen.values():
            gone = mailbox.remove(uids)
            log.info("%d messages of %s removed to make room", len(gone), mailbox.name)
        return True

    def _messages(self, open_mailbox: OpenMailbox, name: str, wire: bool) -> list[_Old]:
        """The messages of one mailbox, the oldest first."""
        try:
            mailbox = open_mailbox(name)
            view = mailbox.open_view(read_only=True, claim_recent=False)
            try:
                uids = list(view.uids)
            finally:
                view.close()
            sizes = mailbox.sizes(uids) if wire else [mailbox.stored_octets(uid) for uid in uids]
            return sorted((_Old(date or 0, uid, size or 0, mailbox)
                           for uid, date, size in zip(uids, mailbox.dates(uids), sizes, strict=True)),
                          key=lambda old: old[:2])
        except MailError as error:
            log.debug("mailbox %s is passed over: %s", name, error.detail or error.public)
            return []
