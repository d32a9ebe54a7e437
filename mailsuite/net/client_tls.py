"""SSLContexts for outgoing connections, from parameters.

    client_context(smtp_tls(settings, "may")) -> ssl.SSLContext         cached per spec; raises ConfigError
    identities = client_identities(settings)                            read while keys can be read; raises ConfigError

What a server's certificate is worth is found out after the handshake (tls/peer.py): these contexts check nothing.
"""

import ssl
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from mailsuite.net.tls import NO_OPTIONS, certificate_pairs, load_authorities, postfix_ciphers, set_ciphers
from mailsuite.tls import protocols
from mailsuite.tls.identity import Identity, install, read_identity, split_chain_file
from mailsuite.tls.options import Options
from mailsuite.tls.protocols import Protocols

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings


@dataclass(frozen=True)
class ClientSpec:
    """identities: client certificates, one of each algorithm. cipher_list: OpenSSL's words.

    verify: the handshake fails unless the certificate is good and carries the name that is given to start_tls; the
    remote side of mail judges for itself (tls/peer.py).
    """

    protocols: Protocols = protocols.DEFAULT
    cipher_list: str = ""
    verify: bool = False
    ca_file: str = ""
    ca_path: str = ""
    default_authorities: bool = False
    identities: tuple[Identity, ...] = ()
    options: Options = NO_OPTIONS


@lru_cache(maxsize=64)
def client_context(spec: ClientSpec) -> ssl.SSLContext:
    """A context for outgoing connections. Raises ConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = spec.verify
    context.verify_mode = ssl.CERT_REQUIRED if spec.verify else ssl.CERT_NONE
    protocols.apply(context, spec.protocols)
    spec.options.apply(context)
    if spec.cipher_list:
        set_ciphers(context, spec.cipher_list)
    if spec.ca_file or spec.ca_path:
        load_authorities(context, spec.ca_file, spec.ca_path)
    if spec.default_authorities:
        context.load_default_certs()
    for identity in spec.identities:
        install(context, identity)
    return context


# Postfix leaves these out by itself: what does not encrypt where encryption is a must, what has no certificate where it
# is looked at. Where any TLS is better than none, old and anonymous ciphers are taken (security level 0).
_LEVEL_CIPHERS = {"none": ":@SECLEVEL=0", "may": ":@SECLEVEL=0", "encrypt": ":!eNULL:@SECLEVEL=0"}


def smtp_tls(settings: "Settings", level: str, prefix: str = "smtp", *, protocol_list: str | None = None,
             grade: str | None = None, exclude: str | None = None, identities: tuple[Identity, ...] = ()) -> ClientSpec:
    """The smtp_tls_* (or lmtp_tls_*) parameters at a level: may, encrypt, verify... Raises ConfigError.

    protocol_list, grade, exclude: what a policy table says in place of main.cf.
    """
    must = level not in ("none", "may")
    kind = "mandatory_" if must else ""
    if exclude is None:
        exclude = settings.text(f"{prefix}_tls_exclude_ciphers")
        if must:
            exclude += " " + settings.text(f"{prefix}_tls_mandatory_exclude_ciphers")
    if protocol_list is None:
        protocol_list = settings.text(f"{prefix}_tls_{kind}protocols")
    if grade is None:
        grade = settings.text(f"{prefix}_tls_{kind}ciphers")
    return ClientSpec(
        protocols=protocols.parse_protocols(protocol_list),
        cipher_list=postfix_ciphers(settings, grade, exclude) + _LEVEL_CIPHERS.get(level, ":!aNULL:@SECLEVEL=1"),
        identities=identities, options=Options.of(settings))


def client_identities(settings: "Settings", prefix: str = "smtp") -> tuple[Identity, ...]:
    """The client's certificates: smtp_tls_chain_files, or else cert, eccert and dcert files. Raises ConfigError."""
    chains = settings.text(f"{prefix}_tls_chain_files").replace(",", " ").split()
    if chains:
        return tuple(identity for path in chains for identity in split_chain_file(path))
    return tuple(read_identity(pair.certificate, pair.key) for pair in certificate_pairs(settings, prefix))
