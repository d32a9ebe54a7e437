"""Certificates and keys: there, fitting each other, valid for a while, with our name; the key closed to others."""

import datetime
import fnmatch
import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mailsuite.base.errors import ConfigError
from mailsuite.check.finding import Finding, error, warning
from mailsuite.check.site import Site
from mailsuite.net.tls import smtpd_tls
from mailsuite.smtp.server_options import tls_level
from mailsuite.tls.identity import Identity, read_identity, split_chain_file

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

EXPIRES_SOON = datetime.timedelta(days=30)
Place = tuple[str, int]


def check_certificates(site: Site) -> Iterator[Finding]:
    """smtpd's and Dovecot's."""
    told: set[tuple[str, str]] = set()
    for entry, own in [*site.services("smtpd")]:
        try:
            if tls_level(own) == "none" and own.text("smtpd_tls_wrappermode") != "yes":
                continue
            spec = smtpd_tls(own)
        except ConfigError:
            continue                # a strict load tells that
        for pair in spec.pairs:
            certificate, key = pair.certificate, pair.key or pair.certificate
            if (certificate, key) not in told:
                told.add((certificate, key))
                place = site.service_place(entry, "smtpd_tls_cert_file")
                yield from _pair(site, certificate, key, place, site.text("myhostname"))
        for path in spec.chain_files:
            if (path, path) not in told:
                told.add((path, path))
                yield from _chain(site, path, site.service_place(entry, "smtpd_tls_chain_files"))
    if site.dovecot is not None and site.dovecot.text("ssl") != "no" and site.dovecot.file("ssl_cert"):
        certificate = site.dovecot.file("ssl_cert")
        key = site.dovecot.file("ssl_key") or certificate
        if (certificate, key) not in told:
            yield from _pair(site, certificate, key, site.dovecot_place("ssl_cert"), "")


def check_signing_keys(site: Site) -> Iterator[Finding]:
    """Whoever reads a DKIM key can sign mail as us."""
    top = site.text("dkim_key_directory")
    for folder, _, files in os.walk(top) if top else ():
        for name in sorted(files):
            if name.endswith((".key", ".private", ".pem")):
                yield from _key_rights(os.path.join(folder, name), site.place("dkim_key_directory"))


def _chain(site: Site, path: str, place: Place) -> Iterator[Finding]:
    try:
        identities = split_chain_file(path)
    except ConfigError as wrong:
        yield error(wrong.public, place, f"a key and its certificates in PEM form in {path}")
        return
    yield from _key_rights(path, place)
    for identity in identities:
        yield from _dates_and_name(site, identity, place, site.text("myhostname"))


def _pair(site: Site, certificate: str, key: str, place: Place, name: str) -> Iterator[Finding]:
    try:
        identity = read_identity(certificate, key)
    except ConfigError as wrong:
        yield error(f"{wrong.public}: there will be no TLS", place,
                    f"make {certificate} and {key} fit, or name others")
        if not os.path.exists(key):
            return
    else:
        yield from _dates_and_name(site, identity, place, name)
    yield from _key_rights(key, place)


def _key_rights(path: str, place: Place) -> Iterator[Finding]:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if mode & stat.S_IROTH:
        yield error(f"everybody on this machine can read the private key {path}", place, f"chmod o-rwx {path}")


def _dates_and_name(site: Site, identity: Identity, place: Place, name: str) -> Iterator[Finding]:
    from cryptography import x509
    try:
        certificate = x509.load_pem_x509_certificate(identity.chain)
    except ValueError as wrong:
        yield error(f"certificate {identity.source}: {wrong}", place)
        return
    now = datetime.datetime.fromtimestamp(site.now, datetime.UTC)
    ends = certificate.not_valid_after_utc
    if ends < now:
        yield error(f"certificate {identity.source} expired on {ends:%Y-%m-%d}: clients refuse it", place,
                    "renew it, then mailsuite reload")
    elif ends - now < EXPIRES_SOON:
        yield warning(f"certificate {identity.source} expires on {ends:%Y-%m-%d}, in {(ends - now).days} days", place,
                      "renew it, then mailsuite reload")
    if certificate.not_valid_before_utc > now:
        yield error(f"certificate {identity.source} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}",
                    place, "look at the machine's clock, or get another")
    if name and not _names(certificate, name):
        yield warning(f"certificate {identity.source} is not for {name}: clients that look refuse it", place,
                      f"get one with the name {name}, or set myhostname to a name that it has")


def _names(certificate: "Certificate", name: str) -> bool:
    """Whether the certificate is for a host: RFC 6125, with the common name where there are no other names."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        known = extension.value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        known = [str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    name = name.lower()
    return any(one.lower() == name or (one.startswith("*.") and name.count(".") == one.count(".")
                                       and fnmatch.fnmatchcase(name, one.lower())) for one in known)
