"""What the store says went wrong, in IMAP's words (RFC 5530)."""

from collections.abc import Mapping

from mailsuite.base.errors import MailError
from mailsuite.imap.reply import NO, Refusal, Reply, internal_error
from mailsuite.store.api import (
    InvalidName,
    MailboxExists,
    MailboxInUse,
    MessageGone,
    NoPermission,
    NotPossible,
    OverQuota,
    StoreError,
    TooLarge,
)

CODES: Mapping[type[MailError], str] = {
    MailboxExists: "ALREADYEXISTS", InvalidName: "CANNOT", NotPossible: "CANNOT", NoPermission: "NOPERM",
    OverQuota: "OVERQUOTA", TooLarge: "LIMIT", MailboxInUse: "INUSE",
    MessageGone: "EXPUNGEISSUED", StoreError: "SERVERBUG"}


def reply_of(error: MailError) -> Reply:
    """NO, with the code of the error's class."""
    if isinstance(error, Refusal):
        return Reply(NO, error.public, error.code)
    code = next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), "")
    if isinstance(error, StoreError):
        return internal_error()
    return Reply(NO, error.public.removesuffix("."), code)
