"""AUTH (RFC 4954). What the client says stays base64: the auth service decodes and judges it."""

import re
from typing import TYPE_CHECKING

from mailsuite.base.log import logger
from mailsuite.base.secret import Secret
from mailsuite.smtp import questions
from mailsuite.smtp.outcome import Done, NextLine, Outcome, Pending, refused
from mailsuite.smtp.syntax import Word

if TYPE_CHECKING:
    from mailsuite.smtp.session import ServerSession

log = logger("smtpd")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]*=*")


def do_auth(session: "ServerSession", words: list[Word]) -> Outcome:
    config, facts = session.config, session.facts
    if config.helo_required and facts.helo is None:
        session.trouble.add("protocol")
        return refused("503 5.5.1 Error: send HELO/EHLO first")
    if not config.sasl or config.standalone or (config.tls_auth_only and facts.tls is None):
        session.trouble.add("protocol")
        return refused("503 5.5.1 Error: authentication not enabled")
    if facts.sender is not None:
        session.trouble.add("protocol")
        return refused("503 5.5.1 Error: MAIL transaction in progress")
    if facts.sasl_username:
        session.trouble.add("protocol")
        return refused("503 5.5.1 Error: already authenticated")
    if not 2 <= len(words) <= 3:
        session.trouble.add("protocol")
        return refused("501 5.5.4 Syntax: AUTH mechanism")
    if "auth" in config.rates:
        return Pending(questions.RateCheck("auth"), lambda fine: _begin(session, words) if fine else refused(
            f"450 4.7.1 Error: too many AUTH commands from {facts.client.address}"))
    return _begin(session, words)


def _begin(session: "ServerSession", words: list[Word]) -> Outcome:
    session.facts.sasl_method = words[1].text
    if session.offer is None:           # AUTH before EHLO: nobody has asked for the mechanisms yet
        return Pending(questions.EhloOptions(), lambda offer: _with_offer(session, offer, words))
    return _first(session, words)


def _with_offer(session: "ServerSession", offer: object, words: list[Word]) -> Outcome:
    assert isinstance(offer, questions.Offer)
    session.offer = offer
    return _first(session, words)


def _first(session: "ServerSession", words: list[Word]) -> Outcome:
    assert session.offer is not None
    mechanism = words[1].text
    if not session.offer.mechanisms:        # the service was away; it may be back next time
        session.offer = None
        return _failed(session, questions.AuthFailed(reason="authentication is not available", temporary=True))
    if mechanism.upper() not in session.offer.mechanisms:
        return _failed(session, questions.AuthFailed(session.last_login, "Invalid authentication mechanism"))
    initial = None
    if len(words) == 3:
        octets = b"" if words[2].text == "=" else words[2].text.encode("utf-8", "surrogateescape")
        if not _BASE64.fullmatch(octets):
            return _failed(session, questions.AuthFailed(session.last_login, "Invalid base64 data in initial response"))
        initial = Secret(octets)
    return Pending(questions.AuthStart(mechanism.upper(), initial), lambda step: _step(session, step))


def _step(session: "ServerSession", step: object) -> Outcome:
    if isinstance(step, questions.AuthMore):
        return NextLine("334 " + step.base64.decode("ascii", "replace"), lambda line: _line(session, line))
    if isinstance(step, questions.AuthDone):
        session.facts.sasl_username = session.last_login = step.username
        return Done(step.reply or "235 2.7.0 Authentication successful")
    assert isinstance(step, questions.AuthFailed)
    session.last_login = step.username
    return _failed(session, step)


def _line(session: "ServerSession", line: bytes) -> Outcome:
    line = line.rstrip(b" \t")
    if line == b"*":
        log.warning("%s: SASL %.100s authentication aborted", session.facts.client.host, session.facts.sasl_method)
        _forget(session)
        return Pending(questions.AuthCancel(), lambda _: refused("501 5.7.0 Authentication aborted"))
    if not _BASE64.fullmatch(line):
        failure = questions.AuthFailed(session.last_login, "Invalid base64 data in continued response")
        return Pending(questions.AuthCancel(), lambda _: _failed(session, failure))
    return Pending(questions.AuthLine(Secret(line)), lambda step: _step(session, step))


def _failed(session: "ServerSession", failure: questions.AuthFailed) -> Outcome:
    reason = failure.reason or "(reason unavailable)"
    log.warning("%s: SASL %.100s authentication failed: %s, sasl_username=%.100s", session.facts.client.host,
                session.facts.sasl_method, reason, failure.username or "(unavailable)")
    _forget(session)
    if failure.reply:
        return refused(failure.reply)
    if failure.temporary:
        return refused(f"454 4.7.0 Temporary authentication failure: {reason}")
    return refused(f"535 5.7.8 Error: authentication failed: {reason}")


def _forget(session: "ServerSession") -> None:
    session.facts.sasl_method = session.facts.sasl_username = ""
