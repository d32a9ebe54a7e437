"""Digests of certificates and public keys, as smtp_tls_fingerprint_digest names them.

    fingerprint("sha256", octets) -> "D4:6A:..."
    parse_fingerprint("d4:6a:19") -> b"\xd4\x6a\x19"            colons are optional; None for anything else
"""

import hashlib

from mailsuite.base.errors import ConfigError


def digest(algorithm: str, octets: bytes) -> bytes:
    """Raises ConfigError for an unknown algorithm."""
    try:
        return hashlib.new(algorithm.lower().replace("-", ""), octets, usedforsecurity=False).digest()
    except (ValueError, TypeError) as error:
        raise ConfigError(f'Unknown digest algorithm "{algorithm}"') from error


def fingerprint(algorithm: str, octets: bytes) -> str:
    """Upper case, pairs with colons. Raises ConfigError."""
    return digest(algorithm, octets).hex(":").upper()


def parse_fingerprint(text: str) -> bytes | None:
    """The octets that hexadecimal digits stand for."""
    plain = text.replace(":", "") if all(len(pair) == 2 for pair in text.split(":")) else text
    try:
        return bytes.fromhex(plain) or None
    except ValueError:
        return None
