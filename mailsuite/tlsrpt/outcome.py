"""How TLS with one server ended, as far as a report tells of it. Source: RFC 8460 section 4.3."""

from dataclasses import dataclass

from mailsuite.tls.chain import EXPIRED, NO_TLSA_MATCH, WRONG_NAME, Failure

STS, TLSA, NO_POLICY = "sts", "tlsa", "no-policy-found"
NO_STARTTLS = "starttls-not-supported"
HOST_MISMATCH, CERT_EXPIRED, NOT_TRUSTED = "certificate-host-mismatch", "certificate-expired", "certificate-not-trusted"
VALIDATION = "validation-failure"
TLSA_INVALID, DNSSEC_INVALID, DANE_REQUIRED = "tlsa-invalid", "dnssec-invalid", "dane-required"


@dataclass(frozen=True, slots=True)
class Outcome:
    """domain: the policy's. policy: its lines, or TLSA records. result: "" for success, else a result type.

    sender, receiver: addresses of the two ends, "" where there was no connection.
    """

    domain: str
    kind: str = NO_POLICY
    policy: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    result: str = ""
    host: str = ""
    sender: str = ""
    receiver: str = ""
    reason: str = ""


def result_type(failure: Failure | None) -> str:
    """The result type for a certificate that was not good enough."""
    code = failure.code if failure is not None else 0
    return {WRONG_NAME: HOST_MISMATCH, EXPIRED: CERT_EXPIRED, NO_TLSA_MATCH: VALIDATION}.get(code, NOT_TRUSTED)
