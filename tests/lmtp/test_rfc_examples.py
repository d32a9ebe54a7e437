"""The example of RFC 2033 section 4.3, and what its sentences ask of a server; the texts are Dovecot's."""

import pytest

from mailsuite.smtp.lmtp_questions import Delivered
from tests.lmtp.test_session import Player
from tests.support.dialogues import talk

FULL = Delivered(452, "4.2.2", "Mailbox full")
LHLO = "S: 220 mx.test Ready.\nC: LHLO foo.edu\nS: ...\nS: 250 STARTTLS\n"

EXAMPLES = [
    pytest.param(LHLO + """
        C: MAIL FROM:<chris@bar.com>
        S: 250 2.1.0 OK
        C: RCPT TO:<alice@foo.edu>
        S: 250 2.1.5 OK
        C: RCPT TO:<jones@foo.edu>
        S: 550 5.1.1 <jones@foo.edu> User doesn't exist: jones@foo.edu
        C: RCPT TO:<bob@foo.edu>
        S: 250 2.1.5 OK
        C: DATA
        S: 354 OK
        C: Blah blah blah...
        C: ...etc. etc. etc.
        C: .
        S: 452 4.2.2 <alice@foo.edu> Mailbox full
        S: 250 2.0.0 <bob@foo.edu> {S\\S*} Saved
        C: QUIT
        S: 221 2.0.0 Bye""", id="section 4.3"),
    pytest.param("""
        S: 220 mx.test Ready.
        C: HELO foo.edu
        S: 500 5.5.1 Unknown command
        C: EHLO foo.edu
        S: 500 5.5.1 Unknown command
        C: LHLO foo.edu
        S: ...
        S: 250-ENHANCEDSTATUSCODES
        S: 250-PIPELINING
        S: 250 STARTTLS
        C: MAIL FROM:<>
        C: RCPT TO:<jones@foo.edu>
        C: RCPT TO:<smith@foo.edu>
        C: DATA
        S: 250 2.1.0 OK
        S: 550 5.1.1 {.*}
        S: 550 5.1.1 {.*}
        S: 503 5.5.0 No valid recipients""", id="sections 4.1, 4.2 and 5: no HELO, no DATA without recipients"),
]


@pytest.mark.parametrize("dialogue", EXAMPLES)
def test_dialogue(dialogue: str) -> None:
    player = Player(alice=FULL)

    def hear(octets: bytes) -> bytes:
        player.hear(octets)
        return player.said.encode()

    talk(dialogue, hear, player.said.encode())
