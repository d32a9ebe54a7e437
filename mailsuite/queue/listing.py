"""The queue as mailq and postqueue -j show it, read from the folders.

    for entry in list_queue(store): ...          Listed: one message; no order within a queue
    to_json(entry) -> '{"queue_name": ...}'      as postqueue -j
    Mailq().lines(entry), Mailq().end()          as postqueue -p

A message may move while the folders are read; it is then shown once or not at all. Memory: one message at a time.
"""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from mailsuite.address.syntax import quote_local
from mailsuite.queue import deferlog
from mailsuite.queue.file import EXPIRE, Damaged, read
from mailsuite.queue.store import QueueStore

QUEUES = ("maildrop", "active", "incoming", "deferred", "hold")
_WITH_REASONS = frozenset({"deferred", "hold"})
HEADING = ("-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------",
           "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------")
EMPTY = "Mail queue is empty"


@dataclass(slots=True)
class Listed:
    """recipients: (address, reason), unfinished ones only. retry_at: when deferred mail is tried again; else 0."""

    queue: str
    queue_id: str
    arrival_time: float
    size: int
    sender: str
    expire: bool = False
    recipients: list[tuple[str, str]] = field(default_factory=list)
    retry_at: float = 0.0


def list_queue(store: QueueStore, queues: tuple[str, ...] = QUEUES) -> Iterator[Listed]:
    """Raises PermissionError for a folder that may not be read."""
    seen: set[str] = set()
    for queue in queues:
        for folder, queue_id in store.scan_paths(queue):
            if queue_id in seen:
                continue
            listed = _read(store, queue, folder, queue_id)
            if listed is not None:
                if queue != "deferred":      # a message moves on from active and incoming only
                    seen.add(queue_id)
                yield listed


def list_one(store: QueueStore, queue: str, queue_id: str) -> Listed | None:
    """One message of one queue; None: it is not there, or damaged. Raises ValueError for what is no queue id."""
    return _read(store, queue, os.path.dirname(store.path(queue, queue_id)), queue_id)


def _read(store: QueueStore, queue: str, folder: str, queue_id: str) -> Listed | None:
    try:
        fd = os.open(f"{folder}/{queue_id}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return None
    try:
        stored = read(fd)
        status = os.fstat(fd)
    except Damaged:
        return None
    finally:
        os.close(fd)
    # maildrop files are the submitter's, with any mode.
    expire = bool(status.st_mode & EXPIRE) and queue != "maildrop"
    reasons = deferlog.read(store.path("defer", queue_id)).of if queue in _WITH_REASONS else {}
    return Listed(queue, queue_id, stored.envelope.arrival_time, stored.shown_size,
                  quote_local(stored.envelope.sender) or "MAILER-DAEMON", expire,
                  [(quote_local(one.address), reasons.get(one.number, "")) for one in stored.recipients],
                  status.st_mtime if queue == "deferred" else 0.0)


def to_json(entry: Listed, *, more: bool = False) -> str:
    """One line of postqueue -j; more: with what Postfix's does not tell, the time of the next attempt."""
    recipients = []
    for address, reason in entry.recipients:
        shown = {"address": address}
        if reason:
            shown["delay_reason"] = reason
        recipients.append(shown)
    extra = {"next_attempt": int(entry.retry_at)} if more and entry.retry_at else {}
    return json.dumps({"queue_name": entry.queue, "queue_id": entry.queue_id, "arrival_time": int(entry.arrival_time),
                       "message_size": entry.size, "forced_expire": entry.expire, "sender": entry.sender,
                       "recipients": recipients, **extra}, ensure_ascii=False)


def from_json(line: str) -> Listed:
    """What to_json wrote. Raises ValueError, KeyError, TypeError."""
    said = json.loads(line)
    return Listed(said["queue_name"], said["queue_id"], float(said["arrival_time"]), int(said["message_size"]),
                  said["sender"], bool(said["forced_expire"]),
                  [(one["address"], one.get("delay_reason", "")) for one in said["recipients"]],
                  float(said.get("next_attempt", 0)))


class Mailq:
    """The listing for people. long_ids: enable_long_queue_ids makes the first column wider."""

    def __init__(self, *, long_ids: bool = False) -> None:
        self.long_ids = long_ids
        self.messages = self.octets = 0

    def lines(self, entry: Listed) -> list[str]:
        """The lines of one message, the heading before the first."""
        out = [HEADING[self.long_ids]] if not self.messages else [""]
        self.messages += 1
        self.octets += entry.size
        mark = {"active": "*", "hold": "!"}.get(entry.queue, "")
        name = entry.queue_id + mark + ("#" if entry.expire else "")
        when = time.strftime("%a %b %e %H:%M:%S ", time.localtime(entry.arrival_time))
        out.append(f"{name:<17s} {entry.size:8d} {when:.19s} {entry.sender}" if self.long_ids
                   else f"{name:<11s} {entry.size:7d} {when:.20s} {entry.sender}")
        by_reason: dict[str, list[str]] = {}
        for address, reason in entry.recipients:
            by_reason.setdefault(reason, []).append(address)
        for reason, addresses in by_reason.items():
            if reason:
                out.append(f"({reason})".rjust(78))
            out += [" " * (47 if self.long_ids else 41) + address for address in addresses]
        return out

    def end(self) -> list[str]:
        if not self.messages:
            return [EMPTY]
        return ["", f"-- {self.octets // 1024} Kbytes in {self.messages} Request{'s' if self.messages != 1 else ''}."]
