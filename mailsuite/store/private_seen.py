"""\\Seen of one user in a mailbox that others use, too: INDEXPVT.

    seen = PrivateSeen("/home/bob/shared/alice", ("Work",))
    seen.load(uid_validity);  17 in seen.uids;  seen.change({17, 18}, on=True)

One small file for each mailbox below INDEXPVT, UIDVALIDITY in its first line and the UIDs as ranges in the second;
without it, or when it is of another mailbox, nothing has been seen. It is replaced as a whole but not synced: what a
crash may lose is which mail was read a moment ago. The caller holds the mailbox's lock; one process serves a user.
"""

import os
from collections.abc import Collection

from mailsuite.store.errors import StoreError
from mailsuite.store.names import Parts

NAME = "dovecot.index.pvt.mailsuite"
MAX_SIZE = 16 * 1024 * 1024         # octets of a file, and messages of one range


class PrivateSeen:
    """uids: those that this user has seen."""

    def __init__(self, folder: str, parts: Parts) -> None:
        self._folder = os.path.join(folder, "." + ".".join(parts))
        self._path = os.path.join(self._folder, NAME)
        self._validity = 0
        self.uids: set[int] = set()

    def load(self, uid_validity: int) -> None:
        self._validity, self.uids = uid_validity, set()
        try:
            with open(self._path, encoding="ascii", errors="replace") as file:
                validity, _, ranges = file.read(MAX_SIZE).partition("\n")
        except OSError:
            return
        if validity == str(uid_validity):
            self.uids = set(_parsed(ranges.strip()))

    def change(self, uids: Collection[int], *, on: bool, there: Collection[int] = ()) -> None:
        """there: the UIDs that the mailbox has; others are forgotten. Raises StoreError."""
        if on:
            self.uids.update(uids)
        else:
            self.uids.difference_update(uids)
        if there:
            self.uids.intersection_update({*there, *uids})
        temp = f"{self._path}.{os.getpid()}"
        try:
            os.makedirs(self._folder, 0o700, exist_ok=True)
            fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with open(fd, "w", encoding="ascii") as file:
                file.write(f"{self._validity}\n{_text(self.uids)}\n")
            os.rename(temp, self._path)
        except OSError as error:
            raise StoreError(str(error)) from error


def _parsed(ranges: str) -> list[int]:
    found: list[int] = []
    for one in ranges.split(","):
        low, _, high = one.partition(":")
        if low.isdecimal() and (not high or high.isdecimal()):
            found += range(int(low), min(int(high or low), int(low) + MAX_SIZE) + 1)
    return found


def _text(uids: Collection[int]) -> str:
    pieces: list[str] = []
    first = last = 0
    for uid in [*sorted(uids), 0]:
        if first and uid != last + 1:
            pieces.append(str(first) if first == last else f"{first}:{last}")
            first = 0
        first, last = first or uid, uid
    return ",".join(pieces)
