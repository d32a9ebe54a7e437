"""The locking policy of mailbox files, from parameters."""

from mailsuite.config.registry import Param
from mailsuite.config.settings import Settings
from mailsuite.deliver.params import DELIVER_LOCK_ATTEMPTS, DELIVER_LOCK_DELAY, STALE_LOCK_TIME
from mailsuite.store.delivery import MboxLocks
from mailsuite.store.locks import parse_methods


def mbox_locks(settings: Settings, methods: Param[tuple[str, ...]], *, may_fail: bool = False) -> MboxLocks:
    """methods: mailbox_delivery_lock or virtual_mailbox_lock. Raises ConfigError."""
    delay, names = settings[DELIVER_LOCK_DELAY], settings[methods]
    return MboxLocks(parse_methods(" ".join(names)), wait_s=delay * (settings[DELIVER_LOCK_ATTEMPTS] - 1),
                     delay_s=delay, stale_s=settings[STALE_LOCK_TIME], may_fail=may_fail)
