"""The full text of one user's mailboxes: a SQLite file beside the index, never trusted over the mail.

    text = FullText("/home/alice/Maildir/dovecot.fulltext.mailsuite")
    box = text.mailbox("INBOX", uid_validity)           another UIDVALIDITY empties what was known (mailbox.py)
    text.names(); text.rename("Old", "New"); text.forget("New"); text.compact()

See: file.py (the file and its faults), mailbox.py (a mailbox's segments), segment.py (their octets).
"""

from collections.abc import Callable

from mailsuite.fulltext.file import TextFile
from mailsuite.fulltext.mailbox import MailboxText, forget
from mailsuite.fulltext.params import FullTextOptions


class FullText(TextFile):
    """The database. A file that cannot be made or written leaves everything unknown.

    wanted: called with the name of a mailbox whose messages should be looked at soon.
    """

    def __init__(self, path: str, options: FullTextOptions = FullTextOptions(),       # noqa: B008 (frozen)
                 wanted: Callable[[str], None] = lambda name: None) -> None:
        self.options, self._wanted = options, wanted
        self._boxes: dict[str, MailboxText] = {}
        super().__init__(path)

    def _doubt(self) -> None:
        for box in self._boxes.values():
            box.doubt()

    def close(self) -> None:
        with self.lock:
            super().close()
            self._boxes.clear()

    def mailbox(self, name: str, uid_validity: int) -> MailboxText:
        with self.lock:
            self.check_file()
            box = self._boxes.get(name)
            if box is None or box.uid_validity != uid_validity:
                box = self._boxes[name] = MailboxText(self, self.options, self._wanted, name, uid_validity)
            return box

    def names(self) -> list[str]:
        """Mailboxes of which something is known."""
        with self.using() as db:
            return [name for name, in db.execute("SELECT name FROM mailbox ORDER BY name")] if db is not None else []
        return []

    def forget(self, name: str) -> None:
        """The mailbox was deleted."""
        with self.using(write=True) as db:
            self._boxes.pop(name, None)
            if db is not None:
                forget(db, name)
        self.shrink()

    def rename(self, old: str, new: str) -> None:
        with self.using(write=True) as db:
            self._boxes.pop(old, None)
            self._boxes.pop(new, None)
            if db is not None:
                forget(db, new)
                db.execute("UPDATE mailbox SET name = ? WHERE name = ?", (new, old))
