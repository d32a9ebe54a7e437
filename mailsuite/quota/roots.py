"""What plugin { } says of quota roots.

    roots = root_settings(plugin, user_fields, expand)     plugin: the settings' text, fields: of the user database
    roots[0].name, .backend, .rules, .warnings, .grace_of(limit)

quota, quota2, ... = BACKEND[:NAME[:OPTION...]]; quota_rule, quota_rule2..., quota2_rule...; quota_warning likewise;
quota_grace, quota_exceeded_message, quota_max_mail_size, quota_vsizes for all. A user's own fields (quota_rule=...) go
before the plugin's, and may name any of these. Options: noenforcing, hidden, ns=PREFIX; ignoreunlimited is read over.
Backends: maildir, count, dirsize; the others (fs, dict, imapc) are refused. Raises ConfigError.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mailsuite.base.errors import ConfigError
from mailsuite.quota.limits import Limits, Rules, parse_octets, share

BACKENDS = ("maildir", "count", "dirsize")
EXCEEDED = "Quota exceeded (mailbox for user is full)"
MANY = 100                      # numbered settings of one kind that are looked for


@dataclass(frozen=True)
class Warning_:
    """quota_warning = [+|-]RESOURCE=LIMIT SOCKET ARGUMENTS: what is called when usage passes the limit, upwards or
    (below) downwards."""

    limits: Limits
    below: bool
    command: tuple[str, ...]


@dataclass(frozen=True)
class RootSettings:
    """One root. enforced: mail is refused when it is full."""

    name: str
    backend: str
    rules: Rules
    warnings: tuple[Warning_, ...] = ()
    enforced: bool = True
    hidden: bool = False
    prefix: str | None = None


@dataclass(frozen=True)
class QuotaSettings:
    """All of a user's. grace: text of quota_grace. largest: octets of one message, 0: any."""

    roots: tuple[RootSettings, ...]
    wire: bool = False
    grace: str = "10%"
    exceeded: str = EXCEEDED
    largest: int = 0

    def grace_of(self, limit: int) -> int:
        """Octets that new mail may go beyond a limit while it is not reached."""
        return parse_octets(self.grace, "quota_grace").over(limit) if limit else 0


def numbered(values: Mapping[str, str], name: str) -> list[str]:
    """NAME, NAME2, NAME3...: up to the first that is not set."""
    found = [values[name]] if values.get(name) else []
    for number in range(2, MANY):
        if not (text := values.get(f"{name}{number}")):
            break
        found.append(text)
    return found


def quota_settings(plugin: Mapping[str, str], fields: Mapping[str, str],
                   expand: Callable[[str], str]) -> QuotaSettings | None:
    """None: no root is configured. Raises ConfigError."""
    values = {name: text for name, text in plugin.items() if name.startswith("quota")}
    values |= {name: text for name, text in fields.items() if name.startswith("quota")}
    roots = []
    for number, text in enumerate(numbered(values, "quota"), 1):
        base = "quota" if number == 1 else f"quota{number}"
        try:
            roots.append(_root(base, expand(text), values, expand))
        except ConfigError as error:
            raise ConfigError(f"Failed to initialize quota: Quota root {text}: {error.public}") from error
    if not roots:
        return None
    largest = parse_octets(_in_octets(values.get("quota_max_mail_size") or "0"), "quota_max_mail_size").number
    settings = QuotaSettings(tuple(roots), values.get("quota_vsizes", "no").lower() in ("yes", "y", "1", "true"),
                             expand(values.get("quota_grace", "")) or "10%",
                             expand(values.get("quota_exceeded_message") or EXCEEDED), largest)
    settings.grace_of(1)                # told now, not when mail comes
    return settings


def _root(base: str, text: str, values: Mapping[str, str], expand: Callable[[str], str]) -> RootSettings:
    backend, _, rest = text.partition(":")
    name, *options = rest.split(":")
    if backend not in BACKENDS:
        raise ConfigError(f"Unknown quota backend: {backend}" if backend not in ("fs", "dict", "imapc") else
                          f"quota backend {backend} is not supported, use count")
    enforced, hidden, prefix = True, False, None
    for option in filter(None, options):
        key, _, value = option.partition("=")
        match key:
            case "noenforcing":
                enforced = False
            case "hidden":
                hidden = True
            case "ns":
                prefix = value
            case "ignoreunlimited":
                pass
            case _:
                raise ConfigError(f"{backend} quota init failed: Unknown parameter for backend {backend}: {option}")
    warnings = tuple(_warning(expand(one)) for one in numbered(values, f"{base}_warning"))
    rules = Rules.parse(expand(rule) for rule in numbered(values, f"{base}_rule"))
    return RootSettings(name, backend, rules, _filled(warnings, rules.default), enforced, hidden, prefix)


def _warning(text: str) -> "tuple[str, bool, tuple[str, ...]]":
    words = text.split()
    if len(words) < 2 or "=" not in words[0]:
        raise ConfigError(f"Invalid warning rule: {text}")
    return words[0].lstrip("+-"), words[0].startswith("-"), tuple(words[1:])


def _filled(warnings: "tuple[tuple[str, bool, tuple[str, ...]], ...]", default: Limits) -> tuple[Warning_, ...]:
    """Limits in numbers: percents are of the root's default."""
    made = []
    for limit, below, command in warnings:
        made.append(Warning_(share(limit, default), below, command))
    return tuple(made)


def _in_octets(text: str) -> str:
    """A size that counts octets where it has no unit, other than those of rules."""
    return f"{text}B" if text.isdecimal() else text
