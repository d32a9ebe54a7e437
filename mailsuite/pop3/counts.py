"""What the log line at the end of a session tells of its commands."""

from dataclasses import dataclass


@dataclass
class Counts:
    """Octets as they were sent, with the reply's first line. deleted: by QUIT."""

    top: int = 0
    top_octets: int = 0
    retr: int = 0
    retr_octets: int = 0
    deleted: int = 0
    deleted_octets: int = 0
