"""What a run tells while it works, and what it was in the end."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field

REFUSALS_SHOWN = 100


@dataclass
class Result:
    """incomplete: something could not be done, for good; failed: something could not be done this time."""

    folders: int = 0
    copied: int = 0
    octets: int = 0
    flags: int = 0
    removed: int = 0
    folders_made: int = 0
    folders_removed: int = 0
    skipped: int = 0                # messages that the far side refused or could not give
    errors: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        """doveadm's: 0 all done; 2 some changes couldn't be done; 75 something failed."""
        return 75 if self.errors else 2 if self.skipped else 0

    def numbers(self) -> dict[str, int]:
        return {name: value for name, value in asdict(self).items() if isinstance(value, int)}


class Report:
    """progress(what): called with {"folder", "at", "of"} at a folder's beginning, {"messages", "octets"} when it is
    known how much there is to copy, {"copied", "octets"} when some are. note(text): a line for who wants to see all.
    """

    def __init__(self, progress: Callable[[dict[str, object]], None] = lambda what: None,
                 note: Callable[[str], None] = lambda text: None) -> None:
        self.result = Result()
        self.progress, self.note = progress, note
        self.steps = 0              # grows whenever something was done

    def copied(self, count: int, octets: int) -> None:
        self.result.copied += count
        self.result.octets += octets
        self.steps += count
        self.progress({"copied": count, "octets": octets})

    def refused(self, where: str, uid: int, why: str) -> None:
        self.result.skipped += 1
        self.steps += 1
        if len(self.result.refusals) < REFUSALS_SHOWN:
            self.result.refusals.append(f"Mailbox {where}: UID {uid}: {why}")

    def failed(self, text: str) -> None:
        self.result.errors.append(text)
