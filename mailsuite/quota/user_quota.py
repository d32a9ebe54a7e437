"""One user's quota roots: who may bring in mail, and what is told of usage. Implements store/quota.Quota.

    quota = user_quota(user, settings)          settings: DovecotSettings of any protocol; None: no quotas

Usage is what the root's backend says: the maildirsize file, or the store's own count (count, dirsize). Grace: as long
as a limit is not passed, new mail (LMTP) may pass it by quota_grace.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from mailsuite.base.errors import ConfigError, MailError
from mailsuite.config.variables import expand_variables, user_variables
from mailsuite.quota.limits import Limits
from mailsuite.quota.maildirsize import MaildirSize
from mailsuite.quota.roots import QuotaSettings, RootSettings, quota_settings
from mailsuite.quota.trash import OpenMailbox, Trash
from mailsuite.quota.warnings import passed, start
from mailsuite.sasl.user import UserInfo
from mailsuite.store.errors import OverQuota, StoreError, TooLarge
from mailsuite.store.names import from_mutf7
from mailsuite.store.quota import Measure, Resource, RootState, Usage

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings

PROTOCOLS = ("imap", "pop3", "lmtp")
log = logging.getLogger("mailsuite.dovecot.quota")

Call = Callable[[Sequence[str]], None]


class _Root:
    """One root with its backend."""

    def __init__(self, settings: RootSettings, folder: str | None, measure: Measure, foreign: tuple[str, ...]) -> None:
        """foreign: prefixes of namespaces in which only a root with their ns= counts."""
        self.settings = settings
        self._foreign = foreign
        self._size: MaildirSize | None = None
        self._measure = partial(measure, lambda name: not self.counts(name))
        if settings.backend == "maildir" and folder is not None and settings.prefix not in foreign:
            self._size = MaildirSize(folder, settings.rules.default, self._measure)

    def limits(self, mailbox: str) -> Limits | None:
        """None: this root has nothing to do with the mailbox."""
        name = from_mutf7(mailbox) or mailbox
        if not self.concerns(name):
            return None
        return self.settings.rules.of("INBOX" if name.upper() == "INBOX" else name)

    def concerns(self, name: str) -> bool:
        """Whether the root has to do with the mailbox's namespace."""
        if self.settings.prefix:
            return name.startswith(self.settings.prefix) or name == self.settings.prefix[:-1]
        return not any(name.startswith(prefix) or name == prefix[:-1] for prefix in self._foreign)

    def counts(self, mailbox: str) -> bool:
        return self.limits(mailbox) is not None

    def usage(self) -> Usage:
        return self._size.usage() if self._size is not None else self._measure()

    def add(self, octets: int, messages: int) -> None:
        if self._size is not None:
            self._size.add(octets, messages)

    def recalculate(self) -> None:
        if self._size is not None:
            self._size.recalculate()


