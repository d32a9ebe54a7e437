"""What both sides of a session of ours with another server said, for the postmaster (notify_classes = protocol).

    transcript = Transcript(tell)               tell(lines): called once, when the session ends and there was trouble
    transcript.said(octets); transcript.heard(reply); transcript.judge(refusal); transcript.turn_page()
    transcript.end()

Limit: LINES lines; what comes beyond is left out.
"""

from collections.abc import Callable

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
