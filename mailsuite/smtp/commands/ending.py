"""The end of a message, by DATA or BDAT: commit it and say so."""

from typing import TYPE_CHECKING

from mailsuite.smtp import questions
from mailsuite.smtp.commands.mail import abandon
from mailsuite.smtp.outcome import Done, Outcome, Pending, refused

if TYPE_CHECKING:
    from mailsuite.smtp.session import ServerSession


def end_of_message(session: "ServerSession", chunked: str = "") -> Outcome:
    """chunked: "27 bytes" of BDAT, for the reply."""
    if session.content.failed:
        session.trouble.add("bounce")
        return abandon(session, lambda: refused("552 5.3.4 Error: message file too big"))

    if session.content.bare_lf:
        session.note_bare_lf("END-OF-MESSAGE")
        return abandon(session, lambda: refused(session.config.bare_lf_reply))

    def judged(answer: object) -> Outcome:
        queued = isinstance(answer, questions.Queued)
        if isinstance(answer, questions.Queued):
            session.facts.queue_id = ""             # no longer ours to throw away
            session.ledger.forgive()
            text = f"{chunked} queued as {answer.queue_id}" if chunked else f"queued as {answer.queue_id}"
            reply = answer.reply or f"250 2.0.0 Ok: {text}"
        else:
            assert isinstance(answer, questions.Refusal)
            if answer.sort:
                session.trouble.add(answer.sort)
            reply = answer.reply
        return abandon(session, lambda: Done(reply, ok=queued))

    return Pending(questions.EndOfMessage(), judged)
