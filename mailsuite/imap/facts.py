"""What SORT and THREAD know of messages, kept in memory as long as the mailbox is open.

    facts = facts_of(mailbox)
    facts.sent_dates(uids), facts.subjects(uids), facts.mails(uids)       dictionaries by UID, complete for uids

A message never changes, so what was once read from its header stays true. Headers that are not known yet are asked for
together, in batches. Cost in memory: some hundred octets a message. Blocks.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from mailsuite.imap.preview import Previews
from mailsuite.imap.sent_date import sent_date
from mailsuite.imap.subject import base_subject
from mailsuite.imap.text import decode_header, fold
from mailsuite.imap.threads import Mail, message_ids
from mailsuite.message.address import parse_addresses
from mailsuite.message.header import first_fields
from mailsuite.store.api import Mailbox

BATCH = 1000            # messages whose headers are asked for at once
KEPT_OCTETS = 256       # longest subject that is remembered with its base
V = TypeVar("V")
_THREAD_FIELDS = (b"date", b"subject", b"message-id", b"in-reply-to", b"references")
_facts: "WeakKeyDictionary[Mailbox, Facts]" = WeakKeyDictionary()


def facts_of(mailbox: Mailbox) -> "Facts":
    """The mailbox's; made when first asked for."""
    facts = _facts.get(mailbox)
    if facts is None or facts.doubts != mailbox.doubts:
        facts = _facts[mailbox] = Facts(mailbox)
    return facts


def previews_of(mailbox: Mailbox) -> Previews:
    """What is known of the first words of its messages."""
    return facts_of(mailbox).note("previews", Previews)


class Facts:
    """thread: the last THREAD's key and reply."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox, self.doubts = mailbox, mailbox.doubts
        self._notes: dict[str, Any] = {}
        self._known: dict[str, dict[int, Any]] = {}
        self.thread: tuple[object, bytes] = (None, b"")

    def sent_dates(self, uids: Sequence[int]) -> dict[int, int]:
        """Seconds since the epoch of the Date field; INTERNALDATE where there is none (RFC 5256 section 2.2)."""
        return self._complete("date", uids, self._read_dates)

    def subjects(self, uids: Sequence[int]) -> dict[int, tuple[str, bool]]:
        """Folded base subjects, and whether the subject was that of a reply or forward."""
        return self._complete("subject", uids, lambda missing: {
            uid: _subject(value) for uid, value in self._values(b"subject", missing)})

    def first_mailboxes(self, name: str, uids: Sequence[int]) -> dict[int, str]:
        """Local part of the first address of FROM, TO or CC."""
        return self._complete(name, uids, lambda missing: {
            uid: first_mailbox(value) for uid, value in self._values(name.encode(), missing)})

    def display_names(self, name: str, uids: Sequence[int]) -> dict[int, str]:
        """Display name of the first address of FROM or TO."""
        return self._complete("DISPLAY" + name, uids, lambda missing: {
            uid: display_name(value) for uid, value in self._values(name.encode(), missing)})

    def mails(self, uids: Sequence[int]) -> dict[int, Mail]:
        """What THREAD needs."""
        return self._complete("mail", uids, self._read_mails)

    def _complete(self, kind: str, uids: Sequence[int], read: Callable[[list[int]], dict[int, V]]) -> dict[int, V]:
        known: dict[int, V] = self._known.setdefault(kind, {})
        if len(known) > 2 * len(uids) + BATCH:      # mostly of messages that are gone, or of a small search
            here = set(uids)
            known = self._known[kind] = {uid: value for uid, value in known.items() if uid in here}
        missing = [uid for uid in uids if uid not in known]
        for start in range(0, len(missing), BATCH):
            known.update(read(missing[start:start + BATCH]))
        return known

    def note(self, name: str, make: Callable[[], V]) -> V:
        """Something else that is remembered of the mailbox's messages; made when first asked for."""
        note: V = self._notes.setdefault(name, make())
        return note

    # --- reading --------------------------------------------------------------------------------------------------

    def _fields(self, names: Sequence[bytes], uids: Sequence[int]) -> Iterable[tuple[int, dict[bytes, bytes]]]:
        """The first of each field."""
        for uid, octets in zip(uids, self._mailbox.header_fields(uids, names), strict=True):
            yield uid, first_fields(octets or b"")

    def _values(self, name: bytes, uids: Sequence[int]) -> Iterable[tuple[int, bytes]]:
        name = name.lower()
        for uid, fields in self._fields([name], uids):
            yield uid, fields.get(name, b"")

    def _with_internal_dates(self, dates: dict[int, int | None]) -> dict[int, int]:
        missing = [uid for uid, date in dates.items() if date is None]
        internal = dict(zip(missing, self._mailbox.dates(missing), strict=True)) if missing else {}
        return {uid: int(internal[uid] or 0) if date is None else date for uid, date in dates.items()}

    def _read_dates(self, uids: list[int]) -> dict[int, int]:
        return self._with_internal_dates({uid: _date(value) for uid, value in self._values(b"date", uids)})

    def _read_mails(self, uids: list[int]) -> dict[int, Mail]:
        read = dict(self._fields(_THREAD_FIELDS, uids))
        dates = self._with_internal_dates({uid: _date(fields.get(b"date", b"")) for uid, fields in read.items()})
        mails = {}
        for uid, fields in read.items():
            own = message_ids(fields.get(b"message-id"))
            above = message_ids(fields.get(b"references")) or message_ids(fields.get(b"in-reply-to"))[:1]
            subject, reply = _subject(fields.get(b"subject", b""))
            mails[uid] = Mail(uid, dates[uid], subject, reply, own[0] if own else b"", above)
        return mails


def _subject(value: bytes) -> tuple[str, bool]:
    return _kept_subject(value) if len(value) <= KEPT_OCTETS else base_subject(decode_header(value))


@lru_cache(maxsize=2048)
def _kept_subject(value: bytes) -> tuple[str, bool]:
    """Most subjects come again: in the answers."""
    return base_subject(decode_header(value))


def _date(value: bytes) -> int | None:
    parsed = sent_date(value) if value else None
    return None if parsed is None else parsed[0]


def first_mailbox(value: bytes) -> str:
    """The local part of the first address."""
    addresses = parse_addresses(value)
    return fold((addresses[0].mailbox or b"").decode("utf-8", "replace")) if addresses else ""


def display_name(value: bytes) -> str:
    """The display name of the first address, else the address (RFC 5957)."""
    addresses = parse_addresses(value)
    if not addresses:
        return ""
    first = addresses[0]
    if first.name:
        return fold(decode_header(first.name))
    return fold(b"@".join(part for part in (first.mailbox, first.domain) if part).decode("utf-8", "replace"))
