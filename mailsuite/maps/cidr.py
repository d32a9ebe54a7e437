"""cidr: the first network that holds an address: "192.0.2.0/24  value", "!net value", IF net ... ENDIF.

Networks are kept as numbers (base and mask for each family), so a look-up parses the key once; a table without IF and
"!" costs the same whatever its length.
Source: cidr_table(5).
"""

import socket
from collections.abc import Iterable
from typing import NamedTuple

from mailsuite.maps.rules import Rule, RuleTable, SkipRule, first_fit, negation, split_at_blanks


class Network(NamedTuple):
    """bits: 32 or 128."""

    bits: int
    base: int
    mask: int


def parse_address(text: str) -> tuple[int, int] | None:
    """Bits and number of an address, None for anything else. IPv4 needs four parts; IPv6 may stand in brackets."""
    try:
        if ":" in text:
            if text[0] == "[" and text[-1] == "]":
                text = text[1:-1]
            return 128, int.from_bytes(socket.inet_pton(socket.AF_INET6, text), "big")
        if text[:1] == "[" and text[-1:] == "]":
            text = text[1:-1]
        return 32, int.from_bytes(socket.inet_pton(socket.AF_INET, text), "big")
    except (OSError, ValueError, IndexError):
        return None


def parse_network(text: str) -> Network:
    """"192.0.2.0/24", "[2001:db8::]/32", "192.0.2.1". Raises SkipRule with Postfix's words."""
    bare = text
    if text.startswith("["):
        inside, bracket, behind = text[1:].partition("]")
        if not bracket:
            raise SkipRule(f"missing ']' character after \"{text}\"")
        if behind and not behind.startswith("/"):
            raise SkipRule(f"garbage after \"[{inside}]\"")
        bare = inside + behind
    address, slash, length = bare.partition("/")
    if slash and not (length.isascii() and length.isdigit()):
        raise SkipRule(f"bad mask value in \"{text}\"")
    parsed = parse_address(address)
    if parsed is None:
        raise SkipRule(f"bad network value in \"{text}\"" if slash else f"bad address pattern: \"{text}\"")
    bits, base = parsed
    if not slash:
        return Network(bits, base, (1 << bits) - 1)
    if int(length) > bits:
        raise SkipRule(f"bad mask length in \"{text}\"")
    mask = ((1 << int(length)) - 1) << (bits - int(length))
    if base & ~mask:
        plain = text.replace("[", "").replace("]", "")
        raise SkipRule(f"non-null host address bits in \"{plain}\", perhaps you should use "
                       f"\"{_text(bits, base & mask)}/{length}\" instead")
    return Network(bits, base, mask)


def _text(bits: int, number: int) -> str:
    return socket.inet_ntop(socket.AF_INET if bits == 32 else socket.AF_INET6, number.to_bytes(bits // 8, "big"))


class NetworkIndex:
    """Networks in order. first(bits, number): which is the first that holds an address, -1 for none.

    Cost: a dictionary look-up for each prefix length that occurs, however many networks there are.
    """

    def __init__(self, networks: Iterable[Network]) -> None:
        self._masks: dict[tuple[int, int], dict[int, int]] = {}
        for number, network in enumerate(networks):
            self._masks.setdefault((network.bits, network.mask), {}).setdefault(network.base, number)

    def first(self, bits: int, number: int) -> int:
        best = -1
        for (width, mask), bases in self._masks.items():
            if width == bits:
                found = bases.get(number & mask, -1)
                if found >= 0 and (best < 0 or found < best):
                    best = found
        return best


class CidrTable(RuleTable[Network]):
    """Keys are addresses; anything else is absent."""

    lonely_endif = "ENDIF without IF: skipping this rule"
    after_endif = "garbage after ENDIF: skipping this rule"
    strict_endif = True

    def parse_rule(self, text: str, line: int, *, is_if: bool) -> Rule[Network]:
        negated, text = negation(text)
        pattern, value = split_at_blanks(text)
        if not pattern:
            raise SkipRule("no address pattern: skipping this rule")
        try:
            network = parse_network(text if is_if else pattern)
            if not is_if and not value:
                raise SkipRule("no lookup result")
            return Rule(network, negated, is_if, "" if is_if else self._source.value(value), line)
        except (SkipRule, ValueError) as error:
            raise SkipRule(f"{error}: skipping this rule") from None

    def compiled(self) -> None:
        self._all = range(len(self.rules))
        self._plain = not any(rule.negated or rule.is_if for rule in self.rules)
        self._index = NetworkIndex(rule.pattern for rule in self.rules)

    def lookup(self, key: str) -> str | None:
        self.refresh()
        parsed = parse_address(key) if key[:1] != "[" else None
        if parsed is None:
            return None
        bits, number = parsed
        if self._plain:
            place = self._index.first(bits, number)
            if place < 0:
                return None
            self.fitted = self.rules[place].line
            return str(self.rules[place].value)
        # A network of the other family says nothing of the address, negated or not.
        fit = first_fit(self.rules, self._all, lambda _, rule: number & rule.pattern.mask == rule.pattern.base
                        if bits == rule.pattern.bits else rule.negated)
        if fit is None:
            return None
        self.fitted = fit.line
        return str(fit.value)
