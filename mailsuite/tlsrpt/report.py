"""The report of a day for a domain. Source: RFC 8460 sections 4.2 to 4.4.

    make_report(rows, "2026-11-20", "example.org", organization="our.test", contact="postmaster@our.test") -> dict
"""

from collections.abc import Iterable
from typing import Any

from mailsuite.tlsrpt.outcome import Outcome


def make_report(rows: Iterable[tuple[Outcome, int]], day: str, domain: str, *, organization: str,
                contact: str) -> dict[str, Any]:
    """rows: of the day; those of other domains are left out."""
    policies: dict[tuple[object, ...], dict[str, Any]] = {}
    for outcome, count in rows:
        if outcome.domain != domain:
            continue
        key = outcome.kind, outcome.policy, outcome.patterns
        entry = policies.setdefault(key, _policy(outcome))
        summary = entry["summary"]
        if not outcome.result:
            summary["total-successful-session-count"] += count
            continue
        summary["total-failure-session-count"] += count
        entry.setdefault("failure-details", []).append(_failure(outcome, count))
    return {
        "organization-name": organization,
        "date-range": {"start-datetime": f"{day}T00:00:00Z", "end-datetime": f"{day}T23:59:59Z"},
        "contact-info": contact,
        "report-id": f"{day}T00:00:00Z_{domain}",
        "policies": list(policies.values()),
    }


def _policy(outcome: Outcome) -> dict[str, Any]:
    policy: dict[str, Any] = {"policy-type": outcome.kind}
    if outcome.policy:
        policy["policy-string"] = list(outcome.policy)
    policy["policy-domain"] = outcome.domain
    if outcome.patterns:
        policy["mx-host"] = list(outcome.patterns)
    return {"policy": policy,
            "summary": {"total-successful-session-count": 0, "total-failure-session-count": 0}}


def _failure(outcome: Outcome, count: int) -> dict[str, Any]:
    details = {"result-type": outcome.result, "sending-mta-ip": outcome.sender,
               "receiving-mx-hostname": outcome.host, "receiving-ip": outcome.receiver,
               "failed-session-count": count, "failure-reason-code": outcome.reason}
    return {name: value for name, value in details.items() if value}
