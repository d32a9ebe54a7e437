"""How much TLS a remote server gets: levels, policy tables, contexts, and what its certificate must show.

    policy = await policies.find(endpoint, nexthop)         client_policy.Policy        raises NoTls, TemporaryError
    context = policies.context(policy)                      ssl.SSLContext              raises ConfigError
    verdict = policies.judge(policy, endpoint, host, link)  after the handshake; logs it; raises Trouble: not enough

A table that cannot be asked, or a line that makes no sense, defers the mail: nothing goes out unprotected.
Source: postconf(5), TLS_README; the words are those that Postfix 3.7 was seen to log.
"""

import logging
import ssl
from dataclasses import replace

from mailsuite.base.errors import ConfigError, TemporaryError
from mailsuite.config.settings import Settings
from mailsuite.dns.resolver import Resolver
from mailsuite.maps import MapSource, open_maps
from mailsuite.net.client_tls import client_context, smtp_tls
from mailsuite.smtp.client import ClientConnection, Endpoint
from mailsuite.smtp.client_dane import Dane, NoTls
from mailsuite.smtp.client_policy import LEVELS, Policy, PolicyError, default_policy, parse_policy, site_level
from mailsuite.smtp.client_session import Trouble
from mailsuite.smtp.client_sts import StsFinder
from mailsuite.smtp.client_tls_params import MTA_STS
from mailsuite.smtp.syntax import is_hostname
from mailsuite.tls.anchors import trust_anchors
from mailsuite.tls.chain import WRONG_NAME, Authorities, Failure
from mailsuite.tls.ciphers import GRADES
from mailsuite.tls.dane import CERTIFICATE, DANE_TA, KEY
from mailsuite.tls.fingerprints import digest, parse_fingerprint
from mailsuite.tls.identity import Identity
from mailsuite.tls.peer import Trust, Verdict, Wanted, describe, judge
from mailsuite.tls.protocols import parse_protocols
from mailsuite.tls.sts import fits

# Kinds of policies by which a stranger's server has to show a certificate for its own name, of a public authority.
_BY_HOST = frozenset({"sts", "required"})


