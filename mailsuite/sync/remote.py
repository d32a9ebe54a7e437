"""An account on an IMAP server as a side.

A lost connection is made anew by the next call; Lost is raised for what was under way. How much is asked for at once
is limited by count and size, so memory does not grow with the folder.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

from mailsuite.base.errors import TemporaryError
from mailsuite.imapc.account import Account
from mailsuite.imapc.client import Appended, Client, Outgoing, Refusal
from mailsuite.imapc.folder_client import Chosen
from mailsuite.imapc.response import format_date
from mailsuite.imapc.wire_client import Lost
from mailsuite.store.names import from_mutf7, to_mutf7
from mailsuite.sync.identity import FIELDS, digest
from mailsuite.sync.model import Added, Box, Facts, Flags, FlagSets, Folder, Mark, Parts, Read, Wanted
from mailsuite.sync.options import Options

SUSPICIONS = 2          # connections that ended while a message was sent, before it counts as refused


class Busy(TemporaryError):
    """The server says "later"."""


class ImapSide:
    """interrupted: asked while waiting; may raise."""

    def __init__(self, account: Account, options: Options, *, interrupted: Callable[[], None] = lambda: None) -> None:
        self.account, self.options, self._interrupted = account, options, interrupted
        self.title = f"imapc:{account.described()}"
        self._client: Client | None = None
        self.suspects: Counter[tuple[str, int, int]] = Counter()
        self.all_namespaces = False

    @property
    def client(self) -> Client:
        """A connection that serves, as far as is known."""
        if self._client is None or not self._client.alive:
            self._client = None
            client = Client(self.account, interrupted=self._interrupted)
            client.start()
            self._client = client
        return self._client

    @property
    def unusable(self) -> frozenset[str]:
        return frozenset(self.client.separator or "/")

    def _parts(self, name: str) -> Parts:
        client = self.client
        if name.upper() == "INBOX":
            return ("INBOX",)
        if client.prefix and name.startswith(client.prefix) and len(name) > len(client.prefix):
            name = name[len(client.prefix):]
        return tuple(_decoded(part) for part in (name.split(client.separator) if client.separator else [name]))

    def folders(self) -> list[Folder]:
        found = self.client.list_folders(all_namespaces=self.all_namespaces)
        listed = [Folder(entry.name, self._parts(entry.name), entry.selectable, entry.subscribed, entry.special,
                         entry.name.upper() == "INBOX") for entry in found
                  if entry.name and not (entry.separator and entry.name.endswith(entry.separator))]
        if not any(folder.parts == ("INBOX",) for folder in listed) and not self.account.list_prefix:
            listed.insert(0, Folder("INBOX", ("INBOX",), made_at_use=True))
        return listed

    def open(self, name: str, *, read_only: bool) -> Box:
        read_only = read_only and "no-examine" not in self.account.features
        box = ImapBox(self, name, read_only)
        box.choose()
        return box

    def create(self, parts: Parts, special: tuple[str, ...]) -> str:
        client = self.client
        name = client.prefix + (client.separator or "/").join(map(to_mutf7, parts))
        client.create(name, special)
        return name

    def delete(self, name: str) -> None:
        self.client.delete(name)

    def subscribe(self, name: str, on: bool) -> None:
        self.client.subscribe(name, on)

    def guid(self, name: str) -> str:
        return ""

    def renew(self) -> None:
        _ = self.client

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def _decoded(part: str) -> str:
    """Names that are no modified UTF-7 are taken as they are: some servers send UTF-8."""
    return from_mutf7(part) or part.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


class ImapBox:
    """A folder that is selected whenever something is asked of it."""

    def __init__(self, side: ImapSide, name: str, read_only: bool) -> None:
        self._side, self._name, self._read_only = side, name, read_only
        self._uid_validity = 0

    def choose(self) -> Client:
        """The connection, with this folder selected. Raises TemporaryError when it has become another one."""
        client = self._side.client
        chosen = client.select(self._name, read_only=self._read_only)
        if self._uid_validity and chosen.uid_validity != self._uid_validity:
            raise Lost(f"{self._name}: another UIDVALIDITY")
        self._uid_validity = chosen.uid_validity
        return client

    @property
    def _chosen(self) -> Chosen:
        chosen = self.choose().chosen
        assert chosen is not None
        return chosen

    def mark(self) -> Mark:
        chosen = self._chosen
        return Mark(chosen.uid_validity, chosen.uid_next, chosen.highest_modseq, chosen.exists)

    def facts(self, sets: FlagSets) -> Facts:
        found = Facts()
        for uid, flags, date, size in self.choose().facts():
            found.add(uid, date, size, sets.of(flags))
        return found

    def identities(self, uids: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        for uid, header in self.choose().header_fields(uids, FIELDS):
            yield uid, digest(header)

    def keeps(self, flag: str) -> bool:
        chosen = self._chosen
        if flag.startswith("\\"):
            return not chosen.keywords or flag.lower() in chosen.keywords
        return chosen.new_keywords or flag.lower() in chosen.keywords

    def _batches(self, uids: Sequence[int], sizes: Sequence[int]) -> Iterator[list[int]]:
        options = self._side.options
        some: list[int] = []
        octets = 0
        for uid, size in zip(uids, sizes, strict=True):
            if some and (octets + size > options.batch_octets or len(some) >= options.batch_messages):
                yield some
                some, octets = [], 0
            some.append(uid)
            octets += max(size, 1)
        if some:
            yield some

    def read(self, uids: Sequence[int], sizes: Sequence[int]) -> Generator[Read, None, None]:
        missing: list[int] = []
        for fetched in self.choose().messages(self._batches(uids, sizes)):
            if fetched.content is None:
                missing.append(fetched.uid)
            else:
                yield Read(*fetched)
        if not missing:
            return
        # A NO may have been about another message of the batch, and what is gone is no fault: ask one by one.
        present = self.choose().present(sorted(missing))
        for fetched in self.choose().messages([[uid] for uid in missing if uid in present]):
            if fetched.content is None:
                fetched = fetched._replace(why=fetched.why or "the server does not give it")
            yield Read(*fetched)

    def adopt(self, uid_validity: int) -> bool:
        return False

    def add(self, messages: Sequence[Wanted]) -> list[Added]:
        side = self._side
        client = side.client
        keys = [(self._name, message.date, message.content.size) for message in messages]
        results: dict[int, Added] = {at: Added(refused=f"{side.account.host} ends the connection at it")
                                     for at, key in enumerate(keys) if side.suspects[key] >= SUSPICIONS}
        rest = [at for at in range(len(messages)) if at not in results]
        cautious = any(side.suspects[keys[at]] for at in rest)
        for some in [[at] for at in rest] if cautious else [rest]:
            try:
                answers = self._append(client, [messages[at] for at in some])
            except Lost:
                side.suspects.update(keys[at] for at in some)
                raise
            results.update(zip(some, answers, strict=True))
        return [results[at] for at in range(len(messages))]

    def _append(self, client: Client, messages: Sequence[Wanted]) -> list[Added]:
        outgoing = [Outgoing(self._flag_octets(message.flags), format_date(message.date if message.date >= 0 else
                                                                           time.time()),
                             message.content.size, _blocks(message)) for message in messages]
        try:
            return [_added(one) for one in client.append(self._name, outgoing)] if outgoing else []
        except Refusal as error:
            if error.temporary:
                raise Busy(error.public) from error
            raise

    def _flag_octets(self, flags: Flags) -> bytes:
        return " ".join(sorted(flag for flag in flags if self.keeps(flag))).encode("utf-8", "surrogateescape")

    def set_flags(self, changes: Iterable[tuple[int, Flags, Flags]]) -> None:
        groups: dict[tuple[bytes, Flags], list[int]] = defaultdict(list)
        for uid, add, drop in changes:
            if add:
                groups[b"+FLAGS", add].append(uid)
            if drop:
                groups[b"-FLAGS", drop].append(uid)
        client = self.choose()
        for (action, flags), uids in groups.items():
            client.store_flags(uids, action, sorted(flags))

    def remove(self, uids: Sequence[int]) -> None:
        self.choose().expunge(uids)

    def close(self) -> None:
        """It stays selected until another is."""


def _blocks(message: Wanted) -> Callable[[], Iterator[bytes]]:
    """NUL can't be in a literal; Dovecot serves it as 0x80, too."""
    def blocks() -> Iterator[bytes]:
        for block in message.content.blocks():
            yield block.replace(b"\0", b"\x80") if b"\0" in block else block

    return blocks


def _added(one: Appended) -> Added:
    if one.error is None:
        return Added(one.uid)
    if one.error.temporary:
        raise Busy(one.error.public)
    return Added(refused=one.error.public)
