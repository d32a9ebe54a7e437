"""What a synchronization knows of a side, of its folders and of their messages.

A Side lists, makes and removes folders and opens them as Boxes; a Box tells facts of its messages, reads, adds and
removes them. Implemented by local.py and remote.py. All of it blocks. A lost connection is raised as Lost (a
TemporaryError); after that open() anew.
"""

from array import array
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

Parts = tuple[str, ...]
Flags = frozenset[str]
SYSTEM_FLAGS = {name.lower(): name for name in ("\\Answered", "\\Deleted", "\\Draft", "\\Flagged", "\\Seen")}


class FlagSets:
    """One object for each set of flags, with one spelling for each keyword; shared by both sides of a folder."""

    def __init__(self) -> None:
        self._spelled: dict[str, str] = dict(SYSTEM_FLAGS)
        self._known: dict[Flags, Flags] = {}
        self._named: dict[tuple[str, ...], Flags] = {}

    def of(self, names: Sequence[str]) -> Flags:
        """\\Recent and system flags that nobody knows are left out."""
        key = tuple(names)
        found = self._named.get(key)
        if found is None:
            kept = {self._spelled.setdefault(name.lower(), name) for name in names
                    if not name.startswith("\\") or name.lower() in SYSTEM_FLAGS}
            found = self._named[key] = self._one(frozenset(kept))
        return found

    def _one(self, flags: Flags) -> Flags:
        return self._known.setdefault(flags, flags)


class Folder(NamedTuple):
    """name: as the side spells it; parts: in Unicode, without the side's prefix. guid: 32 hex digits, or ""."""

    name: str
    parts: Parts
    selectable: bool = True
    subscribed: bool = False
    special: tuple[str, ...] = ()
    made_at_use: bool = False           # it is there without being kept anywhere: INBOX, auto = create


@dataclass
class Facts:
    """Of all messages of a folder, by position, UIDs ascending. dates, sizes: -1 when not known."""

    uids: "array[int]" = field(default_factory=lambda: array("Q"))
    dates: "array[int]" = field(default_factory=lambda: array("q"))
    sizes: "array[int]" = field(default_factory=lambda: array("q"))
    flags: list[Flags] = field(default_factory=list)

    def add(self, uid: int, date: int, size: int, flags: Flags) -> None:
        self.uids.append(uid)
        self.dates.append(date)
        self.sizes.append(size)
        self.flags.append(flags)

    def __len__(self) -> int:
        return len(self.uids)


class Mark(NamedTuple):
    """What changes with every change of a folder; modseq 0: the side can't tell."""

    uid_validity: int
    uid_next: int
    modseq: int
    messages: int


class Content(Protocol):
    """A message's octets with CRLF line ends."""

    @property
    def size(self) -> int: ...
    def blocks(self) -> Iterator[bytes]: ...
    def close(self) -> None: ...


class Read(NamedTuple):
    """A message that was asked for; content None: it can't be had, for this reason; "" means it is gone."""

    uid: int
    content: Content | None
    why: str = ""


class Wanted(NamedTuple):
    """What is to be added. uid: the one it should get if that can be; position: in the source's facts."""

    content: Content
    flags: Flags
    date: int
    uid: int


class Added(NamedTuple):
    """uid: 0 when it isn't told. refused: why it was not taken."""

    uid: int = 0
    refused: str = ""


class Box(Protocol):
    """One folder of a side."""

    def mark(self) -> Mark: ...

    def facts(self, sets: FlagSets) -> Facts:
        """Of all messages, as they are now."""
        ...

    def identities(self, uids: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """A digest of what names a message wherever it lies (identity.py), for each that can be read."""
        ...

    def keeps(self, flag: str) -> bool:
        """Can this flag be set here?"""
        ...

    def read(self, uids: Sequence[int], sizes: Sequence[int]) -> Generator[Read, None, None]:
        """Messages in the order of uids; the caller closes each content."""
        ...

    def adopt(self, uid_validity: int) -> bool:
        """Take this UIDVALIDITY, where the folder is new and nobody has seen it; False: not possible."""
        ...

    def add(self, messages: Sequence[Wanted]) -> list[Added]:
        """Durable on return."""
        ...

    def set_flags(self, changes: Iterable[tuple[int, Flags, Flags]]) -> None:
        """(uid, flags to add, flags to take away)."""
        ...

    def remove(self, uids: Sequence[int]) -> None: ...

    def close(self) -> None:
        """Done with it for now."""
        ...


class Side(Protocol):
    """An account. unusable: characters that no part of a name may have."""

    @property
    def title(self) -> str: ...
    @property
    def unusable(self) -> frozenset[str]: ...
    def folders(self) -> list[Folder]: ...
    def open(self, name: str, *, read_only: bool) -> Box: ...

    def create(self, parts: Parts, special: tuple[str, ...]) -> str:
        """Make a folder, whose parts have no unusable characters; returns its name. Raises MailError."""
        ...

    def delete(self, name: str) -> None: ...
    def subscribe(self, name: str, on: bool) -> None: ...

    def guid(self, name: str) -> str:
        """32 hex digits of a folder, "" where there are none."""
        ...

    def renew(self) -> None:
        """After Lost: connect again. Raises Lost."""
        ...

    def close(self) -> None: ...
