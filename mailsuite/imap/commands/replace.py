"""REPLACE and UID REPLACE (RFC 8508): a message takes another's place, as a draft's next version does.

    UID REPLACE 2000 Drafts (\\Seen \\Draft) {350}

All that APPEND takes of one message, CATENATE and UTF8 too. The new message is durable before the old one goes, so a
crash leaves both and never none; when the old one cannot be removed the new one goes again. Of the quota only the
difference counts, where both mailboxes count towards the same.
"""

from mailsuite.base.errors import MailError, PeerError
from mailsuite.imap.commands.append import Appending, append_without_literal
from mailsuite.imap.commands.context import Context, Run
from mailsuite.imap.reply import OK, Refusal, Reply
from mailsuite.imap.session import AppendEnd, Command
from mailsuite.imap.syntax import Argument
from mailsuite.store.api import MessageGone, NoPermission, TooLarge


class Replacing(Appending):
    """One REPLACE under way."""

    def __init__(self, context: Context, *, uid: bool) -> None:
        super().__init__(context)
        self._by_uid, self._old = uid, 0

    def target(self, arguments: list[Argument]) -> None:
        """Take the message number and the mailbox from the front. Raises PeerError, MailError."""
        selected = self.context.selected
        if selected is None:
            raise PeerError("No mailbox selected")
        if len(arguments) < 2:
            raise PeerError("Missing arguments")
        uids = selected.uids_at(selected.positions(arguments.pop(0), uid=self._by_uid))
        if len(uids) > 1:
            raise PeerError("Only one message can be replaced")
        if not uids:
            raise Refusal("No such message", "NONEXISTENT")
        if selected.read_only:
            raise Refusal("Mailbox is read-only", "READ-ONLY")
        if not selected.mailbox.may("e"):
            raise NoPermission(selected.name)
        self._old = uids[0]
        super().target(arguments)

    def admit(self, octets: int) -> None:
        """Only the difference to the old message counts."""
        assert self.mailbox is not None and self.context.selected is not None
        quota = self.context.store.quota
        if quota is not None and quota.largest and octets > quota.largest:
            raise TooLarge
        old = self.context.selected.mailbox.sizes([self._old])[0] or 0
        if octets > old:
            self.mailbox.make_room([octets - old])
            self.mailbox.admit([octets - old], replaces=True)

    def count_message(self) -> None:
        super().count_message()
        if self.messages > 1:
            raise PeerError("Only one message can take another's place")

    def finish(self) -> None:
        if self.open_message and self.failure is None:
            self.admit(self.octets)
        super().finish()

    def end(self, question: AppendEnd) -> Run:
        if question.error:
            raise PeerError(question.error)
        context = self.context
        selected, target = context.opened(), self.mailbox
        assert target is not None
        validity, uids = self.finished(question, replacing=selected.mailbox.name)
        try:
            if not selected.mailbox.remove([self._old]):
                raise MessageGone
        except MailError:
            target.remove(uids)
            raise
        context.added(target, uids)
        if target.may("r"):
            yield b"* OK [APPENDUID %d %d] Replacement Message ready\r\n" % (validity, uids[0])
        yield from context.sync(expunges=False, own=True)
        context.counts.expunged += 1
        yield from context.sync(own=True)
        return Reply(OK, "Replace completed", context.modseq_code())


def do_replace(context: Context, command: Command) -> Run:
    """A REPLACE without a literal: CATENATE of URLs alone, or a mistake."""
    return (yield from append_without_literal(Replacing(context, uid=command.uid), command))
