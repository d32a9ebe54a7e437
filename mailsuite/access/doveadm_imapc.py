"""An account on another IMAP server as a store, for doveadm import: fetched into a temporary Maildir first.

    store = fetched(user, settings)         store.close() removes the copy

imapc_host and its kin say where. All of the account is fetched: a query may need any part of it. The copy lies in the
user's home, where there is room for the mail anyway. Raises: MailError when not all of it could be fetched.
"""

import os
import shutil
import tempfile
from typing import TYPE_CHECKING

from mailsuite.base.errors import TemporaryError
from mailsuite.imapc.account import Account
from mailsuite.sasl.user import UserInfo
from mailsuite.store.api import MailStore
from mailsuite.store.location import parse_location
from mailsuite.store.options import StoreOptions
from mailsuite.store.store import UserStore
from mailsuite.sync.engine import Run
from mailsuite.sync.local import StoreSide
from mailsuite.sync.options import Mode, Options
from mailsuite.sync.remote import ImapSide
from mailsuite.sync.report import Report

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings


class TemporaryStore(UserStore):
    """Removes its folder when it is closed."""

    folder = ""

    def close(self) -> None:
        super().close()
        shutil.rmtree(self.folder, ignore_errors=True)


def fetched(user: UserInfo, settings: "DovecotSettings") -> MailStore:
    home = user.home if user.home and os.access(user.home, os.W_OK) else None
    folder = tempfile.mkdtemp(prefix=".import-", dir=home)
    store = TemporaryStore(user.user, parse_location(user.user, user.home, f"maildir:{folder}:LAYOUT=fs"),
                           StoreOptions(fsync="never"))
    store.folder = folder
    options = Options(mode=Mode.MIRROR, reverse=True)
    side = ImapSide(Account.of(settings, user=user.user), options)
    try:
        result = Run(StoreSide(store, folder), side, options, Report()).run()
        if problems := result.errors or result.refusals:
            raise TemporaryError(problems[0])
    except BaseException:
        store.close()
        raise
    finally:
        side.close()
    return store
