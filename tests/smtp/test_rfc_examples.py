"""The examples of SMTP's RFCs, as our server leads them; its texts are Postfix's."""

import pytest

from mailsuite.smtp import questions
from mailsuite.smtp.config import SessionConfig
from mailsuite.smtp.dsn import read_notify
from tests.smtp.dialogue import Play, World
from tests.support.dialogues import talk

REFUSED = {"Green@foo.com": "550 5.1.1 No such user here", "nsb@thumper.bellcore.com": "554 5.7.1 Relay access denied",
           "galvin@tis.com": "554 5.7.1 Relay access denied",
           "ned@hmcvax.claremont.edu": "452 4.2.2 Insufficient channel storage"}
EHLO = "S: ...\nS: 250 CHUNKING"
START = f"S: 220 foo.com ESMTP Postfix\nC: EHLO bar.com\n{EHLO}\n"

EXAMPLES = [
    pytest.param(START + """
        C: MAIL FROM:<Smith@bar.com>
        S: 250 2.1.0 Ok
        C: RCPT TO:<Jones@foo.com>
        S: 250 2.1.5 Ok
        C: RCPT TO:<Green@foo.com>
        S: 550 5.1.1 No such user here
        C: RCPT TO:<Brown@foo.com>
        S: 250 2.1.5 Ok
        C: DATA
        S: 354 End data with <CR><LF>.<CR><LF>
        C: Blah blah blah...
        C: ...etc. etc. etc.
        C: .
        S: 250 2.0.0 Ok: queued as 4F3A21
        C: QUIT
        S: 221 2.0.0 Bye""", [b"Blah blah blah...\n..etc. etc. etc.\n"], id="RFC 5321 D.1, a typical transaction"),
    pytest.param(START + """
        C: MAIL FROM:<Smith@bar.com>
        S: 250 2.1.0 Ok
        C: RCPT TO:<Jones@foo.com>
        S: 250 2.1.5 Ok
        C: RCPT TO:<Green@foo.com>
        S: 550 5.1.1 No such user here
        C: RSET
        S: 250 2.0.0 Ok
        C: DATA
        S: 503 5.5.1 Error: need RCPT command
        C: QUIT
        S: 221 2.0.0 Bye""", [], id="RFC 5321 D.2, an aborted transaction"),
    pytest.param(START + """
        C: MAIL FROM:<JQP@bar.com>
        S: 250 2.1.0 Ok
        C: RCPT TO:<@foo.com:Jones@XYZ.COM>
        S: 250 2.1.5 Ok
        C: DATA
        S: 354 End data with <CR><LF>.<CR><LF>
        C: Date: Thu, 21 May 1998 05:33:29 -0700
        C: From: John Q. Public <JQP@bar.com>
        C: Subject: The Next Meeting of the Board
        C: To: Jones@xyz.com
        C:
        C: Bill:
        C: .
        S: 250 2.0.0 Ok: queued as 4F3A21
        C: QUIT
        S: 221 2.0.0 Bye""", [b"Date: Thu, 21 May 1998 05:33:29 -0700\nFrom: John Q. Public <JQP@bar.com>\n"
                               b"Subject: The Next Meeting of the Board\nTo: Jones@xyz.com\n\nBill:\n"],
                 id="RFC 5321 D.3, relayed mail"),
    pytest.param(START + """
        C: VRFY Crispin
        S: 252 2.0.0 Crispin
        C: EXPN staff
        S: 500 5.5.2 Error: command not recognized
        C: MAIL FROM:<EAK@bar.com>
        S: 250 2.1.0 Ok
        C: RCPT TO:<Admin.MRC@foo.com>
        S: 250 2.1.5 Ok
        C: DATA
        S: 354 End data with <CR><LF>.<CR><LF>
        C: .
        S: 250 2.0.0 Ok: queued as 4F3A21
        C: QUIT
        S: 221 2.0.0 Bye""", [b""], id="RFC 5321 D.4, verifying and sending"),
    pytest.param("""
        S: 220 foo.com ESMTP Postfix
        C: HELO dbc.mtview.ca.us
        S: 250 foo.com
        C: NOOP
        S: 250 2.0.0 Ok
        C: MAIL FROM:<>
        S: 250 2.1.0 Ok
        C: RCPT TO:<postmaster>
        S: 250 2.1.5 Ok
        C: HELO again
        S: 250 foo.com
        C: RCPT TO:<postmaster>
        S: 503 5.5.1 Error: need MAIL command
        C: TURN
        S: {50[02]} 5.5.{.*}
        C: QUIT
        S: 221 2.0.0 Bye""", [], id="RFC 5321 sections 4.1.1.1, 4.1.4 and 4.5.1: HELO, its effect on a transaction"),
    pytest.param(START + """
        C: MAIL FROM:<ned@thor.innosoft.com> SIZE=500000
        S: 250 2.1.0 Ok
        C: RCPT TO:<ned@innosoft.com>
        S: 250 2.1.5 Ok
        C: RCPT TO:<ned@hmcvax.claremont.edu>
        S: 452 4.2.2 Insufficient channel storage
        C: RSET
        S: 250 2.0.0 Ok
        C: MAIL FROM:<ned@thor.innosoft.com> SIZE=1000001
        S: 552 5.3.4 Message size exceeds fixed limit
        C: MAIL FROM:<ned@thor.innosoft.com> SIZE=
        S: 501 5.5.4 {.*}
        C: QUIT
        S: 221 2.0.0 Bye""", [], id="RFC 1870 section 10: SIZE"),
    pytest.param(START + """
        C: MAIL FROM:<mrose@dbc.mtview.ca.us>
        C: RCPT TO:<ned@innosoft.com>
        C: RCPT TO:<dan@innosoft.com>
        C: RCPT TO:<kvc@innosoft.com>
        C: DATA
        S: 250 2.1.0 Ok
        S: 250 2.1.5 Ok
        S: 250 2.1.5 Ok
        S: 250 2.1.5 Ok
        S: 354 End data with <CR><LF>.<CR><LF>
        C: a
        C: .
        C: QUIT
        S: 250 2.0.0 Ok: queued as 4F3A21
        S: 221 2.0.0 Bye""", [b"a\n"], id="RFC 2920 section 4, second example: PIPELINING"),
    pytest.param(START + """
        C: MAIL FROM:<mrose@dbc.mtview.ca.us>
        C: RCPT TO:<nsb@thumper.bellcore.com>
        C: RCPT TO:<galvin@tis.com>
        C: DATA
        S: 250 2.1.0 Ok
        S: 554 5.7.1 Relay access denied
        S: 554 5.7.1 Relay access denied
        S: 554 5.5.1 Error: no valid recipients
        C: QUIT
        S: 221 2.0.0 Bye""", [], id="RFC 2920 section 4, third example: all recipients refused"),
    pytest.param(START + """
        C: MAIL FROM:<Sam@Random.com>
        S: 250 2.1.0 Ok
        C: RCPT TO:<Susan@Random.com>
        S: 250 2.1.5 Ok
        C: BDAT 86 LAST
        C: To: Susan@random.com
        C: From: Sam@random.com
        C: Subject: This is a bodyless test message
        S: 250 2.0.0 Ok: 86 bytes queued as 4F3A21
        C: QUIT
        S: 221 2.0.0 Bye""", [b"To: Susan@random.com\nFrom: Sam@random.com\n"
                               b"Subject: This is a bodyless test message\n"],
                 id="RFC 3030 section 4.1: BDAT"),
    pytest.param(START + """
        C: MAIL FROM:<ned@ymir.claremont.edu> BODY=8BITMIME
        C: RCPT TO:<gvaudre@cnri.reston.va.us>
        C: RCPT TO:<jstewart@cnri.reston.va.us>
        S: 250 2.1.0 Ok
        S: 250 2.1.5 Ok
        S: 250 2.1.5 Ok
        C: BDAT 6
        C: 1234
        C: BDAT 4
        C: 56
        C: BDAT 0 LAST
        S: 250 2.0.0 Ok: 6 bytes
        S: 250 2.0.0 Ok: 4 bytes
        S: 250 2.0.0 Ok: 10 bytes queued as 4F3A21
        C: QUIT
        S: 221 2.0.0 Bye""", [b"1234\n56\n"], id="RFC 3030 section 4.2: pipelined chunks (BINARYMIME is not offered)"),
    pytest.param(START + """
        C: MAIL FROM:<ned@ymir.claremont.edu>
        S: 250 2.1.0 Ok
        C: RCPT TO:<mrose@dbc.mtview.ca.us>
        S: 250 2.1.5 Ok
        C: RCPT TO:<Green@foo.com>
        S: 550 5.1.1 No such user here
        C: RCPT TO:<galvin@tis.com>
        S: 554 5.7.1 Relay access denied
        C: DATA
        S: 354 End data with <CR><LF>.<CR><LF>
        C: .
        S: 250 2.0.0 Ok: queued as 4F3A21
        C: QUIT
        S: 221 2.0.0 Bye""", [b""], id="RFC 2034 section 6: ENHANCEDSTATUSCODES, none in 354"),
    pytest.param(START + """
        C: MAIL FROM:<Alice@Example.ORG> RET=HDRS ENVID=QQ314159
        S: 250 2.1.0 Ok
        C: RCPT TO:<Bob@Example.COM> NOTIFY=SUCCESS ORCPT=rfc822;Bob@Example.COM
        S: 250 2.1.5 Ok
        C: RCPT TO:<Carol@Ivory.EDU> NOTIFY=FAILURE ORCPT=rfc822;Carol@Ivory.EDU
        S: 250 2.1.5 Ok
        C: RCPT TO:<Dana@Ivory.EDU> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Dana@Ivory.EDU
        S: 250 2.1.5 Ok
        C: RCPT TO:<Fred@Bombs.AF.MIL> NOTIFY=NEVER
        S: 250 2.1.5 Ok
        C: RCPT TO:<Eric@Bombs.AF.MIL> NOTIFY=NEVER,FAILURE
        S: 501 5.5.4 {.*}
        C: RCPT TO:<Eric@Bombs.AF.MIL> ORCPT=nonsense
        S: 501 5.5.4 {.*}
        C: MAIL FROM:<Alice@Example.ORG>
        S: 503 5.5.1 Error: nested MAIL command
        C: RSET
        S: 250 2.0.0 Ok
        C: MAIL FROM:<Alice@Example.ORG> RET=NONSENSE
        S: 501 5.5.4 {.*}
        C: MAIL FROM:<Alice@Example.ORG> RET=FULL ENVID=a+2Bb
        S: 250 2.1.0 Ok
        C: QUIT
        S: 221 2.0.0 Bye""", [], id="RFC 3461 section 10.1: DSN"),
    pytest.param(START + """
        C: MAIL FROM:<wéi@example.net> SMTPUTF8
        S: 250 2.1.0 Ok
        C: RCPT TO:<用户@example.com>
        S: 250 2.1.5 Ok
        C: RSET
        S: 250 2.0.0 Ok
        C: MAIL FROM:<a@example.net> SMTPUTF8=yes
        S: {5..} 5.5.4 {.*}
        C: QUIT
        S: 221 2.0.0 Bye""", [], id="RFC 6531 section 3.4: SMTPUTF8"),
]


