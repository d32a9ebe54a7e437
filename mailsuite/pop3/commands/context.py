"""What a command works with: one session's world."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field

from mailsuite.base.errors import PeerError
from mailsuite.pop3.counts import Counts
from mailsuite.pop3.maildrop import Maildrop
from mailsuite.pop3.params import Params
from mailsuite.pop3.session import Done
from mailsuite.pop3.syntax import message_number

Run = Generator[bytes, None, Done]


@dataclass
class Context:
    """One session's world."""

    maildrop: Maildrop
    params: Params = field(default_factory=Params)
    extra: Mapping[str, object] = field(default_factory=dict)       # of its log lines
    utf8: bool = False                                              # the client said UTF8
    updated: bool = False                                           # QUIT has carried out what was marked
    counts: Counts = field(default_factory=Counts)


def position_of(context: Context, arguments: str) -> int:
    """The position of a message that is there. Raises PeerError."""
    return not_deleted(context, message_number(arguments, context.maildrop.count))


def not_deleted(context: Context, number: int) -> int:
    """The position of message `number`. Raises PeerError."""
    if number - 1 in context.maildrop.deleted:
        raise PeerError("Message is deleted.")
    return number - 1
