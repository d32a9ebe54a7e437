"""The recipients of one message on its way in: mapped, expanded, without doubles.

    recipients = RecipientList(rewriter, envelope, queue_id, by_original=True, remembered=1000)
    await recipients.add(Recipient("a@b.test"))       what the client gave: aliases are expanded
    recipients.remove("a@b.test")                     all that came from this address, as it was given
    recipients.all                                    list[Recipient]

Raises: Refused (451 4.6.0 Alias expansion error, 451 4.3.0 Temporary lookup failure).
Limits: duplicate_filter_limit recipients are remembered as doubles.
"""

from typing import TYPE_CHECKING

from mailsuite.address.syntax import quote_local, split_domain
from mailsuite.base.errors import MailError, PermanentError
from mailsuite.base.log import logger
from mailsuite.queue.envelope import Envelope, Handling, Notify, Recipient, after_expansion
from mailsuite.queue.refused import Refused
from mailsuite.rewrite.mapping import MESSAGE

if TYPE_CHECKING:
    from mailsuite.rewrite.rewriter import Rewriter

log = logger("cleanup")


class RecipientList:
    """One message's."""

    def __init__(self, rewriter: "Rewriter", envelope: Envelope, queue_id: str, *, by_original: bool,
                 remembered: int) -> None:
        self.all: list[Recipient] = []
        self.originals: list[str] = []          # as the client gave them, for bcc
        self.maps = Handling.MAP in envelope.handling
        self.said = ""                          # the last one, after canonical tables and before aliases, for the log
        self._rewriter, self._envelope, self._queue_id = rewriter, envelope, queue_id
        self._by_original, self._remembered = by_original, remembered
        self._keys: set[tuple[str, str, str, int]] = set()

    async def add(self, recipient: Recipient, *, canonical: bool = True) -> None:
        """canonical: else its address was rewritten already. Raises Refused."""
        envelope = self._envelope
        original = recipient.original or recipient.address
        address, addresses = await self._expanded(recipient.address, canonical)
        self.said = address
        orcpt = recipient.orcpt or f"{'rfc822' if address.isascii() else 'utf-8'};{address}"
        notify = recipient.notify
        if addresses != [address] and notify & Notify.SUCCESS:
            notify = after_expansion(notify)
            envelope.expanded.append((recipient.address, original, orcpt))
        for address in addresses:
            said = (original.lower(), orcpt.lower()) if self._by_original else ("", "")
            key = (address.lower(), *said, int(notify))
            if key in self._keys:
                continue
            if len(self._keys) < self._remembered or not self._remembered:
                self._keys.add(key)
            self.all.append(Recipient(address, original, orcpt, notify))

    async def _expanded(self, address: str, canonical: bool) -> tuple[str, list[str]]:
        """The address after canonical tables, and what aliases make of it."""
        if not self.maps:
            return address, [address]
        MESSAGE.set(self._queue_id)
        try:
            if canonical:
                address = await self._rewriter.recipient(address)
            return address, await self._rewriter.aliases(address)
        except PermanentError as error:
            log.warning("%s: %s", self._queue_id, error)
            raise Refused(451, "4.6.0", "Alias expansion error", detail=str(error)) from error
        except MailError as error:
            raise Refused(451, "4.3.0", "Temporary lookup failure", detail=str(error)) from error

    async def copies(self, sender: str) -> None:
        """Add what access tables, always_bcc and the bcc maps ask for. Raises Refused."""
        copies = list(self._envelope.bcc)
        if Handling.BCC in self._envelope.handling:
            MESSAGE.set(self._queue_id)
            try:
                copies += await self._rewriter.bcc(sender, self.originals)
                if self.maps:
                    copies = [await self._rewriter.recipient(address) for address in copies]
            except MailError as error:
                raise Refused(451, "4.3.0", "Error: queue file write error", detail=str(error)) from error
        for address in copies:              # what a copy became by canonical tables is its original address
            await self.add(Recipient(address, address, f"rfc822;{quote_local(address)}", Notify.NEVER), canonical=False)

    async def redirect(self, address: str) -> None:
        """One instead of all, no alias. It stands in the place of the first, by domain and name: its notices are about
        that one. Raises Refused."""
        first = min(self.all, key=lambda one: (split_domain(one.address.lower())[1], one.address.lower()),
                    default=Recipient(address, address))
        try:
            address = await self._rewriter.rewrite(address, True)
        except MailError as error:
            raise Refused(451, "4.3.0", "Temporary lookup failure", detail=str(error)) from error
        self.clear()
        # Of NOTIFY nothing stays: the first may be a copy, of whose failure nobody would hear.
        self.all.append(Recipient(address, first.original, first.orcpt))

    def clear(self) -> None:
        self.all.clear()
        self._keys.clear()

    def remove(self, address: str) -> int:
        """Take away what came from address, whatever its aliases made of it. How many went."""
        kept = [one for one in self.all if one.original != address]
        gone = len(self.all) - len(kept)
        if gone:
            self.all[:] = kept
            self._keys.clear()              # it may be added again
        return gone
