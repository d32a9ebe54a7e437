"""DKIM-Signature fields: octets to values. Source: RFC 6376 section 3.5, RFC 8301, RFC 8463.

    parse_signature(b" v=1; a=rsa-sha256; d=example.com; ...") -> Signature

ARC-Message-Signature is the same without v= and with an instance in i= (RFC 8617 section 4.1.2).
Raises DkimError with the result that a verifier reports.
"""

import base64
import binascii
import re
from dataclasses import dataclass

from mailsuite.auth_results.tags import parse_tags, unfolded

FIELD_LIMIT = 20_000            # octets of one signature field; honest ones have some hundred
NAMES_LIMIT = 2_000             # names in h=
ALGORITHMS = ("rsa-sha256", "ed25519-sha256")
_DOMAIN = re.compile(rb"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_-]{1,63})*\Z")
_NUMBER = re.compile(rb"[0-9]{1,12}\Z")
_LENGTH = re.compile(rb"[0-9]{1,76}\Z")
_FIELD_NAME = re.compile(rb"[!-9<-~]+\Z")


class DkimError(Exception):
    """A signature that cannot be good. result: "permerror", "temperror", "policy", "neutral" or "fail"."""

    def __init__(self, why: str, result: str = "permerror") -> None:
        super().__init__(why)
        self.result = result


@dataclass(frozen=True, slots=True)
class Signature:
    """names: of the signed fields, lower case, in the order of h=. length: l=, -1 for all. instance: of an ARC set.

    timestamp, expires: seconds since 1970, 0 where not said. start: the first characters of b=, which tell signatures
    of a message apart (RFC 6008).
    """

    domain: str
    selector: str
    algorithm: str
    identity: str
    relaxed_header: bool
    relaxed_body: bool
    names: tuple[bytes, ...]
    body_hash: bytes
    signature: bytes
    length: int = -1
    timestamp: int = 0
    expires: int = 0
    instance: int = 0
    start: str = ""

    @property
    def key_name(self) -> str:
        """Where the key is in DNS: RFC 6376 section 3.6.2.1."""
        return f"{self.selector}._domainkey.{self.domain}"


def parse_signature(value: bytes, *, arc: bool = False) -> Signature:
    """Raises DkimError."""
    tags = signature_tags(value)
    if not arc and tags.get("v") != b"1":
        raise DkimError("no v=1")
    for name in ("a", "b", "bh", "d", "h", "s"):
        if not tags.get(name):
            raise DkimError(f"no {name}=")
    header_form, body_form = _forms(tags.get("c", b"simple/simple").lower())
    domain = domain_of(tags["d"], "d")
    names = tuple(unfolded(tags["h"]).lower().split(b":", NAMES_LIMIT + 1))
    if len(names) > NAMES_LIMIT or not all(_FIELD_NAME.match(name) for name in names):
        raise DkimError("bad h=")
    if arc and b"arc-seal" in names:
        raise DkimError("ARC-Seal is signed")
    if not arc and b"from" not in names:
        raise DkimError("From is not signed")
    if b"dns/txt" not in tags.get("q", b"dns/txt").lower().replace(b" ", b"").split(b":"):
        raise DkimError("unknown q=")
    timestamp, expires = _number(tags, "t"), _number(tags, "x")
    if timestamp and expires and expires < timestamp:
        raise DkimError("x= before t=")
    length = tags.get("l")
    if length is not None and not _LENGTH.match(length):
        raise DkimError("bad l=")
    signature = base64_of(tags["b"], "b")
    return Signature(
        domain, domain_of(tags["s"], "s"), algorithm_of(tags["a"]),
        "" if arc else _identity(tags.get("i"), domain), header_form, body_form, names, base64_of(tags["bh"], "bh"),
        signature, -1 if length is None else int(length), timestamp, expires,
        instance_of(tags) if arc else 0, unfolded(tags["b"])[:8].decode("ascii"))


def signature_tags(value: bytes) -> dict[str, bytes]:
    """Raises DkimError."""
    if len(value) > FIELD_LIMIT:
        raise DkimError("signature too long")
    try:
        return parse_tags(value)
    except ValueError as error:
        raise DkimError(str(error)) from None


def algorithm_of(value: bytes) -> str:
    """Raises DkimError; RFC 8301 section 3.1 ends SHA-1."""
    name = value.lower().decode("ascii", "replace")
    if name not in ALGORITHMS:
        raise DkimError("rsa-sha1 is no longer valid" if name == "rsa-sha1" else "unknown algorithm")
    return name


def domain_of(value: bytes, tag: str) -> str:
    """A domain or selector, lower case; U-labels become A-labels (RFC 8616). Raises DkimError."""
    if not value.isascii():
        from mailsuite.address.idna import to_ascii
        try:
            value = to_ascii(value.decode("utf-8")).encode("ascii")
        except ValueError:
            raise DkimError(f"bad {tag}=") from None
    if not _DOMAIN.match(value):
        raise DkimError(f"bad {tag}=")
    return value.lower().decode("ascii")


def base64_of(value: bytes, tag: str) -> bytes:
    """Raises DkimError."""
    try:
        return base64.b64decode(unfolded(value), validate=True)
    except (binascii.Error, ValueError):
        raise DkimError(f"bad {tag}=") from None


def instance_of(tags: dict[str, bytes]) -> int:
    """i= of an ARC set, 1 to 50; RFC 8617 section 4.2.1. Raises DkimError."""
    value = tags.get("i", b"")
    if not _NUMBER.match(value) or not 1 <= int(value) <= 50:
        raise DkimError("bad i=")
    return int(value)


def _forms(value: bytes) -> tuple[bool, bool]:
    header, _, body = value.partition(b"/")
    forms = {b"simple": False, b"relaxed": True}
    header_form, body_form = forms.get(header), forms.get(body or b"simple")
    if header_form is None or body_form is None:
        raise DkimError("unknown canonicalization")
    return header_form, body_form


def _number(tags: dict[str, bytes], name: str) -> int:
    value = tags.get(name)
    if value is None:
        return 0
    if not _NUMBER.match(value):
        raise DkimError(f"bad {name}=")
    return int(value)


def _identity(value: bytes | None, domain: str) -> str:
    """i=, whose domain is d= or below it."""
    if value is None:
        return f"@{domain}"
    local, at, own = unfolded(value).rpartition(b"@")
    own_domain = domain_of(own, "i") if at else ""
    if own_domain != domain and not own_domain.endswith("." + domain):
        raise DkimError("i= is not below d=")
    return f"{local.decode('utf-8', 'replace')}@{own_domain}"
