"""What both sides of a session of ours with another server said, for the postmaster (notify_classes = protocol).

    transcript = Transcript(tell)               tell(lines): called once, when the session ends and there was trouble
    transcript.said(octets); transcript.heard(reply); transcript.judge(refusal); transcript.turn_page()
    transcript.end()

    LoggedTranscript(log, "mx.a.test[192.0.2.1]:25", inner)       tells the log as well (debug_peer_list)

Limit: LINES lines; what comes beyond is left out.
"""

from collections.abc import Callable
from logging import Logger

from mailsuite.smtp.client_reply import Reply

LINES = 1000


class Transcript:
    """One session's."""

    def __init__(self, tell: Callable[[list[str]], None]) -> None:
        self._tell, self._lines, self._odd = tell, list[str](), False

    def said(self, octets: bytes, *, secret: bool = False) -> None:
        self._note(" Out: ", ["..."] if secret else octets.decode("utf-8", "replace").split("\r\n")[:-1])

    def heard(self, reply: Reply) -> None:
        self._note(" In:  ", reply.lines)

    def _note(self, mark: str, lines: "list[str] | tuple[str, ...]") -> None:
        if len(self._lines) < LINES:
            self._lines += [mark + line for line in lines]

    def judge(self, reply: str) -> None:
        """A refusal, as the server said it ("" : it said nothing).

        x0z is for syntax errors and for commands that are not known or not expected here (RFC 5321 section 4.2.1); a
        1xx, 3xx or no code at all is an answer to nothing that we said. Either side may be wrong.
        """
        code = reply[:3]
        if reply and (not (code.isascii() and code.isdigit()) or int(code) < 400 or code[1] == "0"):
            self._odd = True

    def turn_page(self) -> None:
        """Another message: what was before is of no interest, unless there was trouble."""
        if not self._odd:
            self._lines.clear()

    def end(self) -> None:
        """The session is over."""
        if self._odd and self._lines:
            self._tell(self._lines)
        self._lines, self._odd = [], False


class LoggedTranscript(Transcript):
    """Both sides go to the log as they are said, passwords and content apart. inner: the postmaster's, if any."""

    def __init__(self, log: Logger, host: str, inner: Transcript | None) -> None:
        super().__init__(lambda lines: None)
        self._log, self._host, self._inner = log, host, inner or Transcript(lambda lines: None)

    def said(self, octets: bytes, *, secret: bool = False) -> None:
        for line in ["<hidden>"] if secret else octets.decode("utf-8", "replace").split("\r\n")[:-1]:
            self._log.info("> %s: %s", self._host, line)
        self._inner.said(octets, secret=secret)

    def heard(self, reply: Reply) -> None:
        for line in reply.lines:
            self._log.info("< %s: %s", self._host, line)
        self._inner.heard(reply)

    def judge(self, reply: str) -> None:
        self._inner.judge(reply)

    def turn_page(self) -> None:
        self._inner.turn_page()

    def end(self) -> None:
        self._inner.end()
