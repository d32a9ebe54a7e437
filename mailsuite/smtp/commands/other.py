"""NOOP, VRFY, ETRN."""

from typing import TYPE_CHECKING

from mailsuite.smtp import questions
from mailsuite.smtp.commands.mail import UNDECLARED, undeclared, with_address
from mailsuite.smtp.outcome import Done, Outcome, Pending, refused
from mailsuite.smtp.syntax import Word, is_address_literal, is_hostname

if TYPE_CHECKING:
    from mailsuite.smtp.session import ServerSession


def do_noop(session: "ServerSession", words: list[Word]) -> Outcome:
    return Done("250 2.0.0 Ok")


def do_vrfy(session: "ServerSession", words: list[Word]) -> Outcome:
    config = session.config
    if config.disable_vrfy:
        session.trouble.add("protocol")
        return refused("502 5.5.1 VRFY command is disabled")
    if len(words) < 2:
        session.trouble.add("protocol")
        return refused(f"501 5.5.4 Syntax: VRFY address{' [SMTPUTF8]' if config.smtputf8 else ''}")
    utf8 = len(words) > 2 and config.smtputf8 and words[-1].text.upper() == "SMTPUTF8"
    said = " ".join(word.text for word in (words[1:-1] if utf8 else words[1:]))
    if words[1].bad:        # a bracket that is never closed is looked up as it stands: unknown, no syntax error
        return _verify(session, said, said)
    return with_address(session, Word(said), "501 5.1.3 Bad recipient address syntax",
                        lambda recipient: refused(UNDECLARED) if undeclared(session, recipient, utf8=utf8)
                        else _verify(session, recipient, said), utf8=utf8, sloppy=True)


def _verify(session: "ServerSession", recipient: str, said: str) -> Outcome:
    facts = session.facts
    if session.config.standalone:
        return Done(f"252 2.0.0 {said}")
    before, facts.recipient = facts.recipient, recipient

    def judged(answer: object) -> Outcome:
        facts.recipient = before
        if isinstance(answer, questions.Refusal):
            return session.refuse(answer)
        return Done(f"252 2.0.0 {said}")

    return Pending(questions.Verify(recipient), judged)


def do_etrn(session: "ServerSession", words: list[Word]) -> Outcome:
    facts = session.facts
    if session.config.helo_required and facts.helo is None:
        session.trouble.add("protocol")
        return refused("503 Error: send HELO/EHLO first")
    if len(words) != 2:
        session.trouble.add("protocol")
        return refused("500 Syntax: ETRN domain")
    if facts.sender is not None:
        session.trouble.add("protocol")
        return refused("503 Error: MAIL transaction in progress")
    domain = words[1].text
    if domain[0] in "@#":           # RFC 1985 section 5.3: all below a domain, or a named queue
        domain = domain[1:]
    if not is_hostname(domain) and not is_address_literal(domain):
        session.trouble.add("protocol")
        return refused("501 Error: invalid parameter syntax")
    facts.etrn_name = domain

    def answered(reply: object) -> Outcome:
        facts.etrn_name = ""
        assert isinstance(reply, str)
        return Done(reply, ok=reply.startswith("2"))

    return Pending(questions.Etrn(domain), answered)
