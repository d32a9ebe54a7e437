"""The first words of an SMTP dialogue, and again after a handshake or XCLIENT: the banner, or why there is none.

    greet(session, answer) -> Outcome       answer: what the world says of the client (questions.Connected)
    banner(session, answer) -> Done         as greet, where the connection was judged already (XCLIENT)
    handshaken(session) -> Outcome          STARTTLS is done
"""

from typing import TYPE_CHECKING

from mailsuite.smtp import questions
from mailsuite.smtp.log_lines import log_pipelining, log_tls
from mailsuite.smtp.outcome import OUT_OF_STEP, Done, Outcome, Pending, refused

if TYPE_CHECKING:
    from mailsuite.smtp.session import ServerSession


def greet(session: "ServerSession", answer: object) -> Outcome:
    """What a new connection hears."""
    if _counted(session):
        return Pending(questions.RateCheck("newtls"),
                       lambda fine: banner(session, answer) if fine else _too_many(session))
    return banner(session, answer)


def handshaken(session: "ServerSession") -> Outcome:
    """Nothing, unless this handshake was one too many (smtpd_client_new_tls_session_rate_limit)."""
    note_tls(session)
    if _counted(session):
        return Pending(questions.RateCheck("newtls"), lambda fine: Done("") if fine else _too_many(session))
    return Done("")


def banner(session: "ServerSession", answer: object) -> Done:
    """The banner, or what was said against the client."""
    if isinstance(answer, questions.Refusal):
        session.denied = True
        return session.refuse(answer)
    session.denied = False
    facts = session.facts
    if session.unread and session.config.forbid_pipelining and session.entry is None and not facts.ill_pipelining:
        facts.ill_pipelining = True
        log_pipelining(facts, "CONNECT", bytes(session.unread[:100]))
        return OUT_OF_STEP
    if isinstance(answer, questions.Fine):
        return Done(answer.reply)
    return Done(f"220 {session.config.banner}")


def note_tls(session: "ServerSession") -> None:
    """What the handshake agreed on, for the log."""
    if session.config.tls_loglevel >= 1 and session.facts.tls is not None:
        log_tls(session.facts, session.facts.tls)


def _counted(session: "ServerSession") -> bool:
    """Whether there was a handshake that anvil counts."""
    tls = session.facts.tls
    return tls is not None and "newtls" in session.config.rates and not tls.resumed


def _too_many(session: "ServerSession") -> Done:
    session.trouble.add("policy")
    return refused(f"421 4.7.0 {session.config.hostname} Error: too many new TLS sessions "
                   f"from {session.facts.client.host}")
