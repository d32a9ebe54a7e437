"""ARC: what earlier hops saw of a message, and their seals on it. Source: RFC 8617.

    result = await verify_chain(content, resolver, options, now)    ArcResult; never raises
    fields = seal(index, body, key, ArcSealing(...), now)           the three fields of a new set, ready to insert

Every failure is final, DNS's too (section 5.2.1). Limits: SETS_LIMIT sets (section 4.2.1).
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mailsuite.auth_results.canonical import BodyForm, BodyHash, HeaderField, relaxed_header
from mailsuite.auth_results.content import Content, FieldIndex, TextField
from mailsuite.auth_results.dkim import DkimOptions, SignOptions, check_signature, fold_base64, hashes_of, sign
from mailsuite.auth_results.dkim_key import PublicKey, TxtDns, find_key
from mailsuite.auth_results.dkim_signature import (
    DkimError,
    Signature,
    algorithm_of,
    base64_of,
    domain_of,
    instance_of,
    parse_signature,
    signature_tags,
)
from mailsuite.auth_results.keys import PrivateKey
from mailsuite.auth_results.tags import without_value

SETS_LIMIT = 50
RESULTS, MESSAGE, SEAL = "ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal"


@dataclass(frozen=True, slots=True)
class ArcResult:
    """result: "none", "pass" or "fail". sets: how many. oldest_pass: the first instance from which on the content did
    not change (0: all the way). sealers: d= of the seals, first to last. first_results: what the first hop saw."""

    result: str
    sets: int = 0
    oldest_pass: int = 0
    sealers: tuple[str, ...] = ()
    reason: str = ""
    first_results: bytes = b""


@dataclass(frozen=True, slots=True)
class Seal:
    """An ARC-Seal's tags: section 4.1.3."""

    instance: int
    algorithm: str
    chain: str
    domain: str
    selector: str
    signature: bytes

    @property
    def key_name(self) -> str:
        return f"{self.selector}._domainkey.{self.domain}"


@dataclass(frozen=True, slots=True)
class ArcSet:
    """The three fields of one hop."""

    results: HeaderField
    message: HeaderField
    seal: HeaderField
    signature: Signature
    sealed: Seal


def parse_seal(value: bytes) -> Seal:
    """Raises DkimError."""
    tags = signature_tags(value)
    for name in ("a", "b", "d", "s", "cv"):
        if not tags.get(name):
            raise DkimError(f"no {name}= in a seal")
    if "h" in tags or "bh" in tags:
        raise DkimError("h= in a seal")
    chain = tags["cv"].lower().decode("ascii", "replace")
    if chain not in ("none", "pass", "fail"):
        raise DkimError("bad cv=")
    return Seal(instance_of(tags), algorithm_of(tags["a"]), chain, domain_of(tags["d"], "d"),
                domain_of(tags["s"], "s"), base64_of(tags["b"], "b"))


def _results_instance(value: bytes) -> int:
    """i= at the start of an ARC-Authentication-Results. Raises DkimError."""
    name, equals, number = value.partition(b";")[0].partition(b"=")
    if not equals or name.strip() != b"i":
        raise DkimError("no i= in ARC-Authentication-Results")
    return instance_of({"i": number.strip()})


def read_sets(index: FieldIndex) -> list[ArcSet]:
    """The sets by instance, [] for none. Raises DkimError for a chain that is not whole: section 5.2, steps 1 to 3."""
    results, messages, seals = (index.all(name.lower().encode()) for name in (RESULTS, MESSAGE, SEAL))
    if not (results or messages or seals):
        return []
    if not len(results) == len(messages) == len(seals) <= SETS_LIMIT:
        raise DkimError("sets are not whole")
    by_results = {_results_instance(field.value): field for field in results}
    by_message = {(parsed := parse_signature(field.value, arc=True)).instance: (field, parsed) for field in messages}
    by_seal = {(sealed := parse_seal(field.value)).instance: (field, sealed) for field in seals}
    wanted = set(range(1, len(seals) + 1))
    if not set(by_results) == set(by_message) == set(by_seal) == wanted:
        raise DkimError("instances are not in a row")
    found = [ArcSet(by_results[number], by_message[number][0], by_seal[number][0], by_message[number][1],
                    by_seal[number][1]) for number in sorted(wanted)]
    for one in found:
        if one.sealed.chain != ("none" if one.sealed.instance == 1 else "pass"):
            raise DkimError(f"cv={one.sealed.chain} in set {one.sealed.instance}")
    return found


def _seal_digest(sets: Sequence[tuple[HeaderField, HeaderField]], earlier: Sequence[HeaderField],
                 own: HeaderField) -> bytes:
    """SHA-256 of all sets up to this seal, its b= empty: section 5.1.1."""
    state = hashlib.sha256()
    for at, (results, message) in enumerate(sets):
        state.update(relaxed_header(results.name, results.value))
        state.update(relaxed_header(message.name, message.value))
        if at < len(earlier):
            state.update(relaxed_header(earlier[at].name, earlier[at].value))
    state.update(relaxed_header(own.name, without_value(own.value, b"b")).removesuffix(b"\r\n"))
    return state.digest()


