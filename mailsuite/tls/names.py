"""Names in a server's certificate, and whether one is wanted.

    certificate_names(certificate) -> ("mx.example.org", "*.example.org")
    matching_name(names, (".example.org", "mx.example.net")) -> "*.example.org"      "" when none fits

What is wanted is a name, or ".example.org" for all names below. "*" stands for a whole first label only, and for
several labels where `tls_wildcard_matches_multiple_labels` says so. The subject's common name counts where the
certificate has no DNS names. As OpenSSL's X509_check_host does it for Postfix.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509

NAMES_LIMIT = 1000      # of one certificate that are looked at


def certificate_names(certificate: "x509.Certificate") -> tuple[str, ...]:
    """DNS names, or else the common names; in lower case."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [str(name) for name in alternatives.get_values_for_type(x509.DNSName)]
    except (x509.ExtensionNotFound, ValueError, x509.DuplicateExtension):
        names = []
    if not names:
        names = [str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return tuple(name.lower().rstrip(".") for name in names[:NAMES_LIMIT])


def matching_name(names: Iterable[str], wanted: Iterable[str], *, many_labels: bool = True) -> str:
    """The first of a certificate's names that is wanted; "" when none is."""
    patterns = [pattern.lower().rstrip(".") for pattern in wanted]
    return next((name for name in names if any(_fits(name, pattern, many_labels) for pattern in patterns)), "")


def _fits(name: str, wanted: str, many_labels: bool) -> bool:
    if not name or not wanted:
        return False
    if wanted.startswith("."):
        return len(name) > len(wanted) and name.endswith(wanted)
    if name == wanted:
        return True
    suffix = name[1:]
    if not name.startswith("*.") or suffix.count(".") < 2 or "*" in suffix:     # "*.org" is nobody's
        return False
    label = wanted.removesuffix(suffix)
    return label != wanted and bool(label) and (many_labels or "." not in label)
