"""DMARC records: _dmarc.example.com TXT "v=DMARC1; p=reject; rua=mailto:..." to values. Source: RFC 7489 section 6.3.

    parse_record(b"v=DMARC1; p=none") -> DmarcRecord | None        None: no record that counts
    await find_record(resolver, "example.com") -> DmarcRecord | None        raises DnsError
"""

from dataclasses import dataclass

from mailsuite.auth_results.dkim_key import TxtDns

RECORD_LIMIT = 8192
URIS_LIMIT = 10
POLICIES = ("none", "quarantine", "reject")


@dataclass(frozen=True, slots=True)
class DmarcRecord:
    """subdomains, missing: policy for names below the domain, and for those not in DNS ("" where not said).

    percent: of failing mail that the policy is for. testing: t=y of DMARCbis. psd: "y", "n" or "u", of DMARCbis.
    aggregate, failures: addresses for reports (rua=, ruf=).
    """

    policy: str
    subdomains: str = ""
    missing: str = ""
    strict_dkim: bool = False
    strict_spf: bool = False
    percent: int = 100
    testing: bool = False
    psd: str = "u"
    aggregate: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()


async def find_record(resolver: TxtDns, domain: str) -> DmarcRecord | None:
    """The record of exactly this domain. Several are none (RFC 7489 section 6.6.3). Raises DnsError."""
    answer = await resolver.txt(f"_dmarc.{domain}")
    found = [record for record in answer.records if _is_dmarc(record)]
    return parse_record(found[0]) if len(found) == 1 else None


def _is_dmarc(text: bytes) -> bool:
    name, equals, value = text.partition(b";")[0].partition(b"=")
    return bool(equals) and name.strip() == b"v" and value.strip() == b"DMARC1"


def parse_record(octets: bytes) -> DmarcRecord | None:
    """What is wrong in a tag makes that tag count as not said; without a policy a record with rua= means none."""
    if len(octets) > RECORD_LIMIT or not _is_dmarc(octets):
        return None
    tags: dict[str, str] = {}
    for part in octets.decode("ascii", "replace").split(";")[1:]:
        name, equals, value = part.partition("=")
        if equals:
            tags.setdefault(name.strip().lower(), value.strip())
    aggregate, failures = _uris(tags.get("rua", "")), _uris(tags.get("ruf", ""))
    policy, subdomains = tags.get("p", "").lower(), tags.get("sp", "").lower()
    if policy not in POLICIES or (subdomains and subdomains not in POLICIES):
        if not aggregate:
            return None
        policy, subdomains = "none", ""
    missing = tags.get("np", "").lower()
    percent = tags.get("pct", "100")
    psd = tags.get("psd", "u").lower()
    return DmarcRecord(
        policy, subdomains, missing if missing in POLICIES else "", tags.get("adkim", "r").lower() == "s",
        tags.get("aspf", "r").lower() == "s", int(percent) if percent.isascii() and percent.isdigit()
        and len(percent) <= 3 and int(percent) <= 100 else 100,
        tags.get("t", "n").lower() == "y", psd if psd in ("y", "n") else "u", aggregate, failures)


def _uris(text: str) -> tuple[str, ...]:
    """"mailto:a@b.test!10m, ..." without the size limits."""
    found = [uri.strip().partition("!")[0] for uri in text.split(",", URIS_LIMIT)[:URIS_LIMIT]]
    return tuple(uri for uri in found if uri.isascii() and uri.isprintable() and ":" in uri and " " not in uri)
