"""One TLS policy for one server: a level and what belongs to it, from main.cf or from a policy table's line.

    policy = parse_policy(defaults, "secure match=nexthop:.example.org ciphers=high", "smtp_tls_policy_maps, ...", warn)

Levels, weaker first: none may encrypt fingerprint dane dane-only verify secure. A line that cannot be understood raises
PolicyError: the mail waits, nothing goes out unprotected. Source: postconf(5), smtp_tls_policy_maps.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from mailsuite.base.errors import ConfigError
from mailsuite.config.settings import Settings
from mailsuite.smtp.client_sts import Found
from mailsuite.tls.dane import Tlsa

LEVELS = ("none", "may", "encrypt", "fingerprint", "half-dane", "dane", "dane-only", "verify", "secure")
NAMED_LEVELS = frozenset(LEVELS) - {"half-dane"}        # that one is what becomes of dane behind an unsigned MX
_STRICT = frozenset({"fingerprint", "half-dane", "dane", "dane-only", "verify", "secure"})
_REPORT_ATTRIBUTES = ("policy_string", "policy_ttl", "policy_failure")     # Postfix 3.10: for reports


class PolicyError(ConfigError):
    """There is no usable policy; what is wrong has been logged."""

    default_status = "4.7.5"

    def __init__(self, public: str = "client TLS configuration problem") -> None:
        super().__init__(public)


@dataclass(frozen=True, slots=True)
class Policy:
    """match: names or rules (hostname, nexthop, dot-nexthop); at level fingerprint digests.

    protocols, ciphers, exclude: None for what main.cf says. records, base: of DANE, the TLSA records and the name that
    they stand below; or records of trust anchor files. kind, domain, patterns: "sts" for a policy by MTA-STS, whose it
    is, and which MX hosts it allows ("tlsa": by DANE, "required": by REQUIRETLS); testing: a failure is only reported;
    sts: what was found of the domain. listed: from a policy table.
    """

    level: str
    match: tuple[str, ...] = ()
    protocols: str | None = None
    ciphers: str | None = None
    exclude: str | None = None
    tafiles: tuple[str, ...] = ()
    servername: str = ""
    records: tuple[Tlsa, ...] = ()
    base: str = ""
    kind: str = ""
    domain: str = ""
    patterns: tuple[str, ...] = ()
    testing: bool = False
    listed: bool = False
    sts: Found | None = None

    @property
    def mandatory(self) -> bool:
        """TLS or nothing."""
        return self.level not in ("none", "may")

    @property
    def authenticated(self) -> bool:
        """Nothing goes to a server whose certificate does not match."""
        return self.level in _STRICT

    @property
    def dane(self) -> bool:
        return self.level in ("half-dane", "dane", "dane-only")


def parse_policy(default: Policy, text: str, where: str, warn: Callable[[str], None]) -> Policy:
    """A table's line. default: what main.cf says besides the level. where: for warnings. Raises PolicyError."""
    words = text.replace(",", " ").split()
    level = words[0].lower() if words else ""
    if level not in NAMED_LEVELS:
        warn(f'{where}: invalid security level "{words[0] if words else ""}"')
        raise PolicyError
    policy = replace(default, level=level)
    seen: set[str] = set()
    for word in words[1:]:
        if level == "none":
            warn(f'{where}: ignoring attribute "{word}" with TLS disabled')
            break
        try:
            policy = _attribute(policy, word, seen)
        except ConfigError as error:
            warn(f"{where}: {error.public}")
            raise PolicyError from error
    return policy


def _attribute(policy: Policy, word: str, seen: set[str]) -> Policy:
    """Raises ConfigError."""
    name, equals, value = word.partition("=")
    name = name.lower()
    if not equals:
        raise ConfigError(f"malformed attribute/value pair \"{word}\": missing '=' after attribute name")
    single = name in ("ciphers", "protocols", "servername", "policy_type", "policy_domain")
    if single and name in seen:
        raise ConfigError(f'attribute "{name}" is specified multiple times')
    again = name in seen
    seen.add(name)
    if not value and name in ("ciphers", "protocols", "servername", "match", "tafile", "exclude"):
        raise ConfigError(f'attribute "{name}" has empty value')
    if (name == "match" and policy.level not in ("fingerprint", "verify", "secure")) or (
            name == "tafile" and policy.level not in ("verify", "secure")):
        raise ConfigError(f'attribute "{name}" invalid at security level "{policy.level}"')
    match name:
        case "ciphers":
            return replace(policy, ciphers=value)
        case "protocols":
            return replace(policy, protocols=value)
        case "servername":
            return replace(policy, servername=value)
        case "match":
            values = tuple(value.split("|" if policy.level == "fingerprint" else ":"))
            return replace(policy, match=(policy.match if again else ()) + values)
        case "exclude":
            return replace(policy, exclude=f"{(policy.exclude or '') if again else ''} {value}")
        case "tafile":
            return replace(policy, tafiles=(policy.tafiles if again else ()) + (value,))
        case "connection_reuse" | "enable_rpk":
            # Connections are kept anyway; raw public keys are out of Python's reach. Neither changes a mail's way.
            if value.lower() not in ("yes", "no"):
                raise ConfigError(f'attribute "{name}" has bad value: "{value}"')
            return policy
        case "policy_type":
            return replace(policy, kind="sts" if value.lower() == "sts" else value.lower())
        case "policy_domain":
            return replace(policy, domain=value.lower())
        case "mx_host_pattern":
            return replace(policy, patterns=(policy.patterns if again else ()) + (value.lower(),))
    if name in _REPORT_ATTRIBUTES:
        return policy
    raise ConfigError(f'invalid attribute name: "{word.partition("=")[0]}"')


def default_policy(settings: Settings, prefix: str) -> Policy:
    """What main.cf says, its level included."""
    return Policy(_default_level(settings, prefix), servername=settings.text(f"{prefix}_tls_servername").strip(),
                  tafiles=tuple(settings.text(f"{prefix}_tls_trust_anchor_file").replace(",", " ").split()))


def _default_level(settings: Settings, prefix: str) -> str:
    level = settings.text(f"{prefix}_tls_security_level").strip().lower()
    if level:
        return level
    # Before there were levels.
    if settings.text(f"{prefix}_enforce_tls") == "yes":
        return "verify" if settings.text(f"{prefix}_tls_enforce_peername") != "no" else "encrypt"
    return "may" if settings.text(f"{prefix}_use_tls") == "yes" else "none"


_SITES = {"none": "none", "may": "may", "must_nopeermatch": "encrypt", "must": "verify"}


def site_level(found: str, value: str) -> str:
    """The level after one more line of smtp_tls_per_site ("": none yet). Raises ConfigError for an unknown word."""
    level = _SITES.get(value.strip().lower())
    if level is None:
        raise ConfigError(f"unknown TLS policy '{value}'")
    if not found or (level == "none" and found == "may"):
        return level
    if level in ("none", "may"):
        return found
    return level if LEVELS.index(level) > LEVELS.index(found) else found
