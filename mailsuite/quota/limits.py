"""Rules of a quota root: how much each mailbox may hold.

    rules = Rules.parse(["*:storage=1G:messages=10000", "Trash:storage=+10%", "Spam:ignore"])
    rules.of("Trash") -> Limits(octets=..., messages=10000)         None: the mailbox is not counted
    Limits.default is rules.of("")

A rule is MAILBOX:LIMITS, LIMITS one or more of storage=N[B|k|M|G|T], bytes=N, messages=N, ignore, noenforcing's kind of
words not among them. A mailbox's limits are added to those of "*", "-N" takes away, "N%" is a part of those of "*".
MAILBOX may have the wildcards * and ?. The first rule that fits counts.
https://doc.dovecot.org/2.3/configuration_manual/quota/. Raises ConfigError.
"""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import NamedTuple

from mailsuite.base.errors import ConfigError

_UNITS = {"": 1024, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_NUMBER = re.compile(r"([+-]?)(\d+)\s*([BKMGT]?|%)\Z", re.IGNORECASE)
LARGEST = (1 << 63) - 1


class Limits(NamedTuple):
    """0: no limit."""

    octets: int = 0
    messages: int = 0


class _Amount(NamedTuple):
    """number in octets or messages; percent of the default's; added to it."""

    number: int
    percent: bool
    added: bool

    def over(self, default: int) -> int:
        amount = default * self.number // 100 if self.percent else self.number
        return max(0, min(default + amount if self.added else amount, LARGEST))

    def beyond(self, default: int) -> int:
        """Of a mailbox's own rule, which always adds, without a sign too: as Dovecot does, whatever its manual says."""
        return self._replace(added=True).over(default)


class _Rule(NamedTuple):
    mailbox: str
    octets: _Amount | None = None
    messages: _Amount | None = None
    ignored: bool = False

    def fits(self, mailbox: str) -> bool:
        return self.mailbox == mailbox or fnmatchcase(mailbox, re.sub(r"\[", "[[]", self.mailbox))


def parse_octets(text: str, what: str) -> _Amount:
    """"10M", "+5%", "1024" (kilobytes). Raises ConfigError."""
    found = _NUMBER.match(text.strip())
    if found is None:
        raise ConfigError(f"{what}: Invalid size: {text}")
    sign, digits, unit = found.groups()
    number = int(digits) * (1 if unit == "%" else _UNITS[unit.upper()])
    return _Amount(-number if sign == "-" else number, unit == "%", bool(sign))


def _parse_count(text: str, what: str) -> _Amount:
    found = _NUMBER.match(text.strip())
    if found is None or found[3].upper() not in ("", "%"):
        raise ConfigError(f"{what}: Invalid number of messages: {text}")
    number = int(found[2])
    return _Amount(-number if found[1] == "-" else number, found[3] == "%", bool(found[1]))


def _parse_rule(text: str) -> _Rule:
    mailbox, colon, limits = text.partition(":")
    if not colon:
        raise ConfigError(f"Invalid rule: {text}")
    octets = messages = None
    ignored = False
    for word in limits.split(":"):
        name, _, value = word.partition("=")
        match name.strip().lower():
            case "storage":
                octets = parse_octets(value, text)
            case "bytes":
                octets = parse_octets(f"{value}B" if value[-1:].isdigit() else value, text)
            case "messages":
                messages = _parse_count(value, text)
            case "ignore":
                ignored = True
            case "backend" | "":
                pass                    # "backend=": for the file system's quotas alone
            case _:
                raise ConfigError(f"Invalid rule: Unknown rule limit name: {word}")
    return _Rule(mailbox, octets, messages, ignored)


def share(text: str, default: Limits) -> Limits:
    """What a warning's "storage=95%" or "messages=80" means where these are the limits. Raises ConfigError."""
    rule = _parse_rule(f"*:{text}")
    if rule.messages is not None:
        return Limits(messages=rule.messages.over(default.messages))
    return Limits(rule.octets.over(default.octets) if rule.octets else default.octets)


class Rules:
    """All rules of a root."""

    def __init__(self, rules: Iterable[_Rule]) -> None:
        self._rules = tuple(rules)
        whole = next((rule for rule in self._rules if rule.mailbox == "*"), _Rule("*"))
        self.default = Limits(whole.octets.over(0) if whole.octets else 0,
                              whole.messages.over(0) if whole.messages else 0)
        self._special = tuple(rule for rule in self._rules if rule.mailbox != "*")

    @classmethod
    def parse(cls, texts: Iterable[str]) -> "Rules":
        return cls(_parse_rule(text) for text in texts)

    def of(self, mailbox: str) -> Limits | None:
        """The limits that hold for a mailbox; None: it is not counted at all."""
        rule = next((rule for rule in self._special if rule.fits(mailbox)), None)
        if rule is None:
            return self.default
        if rule.ignored:
            return None
        return Limits(rule.octets.beyond(self.default.octets) if rule.octets else self.default.octets,
                      rule.messages.beyond(self.default.messages) if rule.messages else self.default.messages)
