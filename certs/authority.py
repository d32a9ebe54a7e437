"""A private certificate authority and ECDSA P-256 server certificates.

    ensure_certificates(folder, ["mx.example.test", "127.0.0.1"], now) -> Certificates

Keys are written with mode 0600 before their content is there. Raises ConfigError with one clear sentence when the
folder is not writable, a certificate is damaged or belongs to another key, or the clock is outside of its dates.
"""

import datetime
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mailsuite.base.errors import ConfigError

AUTHORITY_DAYS = 3650
SERVER_DAYS = 825           # the most that Apple's clients accept
RENEW_BEFORE_DAYS = 30
BACKDATE = datetime.timedelta(hours=1)       # clients' clocks are late now and then


@dataclass(frozen=True)
class Certificates:
    """Where the files are. chain: the server's certificate and then the authority's."""

    authority: Path
    chain: Path
    key: Path


def ensure_certificates(folder: Path, hosts: list[str], now: datetime.datetime) -> Certificates:
    """Make what is missing or about to expire; keep what is good. Raises ConfigError."""
    found = Certificates(folder / "ca.crt", folder / "server.crt", folder / "server.key")
    authority_key = folder / "ca.key"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not found.authority.exists() or not authority_key.exists():
            _make_authority(found.authority, authority_key, now)
            found.chain.unlink(missing_ok=True)
        if not found.chain.exists() or not found.key.exists() or _spent(found.chain, now):
            _make_server(found, authority_key, hosts, now)
    except OSError as error:
        raise ConfigError(f"cannot write the certificates in {folder}: {error.strerror}") from error
    check_certificate(found.chain, found.key, now)
    return found


def check_certificate(chain: Path, key: Path, now: datetime.datetime) -> None:
    """Raises ConfigError when it can't be read, is not valid now, or does not belong to the key."""
    try:
        certificate = x509.load_pem_x509_certificate(chain.read_bytes())
        private = serialization.load_pem_private_key(key.read_bytes(), None)
    except (OSError, ValueError) as error:
        raise ConfigError(f"the certificate {chain} or its key is damaged ({error}): remove both to have new ones "
                          "made") from error
    if now < certificate.not_valid_before_utc:
        raise ConfigError(f"the clock says {now:%Y-%m-%d}, before the certificate {chain} begins "
                          f"({certificate.not_valid_before_utc:%Y-%m-%d}): set the clock")
    if now > certificate.not_valid_after_utc:
        raise ConfigError(f"the certificate {chain} ended on {certificate.not_valid_after_utc:%Y-%m-%d}")
    if certificate.public_key() != private.public_key():
        raise ConfigError(f"the certificate {chain} does not belong to the key {key}: remove both to have new ones "
                          "made")


def _spent(chain: Path, now: datetime.datetime) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(chain.read_bytes())
    except ValueError:
        return False        # damaged: check_certificate says so, nobody's file is overwritten
    return certificate.not_valid_after_utc - now < datetime.timedelta(days=RENEW_BEFORE_DAYS)


def _write(path: Path, content: bytes, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    with open(fd, "wb") as file:
        file.write(content)


def _pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime.datetime,
             days: int) -> x509.CertificateBuilder:
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
            .serial_number(x509.random_serial_number()).not_valid_before(now - BACKDATE)
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False))


def _make_authority(certificate: Path, key_file: Path, now: datetime.datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("mailsuite private authority")
    made = (_builder(name, name, key.public_key(), now, AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.KeyUsage(digital_signature=True, content_commitment=False, key_encipherment=False,
                                         data_encipherment=False, key_agreement=False, key_cert_sign=True,
                                         crl_sign=True, encipher_only=False, decipher_only=False), critical=True)
            .sign(key, hashes.SHA256()))
    _write(key_file, _pem_key(key), 0o600)
    _write(certificate, made.public_bytes(serialization.Encoding.PEM), 0o644)


def _make_server(target: Certificates, authority_key: Path, hosts: list[str], now: datetime.datetime) -> None:
    authority = x509.load_pem_x509_certificate(target.authority.read_bytes())
    signer = serialization.load_pem_private_key(authority_key.read_bytes(), None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{authority_key} is not an elliptic curve key")
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    made = (_builder(_name(hosts[0]), authority.subject, key.public_key(), now, SERVER_DAYS)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
            .sign(signer, hashes.SHA256()))
    pem = serialization.Encoding.PEM
    _write(target.key, _pem_key(key), 0o600)
    _write(target.chain, made.public_bytes(pem) + authority.public_bytes(pem), 0o644)
