"""What the store says went wrong, in POP3's words (RFC 2449 section 8)."""

from mailsuite.base.errors import MailError
from mailsuite.pop3.reply import error
from mailsuite.store.api import MailboxInUse, OverQuota, StoreError

CODES = {MailboxInUse: "[IN-USE] ", StoreError: "[SYS/TEMP] ", OverQuota: "[SYS/PERM] "}


def refusal(problem: MailError) -> bytes:
    code = next((CODES[kind] for kind in type(problem).__mro__ if kind in CODES), "")
    return error(code + problem.public)