async def verify_chain(content: Content, resolver: TxtDns, options: DkimOptions, now: float) -> ArcResult:
    """Section 5.2."""
    index = FieldIndex(content.fields)
    try:
        sets = read_sets(index)
    except DkimError as error:
        return ArcResult("fail", reason=str(error))
    if not sets:
        return ArcResult("none")
    first = bytes(sets[0].results.value)
    found = ArcResult("fail", len(sets), 0, tuple(one.sealed.domain for one in sets), "", first)
    names = sorted({one.sealed.key_name for one in sets} | {one.signature.key_name for one in sets})
    looked_up = await asyncio.gather(*(find_key(resolver, name, least_bits=options.least_bits) for name in names),
                                     return_exceptions=True)
    keys = dict(zip(names, looked_up, strict=True))
    hashes = await hashes_of(content, {_form(one.signature) for one in sets})
    lenient = replace(options, partial=True)
    try:
        last = sets[-1]
        _check_message(index, last, keys, hashes, lenient, now)
        for at in range(len(sets) - 1, -1, -1):
            _check_seal(sets[:at + 1], keys)
    except DkimError as error:
        return replace(found, reason=str(error))
    return replace(found, result="pass", oldest_pass=_oldest(index, sets, keys, hashes, lenient, now))


def _form(signature: Signature) -> BodyForm:
    return BodyForm(signature.relaxed_body, signature.length)


def _key(keys: "dict[str, PublicKey | BaseException]", name: str) -> PublicKey:
    key = keys[name]
    if isinstance(key, BaseException):
        raise key
    return key


def _check_message(index: FieldIndex, one: ArcSet, keys: "dict[str, PublicKey | BaseException]",
                   hashes: dict[BodyForm, BodyHash], options: DkimOptions, now: float) -> None:
    field = TextField(one.message.name, one.message.value)
    key = _key(keys, one.signature.key_name)
    try:
        check_signature(index, one.signature, field, key, hashes[_form(one.signature)], options, now)
    except DkimError as error:
        raise DkimError(f"message signature {one.sealed.instance}: {error}") from None


def _check_seal(sets: Sequence[ArcSet], keys: "dict[str, PublicKey | BaseException]") -> None:
    seal = sets[-1].sealed
    digest = _seal_digest([(one.results, one.message) for one in sets], [one.seal for one in sets[:-1]],
                          sets[-1].seal)
    try:
        _key(keys, seal.key_name).verify(seal.algorithm, seal.signature, digest)
    except DkimError as error:
        raise DkimError(f"seal {seal.instance}: {error}") from None


def _oldest(index: FieldIndex, sets: Sequence[ArcSet], keys: "dict[str, PublicKey | BaseException]",
            hashes: dict[BodyForm, BodyHash], options: DkimOptions, now: float) -> int:
    """The instance after the newest message signature that does not hold any more; 0 when all hold."""
    for one in reversed(sets[:-1]):
        try:
            _check_message(index, one, keys, hashes, options, now)
        except DkimError:
            return one.sealed.instance + 1
    return 0


# --- sealing --------------------------------------------------------------------------------------------------------

def next_instance(index: FieldIndex) -> int:
    """The number of a new set; 0 when there is no room for one, or the chain has failed already (section 5.1)."""
    seals = index.all(SEAL.lower().encode())
    numbers = [0]
    for field in seals:
        try:
            seal = parse_seal(field.value)
        except DkimError:
            continue
        if seal.chain == "fail":
            return 0
        numbers.append(seal.instance)
    return max(numbers) + 1 if max(numbers) < SETS_LIMIT else 0


def seal(index: FieldIndex, body: BodyHash, key: PrivateKey, *, results: str, chain: str, options: SignOptions,
         now: float) -> list[tuple[str, str]]:
    """A new set: (name, value) of ARC-Seal, ARC-Message-Signature and ARC-Authentication-Results, top first.

    results: the value of our Authentication-Results. chain: what verify_chain found. options.instance: next_instance.
    """
    instance = options.instance
    own_results = f"i={instance}; {results.strip()}"
    message = sign(index, body, key, options, now)
    status = "none" if instance == 1 else chain
    bare = (f"i={instance}; a={key.algorithm}; t={int(now)}; cv={status};\n\td={key.domain}; s={key.selector};\n\tb=")
    fields = [TextField(RESULTS.encode(), b" " + own_results.encode("utf-8", "surrogateescape")),
              TextField(MESSAGE.encode(), b" " + message.encode())]
    earlier: list[tuple[HeaderField, HeaderField]] = []
    seals: list[HeaderField] = []
    if status == "pass":
        for one in read_sets(index):
            earlier.append((one.results, one.message))
            seals.append(one.seal)
    digest = _seal_digest([*earlier, (fields[0], fields[1])], seals, TextField(SEAL.encode(), b" " + bare.encode()))
    return [(SEAL, bare + fold_base64(key.sign(digest))), (MESSAGE, message), (RESULTS, own_results)]
