"""Which queued messages an administrator means.

    wanted = Selection(domain="*.far.test", older_s=3600, queues=("deferred",))
    [entry for entry in list_queue(store) if wanted.matches(entry, time.time())]

Addresses and domains are compared without regard to case, "*" and "?" stand for any text; a sender "<>" is the null
sender. A recipient's reason is found by a part of its text. What is empty asks for nothing. All of it must fit; the
recipient, the domain and the reason must fit one and the same unfinished recipient.
"""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from mailsuite.base.errors import ConfigError
from mailsuite.queue.listing import Listed

NULL_SENDER = "MAILER-DAEMON"
_SIZE = re.compile(r"(\d+)\s*([kmg]?)b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


@dataclass(frozen=True)
class Selection:
    """older_s, newer_s: age in seconds; larger, smaller: octets of the content; None: any."""

    ids: frozenset[str] = frozenset()
    queues: frozenset[str] = frozenset()
    sender: str | None = None
    recipient: str | None = None
    domain: str | None = None
    reason: str | None = None
    older_s: float | None = None
    newer_s: float | None = None
    larger: int | None = None
    smaller: int | None = None

    @property
    def is_everything(self) -> bool:
        return self == Selection()

    def matches(self, entry: Listed, now: float) -> bool:
        """Whether a message is meant; now: epoch seconds."""
        age = now - entry.arrival_time
        return ((not self.ids or entry.queue_id in self.ids)
                and (not self.queues or entry.queue in self.queues)
                and (self.older_s is None or age >= self.older_s)
                and (self.newer_s is None or age < self.newer_s)
                and (self.larger is None or entry.size >= self.larger)
                and (self.smaller is None or entry.size < self.smaller)
                and (self.sender is None or _fits(self.sender, entry.sender))
                and (self.recipient is self.domain is self.reason is None
                     or any(self._recipient_fits(address, reason) for address, reason in entry.recipients)))

    def _recipient_fits(self, address: str, reason: str) -> bool:
        return ((self.recipient is None or _fits(self.recipient, address))
                and (self.domain is None or _fits(self.domain.removeprefix("@"), address.rpartition("@")[2]))
                and (self.reason is None or self.reason.lower() in reason.lower()))


def _fits(pattern: str, text: str) -> bool:
    if pattern in ("", "<>"):
        return text == NULL_SENDER
    # "[" belongs to address literals, not to the pattern.
    return fnmatchcase(text.lower(), pattern.lower().replace("[", "[[]"))


def parse_size(text: str) -> int:
    """Octets of "500", "10k", "2M", "1G". Raises ConfigError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"not a size: {text} (e.g. 500, 10k, 2M)")
    return int(match[1]) * _UNITS[match[2].lower()]
