"""Mail that must have TLS all the way (REQUIRETLS), and mail that had rather be read than be secret (TLS-Required: no).

    demand = await demands.find(envelope_word, sender, endpoint, nexthop)      Demand.ENFORCE and so on
    policy = demands.policy(demand, policy, endpoint)                       raises RequireTlsTrouble: not here

ENFORCE: a name that DNSSEC or MTA-STS vouches for (or the administrator, in brackets), a certificate that carries it,
and a server that offers REQUIRETLS; where no server of the domain does, the mail goes back to its sender (5.7.10,
5.7.30). smtp_requiretls_policy says for which next hops less will do: opportunistic+starttls, opportunistic, disable.
Mail without sender, bounces, is sent as well as it can be. Source: RFC 8689 section 4.2; the words: Postfix 3.11.
"""

from dataclasses import replace
from enum import Enum

from mailsuite.base.log import logger
from mailsuite.config.settings import Settings
from mailsuite.maps import MapSource, open_maps
from mailsuite.maps.maps import split_specs
from mailsuite.smtp.client import Endpoint
from mailsuite.smtp.client_dane import NoTls
from mailsuite.smtp.client_policy import LEVELS, Policy
from mailsuite.smtp.client_session import Features, Trouble

REQUIRED, NOT_NEEDED = "yes", "no"      # Envelope.require_tls


class Demand(Enum):
    """What a message asks of TLS with one server."""

    NONE = ""
    ENFORCE = "enforce"
    STARTTLS = "opportunistic+starttls"     # encryption is a must, and REQUIRETLS is passed on where it is known
    OPPORTUNISTIC = "opportunistic"         # passed on where it is known
    RELAXED = "relaxed"                     # TLS-Required: no

    @property
    def passed_on(self) -> bool:
        """Whether MAIL FROM may say REQUIRETLS."""
        return self in (Demand.ENFORCE, Demand.STARTTLS, Demand.OPPORTUNISTIC)


_WORDS = {demand.value: demand for demand in Demand if demand.passed_on} | {"disable": Demand.NONE}


class RequireTlsTrouble(Trouble):
    """This server cannot have a message that requires TLS."""

    def __init__(self, reason: str, status: str = "5.7.10") -> None:
        super().__init__(reason, status=status, elsewhere=True)


class Demands:
    """One configuration's smtp_requiretls_policy (lmtp_...): words and tables, the first that fits counts."""

    def __init__(self, settings: Settings, prefix: str) -> None:
        self._prefix = prefix
        self._items = split_specs(settings.text(f"{prefix}_requiretls_policy"))
        self._source = MapSource(settings, prefix)
        self._enabled = settings.text("requiretls_enable") != "no"
        self._relaxes = settings.text("tls_required_enable") != "no"

    async def find(self, word: str, sender: str, endpoint: Endpoint, nexthop_host: str) -> Demand:
        """word: Envelope.require_tls. Raises TemporaryError, NoTls."""
        if word == NOT_NEEDED and self._relaxes:
            return Demand.RELAXED
        if word != REQUIRED or not self._enabled:
            return Demand.NONE
        demand = await self._listed(nexthop_host, endpoint)
        return Demand.OPPORTUNISTIC if demand is Demand.ENFORCE and not sender else demand

    async def _listed(self, host: str, endpoint: Endpoint) -> Demand:
        for item in self._items:
            if ":" not in item:
                return self._meaning(item)
            maps = open_maps([item], self._source)
            names = [host.lower(), *(("." + host.lower().split(".", number)[number]) for number in
                                     range(1, host.count(".") + 1))]
            for number, name in enumerate(dict.fromkeys(names)):
                value = await maps.find(name, partial=number > 0)
                if value is not None:
                    return self._meaning(value)
        return Demand.ENFORCE

    def _meaning(self, word: str) -> Demand:
        demand = _WORDS.get(word.strip().lower())
        if demand is None:
            logger(self._prefix).warning("%s_requiretls_policy: unknown policy: %s", self._prefix, word)
            raise NoTls("mail system configuration error")
        return demand

    @staticmethod
    def policy(demand: Demand, policy: Policy, endpoint: Endpoint) -> Policy:
        """The server's policy for such a message. Raises RequireTlsTrouble."""
        if demand is Demand.RELAXED and policy.level != "none":
            return replace(policy, level="may", match=(), records=(), kind="", testing=False)
        if demand is Demand.STARTTLS and LEVELS.index(policy.level) < LEVELS.index("encrypt"):
            return replace(policy, level="encrypt")
        if demand is not Demand.ENFORCE or (policy.authenticated and policy.level != "half-dane"):
            return policy
        vouched = endpoint.secure or (policy.kind == "sts" and policy.patterns)
        if not vouched:
            raise RequireTlsTrouble(f"Encryption needed: nothing vouches for the name of MX host {endpoint.host} "
                                    "(DNSSEC, MTA-STS)")
        return replace(policy, level="secure", match=("hostname",), records=(), testing=False,
                       kind="sts" if policy.kind == "sts" else "required")

    @staticmethod
    def check(demand: Demand, features: Features, host: str) -> None:
        """After EHLO under TLS. Raises RequireTlsTrouble."""
        if demand is Demand.ENFORCE and not (features.tls and features.has("REQUIRETLS")):
            raise RequireTlsTrouble(f"REQUIRETLS support required, but was not offered by host {host}", "5.7.30")
