"""From a recipient to class, transport and nexthop.

    resolver = AddressResolver(settings, domains, trivial, source)
    await resolver.resolve(sender, "user%far.test@here.test") -> Resolution("smtp", "far.test", "user@far.test", ...)

A local domain is stripped as long as the rest holds another route ("user%far@here" -> "user@far"), also inside quotes
(resolve_dequoted_address): relay control must see where mail would go. Addresses in internal form.
Source: trivial-rewrite(8), postconf(5).
"""

from typing import TYPE_CHECKING

from msgspec import Struct

from mailsuite.address import tokens as t
from mailsuite.address.hostname import is_ipv4, is_mail_domain
from mailsuite.address.syntax import quote_local
from mailsuite.address.tokens import Token
from mailsuite.base.trace import TRACE
from mailsuite.maps.lookup import find_address
from mailsuite.maps.maps import MapSource, open_maps
from mailsuite.rewrite import params
from mailsuite.rewrite.domains import Domains
from mailsuite.rewrite.transport import Transports, split_transport
from mailsuite.rewrite.trivial import STANDARD, Trivial, rfind, strip_last_dot

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings


class Resolution(Struct, frozen=True):
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


_TRANSPORT_PARAMETER = {"local": "local_transport", "virtual_mailbox": "virtual_transport", "relay": "relay_transport",
                        "default": "default_transport"}
_LISTED_IN = {"local": "mydestination", "virtual_alias": "virtual_alias_domains",
              "virtual_mailbox": "virtual_mailbox_domains", "relay": "relay_domains"}


def _class_decided_by(address_class: str, domain: str) -> str:
    if address_class == "local" and domain[:1] == "[":
        return "inet_interfaces, proxy_interfaces"
    return _LISTED_IN.get(address_class, "no list of domains")


def _tell(by: str, subject: str, result: str, *, table: bool = True) -> None:
    if (trace := TRACE.get()) is not None:
        trace.step(by, subject, result, table=table)


