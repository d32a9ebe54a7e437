"""Is a certificate chain good: asked of OpenSSL after the handshake, so that a session may go on with a bad one.

    authorities = Authorities.of(ca_file="/etc/ssl/certs/ca-certificates.crt")      cached; raises ConfigError
    failure = check_chain(chain, authorities, depth=9)                              None: trusted
    peer_chain(ssl_object) -> (leaf, issuer, ...)                                   DER, as the server sent them

The ssl module either ends a handshake with an untrusted certificate or tells nothing about it. Postfix's level "may"
goes on and logs "Untrusted", so our contexts verify nothing, and this module builds and checks the chain (pyOpenSSL).
The codes are OpenSSL's (X509_V_ERR_...), the words are those of Postfix's log.
"""

import os
import ssl
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mailsuite.base.errors import ConfigError

if TYPE_CHECKING:
    from cryptography import x509

SELF_SIGNED, SELF_SIGNED_ROOT, NO_ISSUER, NO_LOCAL_ISSUER = 18, 19, 2, 20
NOT_YET, EXPIRED, TOO_LONG, WRONG_PURPOSE, UNSPECIFIED = 9, 10, 22, 26, 1
WRONG_NAME, NO_TLSA_MATCH = 62, 65
TIMES = frozenset({NOT_YET, EXPIRED, 13, 14})
CHAIN_LIMIT = 100       # certificates of a peer that are looked at (OpenSSL's own limit)
Chain = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a certificate is not believed. issuer: of the certificate that is at fault, "/CN=Name"."""

    code: int
    text: str = ""
    issuer: str = ""

    def words(self, peer: str, depth: int = 0) -> str:
        """The line of Postfix's log. peer: "host[address]:port"; depth: the limit that a chain was longer than."""
        if self.code == SELF_SIGNED:
            return f"certificate verification failed for {peer}: self-signed certificate"
        if self.code in (SELF_SIGNED_ROOT, NO_ISSUER, NO_LOCAL_ISSUER):
            return f"certificate verification failed for {peer}: untrusted issuer {self.issuer}"
        if self.code == WRONG_PURPOSE:
            return f"certificate verification failed for {peer}: not designated for use as a server certificate"
        if self.code == TOO_LONG:
            return f"certificate verification failed for {peer}: certificate chain longer than limit({depth})"
        why = {NOT_YET: "certificate not yet valid", EXPIRED: "certificate has expired"}.get(
            self.code, f"num={self.code}:{self.text}")
        return f"server certificate verification failed for {peer}: {why}"


class Authorities:
    """Whose certificates are trusted. partial: any of them ends a chain, also one that another authority signed."""

    def __init__(self, certificates: Sequence[bytes] = (), *, ca_file: str = "", ca_path: str = "",
                 defaults: bool = False, partial: bool = False) -> None:
        """certificates: DER. Raises ConfigError."""
        from OpenSSL import crypto

        self.store = crypto.X509Store()
        if partial:
            self.store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        for octets in certificates:
            self.store.add_cert(crypto.load_certificate(crypto.FILETYPE_ASN1, octets))
        places = [(ca_file, ca_path)] if ca_file or ca_path else []
        if defaults:
            known = ssl.get_default_verify_paths()
            places.append((known.cafile or "", known.capath or ""))
        for file, path in places:
            if (file and not os.access(file, os.R_OK)) or (path and not os.access(path, os.R_OK | os.X_OK)):
                raise ConfigError(f"cannot load the certificate authorities in {file or path}")
            if file or path:
                try:
                    self.store.load_locations(file or None, path or None)
                except crypto.Error as error:
                    raise ConfigError(f"cannot load the certificate authorities in {file or path}: no certificate "
                                      "in PEM format") from error

    @staticmethod
    def of(ca_file: str = "", ca_path: str = "", *, defaults: bool = False) -> "Authorities":
        """Those of a file, read once and again when it changes, and of a folder. Raises ConfigError."""
        try:
            stamp = os.stat(ca_file).st_mtime_ns if ca_file else 0
        except OSError as error:
            raise ConfigError(f"cannot load the certificate authorities in {ca_file}: {error.strerror}") from error
        return _authorities(ca_file, ca_path, defaults, stamp)


def read_ahead(ca_file: str, ca_path: str, *, defaults: bool) -> None:
    """Read a file of authorities now, as root, that the process may not read later: the same `Authorities.of` finds
    it. A fault is told when it is used."""
    try:
        if ca_file and not os.stat(ca_file).st_mode & stat.S_IROTH:
            Authorities.of(ca_file, ca_path, defaults=defaults)
    except (OSError, ConfigError):
        pass


@lru_cache(maxsize=32)
def _authorities(ca_file: str, ca_path: str, defaults: bool, stamp: int) -> Authorities:
    return Authorities(ca_file=ca_file, ca_path=ca_path, defaults=defaults)


def peer_chain(ssl_object: Any) -> Chain:
    """The certificates that the peer sent, its own first, DER; empty for an anonymous cipher."""
    if hasattr(ssl_object, "get_unverified_chain"):         # Python 3.13
        return tuple(ssl_object.get_unverified_chain() or ())[:CHAIN_LIMIT]
    inner = ssl_object._sslobj
    encoding = 2                                            # _ssl.ENCODING_DER
    return tuple(one.public_bytes(encoding) for one in (inner.get_unverified_chain() or ())[:CHAIN_LIMIT])


def check_chain(chain: Sequence[bytes], authorities: Authorities, *, depth: int = 9,
                more: Iterable[bytes] = ()) -> Failure | None:
    """None for a chain that ends at an authority. more: certificates (DER) that may help to build it.

    depth: how many certificates may stand above the peer's own. Costs 0.2 to 1 ms.
    """
    from OpenSSL import crypto

    try:
        certificates = [crypto.load_certificate(crypto.FILETYPE_ASN1, octets) for octets in (*chain, *more)]
    except crypto.Error:
        return Failure(UNSPECIFIED, "unspecified certificate verification error")
    try:
        found = crypto.X509StoreContext(authorities.store, certificates[0], certificates[1:]).get_verified_chain()
    except crypto.X509StoreContextError as error:
        at_fault = error.certificate.to_cryptography()
        return Failure(int(error.errors[0]), str(error.errors[2]), one_line(at_fault.issuer))
    if len(found) - 1 > depth:
        return Failure(TOO_LONG)
    if not all(_is_for_servers(one.to_cryptography()) for one in found[:-1] or found):
        return Failure(WRONG_PURPOSE)
    return None


def _is_for_servers(certificate: "x509.Certificate") -> bool:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    except ValueError:
        return False
    return ExtendedKeyUsageOID.SERVER_AUTH in usage or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usage


def one_line(name: "x509.Name") -> str:
    """"/C=DE/CN=Name", printable ASCII."""
    short = {"commonName": "CN", "countryName": "C", "organizationName": "O", "organizationalUnitName": "OU",
             "localityName": "L", "stateOrProvinceName": "ST"}
    text = "".join(f"/{short.get(one.oid._name, one.oid._name)}={one.value!s}" for one in name)
    return "".join(char if " " <= char <= "~" else "?" for char in text)[:1000]
