"""From a command line to the function of commands/ that answers it: what is checked of every command.

    outcome = command(session, "MAIL FROM:<a@b.test>")

In Postfix's order: smtpd_command_filter, smtpd_noop_commands, unknown commands (and clients that are no mail clients),
a client that was refused already, required TLS, pipelining where none is allowed, observers (milters, plug-ins).
"""

from typing import TYPE_CHECKING

from mailsuite.base.log import logger
from mailsuite.smtp import questions
from mailsuite.smtp.commands import BURL, COMMANDS, UNKNOWN, Entry, Rule
from mailsuite.smtp.commands.mail import abandon
from mailsuite.smtp.log_lines import log_pipelining, log_stranger
from mailsuite.smtp.outcome import OUT_OF_STEP, Done, Outcome, Pending, refused
from mailsuite.smtp.syntax import Word, is_header, tokenise

if TYPE_CHECKING:
    from mailsuite.smtp.session import ServerSession

log = logger("smtpd")


def heard(session: "ServerSession", line: bytes) -> Outcome:
    """A line from the client, without its end."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        session.trouble.add("protocol")
        return refused("500 5.5.2 Error: bad UTF-8 syntax")
    session.ledger.heard(text)
    text = text.replace("\0", "?")
    if session.config.filters:
        return Pending(questions.FilterCommand(text.lstrip(" \t")), lambda new: _filtered(session, text, new))
    return command(session, text)


def _filtered(session: "ServerSession", text: str, new: object) -> Outcome:
    """smtpd_command_filter has spoken; new None: it has nothing to say."""
    if isinstance(new, str):
        log.info("%s: replacing command \"%.100s\" with \"%.100s\"", session.facts.client.host, text, new)
        text = new
    return command(session, text)


def command(session: "ServerSession", text: str) -> Outcome:
    """Check and run one command."""
    words = tokenise(text)
    if not words:
        session.trouble.add("protocol")
        return refused("500 5.5.2 Error: bad syntax")
    name = words[0].text.upper()
    config, facts = session.config, session.facts
    facts.words = words
    if config.noop_commands and name.lower() in config.noop_commands:
        session.ledger.count_junk()
        return Done("250 2.0.0 Ok")
    entry = COMMANDS.get(name)
    if entry is None or entry is BURL and not config.burl:
        session.entry = UNKNOWN
        facts.where = "UNKNOWN"
        if is_header(words[0].text):
            return _goodbye(session, text)
        return Pending(questions.Forbidden(words[0].text), lambda said: _unknown(session, said, text))
    session.entry = entry
    facts.where = name
    if session.denied and Rule.QUIT not in entry.rules:
        return refused(f"503 5.7.0 Error: access denied for {facts.client.host}")
    if config.tls_required and facts.tls is None and Rule.BEFORE_TLS not in entry.rules:
        return refused("530 5.7.0 Must issue a STARTTLS command first")
    if session.unread and not facts.ill_pipelining and (facts.protocol != "ESMTP" or Rule.LAST in entry.rules):
        facts.ill_pipelining = True
        log_pipelining(facts, name, bytes(session.unread[:100]))
        if config.forbid_pipelining:
            session.trouble.add("protocol")
            return OUT_OF_STEP
    if config.observed and Rule.OBSERVED in entry.rules and (name != "AUTH" or config.sasl):
        return Pending(questions.Observe(name), lambda said: _observed(session, entry, words, said))
    return entry.run(session, words)


def _observed(session: "ServerSession", entry: Entry, words: list[Word], answer: object) -> Outcome:
    """A command that observers were asked about."""
    if isinstance(answer, questions.Fine) and entry.name == "rset":
        return abandon(session, lambda: Done(answer.reply))
    if isinstance(answer, questions.Fine | questions.Refusal) and entry.name == "quit":
        return Done(answer.reply, close=True)
    return _instead(session, answer) or entry.run(session, words)


def _instead(session: "ServerSession", answer: object) -> Outcome | None:
    """What an observer said in the place of our own reply."""
    if isinstance(answer, questions.Refusal):
        return session.refuse(answer)
    return Done(answer.reply) if isinstance(answer, questions.Fine) else None


def _unknown(session: "ServerSession", answer: object, text: str) -> Outcome:
    if (instead := _instead(session, answer)) is not None:
        return instead
    if answer:
        return _goodbye(session, text)
    if session.denied:
        return refused(f"503 5.7.0 Error: access denied for {session.facts.client.host}")
    session.trouble.add("protocol")
    return refused("500 5.5.2 Error: command not recognized")


def _goodbye(session: "ServerSession", text: str) -> Outcome:
    log_stranger(session.facts, text)
    return Done("221 2.7.0 Error: I can break rules, too. Goodbye.", ok=False, close=True)