class AddressResolver:
    """What resolve(8) knows of one configuration."""

    def __init__(self, settings: "Settings", domains: Domains, trivial: Trivial, source: MapSource) -> None:
        self._domains, self._trivial, self._log = domains, trivial, source.log
        text = settings.text
        self._myhostname, self._origin, self._mydomain = text("myhostname"), text("myorigin"), text("mydomain")
        self._dequote = settings[params.RESOLVE_DEQUOTED_ADDRESS]
        self._null_domain = settings[params.RESOLVE_NULL_DOMAIN]
        self._numeric_domain = settings[params.RESOLVE_NUMERIC_DOMAIN]
        self._allow_minus = settings[params.ALLOW_MIN_USER]
        self._utf8 = text("smtputf8_enable") != "no"
        self._transport = {"local": split_transport(text("local_transport")),
                           "virtual_mailbox": split_transport(text("virtual_transport")),
                           "relay": split_transport(text("relay_transport")),
                           "default": split_transport(text("default_transport"))}
        self._relayhost = text("relayhost")
        self._sender_relayhost = open_maps(text("sender_dependent_relayhost_maps"), source.without_substitution(),
                                           "sender_dependent_relayhost_maps")
        self._sender_transport = open_maps(text("sender_dependent_default_transport_maps"),
                                           source.without_substitution())
        self._null_relay_key = text("empty_address_relayhost_maps_lookup_key")
        self._null_transport_key = text("empty_address_default_transport_maps_lookup_key")
        self._delimiter = text("recipient_delimiter")
        self._transports = Transports(settings, source)
        self._relocated = open_maps(text("relocated_maps"), source, "relocated_maps")
        self._moved = "5.1.6 User has moved to " if settings[params.RELOCATED_PREFIX_ENABLE] else ""
        in_table = " in virtual alias table" if settings[params.SHOW_USER_UNKNOWN_TABLE_NAME] else ""
        self._unknown_alias = f"5.1.1 User unknown{in_table}"

    async def resolve(self, sender: str, address: str) -> Resolution:
        """Raises TemporaryError."""
        if STANDARD.fullmatch(address) and "%" not in address and "!" not in address and not address[-1].isdigit():
            domain = address.rpartition("@")[2]
            recipient, routed, known = address, False, self._domains.known_class(domain)
            local = await self._domains.is_local(domain) if known is None else known == "local"
        else:
            known = None
            recipient, routed, local = await self._unroute(address)
            domain = recipient.rpartition("@")[2]
            if (trace := TRACE.get()) is not None and recipient != address:
                trace.step("route in the local part" if routed else "resolve", address, recipient, table=False)
        if not is_mail_domain(domain, utf8=self._utf8) or (recipient[:1] == "-" and not self._allow_minus):
            return Resolution("error", "5.1.3 bad address syntax", recipient, "local" if local else "default",
                              "5.1.3 bad address syntax", bad_syntax=True, routed=routed)
        if known is not None:
            address_class = known
        else:
            address_class = await (self._domains.class_of(domain) if local else self._domains.class_of_foreign(domain))
            self._domains.remember(domain, address_class)
        if (trace := TRACE.get()) is not None:
            trace.step(_class_decided_by(address_class, domain), domain, address_class)
        transport, nexthop = await self._route(sender, domain, address_class)
        if address_class != "virtual_alias":        # transport(5): such domains have no transport
            transport, nexthop = await self._transports.choose(recipient, transport, nexthop)
        if not self._relocated.empty:
            moved = await find_address(self._relocated, recipient, delimiter=self._delimiter,
                                       is_local=self.has_local_names)
            if moved is not None:
                transport, nexthop = "error", self._moved + moved.value
                _tell("relocated_maps", recipient, f"error:{nexthop}")
        if transport == "error":
            return Resolution(transport, nexthop, recipient, address_class, nexthop, routed=routed)
        return Resolution(transport, nexthop.lower() if nexthop == domain else nexthop, recipient, address_class,
                          routed=routed)

    async def has_local_names(self, domain: str) -> bool:
        """Whether "user" alone may stand for user@domain in tables. Raises TemporaryError."""
        return domain.lower() == self._origin.lower() or await self._domains.is_local(domain)

    async def _route(self, sender: str, domain: str, address_class: str) -> tuple[str, str]:
        """Transport and nexthop of the class. Raises TemporaryError."""
        if address_class == "virtual_alias":
            _tell("virtual_alias_domains", domain, f"error:{self._unknown_alias}", table=False)
            return "error", self._unknown_alias
        transport, destination = self._transport[address_class]
        nexthop, decided_by = domain, _TRANSPORT_PARAMETER[address_class]
        if address_class == "default" and not self._sender_transport.empty:
            found = await find_address(self._sender_transport, sender or self._null_transport_key,
                                       delimiter=self._delimiter, is_local=self.has_local_names)
            if found is not None and found.value.upper() != "DUNNO":
                transport, destination = split_transport(found.value)
                decided_by = "sender_dependent_default_transport_maps"
        _tell(decided_by, domain, f"{transport}:{destination}" if destination else transport,
              table=decided_by.startswith("sender_"))
        if address_class in ("relay", "default"):
            nexthop = await self._relay_for(sender) or domain
        return transport, destination or nexthop

    async def _relay_for(self, sender: str) -> str:
        if not self._sender_relayhost.empty:
            found = await find_address(self._sender_relayhost, sender or self._null_relay_key,
                                       delimiter=self._delimiter, is_local=self.has_local_names)
            if found is not None and found.value.upper() != "DUNNO":
                _tell("sender_dependent_relayhost_maps", sender, found.value)
                return found.value
        if self._relayhost:
            _tell("relayhost", "", self._relayhost, table=False)
        return self._relayhost

    async def _unroute(self, address: str) -> tuple[str, bool, bool]:
        """The final address, whether it had a route inside, and whether it is local."""
        tokens = t.scan(quote_local(address))
        saved: list[Token] = []
        routed = foreign = False
        for _ in range(len(address) + 100):
            tokens = strip_last_dot(tokens)
            if self._null_domain and tokens and tokens[-1].kind == "@":
                tokens = tokens[:-1]
            at = rfind(tokens, "@")
            if at >= 0:
                if at + 1 < len(tokens) and not await self._domains.is_local(t.internalize(tokens[at + 1:])):
                    foreign = True
                    break
                tokens, saved = tokens[:at], tokens[at:]
            inner = self._inner_route(tokens)
            if inner is None:
                break
            tokens, routed = self._trivial.tokens(inner, origin=self._origin, domain=self._mydomain), True
        if not tokens or (len(tokens) == 1 and tokens[0] == Token(t.QUOTED, "")):
            tokens = [Token(t.ATOM, "MAILER-DAEMON")]
        if not foreign:
            tokens = tokens + (saved or [Token("@", "@"), *t.scan(self._myhostname)])
        recipient = t.internalize(tokens)
        domain = recipient.rpartition("@")[2]
        if self._numeric_domain and is_ipv4(domain):
            recipient = f"{recipient[:-len(domain)]}[{domain}]"
        return recipient, routed, not foreign

    def _inner_route(self, tokens: list[Token]) -> list[Token] | None:
        """The tokens to rewrite when a local part holds a route of its own, else None."""
        kinds = {token.kind for token in tokens}
        trivial = self._trivial
        if "@" in kinds or ("!" in kinds and trivial.swap_bangpath) or ("%" in kinds and trivial.percent_hack):
            return tokens
        if not self._dequote or len(tokens) != 1 or tokens[0].kind != t.QUOTED:
            return None
        local = tokens[0].text
        if "@" in local:
            return t.scan(quote_local(local))
        if "%" in local and trivial.percent_hack:
            head, _, tail = local.rpartition("%")
            return t.scan(quote_local(f"{head}@{tail}"))
        if "!" in local and trivial.swap_bangpath:
            return t.scan(local)
        return None
