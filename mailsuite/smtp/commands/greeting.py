"""HELO, EHLO, STARTTLS, QUIT: the session as a whole."""

from typing import TYPE_CHECKING

from mailsuite.base.dialogue import StartTls
from mailsuite.base.log import logger
from mailsuite.smtp import questions
from mailsuite.smtp.commands.mail import abandon
from mailsuite.smtp.commands.proxy import XCLIENT_NAMES, XFORWARD_NAMES
from mailsuite.smtp.outcome import Done, Outcome, Pending, refused
from mailsuite.smtp.reply import encode_lines
from mailsuite.smtp.syntax import Word, neuter_helo, printable

if TYPE_CHECKING:
    from mailsuite.smtp.session import ServerSession

log = logger("smtpd")

# In the order in which the log names those that are left out.
KEYWORDS = ("8bitmime", "pipelining", "size", "vrfy", "etrn", "auth", "verp", "starttls", "xclient", "xforward",
            "enhancedstatuscodes", "dsn", "smtputf8", "chunking", "requiretls")


def do_helo(session: "ServerSession", words: list[Word]) -> Outcome:
    return _hello(session, words, "HELO")


def do_ehlo(session: "ServerSession", words: list[Word]) -> Outcome:
    return _hello(session, words, "EHLO")


def _hello(session: "ServerSession", words: list[Word], verb: str) -> Outcome:
    if len(words) < 2:
        session.trouble.add("protocol")
        return refused(f"501 Syntax: {verb} hostname")
    name = words[1].text if len(words) == 2 else " ".join(word.text for word in words[1:])
    if not session.config.ask_helo:
        return _accept_hello(session, name, verb)
    before, session.facts.helo = session.facts.helo, printable(name)     # who judges it sees what was said

    def judged(answer: object) -> Outcome:
        if isinstance(answer, questions.Refusal):
            session.facts.helo = before
            return session.refuse(answer)
        return _accept_hello(session, name, verb, answer.reply if isinstance(answer, questions.Fine) else "")

    return Pending(questions.Greeted(), judged)


def _accept_hello(session: "ServerSession", name: str, verb: str, reply: str = "") -> Outcome:
    def answer() -> Outcome:
        session.facts.helo = neuter_helo(name)
        if verb == "HELO":
            return Done(reply or f"250 {session.config.hostname}")
        session.facts.protocol = "ESMTP"
        if session.offer is not None:
            return _list_keywords(session)
        if session.config.ask_options:
            return Pending(questions.EhloOptions(), lambda offer: _take_offer(session, offer))
        return _take_offer(session, questions.Offer(session.config.discard_keywords))

    return abandon(session, answer)


def _take_offer(session: "ServerSession", offer: object) -> Outcome:
    assert isinstance(offer, questions.Offer)
    session.offer = offer
    return _list_keywords(session)


def _list_keywords(session: "ServerSession") -> Outcome:
    config, offer = session.config, session.offer
    assert offer is not None
    without = offer.discard
    if without and "silent-discard" not in without:
        log.info("discarding EHLO keywords: %s", " ".join(word.upper() for word in KEYWORDS if word in without))
    lines = [config.hostname]
    if "pipelining" not in without:
        lines.append("PIPELINING")
    if "size" not in without:
        lines.append(f"SIZE {config.message_size_limit}" if config.message_size_limit else "SIZE")
    if not config.disable_vrfy and "vrfy" not in without:
        lines.append("VRFY")
    if "etrn" not in without:
        lines.append("ETRN")
    if config.tls and session.facts.tls is None and "starttls" not in without:
        lines.append("STARTTLS")
    if auth_offered(session) and offer.mechanisms and not offer.hide_auth and "auth" not in without:
        lines.append("AUTH " + " ".join(offer.mechanisms))
        if config.broken_auth:
            lines.append("AUTH=" + " ".join(offer.mechanisms))
    if session.may_verp and "verp" not in without:
        lines.append("XVERP")
    if session.may_xclient and "xclient" not in without:
        lines.append("XCLIENT " + " ".join(XCLIENT_NAMES))
    if session.may_xforward and "xforward" not in without:
        lines.append("XFORWARD " + " ".join(XFORWARD_NAMES))
    lines += [keyword.upper() for keyword in ("enhancedstatuscodes", "8bitmime", "dsn") if keyword not in without]
    if config.smtputf8 and "smtputf8" not in without:
        lines.append("SMTPUTF8")
    if session.may_require_tls:
        lines.append("REQUIRETLS")
    if "chunking" not in without:
        lines.append("CHUNKING")
        if config.burl and session.facts.sasl_username:
            lines.append("BURL imap")       # RFC 4468 section 4; it needs CHUNKING
    if config.observed:
        return Pending(questions.EhloLines(tuple(lines)), lambda said: _say_lines(session, said))
    return Done(encode_lines("250", lines))


def _say_lines(session: "ServerSession", lines: object) -> Outcome:
    if isinstance(lines, questions.Refusal):
        session.facts.helo = None
        return session.refuse(lines)
    assert isinstance(lines, list)
    return Done(encode_lines("250", lines))


def auth_offered(session: "ServerSession") -> bool:
    """Whether AUTH works now: it is switched on, and TLS is there where it must be."""
    config = session.config
    return config.sasl and not config.standalone and not (config.tls_auth_only and session.facts.tls is None)


def do_starttls(session: "ServerSession", words: list[Word]) -> Outcome:
    if len(words) != 1:
        session.trouble.add("protocol")
        return refused("501 5.5.4 Syntax: STARTTLS")
    if session.facts.tls is not None:
        session.trouble.add("protocol")
        return refused("554 5.5.1 Error: TLS already active")
    discarded = session.offer is not None and "starttls" in session.offer.discard
    if not session.config.tls or discarded or session.config.standalone:
        session.trouble.add("protocol")
        return refused("502 5.5.1 Error: command not implemented")
    if "tls" in session.config.rates:
        return Pending(questions.RateCheck("tls"), lambda fine: _handshake(session) if fine else refused(
            f"454 4.7.0 Error: too many new TLS sessions from {session.facts.client.host}"))
    return _handshake(session)


def _handshake(session: "ServerSession") -> Outcome:
    return abandon(session, lambda: Done("220 2.0.0 Ready to start TLS", actions=(StartTls(),)))


def do_quit(session: "ServerSession", words: list[Word]) -> Outcome:
    return Done("221 2.0.0 Bye", close=True)
