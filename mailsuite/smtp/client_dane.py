"""DANE for outgoing mail: what TLSA records ask of a server (RFC 7672).

    policy = await dane.apply(policy, endpoint, nexthop)        levels dane and dane-only; raises NoTls: deferred

The resolver has to check DNSSEC and to say so (AD): smtp_dns_support_level = dnssec. What becomes of "dane":
 - an unsigned MX (smtp_tls_dane_insecure_mx_policy = may), no TLSA records: may
 - records of which none is usable: encrypt
 - usable records: the certificate must match them; "half-dane" where the MX was unsigned: no more than Trusted
 - records that could not be asked for: the mail waits; a forged failure must not switch TLS off
With "dane-only" everything but matching records defers.
"""

import re
from collections.abc import Callable
from dataclasses import replace

from mailsuite.base.errors import ConfigError
from mailsuite.config.settings import Settings
from mailsuite.dns.resolver import DnsError, Resolver
from mailsuite.smtp.client import Endpoint
from mailsuite.smtp.client_policy import Policy, PolicyError
from mailsuite.smtp.client_session import Trouble
from mailsuite.tls.dane import DANE_TA, Tlsa, parse_digests, usable_records


class NoTls(Trouble):
    """No policy for this server that mail may be sent under: it was not spoken to."""

    def __init__(self, reason: str, status: str = "4.7.5") -> None:
        super().__init__(reason, status=status)


class Dane:
    """One configuration's. warn: takes a line for the log."""

    def __init__(self, settings: Settings, prefix: str, resolver: Resolver, warn: Callable[[str], None]) -> None:
        self._resolver, self._warn = resolver, warn
        self._signed = settings.text(f"{prefix}_dns_support_level").strip().lower() == "dnssec"
        self._force = settings.text(f"{prefix}_tls_force_insecure_host_tlsa_lookup") == "yes"
        self._unsigned_mx = settings.text("smtp_tls_dane_insecure_mx_policy").strip().lower() or "may"
        try:
            self._digests = parse_digests(settings.text("tls_dane_digests"))
        except ConfigError as error:
            self._digests = ()
            warn(f"{error.public}: no DANE")
        self._probe = settings.text("dnssec_probe").strip()
        self._probed = False

    async def apply(self, policy: Policy, endpoint: Endpoint, nexthop: str) -> Policy:
        """The policy after the DNS was asked. Raises NoTls, PolicyError."""
        if not self._signed or not self._digests:
            self._warn(f"{nexthop}: dns resolver options incompatible with {policy.level} TLS" if self._signed else
                       f"{nexthop}: {policy.level} configured with dnssec lookups disabled")
            if policy.level == "dane-only":
                raise PolicyError
            return replace(policy, level="may")
        if not endpoint.validated:
            await self.probe()
        if not endpoint.secure and (policy.level == "dane-only" or self._unsigned_mx == "may"):
            return self._without(policy, "may", "non DNSSEC destination")
        try:
            base, records = await self._records(endpoint)
        except DnsError as error:
            self._warn(f"DANE TLSA lookup problem: {error.public}")
            raise NoTls(f"TLSA lookup error for {endpoint.host}:{endpoint.port}") from error
        if not records:
            return self._without(policy, "may", "no TLSA records found")
        return self._judged(policy, endpoint, nexthop, base, records)

    def _judged(self, policy: Policy, endpoint: Endpoint, nexthop: str, base: str, found: list[Tlsa]) -> Policy:
        records = usable_records(found, self._digests)
        for record in records.unsupported:
            self._warn(f"_{endpoint.port}._tcp.{base} unsupported TLSA certificate usage: {record}")
        for record in records.unusable:
            self._warn(f"{endpoint.name_port}: unusable TLSA RR: {record}")
        names = list(dict.fromkeys([base, endpoint.host, endpoint.domain or nexthop]))
        policy = replace(policy, base=base, match=tuple(names), tafiles=())
        if not records.usable and records.unusable:     # told after the handshake, as the program does it
            only = policy.level == "dane-only"
            self._warn(f"{endpoint.name_port}: all TLSA records unusable"
                       + ("" if only else ", fallback to unauthenticated TLS"))
            return policy if only else replace(policy, level="encrypt")
        if not records.usable:
            return self._without(policy, "encrypt", "TLSA records unusable")
        if not endpoint.secure:
            if self._unsigned_mx == "encrypt":
                return self._without(policy, "encrypt", "Verification not possible, MX RRset is insecure")
            policy = replace(policy, level="half-dane")
        if not any(record.usage == DANE_TA for record in records.usable):
            policy = replace(policy, match=())      # the name plays no part: RFC 7672 section 3.1.1
        return replace(policy, records=records.usable, kind="tlsa")

    @staticmethod
    def _without(policy: Policy, level: str, why: str) -> Policy:
        if policy.level == "dane-only":
            raise NoTls(why)
        return replace(policy, level=level, match=())

    async def _records(self, endpoint: Endpoint) -> tuple[str, list[Tlsa]]:
        """The TLSA base domain and its records, none where DNSSEC does not vouch for them. Raises DnsError.

        Source: RFC 7672 section 2.2.2: the end of a signed chain of aliases first, then the name itself.
        """
        host, end = endpoint.host.lower(), (endpoint.canonical or endpoint.host).lower()
        if endpoint.validated or self._force:
            names = list(dict.fromkeys([end, host]))
        elif end != host and (await self._resolver.records(host, "CNAME")).validated:
            names = [host]                          # a signed alias into an unsigned zone
        else:
            return host, []
        for name in names:
            answer = await self._resolver.records(f"_{endpoint.port}._tcp.{name}", "TLSA")
            if answer.records and answer.validated:
                return name, [Tlsa(int(one.usage), int(one.selector), int(one.mtype), bytes(one.cert))
                              for one in answer.records]
        return names[0], []

    async def probe(self) -> None:
        """Once: does the resolver check DNSSEC at all? Tells the log when not (dnssec_probe)."""
        if self._probed or not self._probe:
            return
        self._probed = True
        match = re.fullmatch(r"([A-Za-z0-9]+):(\S+)", self._probe)
        if match is None:
            self._warn(f"malformed dnssec_probe value: {self._probe}")
            return
        try:
            answer = await self._resolver.records(match[2], match[1].upper())
            why = "" if answer.validated else "received a response that is not DNSSEC validated"
        except DnsError as error:
            why = f"received no response: {error.why}"
        if why:
            self._warn("DNSSEC validation may be unavailable")
            self._warn(f"reason: dnssec_probe '{self._probe}' {why}")
