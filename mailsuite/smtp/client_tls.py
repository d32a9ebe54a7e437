"""How much TLS a remote server gets: smtp_tls_security_level, smtp_tls_policy_maps.

    policy = await policies.find(endpoint, nexthop)         Policy("may" | "none" | "encrypt" | "verify" | "secure")
    context = policies.context(policy)                      ssl.SSLContext                      raises ConfigError

Levels this version does not have (dane, fingerprint) are ConfigErrors: the mail waits, nothing goes out unprotected.
"""

import ssl
from dataclasses import dataclass

from mailsuite.base.errors import ConfigError
from mailsuite.config.settings import Settings
from mailsuite.maps import MapSource, open_maps
from mailsuite.net.tls import client_context, smtp_tls
from mailsuite.smtp.client import Endpoint

LEVELS = ("none", "may", "encrypt", "verify", "secure")


@dataclass(frozen=True, slots=True)
class Policy:
    """match: names or rules (hostname, nexthop, dot-nexthop) that the certificate must carry, for verify and secure."""

    level: str
    match: tuple[str, ...] = ()

    @property
    def mandatory(self) -> bool:
        return self.level in ("encrypt", "verify", "secure")


class Policies:
    """One configuration's TLS policies."""

    def __init__(self, settings: Settings, prefix: str) -> None:
        self._settings, self._prefix = settings, prefix
        self._maps = open_maps(settings.text(f"{prefix}_tls_policy_maps"), MapSource(settings, prefix))
        self._default = settings.text(f"{prefix}_tls_security_level") or self._old_level()
        self.wrapper = settings.text(f"{prefix}_tls_wrappermode") == "yes"
        self.log_level = settings.text(f"{prefix}_tls_loglevel")

    def _old_level(self) -> str:
        """smtp_use_tls and smtp_enforce_tls, before there were levels."""
        if self._settings.text(f"{self._prefix}_enforce_tls") == "yes":
            return "verify" if self._settings.text(f"{self._prefix}_tls_enforce_peername") != "no" else "encrypt"
        return "may" if self._settings.text(f"{self._prefix}_use_tls") == "yes" else "none"

    async def find(self, endpoint: Endpoint, nexthop: str) -> Policy:
        """By nexthop as configured, then its domain and parents. Raises TemporaryError, ConfigError."""
        if endpoint.path:
            return Policy("none")
        for key in self._keys(endpoint, nexthop):
            value = await self._maps.find(key)
            if value is not None:
                return self._policy(value)
        return self._policy(self._default)

    @staticmethod
    def _keys(endpoint: Endpoint, nexthop: str) -> list[str]:
        if nexthop != endpoint.domain:      # "[host]", "host:port": never the domain of an address, so without parents
            return [nexthop]
        keys = [endpoint.domain]
        dot = endpoint.domain.find(".")
        while dot >= 0:
            keys.append(endpoint.domain[dot:])
            dot = endpoint.domain.find(".", dot + 1)
        return keys

    def _policy(self, text: str) -> Policy:
        level, *attributes = text.replace(",", " ").split() or ["none"]
        if level not in LEVELS:
            raise ConfigError(f"TLS security level {level} is not available")
        match: list[str] = []
        for attribute in attributes:
            name, _, value = attribute.partition("=")
            if name == "match":
                match += value.split(":")
        if not match and level in ("verify", "secure"):
            match = self._settings.text(f"{self._prefix}_tls_{level}_cert_match").replace(",", " ").replace(
                ":", " ").split()
        return Policy(level, tuple(match))

    def context(self, policy: Policy) -> ssl.SSLContext:
        """Raises ConfigError."""
        return client_context(smtp_tls(self._settings, policy.level, self._prefix))

    def server_name(self, policy: Policy, endpoint: Endpoint, nexthop_host: str) -> str:
        """The name to send, and to look for in the certificate: of the first rule of match.

        "hostname" comes from unsigned DNS: it is for level verify only.
        """
        for rule in policy.match:
            if rule == "hostname":
                return endpoint.host
            if rule in ("nexthop", "dot-nexthop"):
                return nexthop_host
            return rule.lstrip(".")
        return endpoint.host
