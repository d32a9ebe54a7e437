"""TLSA records: which of them count, and whether a server's certificates match.

    usable = usable_records(records, digests)                Records(usable=, unusable=)
    match = match_records(chain, usable) -> "3 1 1 ..." or None

Usage DANE-EE(3): the server's own certificate or key, whatever its name and dates say. DANE-TA(2): an authority of its
chain, or one whose certificate or key the record holds; then name and dates count. PKIX-TA(0) and PKIX-EE(1) are
not for SMTP (RFC 7672 section 3.1.3). Of several digests of one usage and selector only the best of
`tls_dane_digests` counts (RFC 7671 section 9). Source: RFC 6698, RFC 7671, RFC 7672.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mailsuite.base.errors import ConfigError

DANE_TA, DANE_EE = 2, 3
CERTIFICATE, KEY = 0, 1
FULL = 0
RECORDS_LIMIT = 100
_KNOWN = {"sha256": 1, "sha512": 2}
_SIZES = {1: 32, 2: 64}


@dataclass(frozen=True, slots=True, order=True)
class Tlsa:
    """One record; association: a digest, or with matching type 0 the whole certificate or key (DER)."""

    usage: int
    selector: int
    matching: int
    association: bytes

    def __str__(self) -> str:
        return f"{self.usage} {self.selector} {self.matching} {self.association.hex().upper()}"


@dataclass(frozen=True, slots=True)
class Records:
    """unsupported: of usages that SMTP has not. unusable: of other selectors, digests or sizes."""

    usable: tuple[Tlsa, ...]
    unusable: tuple[Tlsa, ...] = ()
    unsupported: tuple[Tlsa, ...] = ()


def parse_digests(text: str) -> tuple[int, ...]:
    """tls_dane_digests: matching types, the best first. Raises ConfigError."""
    found = []
    for word in text.replace(",", " ").split():
        name, _, number = word.partition("=")
        known = _KNOWN.get(name.lower())
        if known is None:
            raise ConfigError(f'Unknown digest algorithm in tls_dane_digests: "{name}"')
        if number and number != str(known):
            raise ConfigError(f"tls_dane_digests: matching type {known} can only be {name}")
        if known in found:
            raise ConfigError(f"tls_dane_digests: matching type {known} specified more than once")
        found.append(known)
    return tuple(found)


def usable_records(records: Iterable[Tlsa], digests: Sequence[int]) -> Records:
    """What counts. digests: parse_digests'."""
    usable, unusable, unsupported = [], [], []
    for record in sorted(set(records))[:RECORDS_LIMIT]:
        if record.usage not in (DANE_TA, DANE_EE):
            unsupported.append(record)
        elif record.selector not in (CERTIFICATE, KEY) or not _fits(record, digests):
            unusable.append(record)
        else:
            usable.append(record)
    best: dict[tuple[int, int], int] = {}
    for record in usable:
        if record.matching != FULL:
            place = record.usage, record.selector
            best[place] = min(best.get(place, 99), digests.index(record.matching))
    kept = tuple(record for record in usable if record.matching == FULL
                 or digests.index(record.matching) == best[record.usage, record.selector])
    return Records(kept, tuple(unusable), tuple(unsupported))


def _fits(record: Tlsa, digests: Sequence[int]) -> bool:
    if record.matching == FULL:
        return _parsed(record) is not None
    return record.matching in digests and len(record.association) == _SIZES[record.matching]


def _parsed(record: Tlsa) -> object | None:
    """The certificate or key of a record that holds it whole."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        if record.selector == CERTIFICATE:
            return x509.load_der_x509_certificate(record.association)
        return load_der_public_key(record.association)
    except Exception:       # cryptography has many ways to refuse what a stranger's zone holds
        return None


def key_octets(certificate: bytes) -> bytes:
    """A certificate's SubjectPublicKeyInfo, DER. Raises ValueError."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = x509.load_der_x509_certificate(certificate).public_key()
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def matches(record: Tlsa, certificate: bytes) -> bool:
    """Whether a record is about this certificate (DER)."""
    try:
        octets = certificate if record.selector == CERTIFICATE else key_octets(certificate)
    except Exception:       # of an algorithm that cryptography does not know
        return False
    if record.matching == FULL:
        return octets == record.association
    return {1: hashlib.sha256, 2: hashlib.sha512}[record.matching](octets).digest() == record.association


@dataclass(frozen=True, slots=True)
class Anchor:
    """What a chain must lead to: a certificate, sent by the server or out of a record."""

    record: Tlsa
    certificate: bytes
    sent: bool


def own_match(chain: Sequence[bytes], records: Iterable[Tlsa]) -> Tlsa | None:
    """The DANE-EE record that the server's own certificate matches."""
    return next((record for record in records if record.usage == DANE_EE and chain and matches(record, chain[0])), None)


def anchors(chain: Sequence[bytes], records: Iterable[Tlsa]) -> list[Anchor]:
    """Where a chain may end by DANE-TA records."""
    found: list[Anchor] = []
    for record in records:
        if record.usage != DANE_TA:
            continue
        sent = [one for one in chain[1:] if matches(record, one)]
        found += [Anchor(record, one, True) for one in sent]
        if sent or record.matching != FULL:
            continue
        if record.selector == CERTIFICATE:
            found.append(Anchor(record, record.association, False))
        else:
            # The authority's key alone: the certificate that it signed ends the chain.
            found += [Anchor(record, one, True) for one in chain if is_signed_by(one, record.association)]
    return found


def is_signed_by(certificate: bytes, key: bytes) -> bool:
    """Whether a public key (SubjectPublicKeyInfo, DER) verifies a certificate's signature."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        public, signed = load_der_public_key(key), x509.load_der_x509_certificate(certificate)
        signature, octets = signed.signature, signed.tbs_certificate_bytes
        parameters = signed.signature_algorithm_parameters
        algorithm = signed.signature_hash_algorithm
        if isinstance(public, ec.EllipticCurvePublicKey) and isinstance(parameters, ec.ECDSA):
            public.verify(signature, octets, parameters)
        elif isinstance(public, rsa.RSAPublicKey) and algorithm is not None:
            public.verify(signature, octets, parameters, algorithm)     # type: ignore[arg-type]
        elif isinstance(public, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            public.verify(signature, octets)
        else:
            return False
    except Exception:       # InvalidSignature, unsupported algorithms, damaged keys: all mean no
        return False
    return True
