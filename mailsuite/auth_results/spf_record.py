"""SPF records: text to terms.

    parse_record("v=spf1 a:%{d} ip4:192.0.2.0/24 -all") -> Record(mechanisms=(...), redirect="", explanation="")

The whole record is parsed before anything of it is used: an error anywhere makes it a permerror (RFC 7208 section 4.6).
Raises SpfError. Limits: RECORD_LIMIT characters. Cost: linear.
"""

import ipaddress
import re
from dataclasses import dataclass

RECORD_LIMIT = 16 * 1024        # a name server can send 64 KB; honest records have some hundred
Network = ipaddress.IPv4Network | ipaddress.IPv6Network



def _macro(letters: str) -> str:
    return rf"%(?:\{{[{letters}](?!0+[rR.+,/_=}}-])[0-9]*[rR]?[-.+,/_=]*\}}|[%_-])"


_MACRO = _macro("slodiphvSLODIPHV")
_DOMAIN_MACROS = re.compile(rf"(?:[!-$&-~]|{_MACRO})*\Z")
_TEXT_MACROS = re.compile(rf"(?:[ -$&-~]|{_macro('slodiphvcrtSLODIPHVCRT')})*\Z")
_MACRO_END = re.compile(rf"{_MACRO}\Z")
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=(.*)\Z")
_MECHANISM = re.compile(r"([+?~-]?)([A-Za-z][A-Za-z0-9_.-]*)(.*)\Z")
_TOP_LABEL = re.compile(r"(?=.*[A-Za-z-])[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\Z")
_LENGTHS = re.compile(r"(?:/(0|[1-9][0-9]{0,2}))?(?://(0|[1-9][0-9]{0,2}))?\Z")
_LENGTH = re.compile(r"0|[1-9][0-9]{0,2}")


class SpfError(Exception):
    """The evaluation ends. result: "permerror" or "temperror"; the text says why."""

    def __init__(self, why: str, result: str = "permerror") -> None:
        super().__init__(why)
        self.result = result


@dataclass(frozen=True, slots=True)
class Mechanism:
    """qualifier: "+", "-", "~" or "?". domain: a domain-spec with its macros, "" where none was said.

    network: of ip4 and ip6. length4, length6: leading bits that count, of a and mx. text: as written.
    """

    qualifier: str
    name: str
    text: str
    domain: str = ""
    length4: int = 32
    length6: int = 128
    network: Network | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """redirect, explanation: domain-specs, None where not said."""

    mechanisms: tuple[Mechanism, ...]
    redirect: str | None = None
    explanation: str | None = None


def is_spf(text: bytes) -> bool:
    """Whether a TXT record is an SPF record: RFC 7208 section 4.5."""
    return text[:6].lower() == b"v=spf1" and text[6:7] in (b"", b" ")


def parse_record(octets: bytes) -> Record:
    """Parse what `is_spf` accepted. Raises SpfError. Source: RFC 7208 sections 4.6.1 and 12."""
    if len(octets) > RECORD_LIMIT:
        raise SpfError("record too long")
    try:
        text = octets.decode("ascii")
    except UnicodeDecodeError:
        raise SpfError("record is not ASCII") from None
    mechanisms: list[Mechanism] = []
    modifiers: dict[str, str] = {}
    for term in text[6:].split(" "):
        if not term:
            continue
        modifier = _MODIFIER.match(term)
        if modifier is None:
            mechanisms.append(_mechanism(term))
            continue
        name, value = modifier[1].lower(), modifier[2]
        if name in ("redirect", "exp"):
            if name in modifiers:
                raise SpfError(f"{name}= twice")
            modifiers[name] = domain_spec(value)
        elif not _DOMAIN_MACROS.match(value):
            raise SpfError(f"bad macro in {_shown(term)}")
    return Record(tuple(mechanisms), modifiers.get("redirect"), modifiers.get("exp"))


def domain_spec(text: str) -> str:
    """Check a domain-spec: macros, then a top label or a macro at the end. Raises SpfError."""
    if _DOMAIN_MACROS.match(text) and text:
        # A macro at the end begins at the last "%", or one before it for "%%".
        at = text.rfind("%")
        if at >= 0 and (_MACRO_END.match(text, at) or _MACRO_END.match(text, max(0, at - 1))):
            return text
        name, dot, label = text.removesuffix(".").rpartition(".")
        if dot and name and len(label) <= 63 and _TOP_LABEL.match(label):
            return text
    raise SpfError(f"bad domain {_shown(text)}")


def explain_text(text: str) -> str:
    """Check the text that exp= leads to. Raises SpfError."""
    if not _TEXT_MACROS.match(text):
        raise SpfError("bad explanation text")
    return text


def _mechanism(term: str) -> Mechanism:
    match = _MECHANISM.match(term)
    if match is None:
        raise SpfError(f"bad term {_shown(term)}")
    qualifier, name, rest = match[1] or "+", match[2].lower(), match[3]
    shown = _shown(term)
    if name == "all" and not rest:
        return Mechanism(qualifier, name, shown)
    if name in ("include", "exists") and rest[:1] == ":":
        return Mechanism(qualifier, name, shown, domain_spec(rest[1:]))
    if name == "ptr" and (not rest or rest[0] == ":"):
        return Mechanism(qualifier, name, shown, domain_spec(rest[1:]) if rest else "")
    if name in ("a", "mx"):
        return _with_lengths(qualifier, name, shown, rest)
    if name in ("ip4", "ip6") and rest[:1] == ":":
        return Mechanism(qualifier, name, shown, network=_network(name, rest[1:], shown))
    raise SpfError(f"unknown or incomplete mechanism {shown}")


def _with_lengths(qualifier: str, name: str, shown: str, rest: str) -> Mechanism:
    # Lengths stand at the end and have at most eight characters, "/32//128".
    at = next((start for start in range(max(0, len(rest) - 8), len(rest) + 1) if _LENGTHS.match(rest, start)),
              len(rest))
    lengths = _LENGTHS.match(rest, at)
    assert lengths is not None
    length4, length6 = int(lengths[1] or 32), int(lengths[2] or 128)
    domain = rest[:at]
    if length4 > 32 or length6 > 128 or (domain and domain[0] != ":"):
        raise SpfError(f"bad mechanism {shown}")
    return Mechanism(qualifier, name, shown, domain_spec(domain[1:]) if domain else "", length4, length6)


def _network(name: str, text: str, shown: str) -> Network:
    address, slash, length = text.partition("/")
    most = 32 if name == "ip4" else 128
    if slash and (not _LENGTH.fullmatch(length) or int(length) > most) or "%" in address:
        raise SpfError(f"bad mechanism {shown}")
    bits = int(length) if slash else most
    try:
        if name == "ip4":
            return ipaddress.IPv4Network((str(ipaddress.IPv4Address(address)), bits), strict=False)
        return ipaddress.IPv6Network((str(ipaddress.IPv6Address(address)), bits), strict=False)
    except ValueError:
        raise SpfError(f"bad mechanism {shown}") from None


def _shown(term: str) -> str:
    """A part of a stranger's record for logs and headers."""
    return term[:100]
