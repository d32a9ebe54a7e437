"""XVERP in the dialogue, and the transcripts that the postmaster gets (notify_classes)."""

from pathlib import Path

import pytest

from mailsuite.smtp import questions
from mailsuite.smtp.config import SessionConfig
from mailsuite.smtp.ledger import HISTORY_LIMIT, TRANSCRIPTS_LIMIT
from mailsuite.smtp.server_notice import transcript
from tests.queue.support import settings_for
from tests.smtp.dialogue import Play, World

WATCHED = SessionConfig(keep_history=True, history_flush=8, error_sleep_s=0, hard_errors=1000)


def dialogue(*lines: str, verp: bool = True, config: SessionConfig | None = None, world: World | None = None) -> Play:
    play = Play(config, world)
    play.session.may_verp = verp
    for line in lines:
        play.send(line.encode() + b"\r\n")
    return play


@pytest.mark.parametrize(("line", "reply", "verp"), [
    ("MAIL FROM:<l@a.test> XVERP", "250 2.1.0 Ok", "+="), ("MAIL FROM:<l@a.test> xverp=-=", "250 2.1.0 Ok", "-="),
    ("MAIL FROM:<l@a.test> XVERP=xy", "501 5.5.4 Error: XVERP needs two characters from -=+", ""),
    ("MAIL FROM:<l@a.test> XVERP=", "501 5.5.4 Error: XVERP needs two characters from -=+", ""),
    ("MAIL FROM:<l@a.test> XVERP=+=-", "501 5.5.4 Error: XVERP needs two characters from -=+", ""),
    ("MAIL FROM:<> XVERP", "503 5.5.4 Error: XVERP requires non-null sender", ""),
    ("MAIL FROM:<l@a.test> ENVID=utf+C3+A4", "501 5.5.4 Bad ENVID parameter syntax", "")])
def test_xverp(line: str, reply: str, verp: str) -> None:
    play = dialogue("EHLO c.test", line)
    assert play.out.decode().splitlines()[-1] == reply
    assert play.session.facts.verp == verp


def test_xverp_is_for_those_who_may() -> None:
    assert b"250-XVERP\r\n" in dialogue("EHLO c.test").out
    play = dialogue("EHLO c.test", "MAIL FROM:<l@a.test> XVERP", verp=False)
    assert b"XVERP\r\n250" not in play.out and play.out.endswith(b"555 5.5.4 Unsupported option: XVERP\r\n")
    assert b"250-XVERP" not in dialogue("EHLO c.test", config=SessionConfig(discard_keywords=frozenset(["verp"]))).out


def test_xverp_ends_with_the_transaction() -> None:
    play = dialogue("EHLO c.test", "MAIL FROM:<l@a.test> XVERP", "RSET", "MAIL FROM:<l@a.test>")
    assert play.session.facts.verp == ""


# --- transcripts ----------------------------------------------------------------------------------------------------


def test_a_long_session_has_several_transcripts() -> None:
    play = dialogue("EHLO c.test", "FOO", "NOOP", "NOOP", "RSET", "NOOP", "BAR", config=WATCHED)
    [(trouble, lines)] = play.session.ledger.transcripts
    assert trouble == {"protocol"} and lines[-1] == " In:  RSET"
    assert play.session.ledger.history is not None
    assert play.session.ledger.history[0] == " Out: 250 2.0.0 Ok" and play.session.trouble == {"protocol"}


def test_a_long_session_without_trouble_has_none() -> None:
    play = dialogue("EHLO c.test", *["NOOP"] * 20, "RSET", config=WATCHED)
    assert play.session.ledger.transcripts == [] and len(play.session.ledger.history or []) == 1


def test_transcripts_do_not_grow_without_bound() -> None:
    play = dialogue("EHLO c.test", *(["FOO"] * 10 + ["RSET"]) * 30, config=WATCHED)
    assert len(play.session.ledger.transcripts) == TRANSCRIPTS_LIMIT
    play = dialogue("EHLO c.test", *["NOOP"] * 1000, config=WATCHED)
    assert len(play.session.ledger.history or []) == HISTORY_LIMIT


class Strict(World):
    """Refuses content."""

    def answer(self, session: object, question: object) -> object:
        if isinstance(question, questions.EndOfMessage):
            return questions.Refusal("552 5.3.4 Error: message file too big", "bounce")
        return super().answer(session, question)  # type: ignore[arg-type]


def test_refused_content_is_trouble() -> None:
    play = dialogue("EHLO c.test", "MAIL FROM:<a@b.test>", "RCPT TO:<x@y.test>", "DATA", ".", config=WATCHED,
                    world=Strict())
    assert "bounce" in set().union(*(trouble for trouble, _ in play.session.ledger.transcripts), play.session.trouble)


def test_why_a_session_ended() -> None:
    play = dialogue("EHLO c.test", "FOO", config=WATCHED)
    play.session.lost()
    assert play.session.ledger.reason == "lost connection"
    play = dialogue("EHLO c.test", "FOO", config=WATCHED)
    play.session.timed_out()
    assert play.session.ledger.reason == "timeout"
    assert (play.session.ledger.history or [])[-1] == " Out: 421 4.4.2 localhost Error: timeout exceeded"


def test_a_transcript(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, error_notice_recipient="errors", bounce_notice_recipient="bounces")
    lines = [" Out: 220 mx.test ESMTP", " In:  AUTH PLAIN c2VjcmV0", " In:  FOO\tü" + " 0123456789" * 9]
    notice = transcript(settings, "c.test[192.0.2.9]", lines, {"protocol"}, "timeout")
    assert (notice.recipient, notice.subject) == ("errors", "Postfix SMTP server: errors from c.test[192.0.2.9]")
    assert "\n".join(notice.lines).split("\n") == [
        "Transcript of session follows.", "", " Out: 220 mx.test ESMTP", " In:  AUTH PLAIN ...",
        " In:  FOO?ü 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789",
        "     0123456789 0123456789 0123456789", "", "Session aborted, reason: timeout", "",
        "For other details, see the local mail logfile"]
    assert transcript(settings, "c", lines, {"bounce", "policy"}).recipient == "bounces"
    assert transcript(settings, "c", lines, {"policy"}).lines[-3:] == [
        "", "", "For other details, see the local mail logfile"]
