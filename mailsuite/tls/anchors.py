"""Trust anchor files (smtp_tls_trust_anchor_file, tafile=): certificates and public keys, as DANE-TA records.

    trust_anchors("/etc/postfix/anchors.pem") -> (Tlsa(2, 0, 0, certificate), Tlsa(2, 1, 0, key))     raises ConfigError
"""

import os
from functools import lru_cache

from mailsuite.base.errors import ConfigError
from mailsuite.tls.dane import CERTIFICATE, DANE_TA, FULL, KEY, Tlsa

ANCHOR_FILE_LIMIT = 4 * 1024 * 1024


def trust_anchors(path: str) -> tuple[Tlsa, ...]:
    """Certificates and public keys of a file (smtp_tls_trust_anchor_file, tafile=). Raises ConfigError."""
    try:
        stamp = os.stat(path).st_mtime_ns
    except OSError as error:
        raise ConfigError(f"error opening trust anchor file: {path}: {error.strerror}") from error
    return _trust_anchors(path, stamp)


@lru_cache(maxsize=100)
def _trust_anchors(path: str, stamp: int) -> tuple[Tlsa, ...]:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    try:
        with open(path, "rb") as file:
            text = file.read(ANCHOR_FILE_LIMIT)
    except OSError as error:
        raise ConfigError(f"error opening trust anchor file: {path}: {error.strerror}") from error
    found: list[Tlsa] = []
    try:
        if b"-----BEGIN CERTIFICATE-----" in text:
            found += [Tlsa(DANE_TA, CERTIFICATE, FULL, one.public_bytes(Encoding.DER))
                      for one in x509.load_pem_x509_certificates(text)]
        for part in text.split(b"-----BEGIN PUBLIC KEY-----")[1:]:
            key = load_pem_public_key(b"-----BEGIN PUBLIC KEY-----" + part.partition(b"-----END PUBLIC KEY-----")[0]
                                      + b"-----END PUBLIC KEY-----\n")
            found.append(Tlsa(DANE_TA, KEY, FULL, key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)))
    except ValueError as error:
        raise ConfigError(f"error reading trust anchor file: {path}: {error}") from error
    if not found:
        raise ConfigError(f"error reading trust anchor file: {path}: no certificate and no public key")
    return tuple(found)
