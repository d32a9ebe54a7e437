"""All that is done to an address between its arrival and the choice of its transport. One Rewriter per process.

    rewriter = Rewriter(settings)
    await rewriter.rewrite("alice") -> "alice@example.test"               trivial-rewrite(8), "rewrite"
    await rewriter.resolve("", "x@far.test") -> Resolution(...)           trivial-rewrite(8), "resolve"

Addresses are in internal form: the local part without quotes (`mailsuite.address.syntax.quote_local` gives the other
form, for logs, SMTP and headers). All methods raise TemporaryError when a table could not be asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Resolution:
    """Where a recipient goes.

    address_class: "local", "virtual_alias", "virtual_mailbox", "relay" or "default".
    error: "5.1.1 text" when the recipient cannot be delivered: transport is then "error" and nexthop the same text.
    bad_syntax: the address has no valid domain or begins with "-" (501 5.1.3 Bad recipient address syntax).
    routed: the address had a route to another host in its local part (user%elsewhere@here).
    """

    transport: str
    nexthop: str
    recipient: str
    address_class: str
    error: str = ""
    bad_syntax: bool = False
    routed: bool = False


class Unknown(NamedTuple):
    """Why a recipient (or sender) is refused: 550, "5.1.1", "User unknown in local recipient table"."""

    code: int
    status: str
    text: str


class Rewriter:
    """Address rewriting and resolving with the tables of one configuration."""

    def __init__(self, settings: "Settings") -> None:
        raise NotImplementedError

    async def rewrite(self, address: str, local: bool = True) -> str:
        """Standard form. local: else remote_header_rewrite_domain is the origin (and "" leaves addresses alone)."""
        raise NotImplementedError

    async def resolve(self, sender: str, address: str) -> Resolution:
        """Class, transport, nexthop of a recipient. sender: for sender_dependent_* parameters."""
        raise NotImplementedError

    async def expand_recipient(self, address: str) -> list[str]:
        """recipient_canonical_maps, canonical_maps, masquerade, virtual_alias_maps: final recipients, no doubles.

        Raises PermanentError (5.4.6 ...) for an expansion without end.
        """
        raise NotImplementedError

    async def sender(self, address: str) -> str:
        """Envelope sender after rewriting, sender_canonical_maps, canonical_maps and masquerade; "" stays ""."""
        raise NotImplementedError

    async def header(self, name: str, value: bytes, local: bool = True) -> bytes:
        """The value of an address header field after rewriting, folded anew; unchanged when nothing changes."""
        raise NotImplementedError

    def is_address_header(self, name: str) -> bool:
        """Whether `header` would look into a field of that name (any case)."""
        raise NotImplementedError

    async def validate_recipient(self, resolution: Resolution, address: str, *,
                                 sender: bool = False) -> Unknown | None:
        """What reject_unlisted_recipient (sender: reject_unlisted_sender) says of an address; None: it is known."""
        raise NotImplementedError

    async def bcc(self, sender: str, recipients: Sequence[str]) -> list[str]:
        """Addresses of always_bcc, sender_bcc_maps, recipient_bcc_maps, without doubles."""
        raise NotImplementedError

    async def generic(self, address: str, spec: str | None = None) -> str:
        """smtp_generic_maps (or the tables of spec) applied to an envelope address."""
        raise NotImplementedError
