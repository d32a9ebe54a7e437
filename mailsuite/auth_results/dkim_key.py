"""Public keys of DKIM and ARC: the record in DNS, and what it allows. RFC 6376 section 3.6.1, RFC 8463 section 4.

    key = await find_key(resolver, "brisbane._domainkey.example.com")       raises DkimError
    key.verify(signature, digest)                                           raises DkimError: "fail"

Limits: keys of least to KEY_BITS_MOST bits (RFC 8301 section 3.2 asks for 1024 to 4096), public exponents of at most 64
bits (a long one costs as much as a signature of ours), RECORDS_LIMIT records of a name. Parsed keys are remembered.
"""

import base64
import binascii
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from mailsuite.auth_results.dkim_signature import DkimError
from mailsuite.auth_results.tags import parse_tags, unfolded
from mailsuite.dns.resolver import Answer, DnsError

KEY_BITS_LEAST, KEY_BITS_MOST = 1024, 8192
EXPONENT_BITS = 64
RECORDS_LIMIT = 10
RECORD_LIMIT = 8192
PREHASHED = Prehashed(SHA256())


class TxtDns(Protocol):
    """What of the Resolver is asked."""

    async def txt(self, name: str) -> Answer[bytes]: ...


@dataclass(frozen=True, slots=True)
class PublicKey:
    """kind: "rsa" or "ed25519". testing: t=y. strict: t=s, no subdomains in i=."""

    kind: str
    key: rsa.RSAPublicKey | ed25519.Ed25519PublicKey
    bits: int
    testing: bool = False
    strict: bool = False

    def verify(self, algorithm: str, signature: bytes, digest: bytes) -> None:
        """digest: SHA-256 of what was signed. Raises DkimError: "fail", or "permerror" for a key of another kind."""
        if not algorithm.startswith(self.kind):
            raise DkimError("key of another algorithm")
        try:
            if isinstance(self.key, rsa.RSAPublicKey):
                self.key.verify(signature, digest, padding.PKCS1v15(), PREHASHED)
            else:
                self.key.verify(signature, digest)      # RFC 8463 section 3: Ed25519 signs the hash
        except InvalidSignature:
            raise DkimError("signature does not match", "fail") from None


async def find_key(resolver: TxtDns, name: str, *, least_bits: int = KEY_BITS_LEAST) -> PublicKey:
    """Ask DNS for a key. Raises DkimError: "temperror" when DNS cannot be asked, else "permerror"."""
    try:
        answer = await resolver.txt(name)
    except DnsError as error:
        raise DkimError("key could not be looked up", "temperror") from error
    trouble = DkimError("no key")
    for record in answer.records[:RECORDS_LIMIT]:
        try:
            key = parse_key(record)
        except DkimError as error:
            trouble = error
            continue
        if key.kind == "rsa" and key.bits < least_bits:
            raise DkimError(f"key of {key.bits} bits is too short")
        return key
    raise trouble


@lru_cache(maxsize=512)
def parse_key(record: bytes) -> PublicKey:
    """Raises DkimError, "permerror"."""
    if len(record) > RECORD_LIMIT:
        raise DkimError("key record too long")
    try:
        tags = parse_tags(record)
    except ValueError as error:
        raise DkimError(f"bad key record: {error}") from None
    if "v" in tags and (tags["v"] != b"DKIM1" or next(iter(tags)) != "v"):
        raise DkimError("bad key record: v= is not DKIM1")
    if "h" in tags and b"sha256" not in unfolded(tags["h"]).lower().split(b":"):
        raise DkimError("key is not for SHA-256")
    if "s" in tags and not {b"*", b"email"} & set(unfolded(tags["s"]).lower().split(b":")):
        raise DkimError("key is not for mail")
    flags = unfolded(tags.get("t", b"")).lower().split(b":")
    kind = tags.get("k", b"rsa").lower().decode("ascii", "replace")
    if "p" not in tags:
        raise DkimError("bad key record: no p=")
    text = unfolded(tags["p"])
    if not text:
        raise DkimError("key was revoked")
    try:
        octets = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise DkimError("bad key record: p= is not base64") from None
    testing, strict = b"y" in flags, b"s" in flags
    if kind == "ed25519":
        return PublicKey(kind, _ed25519(octets), 256, testing, strict)
    if kind == "rsa":
        key = _rsa(octets)
        return PublicKey(kind, key, key.key_size, testing, strict)
    raise DkimError("unknown kind of key")


def _ed25519(octets: bytes) -> ed25519.Ed25519PublicKey:
    try:
        return ed25519.Ed25519PublicKey.from_public_bytes(octets)
    except ValueError:
        raise DkimError("bad Ed25519 key") from None


def _rsa(octets: bytes) -> rsa.RSAPublicKey:
    """SubjectPublicKeyInfo, or the RSAPublicKey that older records have (RFC 6376 section 3.6.1 and its errata)."""
    key: object
    try:
        key = load_der_public_key(octets)
    except (ValueError, UnsupportedAlgorithm):
        key = _bare_rsa(octets)
    if not isinstance(key, rsa.RSAPublicKey):
        raise DkimError("no RSA key")
    if key.key_size > KEY_BITS_MOST or key.public_numbers().e.bit_length() > EXPONENT_BITS:
        raise DkimError("RSA key too long")
    return key


def _bare_rsa(octets: bytes) -> object:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    pem = b"-----BEGIN RSA PUBLIC KEY-----\n" + base64.encodebytes(octets) + b"-----END RSA PUBLIC KEY-----\n"
    try:
        return load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise DkimError("bad RSA key") from None
