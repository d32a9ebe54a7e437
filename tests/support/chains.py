"""Certificates for tests of outgoing TLS: an authority, one below it, and servers' certificates, right and wrong.

    world = make_world(folder)                  folder/NAME.pem: key and chain; world.authority: path of the root
    chain(folder / "good.pem")                  DER, own first
    tlsa(3, 1, 1, octets)                       a TLSA record's text
"""

import datetime
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Signer:
    certificate: x509.Certificate
    key: Key


@dataclass(frozen=True)
class World:
    folder: Path
    root: Signer
    middle: Signer

    @property
    def authority(self) -> Path:
        return self.folder / "root.crt"

    def leaf(self, name: str, common: str, *, names: Sequence[str] = (), by: Signer | None = None,
             more: Sequence[x509.Certificate] = (), days: tuple[int, int] = (-2, 30),
             for_clients: bool = False) -> Path:
        """A server's certificate in folder/NAME.pem. by: the issuer, the root by default."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = _make(common, key, by or self.root, names=names, days=days, for_clients=for_clients)
        return self._write(name, key, [made, *more])

    def self_signed(self, name: str, common: str) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        return self._write(name, key, [_make(common, key, None, names=[common])])

    def _write(self, name: str, key: Key, certificates: Sequence[x509.Certificate]) -> Path:
        path = self.folder / f"{name}.pem"
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
                         + b"".join(one.public_bytes(Encoding.PEM) for one in certificates))
        return path


def _make(common: str, key: Key, by: Signer | None, *, names: Sequence[str] = (), days: tuple[int, int] = (-2, 30),
          for_clients: bool = False, authority: bool = False) -> x509.Certificate:
    now, subject = datetime.datetime.now(datetime.UTC), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    builder = (x509.CertificateBuilder().subject_name(subject)
               .issuer_name(by.certificate.subject if by else subject).public_key(key.public_key())
               .serial_number(x509.random_serial_number())
               .not_valid_before(now + datetime.timedelta(days=days[0]))
               .not_valid_after(now + datetime.timedelta(days=days[1]))
               .add_extension(x509.BasicConstraints(authority, None), True))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
    if for_clients:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
    return builder.sign(by.key if by else key, hashes.SHA256())


def make_world(folder: Path) -> World:
    """What most tests want: good, chained, missing, self, expired, future, wrong, wild, common, client."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    root = Signer(_make("Test Root", keys[0], None, authority=True), keys[0])
    middle = Signer(_make("Test Middle", keys[1], root, authority=True), keys[1])
    world = World(folder, root, middle)
    world.authority.write_bytes(root.certificate.public_bytes(Encoding.PEM))
    mx = "mx.far.test"
    world.leaf("good", mx, names=[mx])
    world.leaf("chained", mx, names=[mx], by=middle, more=[middle.certificate])
    world.leaf("missing", mx, names=[mx], by=middle)
    world.self_signed("self", mx)
    world.leaf("expired", mx, names=[mx], days=(-30, -3))
    world.leaf("future", mx, names=[mx], days=(3, 30))
    world.leaf("wrong", "other.test", names=["other.test"])
    world.leaf("wild", "*.far.test", names=["*.far.test"])
    world.leaf("common", mx)
    world.leaf("client", mx, names=[mx], for_clients=True)
    return world


def chain(path: Path) -> tuple[bytes, ...]:
    return tuple(one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(path.read_bytes()))


def public_key(certificate: bytes) -> bytes:
    key = x509.load_der_x509_certificate(certificate).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def tlsa(usage: int, selector: int, matching: int, certificate: bytes) -> str:
    """As a zone file has it."""
    octets = certificate if selector == 0 else public_key(certificate)
    digest = {0: lambda data: data, 1: lambda data: hashlib.sha256(data).digest(),
              2: lambda data: hashlib.sha512(data).digest()}[matching](octets)
    return f"{usage} {selector} {matching} {digest.hex()}"
