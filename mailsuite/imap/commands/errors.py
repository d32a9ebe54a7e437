"""What the store says went wrong, in IMAP's words (RFC 5530)."""

from collections.abc import Mapping

from mailsuite.base.errors import MailError
from mailsuite.imap.reply import NO, Refusal, Reply, internal_error
from mailsuite.store.api import (
    BadEncoding,
    HasChildren,
    InvalidName,
    MailboxExists,
    MailboxInUse,
    MessageGone,
    NoPermission,
    NoSuchMailbox,
    NotPossible,
    NotSelectable,
    OverQuota,
    StoreError,
    TooLarge,
)

CODES: Mapping[type[MailError], str] = {
    MailboxExists: "ALREADYEXISTS", InvalidName: "CANNOT", NotPossible: "CANNOT", NoPermission: "NOPERM",
    OverQuota: "OVERQUOTA", TooLarge: "LIMIT", MailboxInUse: "INUSE",
    MessageGone: "EXPUNGEISSUED", StoreError: "SERVERBUG"}


MORE_CODES: Mapping[type[MailError], str] = {
    NoSuchMailbox: "NONEXISTENT", HasChildren: "HASCHILDREN", BadEncoding: "CANNOT", NotSelectable: "CANNOT"}


def reply_of(error: MailError, *, extended: bool = False) -> Reply:
    """NO, with the code of the error's class. extended: with the codes of RFC 9051 that Dovecot 2.3 does not tell."""
    if isinstance(error, Refusal):
        return Reply(NO, error.public, error.code)
    code = next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), "")
    if isinstance(error, StoreError):
        return internal_error()
    if extended and not code:
        code = next((MORE_CODES[kind] for kind in type(error).__mro__ if kind in MORE_CODES), "")
    return Reply(NO, error.public.removesuffix("."), code)
