"""What dovecot.conf says of namespaces.

    specs = namespaces_of(settings)            those that are not disabled, in NAMESPACE's order; () without any section

namespace NAME { type prefix separator location inbox hidden list subscriptions order alias_for ignore_on_failure
disabled mailbox NAME { ... } }. Texts as they are written: their %-variables are expanded for each user. Raises
ConfigError for what contradicts itself.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mailsuite.base.errors import ConfigError
from mailsuite.store.options import MailboxRule, Settings, rules

_OWNER = re.compile(r"%([und])")


@dataclass(frozen=True)
class NamespaceSpec:
    """kind: private, shared or public. listed: yes, no or children."""

    name: str
    kind: str = "private"
    prefix: str = ""
    separator: str = ""
    location: str = ""
    listed: str = "yes"
    subscriptions: bool = True
    hidden: bool = False
    inbox: bool = False
    order: int = 0
    alias_for: str | None = None
    may_fail: bool = False
    mailboxes: tuple[MailboxRule, ...] = field(default=())


def namespaces_of(settings: Settings) -> tuple[NamespaceSpec, ...]:
    sections = [section for section in settings.sections("namespace") if _text(section, "disabled", "no") != "yes"]
    specs = [_spec(section) for section in sections]
    if not specs:
        return ()
    if len(specs) > 1 and sum(spec.inbox for spec in specs) != 1:
        raise ConfigError("namespace configuration error: " + (
            "there can be only one namespace with inbox=yes" if any(spec.inbox for spec in specs)
            else "inbox=yes namespace missing"))
    seen: set[str] = set()
    for spec in specs:
        if spec.prefix in seen:
            raise ConfigError(f"namespace configuration error: Duplicate namespace prefix: \"{spec.prefix}\"")
        seen.add(spec.prefix)
        if spec.kind == "shared" and not _OWNER.search(spec.prefix.replace("%%", "%")):
            raise ConfigError(f"namespace configuration error: Shared namespace prefix without %%u: {spec.prefix}")
    if len({spec.separator for spec in specs if spec.listed != "no" and spec.separator}) > 1:
        raise ConfigError("namespace configuration error: All list=yes namespaces must use the same separator")
    return tuple(sorted(specs, key=lambda spec: (spec.order, len(spec.prefix))))


def _spec(section: Any) -> NamespaceSpec:
    kind = _text(section, "type", "private")
    if kind not in ("private", "shared", "public"):
        raise ConfigError(f"namespace configuration error: Unknown namespace type: {kind}")
    order = _text(section, "order", "0")
    return NamespaceSpec(
        name=section.name, kind=kind, prefix=_text(section, "prefix", ""), separator=_text(section, "separator", ""),
        location=_text(section, "location", ""), listed=_text(section, "list", "yes"),
        subscriptions=_text(section, "subscriptions", "yes") == "yes", hidden=_text(section, "hidden", "no") == "yes",
        inbox=_text(section, "inbox", "no") == "yes", order=int(order) if order.isdecimal() else 0,
        alias_for=_text(section, "alias_for", "") if _is_set(section, "alias_for") else None,
        may_fail=_text(section, "ignore_on_failure", "no") == "yes", mailboxes=tuple(rules(section)))


def _text(section: Any, name: str, default: str) -> str:
    try:
        return section.text(name) or default
    except KeyError:
        return default


def _is_set(section: Any, name: str) -> bool:
    return bool(section.is_set(name)) if hasattr(section, "is_set") else bool(_text(section, name, ""))


class OwnerPattern:
    """The prefix of a shared namespace: "shared/%u/" for all users' mail.

    pattern.owner_of("shared/bob/Work", "alice") -> ("bob", "shared/bob/");  pattern.prefix_of("bob") -> "shared/bob/"
    """

    def __init__(self, prefix: str, separator: str) -> None:
        pieces = _OWNER.split(prefix)
        self._letters = pieces[1::2]
        self.begin = pieces[0]                          # what stands before the owner
        self._prefix = prefix
        part = f"([^{re.escape(separator)}]+)"
        expression = part.join(re.escape(piece) for piece in pieces[::2])
        end = re.escape(separator)
        self._match = re.compile(expression.removesuffix(end) + f"(?:{end}|$)" if expression.endswith(end)
                                 else expression).match

    def owner_of(self, name: str, viewer: str) -> tuple[str, str] | None:
        """The owner and the prefix, or None when the name is none of anybody's."""
        found = self._match(name)
        if found is None:
            return None
        values = dict(zip(self._letters, found.groups(), strict=True))
        local, domain = values.get("n", ""), values.get("d", viewer.partition("@")[2])
        owner = values.get("u") or (f"{local}@{domain}" if domain else local)
        return owner, self.prefix_of(owner)

    def prefix_of(self, owner: str) -> str:
        local, _, domain = owner.partition("@")
        values = {"u": owner, "n": local, "d": domain}
        return _OWNER.sub(lambda found: values[found[1]], self._prefix)


def literal_beginnings(patterns: Sequence[str]) -> list[str]:
    """What names must begin with to fit a LIST pattern: the text before its first wildcard."""
    return [re.split(r"[*%]", pattern, maxsplit=1)[0] for pattern in patterns]
