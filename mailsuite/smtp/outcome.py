"""What a command function gives back to the session.

    Done("250 2.1.0 Ok")                        the command is over
    Pending(question, then)                     the world is asked; then(answer) gives the next outcome
    NextLine("334 ...", then)                   the client's next line goes to then(line)
    Content("354 ...", then)                    message content follows up to CRLF.CRLF, then then()
    Chunk(size, then, keep=True)                size octets follow; keep: they are message content
    Chunk(0, then, ready=octets)                content that need not come from the client
"""

from collections.abc import Callable
from typing import Union

from msgspec import Struct

from mailsuite.base.dialogue import Action


class Done(Struct, frozen=True):
    """reply: text without CRLF, or octets that are ready; "" for none. ok False counts as an error of the client.

    actions follow the reply. close: the connection ends (421 and 521 do so by themselves).
    blameless: not ok, but no error of the client either.
    """

    reply: str | bytes
    ok: bool = True
    actions: tuple[Action, ...] = ()
    close: bool = False
    blameless: bool = False


class Pending(Struct, frozen=True):
    question: object
    then: "Callable[[object], Outcome]"


class NextLine(Struct, frozen=True):
    reply: str
    then: "Callable[[bytes], Outcome]"


class Content(Struct, frozen=True):
    reply: str
    then: "Callable[[], Outcome]"


class Chunk(Struct, frozen=True):
    size: int
    then: "Callable[[], Outcome]"
    keep: bool = True
    last: bool = False
    ready: bytes = b""


Outcome = Union[Done, Pending, NextLine, Content, Chunk]    # noqa: UP007  (a name used in forward references)


# The end of a client that talks before it has heard us.
OUT_OF_STEP = Done("554 5.5.0 Error: SMTP protocol synchronization", ok=False, close=True)


def refused(reply: str) -> Done:
    """An error of the client."""
    return Done(reply, ok=False)
