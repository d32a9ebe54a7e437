"""All mail that a user can reach, as one store: namespaces, ACLs and quotas put together.

    store = open_user_store(user, settings, options)         blocks; raises ConfigError, StoreError
    is_simple(settings)                                      one namespace without ACLs: nothing but its location counts

With several namespaces only that of INBOX is opened at once, the others when they are first used. What a shared
namespace needs to know of an owner (that there is one, the home for %%h) is asked of the auth service.
"""

import asyncio
import os
import time
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from mailsuite.acl.namespace import NamespaceAcls
from mailsuite.acl.settings import AclSettings, acl_settings, has_acls
from mailsuite.acl.shared import SharedBoxes
from mailsuite.base.errors import ConfigError, TemporaryError
from mailsuite.base.log import access_logger
from mailsuite.config.variables import expand_common, expand_variables, user_names, user_variables
from mailsuite.fulltext.params import FullTextOptions
from mailsuite.quota.user_quota import user_quota
from mailsuite.sasl.master_client import AuthMaster
from mailsuite.sasl.user import UserInfo
from mailsuite.store.api import MailStore
from mailsuite.store.attributes import Attributes, open_attributes
from mailsuite.store.location import Location, parse_location
from mailsuite.store.namespace import NamespaceSpec, namespaces_of
from mailsuite.store.namespaces import Namespaces
from mailsuite.store.opening import open_store
from mailsuite.store.options import StoreOptions
from mailsuite.store.quota import Quota
from mailsuite.store.spaces import NoOwner
from mailsuite.store.store import UserStore

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings

REMEMBER_S = 60.0           # how long what the auth service said of another user is believed
MAX_REMEMBERED = 10_000
log = access_logger("imap")

_owners: dict[tuple[str, str], tuple[float, UserInfo | None]] = {}


@lru_cache(maxsize=16)
def specs_of(settings: "DovecotSettings") -> tuple[NamespaceSpec, ...]:
    """Raises ConfigError."""
    return namespaces_of(settings)


@lru_cache(maxsize=16)
def is_simple(settings: "DovecotSettings") -> bool:
    return len(list(settings.sections("namespace"))) <= 1 and not has_acls(settings)


def location_of(user: UserInfo, settings: "DovecotSettings", text: str = "") -> str:
    """A location of this user, expanded; by default mail_location."""
    return _expanded(text or user.fields.get("mail", "") or _mail_location(settings), user.user, settings.protocol,
                     user.home)


@lru_cache(maxsize=4096)
def _expanded(text: str, user: str, protocol: str, home: str) -> str:
    return expand_common(text, user_names(user), lambda: user_variables(user, service=protocol, home=home))


@lru_cache(maxsize=16)
def _mail_location(settings: "DovecotSettings") -> str:
    return settings.text("mail_location")


def _for_user(user: UserInfo, settings: "DovecotSettings", options: StoreOptions) -> StoreOptions:
    """With what the user databases say about full text (fts_autoindex=yes) in place of the settings."""
    own = {name: text for name, text in user.fields.items() if name.startswith("fts")}
    return replace(options, fulltext=FullTextOptions.of({**settings.plugin, **own})) if own else options


def open_user_store(user: UserInfo, settings: "DovecotSettings", options: StoreOptions) -> MailStore:
    options = _for_user(user, settings, options)
    acls = acl_settings(settings, user)
    specs = specs_of(settings)
    if len(specs) > 1:
        return _Opener(user, settings, options, acls).namespaces(specs)
    location = location_of(user, settings, specs[0].location if specs else "")
    quota = user_quota(user, settings)
    if acls is None:
        return open_store(user.user, home=user.home, location=location, options=options, quota=quota)
    attributes = open_attributes(options.attribute_dict, user.user, user.home) if options.attribute_dict else None
    return UserStore(user.user, parse_location(user.user, user.home, location), options, quota, attributes,
                     acl=NamespaceAcls(acls, owner=user.user, inbox=True))