def play(config: SessionConfig | None = None, world: World | None = None) -> Play:
    return Play(config or SessionConfig(hostname="foo.com", banner="foo.com ESMTP Postfix", message_size_limit=1000000),
                world or World(refuse=REFUSED))


@pytest.mark.parametrize(("dialogue", "messages"), EXAMPLES)
def test_dialogue(dialogue: str, messages: list[bytes]) -> None:
    game = play()
    talk(dialogue, game.send, game.out)
    assert game.world.closed and game.world.messages == messages


def test_what_a_dsn_will_know_is_kept() -> None:
    """RFC 3461 sections 4 and 10.1."""
    game = play()
    game.lines("EHLO bar.com", "MAIL FROM:<Alice@Example.ORG> RET=HDRS ENVID=QQ+2B314159",
               "RCPT TO:<Bob@Example.COM> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob@Example.COM")
    asked = [question for question in game.world.asked if isinstance(question, questions.RcptTo)]
    assert asked == [questions.RcptTo("Bob@Example.COM", "rfc822;Bob@Example.COM", read_notify("SUCCESS,DELAY"))]
    facts = game.session.facts
    assert (facts.sender, facts.ret, facts.envid) == ("Alice@Example.ORG", "HDRS", "QQ+314159")


@pytest.mark.parametrize(("config", "dialogue"), [
    pytest.param(SessionConfig(hostname="smtp.example.com", banner="smtp.example.com ESMTP", sasl=True,
                               ask_options=True), """
        S: 220 smtp.example.com ESMTP
        C: EHLO client.example.com
        S: ...
        S: 250-AUTH PLAIN LOGIN
        S: ...
        S: 250 CHUNKING
        C: AUTH PLAIN dGVzdAB0ZXN0ADEyMzQ=
        S: 235 2.7.0 Authentication successful
        C: AUTH PLAIN dGVzdAB0ZXN0ADEyMzQ=
        S: 503 5.5.1 Error: already authenticated""", id="section 4.1, first example: PLAIN at once"),
    pytest.param(SessionConfig(banner="smtp.example.com ESMTP", sasl=True, ask_options=True), """
        S: 220 smtp.example.com ESMTP
        C: EHLO client.example.com
        S: ...
        S: 250 CHUNKING
        C: AUTH LOGIN
        S: 334{ ?}
        C: *
        S: 501 5.7.0 Authentication aborted
        C: AUTH NOSUCH
        S: 535 5.7.8 {.*}
        C: AUTH PLAIN not-base64!
        S: {5\\d\\d} {.*}
        C: MAIL FROM:<e+3Dmc2@example.com> AUTH=e+3Dmc2@example.com
        S: 250 2.1.0 Ok
        C: AUTH PLAIN dGVzdAB0ZXN0ADEyMzQ=
        S: 503 5.5.1 Error: MAIL transaction in progress""", id="sections 4 and 5: cancelled, unknown, AUTH= of MAIL"),
    pytest.param(SessionConfig(banner="smtp.example.com ESMTP", sasl=True, ask_options=True, tls=True,
                               tls_auth_only=True), """
        S: 220 smtp.example.com ESMTP
        C: EHLO client.example.com
        S: ...
        S: 250-STARTTLS
        S: ...
        S: 250 CHUNKING
        C: AUTH PLAIN dGVzdAB0ZXN0ADEyMzQ=
        S: 503 5.5.1 Error: authentication not enabled""", id="section 4.1: TLS first"),
])
def test_auth(config: SessionConfig, dialogue: str) -> None:
    """RFC 4954."""
    game = play(config, World(mechanisms=("PLAIN", "LOGIN")))
    talk(dialogue, game.send, game.out)
