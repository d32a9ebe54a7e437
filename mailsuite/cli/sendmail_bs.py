"""sendmail -bs: SMTP on standard input and output, for programs that speak it to a pipe.

The session is the server's own (smtp/session.py) in its standalone form: no AUTH, no STARTTLS, no restrictions, for the
caller is a local user who may submit anyway. Each message becomes a local submission (queue/submit.py); what is wrong
with an address shows later, as a bounce. One thread, no event loop: there is one client.
"""

import os
import sys
import time
from typing import TYPE_CHECKING

from mailsuite.base.dialogue import Action, Ask, Body, Close, Send
from mailsuite.base.errors import MailError
from mailsuite.cli.mailcommand import log_also
from mailsuite.queue.envelope import Envelope, Notify, Origin, Recipient, Ret
from mailsuite.queue.submit import Draft, TooBig
from mailsuite.smtp import params, questions
from mailsuite.smtp.facts import Client, Facts
from mailsuite.smtp.questions import Refusal
from mailsuite.smtp.received import received_header
from mailsuite.smtp.server_options import make_config, make_rates
from mailsuite.smtp.session import ServerSession

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings

BLOCK = 64 * 1024


class Standalone:
    """One dialogue on a pair of descriptors."""

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self.facts = Facts(Client("127.0.0.1", name="localhost", reverse_name="localhost"))
        self._hostname, self._mail_name = settings[params.MYHOSTNAME], settings[params.MAIL_NAME]
        self.session = ServerSession(make_config(settings, None, make_rates(settings)), self.facts, ask_connect=False)
        self._draft: Draft | None = None
        self._recipients: list[Recipient] = []
        self._header_due = False
        self._trouble: MailError | None = None

    def run(self, source: int, target: int) -> None:
        """Until QUIT or the end of the input."""
        if not self._perform(self.session.opened(), target):
            return
        while octets := os.read(source, BLOCK):
            if not self._perform(self.session.feed(octets), target):
                return
        self._perform(self.session.lost(), target)

    def _perform(self, actions: list[Action], target: int) -> bool:
        """Carry out; False: the dialogue is over."""
        waiting = list(actions)
        while waiting:
            action = waiting.pop(0)
            match action:
                case Send():
                    _write(target, action.octets)
                case Body():
                    self._body(action.octets)
                case Ask():
                    waiting += self.session.answered(self._answer(action.question))
                case Close():
                    self._drop()
                    return False
        return True

    def _answer(self, question: object) -> object:
        match question:
            case questions.RcptTo():
                return self._rcpt(question)
            case questions.EndOfMessage():
                return self._end()
            case questions.Abandon():
                self._drop()
            case questions.Etrn():
                return "458 Unable to queue messages"
            case questions.Forbidden():
                return False
            case questions.RateCheck():
                return True
            case questions.Delay():
                time.sleep(question.seconds)
            case questions.EhloOptions():
                return questions.Offer()
        return None

    def _rcpt(self, question: questions.RcptTo) -> Refusal | None:
        if self._draft is None:
            try:
                self._draft = Draft(self._settings)
            except MailError as error:
                return Refusal(f"451 4.3.0 Error: {error.public}")
            self.facts.queue_id, self._header_due, self._trouble = self._draft.queue_id, True, None
        self._recipients.append(Recipient(question.recipient, question.recipient, question.orcpt,
                                          Notify(question.notify)))
        return None

    def _body(self, octets: bytes) -> None:
        draft = self._draft
        if draft is None or self._trouble is not None:
            return
        try:
            if self._header_due:
                self._header_due = False
                draft.write(received_header(self.facts, hostname=self._hostname, mail_name=self._mail_name,
                                            now=time.time()))
            draft.write(octets)
        except MailError as error:
            self._trouble = error

    def _end(self) -> object:
        draft, facts = self._draft, self.facts
        assert draft is not None
        self._body(b"")
        try:
            if self._trouble is not None:
                raise self._trouble
            envelope = Envelope(sender=facts.sender or "", origin=Origin(), encoding=facts.encoding,
                                smtputf8=facts.smtputf8, envid=facts.envid, ret=Ret(facts.ret))
            draft.send(envelope, self._recipients)
        except TooBig:
            return Refusal("552 5.3.4 Error: message file too big")
        except MailError as error:
            return Refusal(f"451 4.3.0 Error: {error.public}")
        finally:
            self._drop()
        return questions.Queued(draft.queue_id)

    def _drop(self) -> None:
        if self._draft is not None:
            self._draft.abort()
            self._draft = None
        self._recipients = []
        self._header_due = False


def _write(target: int, octets: bytes) -> None:
    while octets:
        octets = octets[os.write(target, octets):]


def run(settings: "Settings") -> int:
    """The command's work; returns the exit status."""
    log_also("smtpd", settings, aloud=False)
    try:
        Standalone(settings).run(0, 1)
    except BrokenPipeError:
        pass
    except OSError as error:
        print(f"sendmail: fatal: {error.strerror}", file=sys.stderr)
        return 75
    return 0