class Policies:
    """One configuration's TLS policies."""

    def __init__(self, settings: Settings, prefix: str, resolver: Resolver, log: logging.Logger,
                 identities: tuple[Identity, ...] = ()) -> None:
        self._settings, self._prefix, self._log = settings, prefix, log
        source = MapSource(settings, prefix)
        self._maps = open_maps(settings.text(f"{prefix}_tls_policy_maps"), source, f"{prefix}_tls_policy_maps")
        self._sites = open_maps(settings.text(f"{prefix}_tls_per_site"), source)
        self._default = default_policy(settings, prefix)
        self._my_name = settings.text("myhostname")
        self._dane = Dane(settings, prefix, resolver, self._warn)
        self._sts = StsFinder(settings, prefix, resolver, log) if prefix == "smtp" and settings[MTA_STS] else None
        self._enforce_patterns = settings.text("smtp_tls_enforce_sts_mx_patterns") != "no"
        self._algorithm = settings.text(f"{prefix}_tls_fingerprint_digest").strip() or "sha256"
        self._depth = int(settings.text(f"{prefix}_tls_scert_verifydepth") or 9)
        self._many_labels = settings.text("tls_wildcard_matches_multiple_labels") != "no"
        self._append_default = settings.text("tls_append_default_CA") == "yes"
        self._identities = identities
        self._sites_ignored = not self._maps.empty and not self._sites.empty       # told once, when it matters
        self.wrapper = settings.text(f"{prefix}_tls_wrappermode") == "yes"
        self.note_offer = settings.text(f"{prefix}_tls_note_starttls_offer") == "yes"
        level = settings.text(f"{prefix}_tls_loglevel").strip()
        self.log_level = int(level) if level.isdigit() else 0

    def _warn(self, text: str) -> None:
        self._log.warning("%s", text)

    # --- which policy ---------------------------------------------------------------------------------------------

    async def find(self, endpoint: Endpoint, nexthop: str) -> Policy:
        """The policy for a server of a nexthop. Raises NoTls."""
        if self._sites_ignored:
            self._warn(f"{self._prefix}_tls_per_site ignored when {self._prefix}_tls_policy_maps is not empty.")
            self._sites_ignored = False
        try:
            policy = await self._configured(endpoint, nexthop)
            listed = policy.listed
            policy = await self.completed(policy, endpoint, nexthop)
            if self._sts is not None and not listed and policy.level in ("may", "encrypt") and not policy.base:
                policy = await self._by_sts(self._sts, policy, endpoint, nexthop)
        except (NoTls, PolicyError, TemporaryError) as error:
            reason = "temporary lookup problem" if isinstance(error, TemporaryError) else error.public
            self._warn(f"TLS policy lookup for {nexthop}/{endpoint.host}: {reason}")
            raise NoTls(reason) from error
        if self.wrapper and policy.level in ("none", "may"):
            self._warn(f'{self._prefix}_tls_wrappermode requires "{self._prefix}_tls_security_level = encrypt" '
                       "(or stronger)")
            raise NoTls("server unavailable or unable to receive mail", "4.3.0")
        return policy

    async def completed(self, policy: Policy, endpoint: Endpoint, nexthop: str) -> Policy:
        """A policy with what the DNS and main.cf add to it. Raises NoTls, PolicyError."""
        if policy.level in ("dane", "dane-only"):
            if endpoint.path:
                self._warn(f'{nexthop}: the "dane" security level is invalid for delivery via unix-domain sockets')
                raise PolicyError
            policy = await self._dane.apply(policy, endpoint, nexthop)
        if policy.kind == "sts" and self._enforce_patterns:
            self._check_patterns(policy, endpoint, nexthop)
        if policy.level == "fingerprint" and not policy.match:
            listed = self._settings.text(f"{self._prefix}_tls_fingerprint_cert_match")
            policy = replace(policy, match=tuple(listed.replace(",", " ").replace("|", " ").split()))
            if not policy.match:
                self._warn(f"nexthop domain {nexthop}: configured at fingerprint security level, "
                           "but with no fingerprints to match.")
                raise PolicyError
        if policy.level in ("verify", "secure") and not policy.match:
            rules = self._settings.text(f"{self._prefix}_tls_{policy.level}_cert_match")
            policy = replace(policy, match=tuple(rules.replace(",", " ").replace(":", " ").split()))
        if policy.level in ("verify", "secure") and policy.tafiles:
            try:
                policy = replace(policy, records=tuple(one for path in policy.tafiles for one in trust_anchors(path)))
            except ConfigError as error:
                self._warn(error.public)
                raise PolicyError from error
        return policy

    @staticmethod
    def _check_patterns(policy: Policy, endpoint: Endpoint, nexthop: str) -> None:
        """Raises NoTls: the host is none of those that the MTA-STS policy names."""
        if policy.patterns and not any(fits(endpoint.host, pattern) for pattern in policy.patterns):
            raise NoTls(f"MX host {endpoint.host} does not match the MTA-STS policy of {policy.domain or nexthop}")

    async def _by_sts(self, finder: StsFinder, policy: Policy, endpoint: Endpoint, nexthop: str) -> Policy:
        """What the domain's own MTA-STS policy asks for, above main.cf's level. Raises NoTls."""
        if endpoint.fallback or not is_hostname(nexthop):
            return policy
        found = await finder.find(nexthop)
        if found.policy is None or found.policy.mode == "none":
            return replace(policy, sts=found)
        policy = replace(policy, kind="sts", domain=nexthop, patterns=found.policy.mx, sts=found,
                         testing=found.policy.mode == "testing")
        if policy.testing:
            return policy
        self._check_patterns(policy, endpoint, nexthop)
        return replace(policy, level="secure", match=("hostname",))

    async def _configured(self, endpoint: Endpoint, nexthop: str) -> Policy:
        """By the tables, or main.cf's own. Raises TemporaryError, PolicyError."""
        if endpoint.path and self._maps.empty:
            return Policy("none") if self._default.level == "may" else self._default
        if not self._maps.empty:
            for key in _keys(endpoint, nexthop):
                where = f'{self._prefix}_tls_policy_maps, next-hop destination "{key}"'
                try:
                    value = await self._maps.find(key)
                except TemporaryError as error:
                    self._warn(f"{where}: policy table lookup error")
                    raise PolicyError from error
                if value is not None:
                    return replace(parse_policy(self._default, value, where, self._warn), listed=True)
        elif not self._sites.empty:
            return await self._by_site(endpoint, nexthop)
        if self._default.level not in LEVELS or self._default.level == "half-dane":
            self._warn(f'invalid tls security level: "{self._default.level}"')
            raise PolicyError
        return self._default

    async def _by_site(self, endpoint: Endpoint, nexthop: str) -> Policy:
        """The obsolete smtp_tls_per_site, by nexthop and by host. Raises TemporaryError, PolicyError."""
        found = ""
        for key, kind in dict.fromkeys([(nexthop, "next-hop destination"), (endpoint.host, "server hostname")]):
            value = await self._sites.find(key)
            try:
                found = site_level(found, value) if value is not None else found
            except ConfigError as error:
                self._warn(f"{self._prefix}_tls_per_site: {error.public} for {kind} {key}")
                raise PolicyError from error
        general = self._default.level
        if not found or (found == "may" and LEVELS.index(general) > LEVELS.index("may")):
            return self._default
        return replace(self._default, level=found)

    # --- the handshake --------------------------------------------------------------------------------------------

    def context(self, policy: Policy) -> ssl.SSLContext:
        """Raises ConfigError."""
        try:
            parse_protocols(policy.protocols or "")
        except ConfigError as error:
            raise ConfigError(f'Invalid TLS protocol list "{policy.protocols}": aborting TLS session') from error
        if policy.ciphers and policy.ciphers.lower() not in GRADES:
            raise ConfigError(f'invalid cipher grade: "{policy.ciphers}"')
        return client_context(smtp_tls(self._settings, policy.level, self._prefix, protocol_list=policy.protocols,
                                       grade=policy.ciphers, exclude=policy.exclude, identities=self._identities))

    def server_name(self, policy: Policy, endpoint: Endpoint, nexthop_host: str) -> str:
        """The name to send (SNI); "" for none, as without DANE it is not sent by default. Raises ConfigError."""
        if policy.base:
            return policy.base
        name = policy.servername or ("hostname" if policy.kind in _BY_HOST else "")
        name = {"hostname": endpoint.host, "nexthop": nexthop_host}.get(name, name)
        if name and not is_hostname(name):
            if policy.servername in ("hostname", "nexthop") or policy.kind in _BY_HOST:
                return ""                               # an address literal
            raise ConfigError(f'invalid TLS servername "{name}"')
        return name

    def wanted(self, policy: Policy, endpoint: Endpoint, nexthop_host: str) -> Wanted:
        """What the certificate must show. Raises ConfigError."""
        common = Wanted(many_labels=self._many_labels, depth=self._depth, algorithm=self._algorithm)
        if policy.level == "fingerprint":
            return replace(common, by_digest=True, fingerprints=self._fingerprints(policy, endpoint))
        names = [_expanded(rule, endpoint, nexthop_host) for rule in policy.match]
        common = replace(common, names=tuple(name for name in names if name and name != "."))
        if policy.dane or policy.records:
            return replace(common, by_records=True, records=policy.records)
        return replace(common, authorities=self._authorities(public=policy.kind in _BY_HOST))

    def _authorities(self, *, public: bool) -> Authorities:
        """public: those of the system, where main.cf names none. What cannot be read trusts nobody."""
        file = self._settings.text(f"{self._prefix}_tls_CAfile").strip()
        path = self._settings.text(f"{self._prefix}_tls_CApath").strip()
        try:
            return Authorities.of(file, path, defaults=self._append_default or (public and not file and not path))
        except ConfigError as error:
            self._warn(error.public)
            return Authorities()

    def _fingerprints(self, policy: Policy, endpoint: Endpoint) -> tuple[bytes, ...]:
        size, good = len(digest(self._algorithm, b"")), []
        for text in policy.match:
            octets = parse_fingerprint(text)
            if octets is None:
                self._warn(f"malformed fingerprint value: {text[:384]}")
            elif len(octets) == size:
                good.append(octets)
            else:                           # in the words of Postfix, which makes TLSA records of them
                for selector in (KEY, CERTIFICATE):
                    self._warn(f"{endpoint.name_port}: unusable TLSA RR: 3 {selector} 255 {octets.hex().upper()}")
        if not good:
            self._warn(f"{endpoint.name_port}: all fingerprints unusable")
        return tuple(good)

    def judge(self, policy: Policy, endpoint: Endpoint, nexthop_host: str, link: ClientConnection) -> Verdict:
        """What the handshake brought; logged. Raises Trouble when the policy asks for more; ConfigError."""
        peer = endpoint.name_port
        verdict = judge(link.chain, self.wanted(policy, endpoint, nexthop_host))
        if policy.level == "half-dane" and verdict.trust is Trust.VERIFIED:
            verdict = replace(verdict, trust=Trust.TRUSTED)         # the name of the host may be forged
        if self.log_level:
            self._tell(policy, peer, verdict, link)
        if policy.authenticated and verdict.trust is not Trust.VERIFIED and not (
                policy.level == "half-dane" and verdict.trust is Trust.TRUSTED):
            raise CertificateTrouble(verdict.failure)
        return verdict

    def rehearse(self, policy: Policy, endpoint: Endpoint, link: ClientConnection) -> Failure | None:
        """Why a server would be refused if its MTA-STS policy, which is being tested, were enforced."""
        if not any(fits(endpoint.host, pattern) for pattern in policy.patterns):
            return Failure(WRONG_NAME, "MX host is not in the policy")
        return judge(link.chain, self.wanted(replace(policy, match=("hostname",)), endpoint, "")).failure

    def _tell(self, policy: Policy, peer: str, verdict: Verdict, link: ClientConnection) -> None:
        if verdict.failure is not None and (policy.authenticated or (policy.match and policy.base)):
            self._log.info("%s", verdict.failure.words(peer, self._depth))
        if self.log_level > 1 and link.chain:
            if verdict.record is not None:
                self._log.info("%s: Matched DANE %s: %s", peer,
                               "TA certificate" if verdict.record.usage == DANE_TA else "EE certificate",
                               verdict.record)
            elif verdict.name:
                self._log.info("%s: matched peername: %s", peer, verdict.name)
            self._log.info("%s: %s", peer, describe(link.chain, self._algorithm))
        self._log.info("%s TLS connection established to %s: %s", verdict.trust.value, peer, link.tls_words)


