"""What a synchronization is asked to do."""

from dataclasses import dataclass
from enum import Enum


class Mode(Enum):
    """MIRROR: the target becomes what the source is. ONE_WAY: the target gets what it lacks. BOTH: two-way."""

    MIRROR = "backup"
    ONE_WAY = "one-way"
    BOTH = "two-way"


@dataclass(frozen=True)
class Options:
    """reverse: from the second side to the first. mailboxes, exclude: masks ("*", "?") or uses as "\\\\Sent".

    guid: of the one folder to look at. since, until: seconds since the epoch, of INTERNALDATE. flag: only messages
    with it; "-flag": without it. alternative: what stands in a name for what a side can't have there. full: look
    into folders that seem unchanged since the state. map_special: a folder for sent mail goes to the one for sent
    mail. dry_run: tell, change nothing.
    """

    mode: Mode = Mode.BOTH
    reverse: bool = False
    mailboxes: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    guid: str = ""
    since: float | None = None
    until: float | None = None
    max_size: int | None = None
    flag: str = ""
    alternative: str = "_"
    dry_run: bool = False
    full: bool = False
    map_special: bool = False
    batch_messages: int = 100
    batch_octets: int = 8 << 20
    retries: int = 3
    retry_s: float = 1.0

    @property
    def selective(self) -> bool:
        """Not all folders are looked at."""
        return bool(self.mailboxes or self.exclude or self.guid)