class _Opener:
    """Opens the stores of one user's namespaces."""

    def __init__(self, user: UserInfo, settings: "DovecotSettings", options: StoreOptions,
                 acls: AclSettings | None) -> None:
        self.user, self.settings, self.options, self.acls = user, settings, options, acls
        self.quota: Quota | None = user_quota(user, settings)
        self.attributes = open_attributes(options.attribute_dict, user.user, user.home) \
            if options.attribute_dict else None
        self._all: Namespaces

    def namespaces(self, specs: Iterable[NamespaceSpec]) -> Namespaces:
        values = user_variables(self.user.user, service=self.settings.protocol, home=self.user.home)
        main = next(spec for spec in specs if spec.inbox)
        default = main.separator or _separator(self._parsed(main, location_of(self.user, self.settings, main.location)))
        expanded = [replace(spec, prefix=expand_variables(spec.prefix, values), separator=spec.separator or default)
                    for spec in specs]
        shared = SharedBoxes(self.acls.shared) if self.acls is not None and self.acls.shared else None
        acls = self.acls

        def owners() -> list[str]:
            return shared.owners(acls.user, acls.groups) if shared is not None and acls is not None else []

        left_out = [spec for spec in expanded if not spec.inbox and not self._is_readable(spec)]
        expanded = [spec for spec in expanded if spec not in left_out]
        self._all = Namespaces(self.user.user, expanded, self.open_one, owners, left_out)
        if self.quota is not None:
            foreign = tuple(spec.prefix for spec in expanded if spec.kind == "public")
            location = self._parsed(main, location_of(self.user, self.settings, main.location))
            self.quota.attach(location.root if location.kind == "maildir" else None, self._all.measure, self._all.open,
                              foreign=foreign)
        return self._all

    def _is_readable(self, spec: NamespaceSpec) -> bool:
        """Is it of a format that is there? What is not must not keep the user from all other mail."""
        try:
            self._parsed(spec, location_of(self.user, self.settings, spec.location))
        except ConfigError as error:
            _warn_once(spec.prefix, error.public)
            return False
        return True

    def _parsed(self, spec: NamespaceSpec, location: str) -> Location:
        return parse_location(self.user.user, self.user.home, location)

    def open_one(self, spec: NamespaceSpec, prefix: str, owner: str) -> UserStore:
        options = replace(self.options, separator=spec.separator, prefix=prefix, mailboxes=spec.mailboxes,
                          inbox=spec.inbox, kind=spec.kind)
        text, quota = location_of(self.user, self.settings, spec.location), self.quota
        shared: Attributes | None = None            # what all see of METADATA is the owner's
        if owner:
            info = self._owner(owner, needs_home="%h" in text)
            values = user_variables(owner, home=info.home)
            text = expand_variables(text, values)
            quota = user_quota(info, self.settings) if quota is not None else None
            shared = open_attributes(options.attribute_dict, owner, info.home) if info.home else None
        acl = None
        if self.acls is not None and not any(_fits(prefix, pattern) for pattern in self.acls.ignored):
            acl = NamespaceAcls(self.acls, owner=owner or (self.user.user if spec.kind == "private" else ""),
                                inbox=spec.inbox or bool(owner))
        location = self._parsed(spec, text)
        if spec.kind == "public" and self.attributes is not None:
            shared = Attributes(os.path.join(location.root, "dovecot-attributes"))      # Dovecot's place, too
        return UserStore(self.user.user, location, options, quota, self.attributes, shared_attributes=shared, acl=acl,
                         keeper=None if spec.kind == "private" else self._all.keeper, sole=bool(owner))

    def _owner(self, name: str, *, needs_home: bool) -> UserInfo:
        """Raises NoOwner, StoreError."""
        if name == self.user.user:
            return self.user
        try:
            info = _asked(os.path.join(self.settings.text("base_dir"), "auth-userdb"), name)
        except (TemporaryError, OSError) as error:
            if needs_home:
                raise NoOwner(f"user {name}: {getattr(error, 'detail', '') or error}") from error
            return UserInfo(name)               # without the service, as in doveadm: the files tell
        if info is None:
            raise NoOwner(f"user {name} does not exist")
        return info


@lru_cache(maxsize=256)
def _warn_once(prefix: str, why: str) -> None:
    log.warning("namespace %s is left out: %s", prefix, why)


def _separator(location: Location) -> str:
    return "." if location.layout == "maildir++" else "/"


def _fits(prefix: str, pattern: str) -> bool:
    from mailsuite.acl.everywhere import matcher

    return matcher(pattern)(prefix) is not None


def _asked(path: str, name: str) -> UserInfo | None:
    """What the user databases say, kept for a while. Raises TemporaryError, OSError."""
    known = _owners.get((path, name))
    now = time.monotonic()
    if known is not None and known[0] > now:
        return known[1]
    info = asyncio.run(_ask(path, name))
    if len(_owners) >= MAX_REMEMBERED:
        _owners.clear()
    _owners[path, name] = (now + REMEMBER_S, info)
    return info


async def _ask(path: str, name: str) -> UserInfo | None:
    master = AuthMaster(path)
    try:
        return await master.userdb(name, service="imap")
    finally:
        master.close()
