"""SPF macros: %{l1r-}._spf.%{d2} and what they stand for. Source: RFC 7208 section 7.

    expand("%{ir}.%{v}._spf.%{d2}", facts, domain="a.b.example.com") -> "3.2.0.192.in-addr._spf.example.com"

The text was checked by spf_record.py. Limits: the record's length times the longest value (an address of some 300
characters); a name longer than 253 characters loses labels on the left (section 7.3).
"""

import ipaddress
import re
import time
import urllib.parse
from dataclasses import dataclass

NAME_LIMIT = 253
_EXPANSION = re.compile(r"%(?:\{([A-Za-z])([0-9]*)([rR]?)([-.+,/_=]*)\}|([%_-]))")
_SIMPLE = {"%": "%", "_": " ", "-": "%20"}
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class MacroFacts:
    """address: the client's, never IPv4 in IPv6 clothes. local, sender_domain: the identity's. receiver: our name."""

    address: Address
    local: str
    sender_domain: str
    helo: str
    receiver: str = "unknown"


def needs_validated_name(text: str) -> bool:
    """Whether %{p} occurs, which costs look-ups."""
    return any((found[1] or "").lower() == "p" for found in _EXPANSION.finditer(text))


def expand(text: str, facts: MacroFacts, *, domain: str, validated: str = "unknown") -> str:
    """Expand all macros. domain: the one whose record is being evaluated. validated: what %{p} stands for."""
    def one(found: "re.Match[str]") -> str:
        if found[5]:
            return _SIMPLE[found[5]]
        letter = found[1]
        value = _transformed(_value(letter.lower(), facts, domain, validated), found[2], bool(found[3]), found[4])
        return urllib.parse.quote(value, safe="", errors="surrogateescape") if letter.isupper() else value

    return _EXPANSION.sub(one, text)


def expand_name(text: str, facts: MacroFacts, *, domain: str, validated: str = "unknown") -> str:
    """Expand to a domain name: without its last dot, cut on the left at a label where it is too long."""
    name = expand(text, facts, domain=domain, validated=validated).removesuffix(".")
    if len(name) > NAME_LIMIT:
        dot = name.find(".", len(name) - NAME_LIMIT - 1)
        name = name[dot + 1:] if dot >= 0 else name[-NAME_LIMIT:]
    return name


def _value(letter: str, facts: MacroFacts, domain: str, validated: str) -> str:
    address = facts.address
    match letter:
        case "s":
            return f"{facts.local}@{facts.sender_domain}"
        case "l":
            return facts.local
        case "o":
            return facts.sender_domain
        case "d":
            return domain
        case "i":
            return str(address) if address.version == 4 else ".".join(f"{int(address):032X}")
        case "p":
            return validated
        case "v":
            return "in-addr" if address.version == 4 else "ip6"
        case "h":
            return facts.helo
        case "c":
            return str(address)
        case "r":
            return facts.receiver
        case _:
            return str(int(time.time()))


def _transformed(value: str, digits: str, reverse: bool, delimiters: str) -> str:
    if not digits and not reverse and not delimiters:
        return value
    parts = re.split(f"[{re.escape(delimiters or '.')}]", value)
    if reverse:
        parts.reverse()
    if digits:
        keep = int(digits[-4:]) if len(digits.lstrip("0")) <= 4 else 9999
        parts = parts[-keep:]
    return ".".join(parts)
