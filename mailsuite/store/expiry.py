"""Old messages leave certain mailboxes when a session ends: autoexpunge.

    rules = expiring(options.mailboxes)         those with autoexpunge or autoexpunge_max_mails; [] for most sites
    count = expire(store, rules)                how many messages went; blocks; what fails is logged

mailbox NAME { autoexpunge = 30d; autoexpunge_max_mails = 1000 }; "*" and "?" in NAME stand for any characters. As in
Dovecot a message's age begins when it came into the mailbox, and the first one that is young enough ends the search.
A message of which the files do not tell when it came stays.
"""

import logging
import re
import time
from collections.abc import Iterator, Sequence

from mailsuite.base.errors import MailError
from mailsuite.store.api import Mailbox, MailStore
from mailsuite.store.options import MailboxRule

AT_ONCE = 1000                  # messages removed in one step: other sessions need the mailbox too
_WILD = re.compile(r"[*?]")

log = logging.getLogger("mailsuite.dovecot.expire")


def expiring(rules: Sequence[MailboxRule]) -> list[MailboxRule]:
    return [rule for rule in rules if rule.autoexpunge_s or rule.autoexpunge_max_mails]


def expire(store: MailStore, rules: Sequence[MailboxRule], prefix: str | None = None) -> int:
    """prefix: of the namespace that the rules are for, by default that of INBOX. Raises nothing."""
    gone = 0
    for rule in rules:
        for name in _names(store, rule.name, store.prefix if prefix is None else prefix):
            try:
                gone += _expire_one(store.open(name), rule, time.time())
            except MailError as error:
                log.error("Failed to autoexpunge mailbox '%s': %s", name, error.detail or error.public)
    return gone


def _names(store: MailStore, name: str, prefix: str) -> Iterator[str]:
    """The mailboxes that a rule means and that are there."""
    full = name if name.upper() == "INBOX" else prefix + name
    if _WILD.search(name) is None:
        if any(info.name == full and info.selectable for info in store.list_mailboxes()):
            yield full
        return
    pattern = re.compile("".join({"*": ".*", "?": "."}.get(part, re.escape(part))
                                 for part in re.split(r"([*?])", full)), re.DOTALL)
    for info in store.list_mailboxes():
        if info.selectable and pattern.fullmatch(info.name):
            yield info.name


def _expire_one(mailbox: Mailbox, rule: MailboxRule, now: float) -> int:
    view = mailbox.open_view(read_only=True, claim_recent=False)
    try:
        uids = list(view.uids)
    finally:
        view.close()
    surplus = max(0, len(uids) - rule.autoexpunge_max_mails) if rule.autoexpunge_max_mails else 0
    old = uids[:surplus]
    if rule.autoexpunge_s:
        for uid in uids[surplus:]:
            saved = mailbox.saved_date(uid)
            if saved is None or saved > now - rule.autoexpunge_s:
                break
            old.append(uid)
    gone = 0
    for at in range(0, len(old), AT_ONCE):
        gone += len(mailbox.remove(old[at:at + AT_ONCE]))
    return gone
