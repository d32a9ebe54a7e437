"""DKIM signatures of a message: verified and made. Source: RFC 6376 sections 3.7, 5 and 6.

    results = await verify(content, resolver, options, now)      one DkimResult per signature, [] for none; never raises
    value = sign(content, key, SignOptions(...), now)            a DKIM-Signature's value, folded; CPU only

Keys are asked for side by side. Bodies longer than THREAD_OVER octets are hashed in a thread.
Limits: options.signatures; the rest of the signatures is not looked at. What a signature costs is bounded by the
message's size: each reads the header once and, unless it shares its canonicalization with another, the body once.
"""

import asyncio
import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from mailsuite.auth_results.canonical import BodyForm, BodyHash, body_hashes, canonical_header
from mailsuite.auth_results.content import Content, FieldIndex, TextField
from mailsuite.auth_results.dkim_key import PublicKey, TxtDns, find_key
from mailsuite.auth_results.dkim_signature import DkimError, Signature, parse_signature
from mailsuite.auth_results.keys import PrivateKey
from mailsuite.auth_results.tags import without_value

THREAD_OVER = 128 * 1024
FIELD = b"DKIM-Signature"


@dataclass(frozen=True, slots=True)
class DkimOptions:
    """signatures: looked at in one message. skew_s: how wrong clocks may be. partial: a body longer than l= is good."""

    signatures: int = 8
    least_bits: int = 1024
    skew_s: int = 300
    partial: bool = False


@dataclass(frozen=True, slots=True)
class DkimResult:
    """One signature's. result: of RFC 8601 section 2.7.1. domain "" when the signature could not be parsed."""

    result: str
    domain: str = ""
    selector: str = ""
    identity: str = ""
    algorithm: str = ""
    start: str = ""
    reason: str = ""
    key_bits: int = 0


def size_of(content: Content) -> int:
    """Octets, where the content knows them."""
    return int(getattr(content, "size", 0))


async def hashes_of(content: Content, forms: set[BodyForm]) -> dict[BodyForm, BodyHash]:
    """body_hashes, in a thread where it takes long."""
    if not forms:
        return {}
    if size_of(content) > THREAD_OVER:
        return await asyncio.to_thread(body_hashes, content.body, forms)
    return body_hashes(content.body, forms)


def signed_digest(index: FieldIndex, signature: Signature, own: "TextField") -> bytes:
    """SHA-256 of the fields that a signature names and of itself without b=; RFC 6376 section 3.7."""
    state = hashlib.sha256()
    relaxed = signature.relaxed_header
    for field in index.take(signature.names):
        state.update(canonical_header(field, relaxed=relaxed))
    bare = TextField(own.name, without_value(own.value, b"b"))
    state.update(canonical_header(bare, relaxed=relaxed).removesuffix(b"\r\n"))
    return state.digest()


async def verify(content: Content, resolver: TxtDns, options: DkimOptions, now: float) -> list[DkimResult]:
    """All signatures up to options.signatures, from the top."""
    index = FieldIndex(content.fields)
    found = [TextField(field.name, field.value) for field in index.all(b"dkim-signature")[:options.signatures]]
    if not found:
        return []
    parsed = [_parsed(field) for field in found]
    whole = [one for one in parsed if isinstance(one, Signature)]
    keys = await asyncio.gather(*(find_key(resolver, one.key_name, least_bits=options.least_bits) for one in whole),
                                return_exceptions=True)
    hashes = await hashes_of(content, {_form(one) for one in whole})
    known = dict(zip([id(one) for one in whole], keys, strict=True))
    results = []
    for field, one in zip(found, parsed, strict=True):
        if isinstance(one, DkimError):
            results.append(DkimResult(one.result, reason=str(one)))
        else:
            results.append(_judge(index, one, field, known[id(one)], hashes[_form(one)], options, now))
    return results


def _parsed(field: TextField) -> Signature | DkimError:
    try:
        return parse_signature(field.value)
    except DkimError as error:
        return error


def _form(signature: Signature) -> BodyForm:
    return BodyForm(signature.relaxed_body, signature.length)