class NoStartTls(Trouble):
    """TLS is a must, the server has none."""

    def __init__(self, host: str) -> None:
        super().__init__(f"TLS is required, but was not offered by host {host}", status="4.7.4")


class CertificateTrouble(Trouble):
    """TLS stands, but the server is not the one that was meant. failure: why, as OpenSSL names it."""

    def __init__(self, failure: Failure | None) -> None:
        super().__init__("Server certificate not verified", status="4.7.5", tls=True)
        self.failure = failure


def _keys(endpoint: Endpoint, nexthop: str) -> list[str]:
    """What a policy table is asked for."""
    if endpoint.path:
        return [nexthop.removeprefix("unix:")]
    nexthop = nexthop.removeprefix("inet:")
    keys = [nexthop]
    if is_hostname(nexthop):                # "[host]", "host:port": never the domain of an address, so without parents
        dot = nexthop.find(".")
        while dot >= 0:
            keys.append(nexthop[dot:])
            dot = nexthop.find(".", dot + 1)
    return keys


def _expanded(rule: str, endpoint: Endpoint, nexthop_host: str) -> str:
    """A rule as a name. "hostname" comes from unsigned DNS: it is for level verify only."""
    rules = {"hostname": endpoint.host, "nexthop": nexthop_host, "dot-nexthop": f".{nexthop_host}"}
    return rules.get(rule.lower(), rule)
