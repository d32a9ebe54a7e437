"""BURL (RFC 4468): a part of the message that lies on an IMAP server, named by a URL of URLAUTH.

    BURL imap://anna@mx.test/Drafts/;uid=3;urlauth=submit+anna:internal:0191... LAST

It stands where BDAT may stand, also between BDAT commands. It is a command only for who has logged in, where
smtpd_burl_path is set. A URL that cannot be had ends the message, as a chunk that was refused.
"""

from typing import TYPE_CHECKING

from mailsuite.smtp import questions
from mailsuite.smtp.commands.chunking import refuse_chunk, start_content
from mailsuite.smtp.commands.ending import end_of_message
from mailsuite.smtp.facts import BdatState
from mailsuite.smtp.outcome import Chunk, Done, Outcome, Pending, refused
from mailsuite.smtp.syntax import Word

if TYPE_CHECKING:
    from mailsuite.smtp.session import ServerSession

UNLIMITED = 256 << 20       # octets, with message_size_limit = 0


def do_burl(session: "ServerSession", words: list[Word]) -> Outcome:
    """RFC 4468 section 3.2."""
    last = len(words) == 3 and words[2].text.upper() == "LAST"
    facts = session.facts
    discard = session.offer.discard if session.offer is not None else session.config.discard_keywords
    if "chunking" in discard:
        session.trouble.add("protocol")
        return refused("502 5.5.1 Error: command not implemented")
    if not (len(words) == 2 or last):
        session.trouble.add("protocol")
        return refused("501 5.5.4 Syntax: BURL url [LAST]")
    if session.content.bdat is BdatState.FAILED:
        return refuse_chunk(session, 0, last, "551 5.0.0 Discarded URL after earlier error")
    if not facts.sasl_username:
        session.trouble.add("protocol")
        return refuse_chunk(session, 0, last, "554 5.7.8 URL resolution requires trust relationship")
    if not facts.recipients:
        session.trouble.add("protocol")
        return refuse_chunk(session, 0, last, "503 5.5.0 Valid RCPT TO required before BURL")
    if session.content.bdat is BdatState.NONE:
        return start_content(session, "BURL", lambda: _fetch(session, words[1].text, last),
                             lambda reply: refuse_chunk(session, 0, last, reply))
    return _fetch(session, words[1].text, last)


def _fetch(session: "ServerSession", url: str, last: bool) -> Outcome:
    facts, limit = session.facts, session.config.message_size_limit or UNLIMITED

    def answered(found: object) -> Outcome:
        if isinstance(found, questions.Refusal):
            session.trouble.add(found.sort)
            return refuse_chunk(session, 0, last, found.reply)
        assert isinstance(found, bytes)
        return Chunk(0, taken, last=last, ready=found)

    def taken() -> Outcome:
        if last:
            return end_of_message(session, f"{facts.actual_size} bytes")
        return Done("250 2.5.0 Waiting for additional BURL or BDAT commands")

    return Pending(questions.FetchUrl(url, max(0, limit - facts.actual_size)), answered)
