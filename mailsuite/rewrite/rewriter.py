"""All that is done to an address between its arrival and the choice of its transport. One Rewriter per process.

    rewriter = Rewriter(settings)
    await rewriter.rewrite("alice") -> "alice@example.test"               trivial-rewrite(8), "rewrite"
    await rewriter.resolve("", "x@far.test") -> Resolution(...)           trivial-rewrite(8), "resolve"

Addresses are in internal form: the local part without quotes (`mailsuite.address.syntax.quote_local` gives the other
form, for logs, SMTP and headers). All methods raise TemporaryError when a table could not be asked.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from mailsuite.address.header import fold_header, parse_addresses
from mailsuite.address.syntax import quote_local, unquote_local
from mailsuite.base.errors import TemporaryError
from mailsuite.maps.lookup import find_address
from mailsuite.maps.maps import Maps, MapSource, open_maps
from mailsuite.rewrite import params, virtual
from mailsuite.rewrite.domains import Domains
from mailsuite.rewrite.mapping import MESSAGE, AddressMapping
from mailsuite.rewrite.masquerade import Masquerade
from mailsuite.rewrite.resolve import AddressResolver, Resolution
from mailsuite.rewrite.trivial import STANDARD, Trivial
from mailsuite.rewrite.validate import Recipients, Unknown

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings

Change = Callable[[str], Awaitable[str]]

__all__ = ["Resolution", "Rewriter", "Unknown"]

SENDER_HEADERS = frozenset((
    "from", "sender", "reply-to", "errors-to", "return-receipt-to", "disposition-notification-to",
    "mail-followup-to", "mail-reply-to", "resent-from", "resent-sender", "resent-reply-to"))
RECIPIENT_HEADERS = frozenset(("to", "cc", "bcc", "apparently-to", "resent-to", "resent-cc", "resent-bcc"))


def _words(text: str) -> frozenset[str]:
    return frozenset(text.replace(",", " ").split())


class Rewriter:
    """Address rewriting and resolving with the tables of one configuration."""

    def __init__(self, settings: "Settings", program: str = "cleanup") -> None:
        source = MapSource(settings, program)
        trivial_source, text = source.for_program("trivial-rewrite"), settings.text
        self._trivial = Trivial(settings)
        self._origin, self._mydomain = text("myorigin"), text("mydomain")
        self._remote_domain = settings[params.REMOTE_HEADER_REWRITE_DOMAIN]
        self._nobody = settings[params.EMPTY_ADDRESS_RECIPIENT]
        self._token_limit = settings[params.HEADER_ADDRESS_TOKEN_LIMIT]
        self._delimiter = text("recipient_delimiter")
        self.domains = Domains(settings, trivial_source)
        self._resolver = AddressResolver(settings, self.domains, self._trivial, trivial_source)
        self._recipients = Recipients(settings, source.for_program("smtpd"), self._resolver.has_local_names)
        self._settings, self._source = settings, source
        propagated = _words(text("propagate_unmatched_extensions"))
        # Classes ("envelope_sender", "header_recipient"...) -> tables that rewrite them, in order.
        self._canonical: dict[str, list[AddressMapping]] = {}
        for name, classes in (("sender_canonical_maps", "sender_canonical_classes"),
                              ("recipient_canonical_maps", "recipient_canonical_classes"),
                              ("canonical_maps", "canonical_classes")):
            mapping = self._mapping(name, text(name), "canonical" in propagated)
            for one in _words(text(classes)) if not mapping.empty else ():
                self._canonical.setdefault(one, []).append(mapping)
        self._virtual = self._mapping("virtual_alias_maps", text("virtual_alias_maps"), "virtual" in propagated)
        self._limits = virtual.Limits(settings[params.VIRTUAL_ALIAS_RECURSION_LIMIT],
                                      settings[params.VIRTUAL_ALIAS_EXPANSION_LIMIT],
                                      settings[params.VIRTUAL_ALIAS_ADDRESS_LENGTH_LIMIT])
        self._masquerade = Masquerade(settings, source)
        self._masquerade_classes = _words(text("masquerade_classes")) if not self._masquerade.empty else frozenset()
        mapped = self._masquerade_classes | self._canonical.keys()
        self._maps_senders, self._maps_recipients = "envelope_sender" in mapped, "envelope_recipient" in mapped
        self._always_bcc = text("always_bcc")
        self._sender_bcc = open_maps(text("sender_bcc_maps"), source, "sender_bcc_maps")
        self._recipient_bcc = open_maps(text("recipient_bcc_maps"), source, "recipient_bcc_maps")
        self._propagate_generic = "generic" in propagated

    def _mapping(self, name: str, spec: str, propagate: bool) -> AddressMapping:
        return AddressMapping(name, open_maps(spec, self._source, name), self._source.log, complete=self._complete,
                              delimiter=self._delimiter, propagate=propagate,
                              is_local=self._resolver.has_local_names)

    def _complete(self, address: str) -> str:
        return self._trivial.standard(address, origin=self._origin, domain=self._mydomain)

    # -- single addresses ------------------------------------------------------------------------------------------

    async def rewrite(self, address: str, local: bool = True) -> str:
        """Standard form. local: else remote_header_rewrite_domain is the origin (and "" leaves addresses alone)."""
        if local:
            return self._trivial.standard(address, origin=self._origin, domain=self._mydomain)
        if not self._remote_domain:
            return address
        return self._trivial.standard(address, origin=self._remote_domain, domain=self._remote_domain)

    async def resolve(self, sender: str, address: str) -> Resolution:
        """Class, transport, nexthop of a recipient. sender: for sender_dependent_* parameters."""
        return await self._resolver.resolve(sender, address)

    async def has_local_names(self, domain: str) -> bool:
        """Whether "user" alone may stand for user@domain in tables (`is_local` of maps.lookup.find_address)."""
        return await self._resolver.has_local_names(domain)

    async def _map(self, address: str, address_class: str) -> str:
        """canonical tables and masquerade of a class."""
        for mapping in self._canonical.get(address_class, ()):
            address = await mapping.apply(address)
        if address_class in self._masquerade_classes:
            address = await self._masquerade.apply(address)
        return address

    async def recipient(self, address: str) -> str:
        """Envelope recipient after rewriting, canonical tables and masquerade, before virtual aliases."""
        address = self._trivial.standard(address or self._nobody, origin=self._origin, domain=self._mydomain)
        return await self._map(address, "envelope_recipient") if self._maps_recipients else address

    async def expand_recipient(self, address: str) -> list[str]:
        """recipient_canonical_maps, canonical_maps, masquerade, virtual_alias_maps: final recipients, no doubles.

        Raises PermanentError (4.6.0 Alias expansion error) for an expansion without end.
        """
        return await self.aliases(await self.recipient(address))

    async def aliases(self, address: str) -> list[str]:
        """virtual_alias_maps alone. Raises PermanentError as expand_recipient does."""
        if self._virtual.empty:
            return [address]
        return await virtual.expand(self._virtual, address, self._limits)

    async def sender(self, address: str) -> str:
        """Envelope sender after rewriting, sender_canonical_maps, canonical_maps and masquerade.

        The null sender stays what it is unless a canonical table has an entry for `""` (or for everything).
        MAILER-DAEMON@$myorigin stands for it.
        """
        if address:
            address = self._trivial.standard(address, origin=self._origin, domain=self._mydomain)
        if address.lower() == f"mailer-daemon@{self._origin}".lower():
            address = ""
        return await self._map(address, "envelope_sender") if self._maps_senders else address

    async def validate_recipient(self, resolution: Resolution, address: str, *,
                                 sender: bool = False) -> Unknown | None:
        """What reject_unlisted_recipient (sender: reject_unlisted_sender) says of an address; None: it is known."""
        return await self._recipients.check(resolution, address, sender=sender)

    async def bcc(self, sender: str, recipients: Sequence[str]) -> list[str]:
        """Addresses of always_bcc, sender_bcc_maps, recipient_bcc_maps, without doubles; taken as they are written."""
        found = [self._complete(self._always_bcc)] if self._always_bcc else []
        if not self._sender_bcc.empty and sender:
            found += await self._bcc_of("sender_bcc_maps", self._sender_bcc, sender)
        if not self._recipient_bcc.empty:
            for recipient in recipients:
                found += await self._bcc_of("recipient_bcc_maps", self._recipient_bcc, await self.recipient(recipient))
        return list(dict.fromkeys(found))

    async def _bcc_of(self, name: str, maps: Maps, address: str) -> list[str]:
        try:
            found = await find_address(maps, address, delimiter=self._delimiter,
                                       is_local=self._resolver.has_local_names)
        except TemporaryError:
            message = MESSAGE.get()
            self._source.log.warning("%s%s map lookup problem -- message not accepted, try again later",
                              f"{message}: " if message else "", name)
            raise
        return [self._complete(found.value)] if found is not None else []

    # -- header fields ---------------------------------------------------------------------------------------------

    def is_address_header(self, name: str) -> bool:
        """Whether `header` would look into a field of that name (any case)."""
        lower = name.lower()
        return lower in SENDER_HEADERS or lower in RECIPIENT_HEADERS

    def maps_header(self, name: str) -> bool:
        """Whether tables or masquerading may change addresses in standard form in an address field (any case)."""
        address_class = "header_sender" if name.lower() in SENDER_HEADERS else "header_recipient"
        return address_class in self._canonical or address_class in self._masquerade_classes

    async def header(self, name: str, value: bytes, local: bool = True) -> bytes:
        """The value of an address header field after rewriting, folded anew; unchanged when nothing changes.

        value: what follows the colon. local: else the field is rewritten only with remote_header_rewrite_domain.
        """
        lower = name.lower()
        address_class = "header_sender" if lower in SENDER_HEADERS else "header_recipient"
        if (not local and not self._remote_domain) or not (lower in SENDER_HEADERS or lower in RECIPIENT_HEADERS):
            return value
        origin = (self._origin, self._mydomain) if local else (self._remote_domain, self._remote_domain)
        mapped = self.maps_header(lower)

        async def change(address: str) -> str:
            if STANDARD.fullmatch(address):
                return (quote_local(await self._map(address, address_class)) or '""') if mapped else address
            if address == '""':         # the null address: nothing to complete
                return address
            new = self._trivial.standard_text(address, origin=origin[0], domain=origin[1])
            if not mapped or new == '""':
                return new
            return quote_local(await self._map(unquote_local(new), address_class)) or '""'

        return await self.changed_field(name, value, change)

    # -- mail that leaves ------------------------------------------------------------------------------------------

    def generic_maps(self, name: str) -> "Generic":
        """smtp_generic_maps or lmtp_generic_maps."""
        return Generic(self, self._mapping(name, self._settings.text(name), self._propagate_generic))

    async def changed_field(self, name: str, value: bytes, change: Change) -> bytes:
        """The value of an address header field with each address (external form) changed, folded anew; unchanged when

        nothing changes.
        """
        parts = parse_addresses(value.decode("utf-8", "surrogateescape"), self._token_limit)
        differs = False
        for number, address in enumerate(parts.addresses()):
            new = await change(address) if address else ""
            if new != address:
                parts.replace(number, new)
                differs = True
        if not differs:
            return value
        text = fold_header(name, parts.text(separator=",\n"))
        return text[len(name) + 2:].encode("utf-8", "surrogateescape")


class Generic:
    """The tables of smtp_generic_maps: addresses of the inside become addresses that the outside can answer to."""

    def __init__(self, rewriter: Rewriter, mapping: AddressMapping) -> None:
        self._rewriter, self._mapping, self.empty = rewriter, mapping, mapping.empty

    async def address(self, address: str) -> str:
        """An envelope address, internal form. Raises TemporaryError."""
        return await self._mapping.once(address)

    async def header(self, name: str, value: bytes) -> bytes:
        """The value of a header field; what is no address field stays. Raises TemporaryError."""
        if self.empty or not self._rewriter.is_address_header(name):
            return value

        async def change(address: str) -> str:
            return quote_local(await self._mapping.once(unquote_local(address))) or '""'

        return await self._rewriter.changed_field(name, value, change)
