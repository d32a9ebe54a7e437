"""Refused: cleanup does not take a message. Raised by its parts, answered by whoever brought the message."""

from typing import TYPE_CHECKING

from mailsuite.base.errors import MailError

if TYPE_CHECKING:
    from mailsuite.queue.active import Message


class Refused(MailError):
    """An SMTP server answers `reply`, e.g. 552 5.3.4 Error: message file too big.

    reply: in other words than code, status and text; several lines have LF between, each with its code.
    sort: of notify_classes; "": as code and status say.
    """

    def __init__(self, code: int, status: str, public: str, *, detail: str = "", reply: str = "",
                 sort: str = "") -> None:
        super().__init__(public, status=status, detail=detail)
        self.code, self.sort = code, sort
        self.reply = reply or f"{code} {status} {public}"
        self.returned: Message | None = None       # what a notice can return, when the intake is `returnable`
