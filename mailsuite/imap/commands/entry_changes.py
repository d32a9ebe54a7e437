"""Which of METADATA's entries have changed, for NOTIFY (RFC 5465 sections 5.6 and 5.7).

    entries = EntryWatch(context, names)
    entries.look(); entries.changes() -> METADATA replies with names; looks again
"""

from collections.abc import Iterable, Iterator

from mailsuite.base.errors import MailError
from mailsuite.imap.commands.context import Context
from mailsuite.imap.commands.metadata import visible
from mailsuite.imap.commands.name_changes import NameWatch
from mailsuite.imap.reply import astring
from mailsuite.store.attributes import SERVER, Entries


class EntryWatch:
    """Of all mailboxes that names.events_of() asks it for. Raises StoreError for a dictionary that can't be read."""

    def __init__(self, context: Context, names: NameWatch, *, server: bool) -> None:
        self._context, self._store, self._names, self._server = context, context.store, names, server
        self._entries: dict[str, Entries] = {}
        self._guids: dict[str, str] = {}            # names of mailboxes by GUID, as far as they were needed

    def look(self) -> None:
        if self._store.attributes is not None:
            self._entries = self._store.attributes.everything()

    def changes(self) -> Iterator[bytes]:
        """METADATA replies for all that is different."""
        before = self._entries
        self.look()
        now = self._entries
        for guid in before.keys() | now.keys():
            old, new = before.get(guid, {}), now.get(guid, {})
            if not guid or old == new:
                continue
            changed = {name: b"" for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
            yield from self._entry_lines(guid, changed)

    def _entry_lines(self, guid: str, changed: Entries) -> Iterator[bytes]:
        name = self._name_of(guid)
        if name is None:
            return                          # of a mailbox that is gone, or another's
        shown = visible(changed, server=False)
        if shown and "MAILBOXMETADATACHANGE" in self._names.events_of(self._names.info(name)):
            yield b"* METADATA %b %b\r\n" % (self._context.shown(name), _names(shown))
        if name == "INBOX" and any(SERVER in each for each in changed) and self._server:
            yield b'* METADATA "" %b\r\n' % _names(visible(changed, server=True))

    def _name_of(self, guid: str) -> str | None:
        """The mailbox that has these entries. All are looked at when none is known to."""
        known = self._guids.get(guid)
        for name in [*([known] if known is not None else []), *self._names.now]:
            try:
                held = self._store.attributes_of(name)
            except MailError:
                continue
            if held is not None:
                self._guids[held.guid] = name
                if held.guid == guid:
                    return name
        return None


def _names(entries: Iterable[str]) -> bytes:
    return b" ".join(astring(name.encode()) for name in sorted(entries))
