"""Who else looks at the stages of an SMTP connection: milters, plug-ins written for aiosmtpd.

    observers = Observers([milters, handlers])        one per connection, in the order in which they are asked
    answer = await observers.rcpt(facts, words, None)

The server's own policy is asked first; its connection (server_connection.py) then tells the observers, with the same
Facts. Answers: None: go on; a Refusal: the client is told its reply, and 421 ends the connection; Fine: go on, with
another reply than ours. The first objection counts: those behind are not asked any more. Who wants the message as a
whole gives `inspectors` (queue/inspection.py). `words` is the command as it was said.
Raises: what an observer raises is a 451 to the client, with a traceback in the log.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from mailsuite.smtp.facts import Facts
from mailsuite.smtp.questions import AuthDone, AuthFailed, AuthMore, Fine, Refusal
from mailsuite.smtp.syntax import Word

if TYPE_CHECKING:
    from mailsuite.queue.cleanup import Intake
    from mailsuite.queue.inspection import Inspector

Answer = Refusal | Fine | None
LoginStep = AuthMore | AuthDone | AuthFailed


class LoginDialogue(Protocol):
    """An observer that authenticates the client by itself. What the client says is base64, as it came."""

    async def start(self, initial: bytes | None) -> LoginStep: ...
    async def proceed(self, response: bytes) -> LoginStep: ...
    def cancel(self) -> None: ...


class Observer:
    """One that is content with everything."""

    async def connect(self, facts: Facts) -> Answer:
        """The client has its name, and our policy nothing against it. Again after XCLIENT."""
        return None

    async def helo(self, facts: Facts, words: Sequence[Word]) -> Answer:
        """facts.helo is the new name."""
        return None

    async def ehlo_lines(self, facts: Facts, lines: list[str]) -> list[str] | Refusal:
        """What EHLO is about to list, the host's name first."""
        return lines

    async def mail(self, facts: Facts, words: Sequence[Word]) -> Answer:
        """facts.sender is the address."""
        return None

    async def rcpt(self, facts: Facts, words: Sequence[Word], refusal: Refusal | None) -> Answer:
        """facts.recipient is the address. refusal: what the client is told in any case."""
        return None

    async def data(self, facts: Facts) -> Answer:
        """DATA, or the first BDAT."""
        return None

    async def other(self, facts: Facts, verb: str, words: Sequence[Word]) -> Answer:
        """A command without a place here: RSET, NOOP, VRFY, ETRN, AUTH, STARTTLS, QUIT. An answer is given instead;
        RSET and QUIT do their work all the same."""
        return None

    async def unknown(self, facts: Facts, words: Sequence[Word]) -> Answer:
        """No command of ours. An answer is given instead."""
        return None

    async def auth(self, facts: Facts, mechanism: str, initial: bytes | None) -> "LoginDialogue | Answer":
        """AUTH with one of our mechanisms or those of `server.plugin_mechanisms`; None: the auth service is asked."""
        return None

    def inspectors(self, facts: Facts, intake: "Intake") -> "list[Inspector]":
        """The queue file is there; whoever wants to see what goes into it says so now."""
        return []

    def reset(self, facts: Facts) -> None:
        """The transaction is over, for whatever reason."""

    def forget(self, facts: Facts) -> None:
        """The client begins anew: another HELO, STARTTLS, XCLIENT."""

    def close(self, facts: Facts) -> None:
        """The connection is gone."""


class Observers(Observer):
    """Several as one."""

    def __init__(self, members: Sequence[Observer]) -> None:
        self._members = members

    async def connect(self, facts: Facts) -> Answer:
        for member in self._members:
            if (answer := await member.connect(facts)) is not None:
                return answer
        return None

    async def helo(self, facts: Facts, words: Sequence[Word]) -> Answer:
        for member in self._members:
            if (answer := await member.helo(facts, words)) is not None:
                return answer
        return None

    async def ehlo_lines(self, facts: Facts, lines: list[str]) -> list[str] | Refusal:
        for member in self._members:
            found = await member.ehlo_lines(facts, lines)
            if isinstance(found, Refusal):
                return found
            lines = found
        return lines

    async def mail(self, facts: Facts, words: Sequence[Word]) -> Answer:
        fine: Answer = None
        for member in self._members:
            answer = await member.mail(facts, words)
            if isinstance(answer, Refusal):
                return answer
            fine = answer or fine
        return fine

    async def rcpt(self, facts: Facts, words: Sequence[Word], refusal: Refusal | None) -> Answer:
        fine: Answer = None
        for member in self._members:
            answer = await member.rcpt(facts, words, refusal)
            if isinstance(answer, Refusal):
                return answer
            fine = answer or fine
        return fine

    async def data(self, facts: Facts) -> Answer:
        for member in self._members:
            if (answer := await member.data(facts)) is not None:
                return answer
        return None

    async def other(self, facts: Facts, verb: str, words: Sequence[Word]) -> Answer:
        for member in self._members:
            if (answer := await member.other(facts, verb, words)) is not None:
                return answer
        return None

    async def unknown(self, facts: Facts, words: Sequence[Word]) -> Answer:
        for member in self._members:
            if (answer := await member.unknown(facts, words)) is not None:
                return answer
        return None

    async def auth(self, facts: Facts, mechanism: str, initial: bytes | None) -> "LoginDialogue | Answer":
        for member in self._members:
            if (found := await member.auth(facts, mechanism, initial)) is not None:
                return found
        return None

    def inspectors(self, facts: Facts, intake: "Intake") -> "list[Inspector]":
        return [inspector for member in self._members for inspector in member.inspectors(facts, intake)]

    def reset(self, facts: Facts) -> None:
        for member in self._members:
            member.reset(facts)

    def forget(self, facts: Facts) -> None:
        for member in self._members:
            member.forget(facts)

    def close(self, facts: Facts) -> None:
        for member in self._members:
            member.close(facts)
