"""What can be wrong with a mailbox, for every protocol: `public` is Dovecot's text, the class tells the code."""

from mailsuite.base.errors import PermanentError, TemporaryError


class NoSuchMailbox(PermanentError):
    """IMAP: NO [NONEXISTENT] or [TRYCREATE]."""

    def __init__(self, name: str) -> None:
        from mailsuite.store.names import from_mutf7  # it needs the errors of this module
        super().__init__(f"Mailbox doesn't exist: {from_mutf7(name) or name}")


class MailboxExists(PermanentError):
    """IMAP: NO [ALREADYEXISTS]."""

    def __init__(self, public: str = "Mailbox already exists") -> None:
        super().__init__(public)


class InvalidName(PermanentError):
    """IMAP: NO [CANNOT]; a name that can't be: empty parts, "..", characters the store reserves."""


class BadEncoding(PermanentError):
    """IMAP: a plain NO; the name is no valid modified UTF-7."""

    def __init__(self) -> None:
        super().__init__("Mailbox name is not valid mUTF-7")


class NotPossible(PermanentError):
    """IMAP: NO [CANNOT]; the store can't do this: children below an mbox file, RENAME of INBOX."""


class NotSelectable(PermanentError):
    """IMAP: a plain NO; the name has children but holds no mail."""

    def __init__(self) -> None:
        super().__init__("Mailbox isn't selectable")


class Refused(PermanentError):
    """IMAP: a plain NO with the text: DELETE of INBOX, DELETE of a folder with children, an empty message."""


class HasChildren(Refused):
    """IMAP: a plain NO, or [HASCHILDREN]: DELETE of a name that is only a parent of others."""

    def __init__(self) -> None:
        super().__init__("Mailbox has children, delete them first")


class NoPermission(PermanentError):
    """IMAP: NO [NOPERM]."""

    def __init__(self, detail: str = "") -> None:
        super().__init__("Permission denied", detail=detail)


class MessageGone(PermanentError):
    """The message was expunged meanwhile, by anybody. IMAP: NIL and OK [EXPUNGEISSUED]."""

    def __init__(self) -> None:
        super().__init__("Some of the requested messages no longer exist")


class OverQuota(PermanentError):
    """IMAP: NO [OVERQUOTA]."""

    def __init__(self, public: str = "Quota exceeded (mailbox for user is full)") -> None:
        super().__init__(public)


class TooLarge(PermanentError):
    """IMAP: NO [LIMIT]; one message is larger than quota_max_mail_size."""

    def __init__(self) -> None:
        super().__init__("Mail size is larger than the maximum size allowed by server configuration")


class MailboxInUse(TemporaryError):
    """IMAP: NO [INUSE]; another program held the lock too long."""

    def __init__(self, detail: str = "") -> None:
        super().__init__("Timeout while waiting for lock", detail=detail)


class StoreError(TemporaryError):
    """IMAP: NO [SERVERBUG], POP3: -ERR [SYS/TEMP]; the disk is full, broken, or not ours. detail is for the log."""

    def __init__(self, detail: str) -> None:
        super().__init__("Internal error occurred. Refer to server log for more information.", detail=detail)