def _judge(index: FieldIndex, signature: Signature, field: TextField, key: "PublicKey | BaseException",
           body: BodyHash, options: DkimOptions, now: float) -> DkimResult:
    result, reason, bits, testing = "pass", "", 0, False
    try:
        if isinstance(key, BaseException):
            raise key
        bits, testing = key.bits, key.testing
        check_signature(index, signature, field, key, body, options, now)
    except DkimError as error:
        result, reason = error.result, str(error)
        if testing and result == "fail":        # RFC 6376 section 3.6.1: as if it were not signed
            result, reason = "neutral", f"{reason} (the key is for tests)"
    return DkimResult(result, signature.domain, signature.selector, signature.identity, signature.algorithm,
                      signature.start, reason, bits)


def check_signature(index: FieldIndex, signature: Signature, field: TextField, key: PublicKey, body: BodyHash,
                    options: DkimOptions, now: float) -> None:
    """Raises DkimError for whatever makes a signature with its key not good; RFC 6376 sections 6.1.1 to 6.1.3."""
    if key.strict and signature.identity and signature.identity.rpartition("@")[2] != signature.domain:
        raise DkimError("key does not allow subdomains")
    if signature.expires and now > signature.expires + options.skew_s:
        raise DkimError("signature expired", "fail")
    if signature.timestamp > now + options.skew_s:
        raise DkimError("signed in the future", "fail")
    if signature.length > body.whole:
        raise DkimError("body is shorter than l=", "fail")
    if signature.body_hash != body.digest:
        raise DkimError("body hash does not match", "fail")
    key.verify(signature.algorithm, signature.signature, signed_digest(index, signature, field))
    if 0 <= signature.length < body.whole and not options.partial:
        raise DkimError("part of the body is not signed (l=)", "policy")


# --- signing --------------------------------------------------------------------------------------------------------

@dataclass(frozen=True, slots=True)
class SignOptions:
    """names: fields to sign where they are there; oversigned: also named once more, so that none can be added.

    lifetime_s: for x=, 0 for no end. instance: of an ARC-Message-Signature, 0 for DKIM.
    """

    names: tuple[bytes, ...]
    oversigned: frozenset[bytes] = frozenset()
    relaxed_header: bool = True
    relaxed_body: bool = True
    lifetime_s: int = 0
    instance: int = 0


def names_to_sign(index: FieldIndex, options: SignOptions) -> list[bytes]:
    """h=: each name as often as its field is there, and once more where it is oversigned; RFC 6376 section 8.15."""
    names: list[bytes] = []
    for name in options.names:
        lower = name.lower()
        names += [name] * (min(index.count(lower), 100) + (lower in options.oversigned))
    return names


def sign(index: FieldIndex, body: BodyHash, key: PrivateKey, options: SignOptions, now: float) -> str:
    """The value of a new signature field. body: of BodyForm(options.relaxed_body). Takes a millisecond for RSA-2048."""
    forms = "/".join("relaxed" if relaxed else "simple" for relaxed in (options.relaxed_header, options.relaxed_body))
    begin = f"i={options.instance}; " if options.instance else "v=1; "
    names = names_to_sign(index, options)
    lines = [f"{begin}a={key.algorithm}; c={forms}; d={key.domain};",
             f"s={key.selector}; t={int(now)};" + (f" x={int(now) + options.lifetime_s};" if options.lifetime_s
                                                   else ""),
             _folded("h=", [name.decode("ascii") for name in names]),
             f"bh={base64.b64encode(body.digest).decode()};", "b="]
    bare = "\n\t".join(lines)
    field = TextField(b"ARC-Message-Signature" if options.instance else FIELD, b" " + bare.encode())
    signature = Signature(key.domain, key.selector, key.algorithm, "", options.relaxed_header, options.relaxed_body,
                          tuple(name.lower() for name in names), body.digest, b"")
    return bare + fold_base64(key.sign(signed_digest(index, signature, field)))


def _folded(begin: str, names: Sequence[str]) -> str:
    """names joined by colons, on lines of some 70 characters."""
    lines, line = [], begin
    for at, name in enumerate(names):
        word = name + (":" if at < len(names) - 1 else ";")
        if len(line) + len(word) > 70:
            lines.append(line)
            line = " "
        line += word
    return "\n\t".join([*lines, line])


def fold_base64(octets: bytes) -> str:
    """base64 on lines of 70 characters, the first one shorter."""
    text = base64.b64encode(octets).decode("ascii")
    parts = [text[:66], *(text[at:at + 70] for at in range(66, len(text), 70))]
    return "\n\t ".join(parts)
