"""BDAT (RFC 3030): message content in counted chunks."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from mailsuite.base.log import logger
from mailsuite.smtp import questions
from mailsuite.smtp.commands.ending import end_of_message
from mailsuite.smtp.commands.mail import abandon
from mailsuite.smtp.data import ChunkDecoder
from mailsuite.smtp.facts import BdatState
from mailsuite.smtp.outcome import Chunk, Done, Outcome, Pending, refused
from mailsuite.smtp.syntax import Word, printable

if TYPE_CHECKING:
    from mailsuite.smtp.session import ServerSession

log = logger("smtpd")
_COUNT = re.compile(r"[0-9]{1,18}")


def do_bdat(session: "ServerSession", words: list[Word]) -> Outcome:
    discard = session.offer.discard if session.offer is not None else session.config.discard_keywords
    if "chunking" in discard:
        session.trouble.add("protocol")
        return refused("521 5.5.1 Error: command not implemented")    # a chunk may follow
    last = len(words) == 3 and words[2].text.upper() == "LAST"
    if not (len(words) == 2 or last) or not _COUNT.fullmatch(words[1].text):
        session.trouble.add("protocol")
        # Framing is lost: the chunk may follow and hold anything.
        log.warning("%s: malformed BDAT command syntax from %s: %s", session.facts.queue_id or "NOQUEUE",
                    session.facts.client.host, printable(" ".join(word.text for word in words))[:100])
        return refused("521 5.5.4 Syntax: BDAT count [LAST]")
    size = int(words[1].text)
    facts = session.facts
    if session.content.bdat is BdatState.FAILED:
        return refuse_chunk(session, size, last, f"551 5.0.0 Discarded {size} bytes after earlier error")
    if not facts.recipients:
        if facts.sender is None:
            session.trouble.add("protocol")
            return refuse_chunk(session, size, last, "503 5.5.1 Error: need RCPT command")
        return refuse_chunk(session, size, last, "554 5.5.1 Error: no valid recipients")
    if not size and not last:
        session.trouble.add("protocol")
        log.warning("%s: null BDAT request from %s", facts.queue_id, facts.client.host)
        return refuse_chunk(session, size, last, "551 5.7.1 Null BDAT request")
    if session.content.bdat is BdatState.NONE:
        return start_content(session, "BDAT", lambda: _take(session, size, last),
                             lambda reply: refuse_chunk(session, size, last, reply))
    return _take(session, size, last)


def start_content(session: "ServerSession", verb: str, go_on: Callable[[], Outcome],
                  refuse: Callable[[str], Outcome]) -> Outcome:
    """The first BDAT (or BURL) of a message: restrictions are asked."""
    session.content.bdat, session.content.chunks = BdatState.OPEN, ChunkDecoder()
    session.facts.actual_size = 0
    if not session.config.ask_data:
        return go_on()
    return Pending(questions.DataStart(verb), lambda answer: (
        refuse(answer.reply) if isinstance(answer, questions.Refusal) else go_on()))


def _take(session: "ServerSession", size: int, last: bool) -> Outcome:
    limit, facts = session.config.message_size_limit, session.facts
    if 0 < limit < facts.actual_size + size:
        session.trouble.add("policy")
        log.warning("%s: BDAT request from %s exceeds message size limit", facts.queue_id, facts.client.host)
        return refuse_chunk(session, size, last, "552 5.3.4 Chunk exceeds message size limit")

    def taken() -> Outcome:
        if last:
            return end_of_message(session, f"{facts.actual_size} bytes")
        return Done(f"250 2.0.0 Ok: {size} bytes")

    return Chunk(size, taken, last=last)


def refuse_chunk(session: "ServerSession", size: int, last: bool, reply: str) -> Outcome:
    """Read the chunk all the same, its octets are no commands; the message is given up."""
    session.content.bdat = BdatState.FAILED

    def gone() -> Outcome:
        if last:
            return abandon(session, lambda: refused(reply))
        return refused(reply)

    return Chunk(size, gone, keep=False)
