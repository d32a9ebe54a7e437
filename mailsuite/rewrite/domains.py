"""Address classes: which domains are ours, and how.

    domains = Domains(settings, source)
    await domains.is_local("example.test")      mydestination, and [addresses] of inet_interfaces, proxy_interfaces
    await domains.class_of("example.test") -> "local" | "virtual_alias" | "virtual_mailbox" | "relay" | "default"

A domain belongs to one class; one that is listed twice is logged (once) and taken for the first above.
Raises TemporaryError when a list could not be asked. Source: ADDRESS_CLASS_README.
"""

from typing import TYPE_CHECKING

from mailsuite.address.hostname import literal_address
from mailsuite.base.errors import TemporaryError
from mailsuite.maps.matchlist import DomainList, NameList

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.maps.maps import MapSource

WARNING_LIMIT = 1000        # domains whose double listing is remembered
CLASSES_LIMIT = 1000        # domains whose class is


def parents_match(settings: "Settings", name: str) -> bool:
    """Whether "b.test" in that parameter's list stands for subdomains too (parent_domain_matches_subdomains)."""
    return name in settings.text("parent_domain_matches_subdomains").replace(",", " ").split()


class Domains:
    """The four lists of domains."""

    def __init__(self, settings: "Settings", source: "MapSource") -> None:
        self._source = source
        self._settings = settings
        self.local = NameList(settings.text("mydestination"), source, name="mydestination")
        self.virtual_alias = NameList(settings.text("virtual_alias_domains"), source, name="virtual_alias_domains")
        self.virtual_mailbox = NameList(settings.text("virtual_mailbox_domains"), source,
                                        name="virtual_mailbox_domains")
        self.relay = DomainList(settings.text("relay_domains"), source, name="relay_domains",
                                parents=parents_match(settings, "relay_domains"))
        self._own: frozenset[str] | None = None
        self._warned: set[str] = set()
        lists = (self.local, self.virtual_alias, self.virtual_mailbox, self.relay)
        self._plain = all(domains.is_plain for domains in lists)
        self._classes: dict[str, str] = {}          # what was found out, where no table may say otherwise tomorrow

    @property
    def own_addresses(self) -> frozenset[str]:
        """Addresses that this system receives mail on, as texts."""
        if self._own is None:
            import ipaddress

            from mailsuite.config.interfaces import listening_interfaces
            settings = self._settings
            own = {str(interface.ip) for interface in
                   listening_interfaces(settings.text("inet_interfaces"), settings.text("inet_protocols"))}
            for word in settings.text("proxy_interfaces").replace(",", " ").split():
                try:
                    own.add(str(ipaddress.ip_address(word.strip("[]"))))
                except ValueError:
                    self._source.log.warning("proxy_interfaces: bad address: \"%s\"", word)
            self._own = frozenset(own)
        return self._own

    def is_own_literal(self, domain: str) -> bool:
        """Whether "[192.0.2.1]" names this system."""
        address = literal_address(domain)
        if not address:
            return False
        if ":" in address:
            import ipaddress
            address = str(ipaddress.IPv6Address(address))
        return address in self.own_addresses

    async def is_local(self, domain: str) -> bool:
        """Whether mail for the domain is delivered on this machine to its users."""
        if domain[:1] == "[":
            return self.is_own_literal(domain)
        if domain[-1:] == ".":
            domain = domain[:-1]
        known = self.local.matches_now(domain)
        return await self.local.matches(domain) if known is None else known

    def known_class(self, domain: str) -> str | None:
        """As class_of, when it has been asked before and no table has to be; else None."""
        return self._classes.get(domain)

    def remember(self, domain: str, address_class: str) -> None:
        """What class_of, or is_local and class_of_foreign, found out."""
        if self._plain:
            if len(self._classes) >= CLASSES_LIMIT:     # domains are the peers'
                self._classes.clear()
            self._classes[domain] = address_class

    async def class_of(self, domain: str) -> str:
        """The class of a domain. Raises TemporaryError."""
        if await self.is_local(domain):
            if domain[:1] != "[":
                await self._warn_twice(domain, "mydestination", ("virtual_alias_domains", self.virtual_alias),
                                       ("virtual_mailbox_domains", self.virtual_mailbox))
            return "local"
        return await self.class_of_foreign(domain)

    async def class_of_foreign(self, domain: str) -> str:
        """The class of a domain that is known not to be local."""
        if domain[:1] == "[":
            return "default"
        if self.virtual_alias and await self._listed(self.virtual_alias, "virtual_alias_domains", domain):
            await self._warn_twice(domain, "virtual_alias_domains", ("virtual_mailbox_domains", self.virtual_mailbox),
                                   ("relay_domains", self.relay))
            return "virtual_alias"
        if self.virtual_mailbox and await self._listed(self.virtual_mailbox, "virtual_mailbox_domains", domain):
            await self._warn_twice(domain, "virtual_mailbox_domains", ("relay_domains", self.relay))
            return "virtual_mailbox"
        if self.relay and await self._listed(self.relay, "relay_domains", domain):
            return "relay"
        return "default"

    async def _listed(self, domains: NameList, name: str, domain: str) -> bool:
        try:
            return await domains.matches(domain)
        except TemporaryError:
            self._source.log.warning("%s lookup failure", name)
            raise

    async def _warn_twice(self, domain: str, name: str, *others: tuple[str, NameList]) -> None:
        if domain in self._warned:
            return
        if len(self._warned) < WARNING_LIMIT:
            self._warned.add(domain)
        for other, listed in others:
            try:
                twice = bool(listed) and await listed.matches(domain)
            except TemporaryError:
                twice = False       # only a warning was at stake
            if twice:
                self._source.log.warning("do not list domain %s in BOTH %s and %s", domain, name, other)
