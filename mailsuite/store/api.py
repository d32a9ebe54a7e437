"""What the access side sees of mailboxes: the contract between store/ and imap/, pop3/, access/, doveadm.

    options = StoreOptions.of(settings)                                    once per configuration (DovecotSettings)
    store = open_store("alice", home="/home/alice", location="maildir:~/Maildir", options=options)
    mailbox = store.open("INBOX")           one shared object per mailbox and process
    view = mailbox.open_view(read_only=False)     this session's picture: sequence numbers, \\Recent
    view.uids[0], view.recent; view.sync(expunges=True) -> Changes
    mailbox.columns(uids, [Column.UID, Column.FLAGS, Column.ENVELOPE]) -> rendered octets, a list for each column
    message = mailbox.message(uid); message.section(parse_section(b"1.2.MIME"))
    view.close(); store.close()

Everything here blocks (files, SQLite): run it in a thread. Every method takes the mailbox's lock itself, so sessions
may call from several threads; `with mailbox.lock:` makes several calls one. Mailbox names are str exactly as IMAP
clients spell them (modified UTF-7, the namespace's prefix and separator), INBOX in any case.
Flags are names as in IMAP: "\\\\Seen", "$Key". Rendered octets are CRLF-ended wire text.

Errors are the classes of store/errors.py, which can be imported from here; their `public` text is Dovecot's, and each
protocol has its own codes for the classes. Any other failure of the file system is raised as StoreError (temporary,
path in `detail` only).

The contract is in mailbox_api.py (View, Append, Mailbox), store_api.py (MailStore) and values.py; import from here.
"""

from mailsuite.base.errors import MailError
from mailsuite.message.message import Message
from mailsuite.store.errors import (
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
    Refused,
    StoreError,
    TooLarge,
)
from mailsuite.store.mailbox_api import Append, Mailbox, View
from mailsuite.store.quota import Quota
from mailsuite.store.store_api import MailStore
from mailsuite.store.values import (
    Changes,
    Column,
    CopyResult,
    FlagAction,
    IdentityChange,
    MailboxInfo,
    NamespaceInfo,
    Status,
    StoreResult,
)

__all__ = [
    "Append", "BadEncoding", "Changes", "Column", "CopyResult", "FlagAction", "HasChildren", "IdentityChange",
    "InvalidName", "MailError", "MailStore", "Mailbox", "MailboxExists", "MailboxInUse", "MailboxInfo", "Message",
    "MessageGone", "NamespaceInfo", "NoPermission", "NoSuchMailbox", "NotPossible", "NotSelectable", "OverQuota",
    "Quota", "Refused", "Status", "StoreError", "StoreResult", "TooLarge", "View",
]
