"""The words of messages for the full text, as SEARCH sees them.

    entry = entry_of(17, message)           exactly the texts that imap/text.texts_of searches, split at white space
    for _ in looked_at(mailbox): pause()    all messages that the full text does not know yet; ends early with close()

Whoever runs looked_at() may rest between its steps; what was looked at is kept when it is closed. Blocks; run it in a
thread.
"""

from collections.abc import Callable, Generator, Sequence

from mailsuite.fulltext.mailbox import MailboxText
from mailsuite.fulltext.rows import Entry
from mailsuite.fulltext.segment import no_pause
from mailsuite.imap.text import has_text, marked_texts, parts
from mailsuite.message.message import Message
from mailsuite.store.api import Mailbox

SLICE = 16                          # messages that are read at once, under the mailbox's lock
SEGMENT_WORDS = 400_000             # words that are gathered before they are written
SEGMENT_MESSAGES = 1024


def entry_of(uid: int, message: Message) -> Entry:
    """The distinct words of a message."""
    header, body = set[str](), set[str]()
    for is_header, text in marked_texts(message):
        (header if is_header else body).update(text.split())
    return Entry(uid, header, body)


def text_octets(message: Message) -> int:
    """Octets of what is searched."""
    return sum(part.body_start - part.header_start + (part.end - part.body_start if has_text(part) else 0)
               for part in parts(message.structure))


class _Gathered:
    """Entries on their way into a segment."""

    def __init__(self, mailbox: Mailbox, text: MailboxText, pause: Callable[[], None]) -> None:
        self._mailbox, self._text, self._pause = mailbox, text, pause
        self.entries: list[Entry] = []
        self._left_out: list[int] = []
        self._words = 0

    def take(self, uid: int, stored: bytes) -> None:
        message, limit = Message.from_stored(stored), self._text.options.message_size
        if 0 < limit < len(stored) and limit < text_octets(message):
            self._left_out.append(uid)
            return
        entry = entry_of(uid, message)
        self.entries.append(entry)
        self._words += len(entry.header) + len(entry.body)
        if self._words > SEGMENT_WORDS or len(self.entries) >= SEGMENT_MESSAGES:
            self.write(self._pause)

    def write(self, pause: Callable[[], None] = no_pause) -> None:
        if (self.entries or self._left_out) and self._mailbox.fulltext is self._text:      # else it is gone
            self._text.add(self.entries, self._left_out, pause)
        self.entries, self._left_out, self._words = [], [], 0


def looked_at(mailbox: Mailbox, pause: Callable[[], None] = no_pause) -> Generator[None, None, bool]:
    """Look at the messages that are not known, then tidy. A step for each message.

    pause: as segment.build calls it. Returns False when no more may be kept. Raises StoreError.
    """
    text = mailbox.fulltext
    if text is None:
        return False
    view = mailbox.open_view(read_only=True, claim_recent=False)
    try:
        known = text.known
        missing = [uid for uid in view.uids if uid not in known]
        complete = yield from _read(mailbox, text, missing, pause)
        while text.tidy(set(view.uids), pause=pause):
            yield
        return complete
    finally:
        view.close()


def _read(mailbox: Mailbox, text: MailboxText, uids: Sequence[int], pause: Callable[[], None]
          ) -> Generator[None, None, bool]:
    gathered, at = _Gathered(mailbox, text, pause), 0
    try:
        while at < len(uids):
            if text.is_full:
                return False
            some = mailbox.read_some(uids[at: at + SLICE])
            for uid, stored in zip(uids[at:], some, strict=False):
                if stored is not None:
                    gathered.take(uid, stored)
                yield
            at += len(some)
        return True
    finally:
        gathered.write()
