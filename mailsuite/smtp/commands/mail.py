"""MAIL, RCPT, RSET: the transaction."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from mailsuite.base.errors import PeerError
from mailsuite.base.log import logger
from mailsuite.smtp import questions
from mailsuite.smtp.dsn import decoded_xtext, fits_verp, read_notify, read_orcpt, unknown_notify
from mailsuite.smtp.facts import BdatState
from mailsuite.smtp.log_lines import log_decision
from mailsuite.smtp.outcome import Done, Outcome, Pending, refused
from mailsuite.smtp.syntax import Word, is_plain_address, parse_address, printable, size_number

if TYPE_CHECKING:
    from mailsuite.smtp.session import ServerSession

log = logger("smtpd")

OK_MAIL = Done("250 2.1.0 Ok")
OK_RCPT = Done("250 2.1.5 Ok")
OK = Done("250 2.0.0 Ok")
TOO_BIG = "552 5.3.4 Message size exceeds fixed limit"
UNDECLARED = "553 5.6.7 Must declare SMTPUTF8 to send unicode address"


def abandon(session: "ServerSession", then: Callable[[], Outcome]) -> Outcome:
    """Forget the transaction; a queue file that was begun goes first."""
    def forget() -> Outcome:
        session.ledger.turn_page()
        session.facts.reset_mail()
        session.facts.forwarded = None
        session.content.forget()
        session.overshoot = 0
        return then()

    known = session.config.observed or session.config.proxied       # a filter's message has no id
    if session.facts.queue_id or (known and session.facts.sender is not None):
        return Pending(questions.Abandon(), lambda _: forget())
    return forget()


# --- MAIL -------------------------------------------------------------------------------------------------------

def do_mail(session: "ServerSession", words: list[Word]) -> Outcome:
    config, facts = session.config, session.facts
    if config.helo_required and facts.helo is None:
        session.trouble.add("protocol")
        return refused("503 5.5.1 Error: send HELO/EHLO first")
    if facts.sender is not None:
        session.trouble.add("protocol")
        return refused("503 5.5.1 Error: nested MAIL command")
    if session.content.bdat is not BdatState.NONE:
        session.trouble.add("protocol")
        return refused("503 5.5.1 Error: MAIL after BDAT")
    if len(words) < 3 or words[1].text.lower() != "from:":
        session.trouble.add("protocol")
        return refused("501 5.5.4 Syntax: MAIL FROM:<address>")
    if "message" in config.rates:
        return Pending(questions.RateCheck("message"), lambda fine: _mail(session, words) if fine else refused(
            f"450 4.7.1 Error: too much mail from {facts.client.address}"))
    return _mail(session, words)


def _mail(session: "ServerSession", words: list[Word]) -> Outcome:
    utf8 = (len(words) > 3 and session.config.smtputf8
            and any(word.text.upper() == "SMTPUTF8" for word in words[3:]))
    return with_address(session, words[2], "501 5.1.7 Bad sender address syntax",
                        lambda sender: _mail_from(session, sender, words[3:]), empty=True, utf8=utf8)


def _mail_from(session: "ServerSession", sender: str, options: list[Word]) -> Outcome:
    facts = session.facts
    facts.reset_mail(keep_size=True)
    session.overshoot = 0
    session.content.failed = False
    for word in options:
        problem = _mail_option(session, word.text)
        if problem:
            facts.reset_mail(keep_size=True)
            session.trouble.add("protocol")
            return refused(problem)
    if facts.verp and not sender:
        facts.reset_mail(keep_size=True)
        session.trouble.add("protocol")
        return refused("503 5.5.4 Error: XVERP requires non-null sender")
    if session.config.strict_smtputf8 and undeclared(session, sender, utf8=facts.smtputf8):
        facts.reset_mail(keep_size=True)
        return refused(UNDECLARED)
    limit = session.config.message_size_limit
    if 0 < limit < facts.size:
        session.trouble.add("policy")
        facts.sender = sender
        log_decision(facts, "reject", TOO_BIG)
        facts.reset_mail(keep_size=True)
        return refused(TOO_BIG)
    facts.sender = sender
    if not session.ask_mail:
        return OK_MAIL

    def judged(answer: object) -> Outcome:
        if isinstance(answer, questions.Refusal):
            facts.reset_mail(keep_size=True)
            return session.refuse(answer)
        return Done(answer.reply) if isinstance(answer, questions.Fine) else OK_MAIL

    return Pending(questions.MailFrom(), judged)


def with_address(session: "ServerSession", word: Word, bad: str, then: Callable[[str], Outcome], *, utf8: bool,
                 empty: bool = False, sloppy: bool = False) -> Outcome:
    """Go on with the address of a path; answer bad (with a line in the log) when it cannot be understood.

    utf8: SMTPUTF8 was declared.
    """
    config = session.config

    def wrong() -> Outcome:
        session.trouble.add("protocol")
        log.warning("Illegal address syntax from %s in %s command: %s", session.facts.client.host,
                    session.facts.where, printable(word.text))
        return refused(bad)

    if word.bad:
        session.trouble.add("protocol")
        return refused(bad)
    try:
        address = parse_address(word.text, strict=config.strict_envelopes and not sloppy, empty=empty)
    except PeerError:
        return wrong()
    if not address or config.standalone or is_plain_address(address):
        return then(address)
    return Pending(questions.AddressSyntax(address, utf8), lambda fine: then(address) if fine else wrong())


def undeclared(session: "ServerSession", address: str, *, utf8: bool) -> bool:
    """Whether strict_smtputf8 refuses the address: UTF-8, and SMTPUTF8 was not declared."""
    if not session.config.strict_smtputf8 or utf8 or address.isascii():
        return False
    session.trouble.add("protocol")
    return True


def _mail_option(session: "ServerSession", text: str) -> str:
    """Take one parameter of MAIL; returns the reply when it is refused."""
    facts, config = session.facts, session.config
    name, _, value = text.partition("=")
    match name.upper():
        case "BODY" if value.upper() in ("7BIT", "8BITMIME"):
            facts.encoding = "8bit" if value.upper() == "8BITMIME" else "7bit"
        case "SIZE" if "=" in text:
            size = size_number(value)
            if size is None:
                return "501 5.5.4 Bad message size syntax"
            facts.size = size
        case "SMTPUTF8" if config.smtputf8 and "=" not in text:
            facts.smtputf8 = True
        case "REQUIRETLS" if "=" not in text and session.may_require_tls:
            facts.require_tls = True
        case "AUTH" if "=" in text:
            return _mail_auth(session, value) if config.sasl else ""
        case "RET" if "=" in text:
            if _without_dsn(session):
                return "501 5.7.1 DSN support is disabled"
            if facts.ret or value.upper() not in ("FULL", "HDRS"):
                return "501 5.5.4 Bad RET parameter syntax"
            facts.ret = value.upper()
        case "ENVID" if "=" in text:
            if _without_dsn(session):
                return "501 5.7.1 DSN support is disabled"
            envid = decoded_xtext(value)
            if facts.envid or not envid or not (envid.isascii() and envid.isprintable()) or len(value) > 100:
                return "501 5.5.4 Bad ENVID parameter syntax"
            facts.envid = envid
        case "XVERP" if session.may_verp:
            facts.verp = value if "=" in text else config.verp_delimiters
            if not fits_verp(facts.verp, config.verp_filter):
                return f"501 5.5.4 Error: XVERP needs two characters from {config.verp_filter}"
        case _:
            return f"555 5.5.4 Unsupported option: {text}"
    return ""


def _mail_auth(session: "ServerSession", value: str) -> str:
    """AUTH=: who wrote it, as an authenticated client says (RFC 4954 section 5)."""
    facts = session.facts
    if session.config.tls_auth_only and facts.tls is None:
        return "503 5.5.4 Error: authentication disabled"
    if facts.sasl_sender:
        return "503 5.5.4 Error: multiple AUTH= options"
    author = decoded_xtext(value) or value
    if author != "<>":
        facts.sasl_sender = printable(author)
    return ""


def _without_dsn(session: "ServerSession") -> bool:
    discard = session.offer.discard if session.offer is not None else session.config.discard_keywords
    return "dsn" in discard


# --- RCPT -------------------------------------------------------------------------------------------------------

def do_rcpt(session: "ServerSession", words: list[Word]) -> Outcome:
    facts = session.facts
    if facts.sender is None:
        session.trouble.add("protocol")
        return refused("503 5.5.1 Error: need MAIL command")
    if session.content.bdat is not BdatState.NONE:
        session.trouble.add("protocol")
        return refused("503 5.5.1 Error: RCPT after BDAT")
    if len(words) < 3 or words[1].text.lower() != "to:":
        session.trouble.add("protocol")
        return refused("501 5.5.4 Syntax: RCPT TO:<address>")
    if "recipient" in session.config.rates:
        return Pending(questions.RateCheck("recipient"), lambda fine: _rcpt(session, words) if fine else refused(
            f"450 4.7.1 Error: too many recipients from {facts.client.address}"))
    return _rcpt(session, words)


def _rcpt(session: "ServerSession", words: list[Word]) -> Outcome:
    return with_address(session, words[2], "501 5.1.3 Bad recipient address syntax",
                        lambda recipient: _rcpt_to(session, recipient, words), utf8=session.facts.smtputf8)


def _rcpt_to(session: "ServerSession", recipient: str, words: list[Word]) -> Outcome:
    facts, config = session.facts, session.config
    orcpt, notify = "", 0
    for word in words[3:]:
        name, _, value = word.text.partition("=")
        if name.upper() not in ("NOTIFY", "ORCPT") or "=" not in word.text:
            session.trouble.add("protocol")
            return refused(f"555 5.5.4 Unsupported option: {word.text}")
        if _without_dsn(session):
            session.trouble.add("protocol")
            return refused("501 5.7.1 DSN support is disabled")
        if name.upper() == "NOTIFY":
            notify = 0 if notify else read_notify(value)
            if not notify:
                if unknown := unknown_notify(value):
                    log.warning('unknown DSN NOTIFY command value "%s" in "%s"', printable(unknown), printable(value))
                session.trouble.add("protocol")
                return refused("501 5.5.4 Error: Bad NOTIFY parameter syntax")
        else:
            orcpt = "" if orcpt else read_orcpt(value)
            if not orcpt:
                session.trouble.add("protocol")
                return refused("501 5.5.4 Error: Bad ORCPT parameter syntax")
    if session.config.strict_smtputf8 and undeclared(session, recipient, utf8=facts.smtputf8):
        return refused(UNDECLARED)
    if facts.recipients >= config.recipient_limit:
        session.overshoot += 1
        session.trouble.add("policy")
        return Done("452 4.5.3 Error: too many recipients", ok=session.overshoot <= config.recipient_overshoot)

    def judged(answer: object) -> Outcome:
        facts.recipient = None
        if isinstance(answer, questions.Refusal):
            return session.refuse(answer)
        facts.recipients += 1
        if facts.recipients == 1:
            facts.first_recipient = recipient
        return Done(answer.reply) if isinstance(answer, questions.Fine) else OK_RCPT

    facts.recipient = recipient
    if not orcpt:               # RFC 3461 section 4.2: what the client said is what it will know again
        said = words[2].text
        said = said[1:-1] if said[:1] == "<" and said[-1:] == ">" else said
        orcpt = f"{'rfc822' if said.isascii() or not facts.smtputf8 else 'utf-8'};{said}"
    return Pending(questions.RcptTo(recipient, orcpt, notify), judged)


def do_rset(session: "ServerSession", words: list[Word]) -> Outcome:
    if len(words) != 1:
        session.trouble.add("protocol")
        return refused("501 5.5.4 Syntax: RSET")
    return abandon(session, lambda: OK)
