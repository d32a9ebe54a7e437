"""What rules may use: tables, DNS, the rewriter, reply codes; one per process."""

from typing import TYPE_CHECKING

from mailsuite.auth_results.checks import Checks
from mailsuite.config.interfaces import own_interfaces
from mailsuite.maps.maps import Maps, MapSource, open_maps
from mailsuite.maps.matchlist import AddressList, NameList
from mailsuite.rewrite.domains import parents_match
from mailsuite.smtp import params
from mailsuite.smtp.reply import unescape

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.dns.resolver import Resolver
    from mailsuite.rewrite.rewriter import Resolution, Rewriter
    from mailsuite.smtp.policy.lists import Step
    from mailsuite.smtp.policy.rules_verify import Verifier


class Resources:
    """access_parents: a domain in an access table stands for its subdomains (parent_domain_matches_subdomains)."""

    def __init__(self, settings: "Settings", rewriter: "Rewriter", resolver: "Resolver") -> None:
        self.settings, self.rewriter, self.resolver = settings, rewriter, resolver
        self.source = MapSource(settings, "smtpd")
        self.checks = Checks(settings, resolver)
        self.mynetworks = self._networks("mynetworks")
        self.mx_backup_networks = self._networks("permit_mx_backup_networks")
        self.logged_permits = NameList(settings.text("smtpd_log_access_permit_actions"), self.source,
                                       name="smtpd_log_access_permit_actions")
        self.relay_clientcerts = self.table(settings.text("relay_clientcerts"))
        self.access_parents = parents_match(settings, "smtpd_access_maps")
        self.delimiter = settings.text("recipient_delimiter")
        self.sasl = settings[params.SMTPD_SASL_AUTH_ENABLE]
        self.asks_certificate = settings[params.SMTPD_TLS_ASK_CCERT]
        self.null_key = settings[params.SMTPD_NULL_ACCESS_LOOKUP_KEY]
        self.soft_bounce = settings[params.SOFT_BOUNCE]
        self.access_reject_code = settings[params.ACCESS_MAP_REJECT_CODE]
        self.access_defer_code = settings[params.ACCESS_MAP_DEFER_CODE]
        self.reject_code = settings[params.REJECT_CODE]
        self.defer_code = settings[params.DEFER_CODE]
        self.relay_code = settings[params.RELAY_DOMAINS_REJECT_CODE]
        self.bad_name_code = settings[params.INVALID_HOSTNAME_REJECT_CODE]
        self.non_fqdn_code = settings[params.NON_FQDN_REJECT_CODE]
        self.unknown_address_code = settings[params.UNKNOWN_ADDRESS_REJECT_CODE]
        self.unknown_client_code = settings[params.UNKNOWN_CLIENT_REJECT_CODE]
        self.unknown_hostname_code = settings[params.UNKNOWN_HOSTNAME_REJECT_CODE]
        self.rbl_code = settings[params.MAPS_RBL_REJECT_CODE]
        self.plaintext_code = settings[params.PLAINTEXT_REJECT_CODE]
        self.multi_bounce_code = settings[params.MULTI_RECIPIENT_BOUNCE_REJECT_CODE]
        self.classes: dict[str, list[Step]] = {}
        self._own: set[str] | None = None
        self.services: dict[str, object] = {}
        self.verifier: Verifier | None = None       # set by who has an event loop and a verify service
        # What may stand in the $names of a reply about a block list: it comes from strangers and their DNS.
        self.expansion_filter = frozenset(unescape(settings.raw("smtpd_expansion_filter")))
        self.rbl_reply_maps = self.table(settings.text("rbl_reply_maps"))
        self.login_maps = self.table(settings.text("smtpd_sender_login_maps"))

    def is_own_address(self, address: str) -> bool:
        """Whether one of our interfaces has it."""
        if self._own is None:
            listed = self.settings.text("inet_interfaces").replace(",", " ").split()
            own = {str(interface.ip) for interface in own_interfaces()}
            named = {word.strip("[]") for word in listed}
            self._own = own if named & {"all", "loopback-only"} or not named & own else own & named
        return address in self._own

    def _networks(self, name: str) -> AddressList:
        return AddressList(self.settings.text(name), self.source, name=name, parents=parents_match(self.settings, name))

    def table(self, spec: str) -> Maps:
        """Open tables; what cannot be opened is logged and fails when it is asked."""
        return open_maps(spec, self.source)

    async def resolve(self, sender: str, address: str) -> "Resolution":
        """Where an address goes, once it is in standard form. Raises TemporaryError."""
        return await self.rewriter.resolve(sender, await self.rewriter.rewrite(address))
