"""A store of ours as a side: a Maildir or mbox account, in the process that may write its index."""

from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Sequence

from mailsuite.base.errors import MailError, TemporaryError
from mailsuite.imapc.spool import Spool
from mailsuite.store.api import (
    FlagAction,
    Mailbox,
    MailboxExists,
    MailStore,
    MessageGone,
    NotPossible,
    OverQuota,
)
from mailsuite.store.names import from_mutf7, to_mutf7
from mailsuite.sync.identity import FIELDS, digest
from mailsuite.sync.model import Added, Box, Facts, Flags, FlagSets, Folder, Mark, Parts, Read, Wanted

PORTION = 500


class StoreSide:
    """store: stays the caller's."""

    def __init__(self, store: MailStore, title: str) -> None:
        self._store, self.title = store, title

    @property
    def unusable(self) -> frozenset[str]:
        return self._store.unusable

    def _parts(self, name: str) -> Parts:
        if name.upper() == "INBOX":
            return ("INBOX",)
        prefix = self._store.prefix
        name = name.removeprefix(prefix) if len(name) > len(prefix) else name
        return tuple(from_mutf7(part) or part for part in name.split(self._store.separator))

    def folders(self) -> list[Folder]:
        return [Folder(info.name, self._parts(info.name), info.selectable, info.subscribed, info.special_use,
                       bool(info.special_use) or info.name == "INBOX") for info in self._store.list_mailboxes()]

    def open(self, name: str, *, read_only: bool) -> Box:
        return StoreBox(self._store.open(name))

    def create(self, parts: Parts, special: tuple[str, ...]) -> str:
        name = self._store.prefix + self._store.separator.join(map(to_mutf7, parts))
        try:
            self._store.create(name)
        except MailboxExists:
            pass
        return name

    def delete(self, name: str) -> None:
        self._store.delete(name)

    def subscribe(self, name: str, on: bool) -> None:
        self._store.subscribe(name, on)

    def guid(self, name: str) -> str:
        return self._store.open(name).status().guid

    def renew(self) -> None:
        """There is no connection that could be lost."""

    def close(self) -> None:
        """The store stays open."""


class StoreBox:
    """One mailbox. A view keeps it in memory meanwhile."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._view = mailbox.open_view(read_only=True, claim_recent=False)

    def mark(self) -> Mark:
        status = self._mailbox.status()
        return Mark(status.uid_validity, status.uid_next, status.highest_modseq, status.messages)

    def facts(self, sets: FlagSets) -> Facts:
        self._view.sync(expunges=True)
        found = Facts()
        uids = list(self._view.uids)
        for at in range(0, len(uids), PORTION):
            some = uids[at:at + PORTION]
            for uid, date, size in zip(some, self._mailbox.dates(some), self._mailbox.sizes(some), strict=True):
                flags = self._mailbox.flags(uid)
                if flags is not None and size is not None:
                    found.add(uid, -1 if date is None else date, size, sets.of(flags))
        return found

    def identities(self, uids: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        names = FIELDS.split()
        for at in range(0, len(uids), PORTION):
            some = uids[at:at + PORTION]
            for uid, octets in zip(some, self._mailbox.header_fields(some, names), strict=True):
                if octets is not None:
                    yield uid, digest(octets)

    def keeps(self, flag: str) -> bool:
        return True

    def read(self, uids: Sequence[int], sizes: Sequence[int]) -> Generator[Read, None, None]:
        for uid in uids:
            try:
                octets = self._mailbox.message(uid).octets
            except MessageGone:
                yield Read(uid, None)
            except TemporaryError as error:
                yield Read(uid, None, error.public)
            else:
                yield Read(uid, Spool.of(octets))

    def adopt(self, uid_validity: int) -> bool:
        self._view.close()
        try:
            return self._mailbox.adopt(uid_validity)
        finally:
            self._view = self._mailbox.open_view(read_only=True, claim_recent=False)

    def add(self, messages: Sequence[Wanted]) -> list[Added]:
        """All together, or one by one when one of them is not taken."""
        try:
            return self._add(messages)
        except OverQuota:
            raise
        except MailError as error:
            if isinstance(error, TemporaryError):
                raise
            if len(messages) == 1:
                return [Added(refused=error.public)]
            return [added for message in messages for added in self.add([message])]

    def _add(self, messages: Sequence[Wanted]) -> list[Added]:
        append = self._mailbox.begin_append()
        try:
            for message in messages:
                for block in message.content.blocks():
                    append.write(block)
                append.finish(sorted(message.flags), message.date if message.date >= 0 else None, uid=message.uid)
            _, uids = append.commit()
        except BaseException:
            append.abort()
            raise
        return [Added(uid) for uid in uids]

    def set_flags(self, changes: Iterable[tuple[int, Flags, Flags]]) -> None:
        adding: dict[Flags, list[int]] = defaultdict(list)
        dropping: dict[Flags, list[int]] = defaultdict(list)
        for uid, add, drop in changes:
            if add:
                adding[add].append(uid)
            if drop:
                dropping[drop].append(uid)
        for action, groups in ((FlagAction.ADD, adding), (FlagAction.REMOVE, dropping)):
            for flags, uids in groups.items():
                self._store_flags(uids, action, flags)

    def _store_flags(self, uids: list[int], action: FlagAction, flags: Flags) -> None:
        try:
            self._mailbox.store_flags(uids, action, sorted(flags))
        except NotPossible:         # too many keywords: what every mailbox has can be set all the same
            self._mailbox.store_flags(uids, action, sorted(flag for flag in flags if flag.startswith("\\")))

    def remove(self, uids: Sequence[int]) -> None:
        self._mailbox.remove(uids)

    def close(self) -> None:
        self._view.close()