class UserQuota:
    """settings: of this user. call: runs the command of a warning. trash: what makes room, None: nothing does."""

    def __init__(self, settings: QuotaSettings, call: Call, trash: Trash | None = None) -> None:
        self.settings, self._call, self._trash = settings, call, trash
        self.wire, self.makes_room = settings.wire, trash is not None
        self._roots: list[_Root] = []
        self._open: OpenMailbox | None = None

    @property
    def largest(self) -> int:
        return self.settings.largest

    def attach(self, root: str | None, measure: Measure, open_mailbox: OpenMailbox, *,
               foreign: tuple[str, ...] = ()) -> None:
        self._roots = [_Root(one, root, measure, foreign) for one in self.settings.roots]
        self._open = open_mailbox

    def make_room(self, mailbox: str, sizes: Sequence[int], *, delivery: bool = False, moved_from: str = "",
                  spare: str = "") -> None:
        if self._trash is None or self._open is None or not sizes or 0 < self.settings.largest < max(sizes):
            return
        added = Usage(sum(sizes), len(sizes))
        for root in self._roots:
            limits = root.limits(mailbox)
            if not root.settings.enforced or limits is None or moved_from and root.concerns(moved_from):
                continue
            try:
                usage = root.usage()
                if self._fits(limits, usage, *added, delivery):
                    continue
                over = Usage(usage.octets + added.octets - limits.octets if limits.octets else 0,
                             usage.messages + added.messages - limits.messages if limits.messages else 0)
                if over.octets <= usage.octets and over.messages <= usage.messages:
                    self._trash.make_room(self._open, over, wire=self.wire, spare=spare)
            except (OSError, MailError) as error:
                log.error("quota root %s: cannot make room: %s", root.settings.name, error)

    def admit(self, mailbox: str, sizes: Sequence[int], *, delivery: bool = False, moved_from: str = "",
              replaces: bool = False) -> None:
        if self.settings.largest and sizes and max(sizes) > self.settings.largest and not moved_from:
            raise TooLarge
        for root in self._roots:
            limits = root.limits(mailbox)
            if not root.settings.enforced or limits is None or limits == Limits():
                continue
            if moved_from and root.concerns(moved_from):
                continue                # it stays within; also out of a mailbox that is not counted, as with Dovecot
            try:
                usage = root.usage()
            except OSError as error:
                raise StoreError(f"quota root {root.settings.name}: {error}") from error
            if not self._fits(limits, usage, sum(sizes), 0 if replaces else len(sizes), delivery):
                raise OverQuota(self.settings.exceeded)

    def _fits(self, limits: Limits, usage: Usage, octets: int, messages: int, delivery: bool) -> bool:
        if limits.messages and usage.messages + messages > limits.messages:
            return False
        grace = self.settings.grace_of(limits.octets) if delivery and usage.octets <= limits.octets else 0
        return not limits.octets or usage.octets + octets <= limits.octets + grace

    def changed(self, mailbox: str, *, octets: int, messages: int) -> None:
        if not octets and not messages:
            return
        for root in self._roots:
            if not root.counts(mailbox):
                continue
            try:
                root.add(octets, messages)
                if not root.settings.warnings:
                    continue
                now = root.usage()
                before = Usage(now.octets - octets, now.messages - messages)
                if (command := passed(root.settings.warnings, before, now)) is not None:
                    self._call(command)
            except (OSError, StoreError) as error:
                log.error("quota root %s: %s", root.settings.name, error)

    def state(self, mailbox: str = "") -> list[RootState]:
        found = []
        for root in self._roots:
            if mailbox and not root.concerns(from_mutf7(mailbox) or mailbox):
                continue
            default = root.settings.rules.default
            try:
                usage = root.usage()
            except OSError as error:
                raise StoreError(f"quota root {root.settings.name}: {error}") from error
            found.append(RootState(root.settings.name, (
                Resource("STORAGE", -(-usage.octets // 1024), -(-default.octets // 1024) or None),
                Resource("MESSAGE", usage.messages, default.messages or None)), root.settings.hidden))
        return found

    def recalculate(self) -> None:
        for root in self._roots:
            try:
                root.recalculate()
            except OSError as error:
                raise StoreError(f"quota root {root.settings.name}: {error}") from error


def has_quotas(settings: "DovecotSettings") -> bool:
    """Whether mail_plugins, of any protocol, has `quota`."""
    return _has_plugin(settings, "quota")


def _has_plugin(settings: "DovecotSettings", name: str) -> bool:
    return any(name in settings.for_protocol(protocol).text("mail_plugins").split() for protocol in PROTOCOLS)


def user_quota(user: UserInfo, settings: "DovecotSettings") -> UserQuota | None:
    """The quotas of a user: None unless mail_plugins, of any protocol, has `quota`. Raises StoreError."""
    if not has_quotas(settings):
        return None
    variables = user_variables(user.user, home=user.home)
    try:
        found = quota_settings(settings.plugin, user.fields, lambda text: expand_variables(text, variables))
    except ConfigError as error:
        log.error("%s: %s", user.user, error.public)
        raise StoreError(error.public) from error
    if found is None:
        return None

    path = settings.plugin.get("trash", "") if _has_plugin(settings, "trash") else ""
    trash = Trash(expand_variables(path, variables)) if path else None
    return UserQuota(found, partial(start, settings.text("base_dir")), trash)
