"""What plugin { } says of ACLs.

    settings = acl_settings(dovecot, user)          None: mail_plugins has no `acl`, or plugin { acl } is not set

acl                       vfile[:PATH][:cache_secs=N]: PATH holds the administrator's ACLs. ACL files are looked at with
                          each use, so cache_secs has nothing to say
acl_shared_dict           file:PATH: which users share something with whom, for LIST
acl_user, acl_groups      as whom the user counts, and the groups (a list with commas)
acl_globals_only = yes    the mailboxes' own files are not asked
acl_defaults_from_inbox   a mailbox without an ACL of its own has INBOX's
acl_anyone = allow        users may give rights to "anyone" and "authenticated"
acl_ignore_namespace...   patterns of prefixes of namespaces without ACLs

A field of the user database with one of these names goes before. Raises ConfigError.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mailsuite.base.errors import ConfigError
from mailsuite.config.variables import expand_variables, user_variables
from mailsuite.sasl.user import UserInfo

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings

PROTOCOLS = ("imap", "pop3", "lmtp")
MANY = 100                      # numbered acl_ignore_namespace settings


@dataclass(frozen=True)
class AclSettings:
    """everywhere, shared: paths, "" for none."""

    user: str
    groups: frozenset[str] = field(default=frozenset())
    everywhere: str = ""
    shared: str = ""
    everywhere_only: bool = False
    from_inbox: bool = False
    anyone: bool = False
    ignored: tuple[str, ...] = ()


def has_acls(settings: "DovecotSettings") -> bool:
    """Whether mail_plugins, of any protocol, has `acl`: all of a user's sessions share one store."""
    return any("acl" in settings.for_protocol(protocol).text("mail_plugins").split() for protocol in PROTOCOLS)


def acl_settings(settings: "DovecotSettings", user: UserInfo) -> AclSettings | None:
    if not has_acls(settings):
        return None
    values = {**settings.plugin, **{name: value for name, value in user.fields.items() if name.startswith("acl")}}
    variables = user_variables(user.user, home=user.home)

    def value(name: str) -> str:
        return expand_variables(values.get(name, ""), variables)

    backend, *options = value("acl").split(":")
    if not backend:
        return None
    if backend != "vfile":
        raise ConfigError(f"plugin/acl: unknown backend {backend}; vfile is the one there is")
    names = ["acl_ignore_namespace", *(f"acl_ignore_namespace{number}" for number in range(2, MANY))]
    return AclSettings(
        user=value("acl_user") or user.fields.get("master_user", "") or user.user,
        groups=frozenset(word for word in value("acl_groups").replace(" ", ",").split(",") if word),
        everywhere=next((option for option in options if option and not option.startswith("cache_secs=")), ""),
        shared=_dict_path(value("acl_shared_dict")),
        everywhere_only=_yes(values, "acl_globals_only"), from_inbox=_yes(values, "acl_defaults_from_inbox"),
        anyone=value("acl_anyone") == "allow", ignored=tuple(filter(None, map(value, names))))


def _yes(values: Mapping[str, str], name: str) -> bool:
    return values.get(name, "") not in ("", "no")


def _dict_path(text: str) -> str:
    if not text:
        return ""
    kind, _, path = text.partition(":")
    if kind != "file" or not path.startswith("/"):
        raise ConfigError(f"plugin/acl_shared_dict = {text}: only file:/PATH is known")
    return path
