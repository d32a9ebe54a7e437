"""The function that every message passes on its way into the queue.

    cleanup = Cleanup(settings, rewriter, store, notifier)     one per process
    intake = cleanup.begin(envelope)                           at the first RCPT: the queue id is known from here
    await intake.recipient(Recipient("a@b.test"))              as often as needed; virtual aliases are expanded here
    intake.write(received_header)                              first the Received: header of whoever accepts the mail
    intake.write(octets)                                       then the message, LF line ends, blocks of any size
    accepted = await intake.commit()                           returns after file and name are on disk
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailsuite.base.errors import MailError
from mailsuite.queue.envelope import Envelope, Recipient

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.queue.notify import Notifier
    from mailsuite.queue.store import QueueStore
    from mailsuite.rewrite.rewriter import Rewriter


class Refused(MailError):
    """The message is not taken. An SMTP server answers f"{code} {status} {public}", e.g.
    552 5.3.4 Error: message file too big."""

    def __init__(self, code: int, status: str, public: str, *, detail: str = "") -> None:
        super().__init__(public, status=status, detail=detail)
        self.code = code


@dataclass(frozen=True, slots=True)
class Accepted:
    """The message is on disk under its name."""

    queue_id: str
    size: int


class Intake:
    """One message on its way in. queue_id is known from the start; size counts the content so far."""

    queue_id: str
    size: int

    async def recipient(self, recipient: Recipient) -> None:
        """Add a recipient; expands virtual aliases. Raises Refused: e.g. 451 4.6.0 alias expansion error."""
        raise NotImplementedError

    def write(self, octets: bytes) -> None:
        """Content, LF line ends, blocks of any size. Never raises: what is wrong is told by commit."""
        raise NotImplementedError

    @property
    def failed(self) -> bool:
        """Something is wrong already (too big, disk full): the rest of the content need not be given."""
        raise NotImplementedError

    async def commit(self) -> Accepted:
        """Returns when file and name are on disk. Raises Refused; the intake is then gone as after abort."""
        raise NotImplementedError

    def abort(self) -> None:
        """Forget the message; may be called at any time, also twice, also after commit (then it does nothing)."""
        raise NotImplementedError


class Cleanup:
    """One per process. notifier None: qmgr finds the mail by its scan."""

    def __init__(self, settings: "Settings", rewriter: "Rewriter", store: "QueueStore",
                 notifier: "Notifier | None" = None) -> None:
        raise NotImplementedError

    def begin(self, envelope: Envelope) -> Intake:
        """Make a queue file. The envelope belongs to the intake now and may be changed (hold, filter) until commit.

        Raises Refused (452 4.3.1 Insufficient system storage, 451 4.3.0).
        """
        raise NotImplementedError
