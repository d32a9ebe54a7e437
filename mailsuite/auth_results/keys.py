"""Private keys in files: made, read, and what to publish of them in DNS.

    key = read_key(path, "example.com", "mail")     raises KeyUnusable
    key.sign(digest)                                the signature over a SHA-256 digest
    dns_record(key) -> "v=DKIM1; k=rsa; p=MIIB..."
    new_key("ed25519") -> PEM octets

A file holds a PEM key (PKCS #8 or PKCS #1), or the 32 octets of an Ed25519 key in base64, as dkimpy writes it.
"""

import base64
import binascii
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from mailsuite.base.errors import ConfigError

FILE_LIMIT = 64 * 1024
BITS_LEAST = 1024               # RFC 8301 section 3.2
_PREHASHED = Prehashed(SHA256())


class KeyUnusable(ConfigError):
    """A key file that cannot be read or is none. public names the file, never its content."""


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A key with the name it is published under. Its repr shows no secret."""

    domain: str
    selector: str
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

    @property
    def algorithm(self) -> str:
        """a= of its signatures."""
        return "rsa-sha256" if isinstance(self.key, rsa.RSAPrivateKey) else "ed25519-sha256"

    @property
    def bits(self) -> int:
        return self.key.key_size if isinstance(self.key, rsa.RSAPrivateKey) else 256

    @property
    def slow(self) -> bool:
        """Whether signing takes more than a millisecond."""
        return self.bits > 2048

    def sign(self, digest: bytes) -> bytes:
        """Sign a SHA-256 digest: RFC 6376 section 3.3.1, RFC 8463 section 3."""
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(digest, padding.PKCS1v15(), _PREHASHED)
        return self.key.sign(digest)


def read_key(path: str, domain: str, selector: str) -> PrivateKey:
    """Read a key file. Raises KeyUnusable."""
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(FILE_LIMIT)
    except OSError as error:
        raise KeyUnusable(f"cannot read the key {path}: {error.strerror}") from error
    if mode & 0o007:
        raise KeyUnusable(f"the key {path} can be read by everybody; chmod 600 {path}")
    return parse_private_key(content, domain, selector, path)


def parse_private_key(content: bytes, domain: str, selector: str, path: str = "key") -> PrivateKey:
    """Raises KeyUnusable. path: for its text."""
    try:
        key = load_pem_private_key(content, None) if b"-----BEGIN" in content else _bare_ed25519(content)
    except (ValueError, TypeError, UnsupportedAlgorithm, binascii.Error):
        raise KeyUnusable(f"{path} holds no private key without a pass phrase") from None
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= BITS_LEAST:
        return PrivateKey(domain.lower(), selector.lower(), key)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return PrivateKey(domain.lower(), selector.lower(), key)
    raise KeyUnusable(f"{path} holds no RSA key of {BITS_LEAST} bits or more, and no Ed25519 key")


def _bare_ed25519(content: bytes) -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.from_private_bytes(base64.b64decode(content.strip(), validate=True))


def new_key(kind: str, bits: int = 2048) -> bytes:
    """A new key, PEM. kind: "rsa" or "ed25519"; bits: of RSA."""
    key = rsa.generate_private_key(65537, bits) if kind == "rsa" else ed25519.Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def dns_record(key: PrivateKey) -> str:
    """The TXT record's text: RFC 6376 section 3.6.1; RFC 8463 section 4 for Ed25519."""
    public = key.key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        octets = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return f"v=DKIM1; k=rsa; p={base64.b64encode(octets).decode()}"
    octets = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return f"v=DKIM1; k=ed25519; p={base64.b64encode(octets).decode()}"


def zone_line(name: str, text: str) -> str:
    """A record as zone files have it: strings of at most 255 octets in parentheses."""
    parts = [text[at:at + 250] for at in range(0, len(text), 250)]
    strings = "\n".join(f'\t"{part}"' for part in parts)
    return f"{name}. IN TXT (\n{strings} )" if len(parts) > 1 else f'{name}. IN TXT "{text}"'


def write_key(path: Path, content: bytes) -> None:
    """Write a new key file that only its owner may read; never over another. Raises FileExistsError, OSError."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(fd)
