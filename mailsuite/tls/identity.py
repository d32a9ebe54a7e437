"""A certificate chain with its private key.

    read_identity("/etc/ssl/mx.crt", "/etc/ssl/mx.key") -> Identity       install(context, identity)

The files are read while root may still read them; the octets are kept, so that more contexts (SNI) can be made after
rights were dropped. An argument that holds PEM text instead of a path (Dovecot's "ssl_cert = <file") is taken as it is.
Raises: ConfigError that names the file and what is wrong with it.
"""

import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from mailsuite.base.errors import ConfigError
from mailsuite.base.secret import Secret

_MARK = "-----BEGIN "
FILE_LIMIT = 4 * 1024 * 1024


@dataclass(frozen=True)
class Identity:
    """chain: PEM, own certificate first. source: for messages, e.g. the certificate's path."""

    chain: bytes
    key: Secret
    source: str = ""
    key_source: str = ""


def _octets(path_or_pem: str, what: str) -> bytes:
    if _MARK in path_or_pem:
        return path_or_pem.encode("utf-8", "surrogateescape")
    try:
        with open(path_or_pem, "rb") as file:
            content = file.read(FILE_LIMIT + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {what} file {path_or_pem}: {error.strerror}") from error
    if len(content) > FILE_LIMIT:
        raise ConfigError(f"{what} file {path_or_pem} is too large")
    return content


def _name(path_or_pem: str) -> str:
    return "(configuration)" if _MARK in path_or_pem else path_or_pem


def read_identity(certificate: str, key: str = "", password: str = "") -> Identity:
    """Read a certificate chain and its key (from the same file when key is empty); checks that they fit.

    password: of an encrypted key. Raises ConfigError.
    """
    key = key or certificate
    chain = _octets(certificate, "certificate")
    if b"-----BEGIN CERTIFICATE-----" not in chain and b"-----BEGIN TRUSTED CERTIFICATE-----" not in chain:
        raise ConfigError(f"certificate file {_name(certificate)} holds no certificate in PEM format")
    secret = _octets(key, "private key")
    if b"PRIVATE KEY-----" not in secret:
        raise ConfigError(f"private key file {_name(key)} holds no private key in PEM format")
    if password and b"ENCRYPTED" in secret:
        secret = _decrypted(secret, password, _name(key))
    identity = Identity(chain, Secret(secret), _name(certificate), _name(key))
    install(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), identity)
    return identity


def _decrypted(secret: bytes, password: str, source: str) -> bytes:
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )

    begin = min(at for mark in (b"-----BEGIN ENCRYPTED PRIVATE", b"-----BEGIN RSA PRIVATE", b"-----BEGIN EC PRIVATE",
                                b"-----BEGIN PRIVATE") if (at := secret.find(mark)) >= 0)
    try:
        key = load_pem_private_key(secret[begin:], password.encode("utf-8", "surrogateescape"))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"private key file {source}: the password does not fit") from error
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def split_chain_file(path: str) -> list[Identity]:
    """The identities of a file as smtpd_tls_chain_files names it: a key, its certificates, another key...

    Raises ConfigError.
    """
    text = _octets(path, "chain")
    if b"PRIVATE KEY-----" not in text:
        raise ConfigError(f"chain file {path} holds no private key in PEM format")
    identities: list[Identity] = []
    for block in _blocks_by_key(text):
        if b"-----BEGIN CERTIFICATE-----" not in block:
            raise ConfigError(f"chain file {path}: a private key without a certificate behind it")
        identity = Identity(block, Secret(block), path, path)
        install(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), identity)
        identities.append(identity)
    return identities


def named_chains(text: bytes, source: str) -> list[Identity]:
    """The identities of PEM text as tls_server_sni_maps has it; each algorithm may occur once.

    Raises ConfigError in Postfix's words.
    """
    kinds = [line.rstrip() for line in text.splitlines() if line.startswith(_MARK.encode())]
    if not kinds:
        raise ConfigError(f"No PEM data in {source}")
    if not kinds[0].endswith(b"PRIVATE KEY-----"):
        raise ConfigError(f"error loading chain from {source}: key not first")
    identities: list[Identity] = []
    algorithms: set[type] = set()
    at = 1
    for block in _blocks_by_key(text):
        if b"-----BEGIN CERTIFICATE-----" not in block:
            raise ConfigError(f"error loading certificate chain: key at index {at} in {source} not followed by a "
                              "certificate")
        identity = Identity(block, Secret(block), source, source)
        install(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), identity)
        algorithm = _algorithm(block, source)
        if algorithm in algorithms:
            raise ConfigError(f"key at index {at} in {source} has the algorithm of one before it")
        algorithms.add(algorithm)
        identities.append(identity)
        at += block.count(_MARK.encode())
    return identities


def _algorithm(block: bytes, source: str) -> type:
    """What kind of key a chain's own certificate has. Raises ConfigError."""
    from cryptography import x509

    try:
        return type(x509.load_pem_x509_certificate(block[block.index(b"-----BEGIN CERTIFICATE-----"):]).public_key())
    except ValueError as error:
        raise ConfigError(f"error loading certificate from {source}: {error}") from error


def _blocks_by_key(text: bytes) -> list[bytes]:
    blocks: list[list[bytes]] = []
    for line in text.splitlines(keepends=True):
        if line.startswith(b"-----BEGIN") and line.rstrip().endswith(b"PRIVATE KEY-----"):
            blocks.append([])
        if blocks:
            blocks[-1].append(line)
    return [b"".join(block) for block in blocks]


@contextlib.contextmanager
def _as_file(octets: bytes) -> Iterator[str]:
    """A name under which OpenSSL can read octets, gone afterwards; in memory where the system can do that."""
    try:
        fd = os.memfd_create("mailsuite-key", os.MFD_CLOEXEC)
        path = f"/proc/self/fd/{fd}"
        os.write(fd, octets)
        readable = os.access(path, os.R_OK)     # not after setuid, nor without /proc
    except (OSError, AttributeError):
        readable = False
    if readable:
        try:
            yield path
        finally:
            os.close(fd)
        return
    with tempfile.NamedTemporaryFile(prefix="mailsuite-key-") as file:     # mode 0600
        file.write(octets)
        file.flush()
        yield file.name


def _no_password() -> str:
    # OpenSSL would ask on the terminal otherwise.
    raise ConfigError("the private key is encrypted; a server needs it without a passphrase")


def install(context: ssl.SSLContext, identity: Identity) -> None:
    """Give a context its certificate and key. Raises ConfigError."""
    try:
        with _as_file(identity.chain) as chain, _as_file(identity.key.reveal()) as key:
            context.load_cert_chain(chain, key, _no_password)
    except ConfigError as error:
        raise ConfigError(f"private key file {identity.key_source}: {error.public}") from error
    except ssl.SSLError as error:
        raise ConfigError(_in_words(error, identity)) from error
    except OSError as error:
        raise ConfigError(f"cannot load certificate {identity.source}: {error.strerror}") from error


def _in_words(error: ssl.SSLError, identity: Identity) -> str:
    match error.reason:
        case "KEY_VALUES_MISMATCH" | "KEY_TYPE_MISMATCH":
            return f"private key {identity.key_source} does not belong to certificate {identity.source}"
        case "EE_KEY_TOO_SMALL" | "CA_KEY_TOO_SMALL" | "CA_MD_TOO_WEAK":
            return f"certificate {identity.source} is refused by OpenSSL as too weak ({error.reason})"
    return f"certificate {identity.source} or private key {identity.key_source} is damaged: {error.reason or error}"
