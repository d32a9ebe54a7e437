"""Messages in the selected mailbox: their facts, header fields and contents, flags, removal."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mailsuite.imap.numbers import format_set
from mailsuite.imapc.folder_client import FolderClient
from mailsuite.imapc.response import internal_date, number, pairs
from mailsuite.imapc.spool import Spool
from mailsuite.imapc.wire_client import Tagged, Untagged

COMMANDS_AHEAD = 2              # FETCH commands under way
SET_OCTETS = 4000               # of the UIDs in one command


class Fetched(NamedTuple):
    """A message; content None: the server would not give it, for this reason."""

    uid: int
    content: Spool | None
    why: str = ""


@dataclass
class _Batch:
    """A FETCH under way. ready: what has come and was not given out."""

    missing: set[int]
    ready: list[Fetched] = field(default_factory=list)
    done: bool = False

    def end(self, done: Tagged) -> None:
        why = "" if done.status == b"OK" else done.text.decode("utf-8", "replace")
        self.ready += [Fetched(uid, None, why) for uid in sorted(self.missing)]
        self.done = True


class FetchClient(FolderClient):
    """Everything here is about the selected mailbox."""

    def facts(self, first: int = 1) -> list[tuple[int, tuple[str, ...], int, int]]:
        """(UID, flags, INTERNALDATE, RFC822.SIZE) of all messages from a UID on, ascending; -1 for what is not told."""
        found: dict[int, tuple[int, tuple[str, ...], int, int]] = {}
        names: dict[tuple[bytes, ...], tuple[str, ...]] = {}

        def take(said: Untagged) -> None:
            items = _fetched(said)
            if b"UID" not in items or b"FLAGS" not in items:
                return              # flags that another client changed meanwhile come without a UID
            uid = number(items[b"UID"], most=0xFFFFFFFF)
            flags = tuple(flag for flag in items[b"FLAGS"] or () if isinstance(flag, bytes))
            if flags not in names:
                names[flags] = tuple(flag.decode("utf-8", "surrogateescape") for flag in flags)
            if uid >= first and (uid in found or len(found) <= self.exists + 1000):
                date = internal_date(items.get(b"INTERNALDATE"))
                size = items.get(b"RFC822.SIZE")
                found[uid] = (uid, names[flags], -1 if date is None else date, -1 if size is None else number(size))

        if self.exists:
            self.command(b"UID FETCH %d:* (UID FLAGS INTERNALDATE RFC822.SIZE)" % first, on=take)
        return [found[uid] for uid in sorted(found)]

    def header_fields(self, uids: Sequence[int], names: bytes) -> Iterator[tuple[int, bytes]]:
        """BODY[HEADER.FIELDS (names)] of messages."""
        for some in sets(uids):
            found: list[tuple[int, bytes]] = []

            def take(said: Untagged, found: list[tuple[int, bytes]] = found) -> None:
                items = _fetched(said)
                if b"UID" in items:
                    found += [(number(items[b"UID"]), value) for name, value in items.items()
                              if name.startswith(b"BODY[") and isinstance(value, bytes)]

            self.command(b"UID FETCH " + format_set(some) + b" (UID BODY.PEEK[HEADER.FIELDS (" + names + b")])",
                         on=take)
            yield from found

    def messages(self, batches: Iterable[Sequence[int]]) -> Iterator[Fetched]:
        """Whole messages, batch after batch; the next is asked for before the last has come. The caller closes each.

        Servers may answer two commands mixed, or the second first (RFC 3501 section 5.5): Dovecot does. What comes too
        early is held back, at most COMMANDS_AHEAD - 1 batches of it.
        """
        source = iter(batches)
        waiting: dict[bytes, _Batch] = {}
        more = True
        try:
            while more or waiting:
                while more and len(waiting) < COMMANDS_AHEAD:
                    uids = next(source, None)
                    if uids is None:
                        more = False
                    elif uids:
                        tag = self._begin(b"UID FETCH ", format_set(uids), b" (UID BODY.PEEK[])")
                        waiting[tag] = _Batch(set(uids))
                if waiting and not next(iter(waiting.values())).done:
                    self._one_more(waiting)
                for tag, batch in list(waiting.items())[:1]:
                    while batch.ready:
                        yield batch.ready.pop(0)
                    if batch.done:
                        del waiting[tag]
        finally:
            for batch in waiting.values():
                for fetched in batch.ready:
                    if fetched.content is not None:
                        fetched.content.close()
            if waiting:             # what was asked for would come in place of other answers
                self._wire.close()

    def _one_more(self, waiting: "dict[bytes, _Batch]") -> None:
        """Read a response into the batch that it belongs to."""
        spool = Spool()
        response = self._next(None, spool)
        if isinstance(response, Tagged) and response.tag in waiting:
            waiting[response.tag].end(response)
        elif isinstance(response, Untagged) and response.name == b"FETCH":
            items = _fetched(response)
            body, uid = items.get(b"BODY[]"), number(items.get(b"UID", b"0"))
            if not spool.begun and isinstance(body, bytes):
                spool = Spool.of(body)          # a short message may come as a quoted string
            for batch in waiting.values():
                if spool.begun and uid in batch.missing:
                    batch.missing.discard(uid)
                    batch.ready.append(Fetched(uid, spool))
                    return
        spool.close()

    def present(self, uids: Sequence[int]) -> set[int]:
        """Those of uids that are still there."""
        found: set[int] = set()
        for some in sets(uids):
            self.command(b"UID SEARCH UID ", format_set(some), on=lambda said: found.update(
                number(value) for value in said.values[1:]) if said.name == b"SEARCH" else None)
        return found.intersection(uids)

    def store_flags(self, uids: Sequence[int], action: bytes, flags: Sequence[str]) -> None:
        """action: b"FLAGS", b"+FLAGS" or b"-FLAGS". Raises Refusal."""
        wanted = " ".join(flags).encode("utf-8", "surrogateescape")
        for some in sets(uids):
            self.command(b"UID STORE ", format_set(some), b" ", action, b".SILENT (", wanted, b")")

    def expunge(self, uids: Sequence[int]) -> None:
        """Remove these messages and no others. Raises Refusal."""
        self.store_flags(uids, b"+FLAGS", ["\\Deleted"])
        if "UIDPLUS" in self.capabilities:
            for some in sets(uids):
                self.command(b"UID EXPUNGE ", format_set(some))
            return
        # RFC 3501 has no way to expunge some only: others lose their mark meanwhile.
        others: list[int] = []
        self.command(b"UID SEARCH DELETED", on=lambda said: others.extend(
            number(value) for value in said.values[1:]) if said.name == b"SEARCH" else None)
        others = sorted(set(others).difference(uids))
        if others:
            self.store_flags(others, b"-FLAGS", ["\\Deleted"])
        self.command(b"EXPUNGE")
        if others:
            self.store_flags(others, b"+FLAGS", ["\\Deleted"])


def sets(uids: Sequence[int]) -> Iterator[list[int]]:
    """UIDs in portions whose sets fit into a command."""
    some: list[int] = []
    octets, last = 0, -2
    for uid in uids:
        octets += 0 if uid == last + 1 else 22
        last = uid
        some.append(uid)
        if octets > SET_OCTETS or len(some) >= 20_000:
            yield some
            some, octets = [], 0
    if some:
        yield some


def _fetched(said: Untagged) -> dict[bytes, Any]:
    """The items of a FETCH response; {} for any other."""
    if said.name != b"FETCH" or len(said.values) != 3 or not isinstance(said.values[2], list):
        return {}
    return pairs(said.values[2])
