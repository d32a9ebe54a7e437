"""The first pass: which queue ids have to do with what is asked for.

    search = Search(Question("user@far.test"))
    for lines in blocks(path): search.read(lines)
    ids = search.family()                   hashes of queue ids; `hash(id_octets) in ids`

A message changes its id when it is forwarded, comes back from a content filter, is requeued or returned; the log tells
the new id, or both have one Message-ID. Every such relation is remembered as two hashes, 16 octets: 32 MB for a million
messages. An id that is used twice, or a hash that two ids share, joins too much here; story.py parts it.
Limits: SEEDS ids that fit the question, the last ones; FAMILY ids in the end.
"""

import re
from array import array
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from mailsuite.trace.lines import queue_id_of

SEEDS = 2_000
FAMILY = 5_000
_MESSAGE_ID = b": message-id="
_NEW_ID = re.compile(rb"(?:queued as |forwarded as |notification: |orig_id=|orig_queue_id=)([0-9A-Za-z]{6,20})\b")


@dataclass(frozen=True)
class Question:
    """word: a queue id, a Message-ID (with <> it is nothing else) or an address."""

    word: str
    needles: tuple[bytes, ...] = field(init=False)
    queue_id: bytes = field(init=False)
    core: bytes = field(init=False)             # what every needle has

    def __post_init__(self) -> None:
        word = self.word
        bare = word.removeprefix("<").removesuffix(">").lower().encode("utf-8", "surrogateescape")
        needles: list[bytes] = [b"message-id=<%b>" % bare, b"message-id=%b" % bare]
        if not word.startswith("<"):
            ends = (b">",) if b"@" in bare else (b">", b"@")
            needles += [b"%b=<%b%b" % (name, bare, end) for name in (b"from", b"to") for end in ends]
            if b"@" not in bare:
                needles = needles[2:]
        object.__setattr__(self, "needles", tuple(needles))
        object.__setattr__(self, "core", bare)
        object.__setattr__(self, "queue_id", word.encode() if word.isascii() and word.isalnum() else b"")

    def fits(self, line: bytes) -> bool:
        """Whether a line names the Message-ID or the address (orig_to= too)."""
        low = line.lower()
        return self.core in low and any(needle in low for needle in self.needles)


class Search:
    """Feed it every line once."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._edges = array("q")            # hash of an id, hash of a related id or Message-ID; and so on
        self._seeds: deque[int] = deque(maxlen=SEEDS)
        self.truncated = False
        self.lines = 0

    def read(self, lines: Iterable[bytes]) -> None:
        core, needles, edges = self._question.core, self._question.needles, self._edges
        for line in lines:
            self.lines += 1
            at = line.find(_MESSAGE_ID)
            if at > 0:
                if (queue_id := queue_id_of(line)) is not None:
                    edges.append(hash(queue_id))
                    edges.append(hash(line[at + len(_MESSAGE_ID):]))
            elif (b" as " in line or b"notification: " in line or b" orig_" in line) and (
                    found := _NEW_ID.search(line)) and (queue_id := queue_id_of(line)) is not None:
                edges.append(hash(queue_id))
                edges.append(hash(found[1]))
            if core in (low := line.lower()) and any(needle in low for needle in needles):
                self._seed(line)

    def _seed(self, line: bytes) -> None:
        queue_id = queue_id_of(line)
        if queue_id is None or queue_id == b"NOQUEUE":
            return
        value = hash(queue_id)
        if not self._seeds or self._seeds[-1] != value:
            self.truncated = self.truncated or len(self._seeds) == SEEDS
            self._seeds.append(value)

    def family(self) -> set[int]:
        """Hashes of the ids that fit, and of all that are related to them over any number of steps."""
        found = set(self._seeds)
        if self._question.queue_id:
            found.add(hash(self._question.queue_id))
        grown = True
        while grown and len(found) < FAMILY:
            grown = False
            for one, other in zip(self._edges[::2], self._edges[1::2], strict=True):
                if (one in found) is not (other in found):
                    found.add(one)
                    found.add(other)
                    grown = True
                    if len(found) >= FAMILY:
                        self.truncated = True
                        break
        return found
