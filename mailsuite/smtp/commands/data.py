"""DATA, and what follows the end of a message."""

from typing import TYPE_CHECKING

from mailsuite.smtp import questions
from mailsuite.smtp.commands.ending import end_of_message
from mailsuite.smtp.facts import BdatState
from mailsuite.smtp.outcome import Content, Outcome, Pending, refused
from mailsuite.smtp.syntax import Word

if TYPE_CHECKING:
    from mailsuite.smtp.session import ServerSession


def do_data(session: "ServerSession", words: list[Word]) -> Outcome:
    facts = session.facts
    if session.content.bdat is not BdatState.NONE:
        session.trouble.add("protocol")
        return refused("503 5.5.1 Error: DATA after BDAT")
    if not facts.recipients:
        if facts.sender is None:
            session.trouble.add("protocol")
            return refused("503 5.5.1 Error: need RCPT command")
        # A pipelining client cannot know yet that all recipients were refused: RFC 2920 section 3.1.
        return refused("554 5.5.1 Error: no valid recipients")
    if len(words) != 1:
        session.trouble.add("protocol")
        return refused("501 5.5.4 Syntax: DATA")
    if session.config.ask_data:
        return Pending(questions.DataStart("DATA"), lambda answer: _judged(session, answer))
    return _receive(session)


def _judged(session: "ServerSession", answer: object) -> Outcome:
    if isinstance(answer, questions.Refusal):
        return session.refuse(answer)
    return _receive(session)


def _receive(session: "ServerSession") -> Outcome:
    session.facts.actual_size = 0
    return Content("354 End data with <CR><LF>.<CR><LF>", lambda: end_of_message(session))
