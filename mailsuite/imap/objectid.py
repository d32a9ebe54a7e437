"""Object identifiers (RFC 8474): MAILBOXID, EMAILID, THREADID.

A mailbox's is its GUID: of the head of dovecot-uidlist in a Maildir, which moves with the folder; its UIDVALIDITY in an
mbox. A message's is a hash of what its store knows it by, which copies and moves keep. Both outlive the index.
Threads have none: THREADID is NIL, as section 5.2 allows.
"""

import hashlib
from collections.abc import Sequence

from mailsuite.store.api import Mailbox


def mailbox_id(guid: str) -> str:
    """guid: of Status."""
    return f"F{guid}"


def email_ids(mailbox: Mailbox, uids: Sequence[int]) -> list[str | None]:
    """EMAILID of each message; None for one that is gone."""
    known = mailbox.identities(uids, "content") or [""] * len(uids)
    return ["M" + hashlib.sha256(one.encode("utf-8", "surrogateescape")).hexdigest()[:32] if one else None
            for one in known]
