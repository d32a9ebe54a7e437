"""One mailbox as its users see it: a session's view, messages on their way in, the mailbox. Part of store/api.py."""

import threading
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from mailsuite.fulltext.mailbox import MailboxText
from mailsuite.message.message import Message
from mailsuite.store.uid_set import UidSet
from mailsuite.store.values import Changes, Column, CopyResult, FlagAction, IdentityChange, Status, StoreResult


class View(Protocol):
    """A session's picture of a selected mailbox; position = sequence number - 1. Belongs to one session."""

    @property
    def mailbox(self) -> "Mailbox": ...
    @property
    def read_only(self) -> bool: ...
    @property
    def uids(self) -> "array[int]":
        """UIDs by position, ascending. Changes only in sync()."""
        ...
    @property
    def recent(self) -> UidSet:
        """UIDs that are \\Recent in this session."""
        ...

    @property
    def modseq(self) -> int:
        """Everything up to this MODSEQ has come into this picture: while an expunge waits, less than the mailbox's."""
        ...

    def sync(self, *, expunges: bool, refresh: bool = True) -> Changes:
        """Take over what happened, own changes included. expunges: False during FETCH, STORE, SEARCH.

        refresh: look at the files for changes by other programs first (one stat or two when nothing changed).
        """
        ...

    def sequence(self, uid: int) -> int | None:
        """The sequence number of a UID, None when this view has no such message. O(log n)."""
        ...

    def positions(self, ranges: Iterable[range], *, uid: bool) -> list[int]:
        """Positions (0-based, ascending, each once) of a parsed sequence-set; numbers beyond the end are left out.

        ranges: half-open ranges of sequence numbers or, with uid, of UIDs.
        """
        ...

    def close(self) -> None:
        """The session leaves the mailbox; the last one writes what was delayed (mbox). Doesn't expunge."""
        ...


class Append(Protocol):
    """Messages on their way into a mailbox, one after the other; nothing is visible before commit()."""

    def write(self, octets: bytes) -> None:
        """The next octets of the current message as they came (CRLF or LF); goes to a temporary file."""
        ...

    def finish(self, flags: Sequence[str], date: float | None, *, uid: int = 0) -> None:
        """The current message is complete. date: seconds since the epoch, None for now. Raises Refused when empty.

        uid: the one it should get, if the mailbox has given none as high yet; 0: the next.
        """
        ...

    def commit(self, *, replacing: str = "") -> "tuple[int, list[int]]":
        """Make all of them durable, then visible. Returns (UIDVALIDITY, UIDs).

        replacing: the mailbox that a message of about this size leaves at once (admit() was asked with replaces).

        Raises OverQuota, TooLarge, StoreError.
        """
        ...

    def abort(self) -> None:
        """Forget all of it; harmless after commit()."""
        ...


class Mailbox(Protocol):
    """One mailbox, shared by all sessions of the user in this process."""

    lock: threading.RLock

    @property
    def name(self) -> str: ...
    @property
    def guid(self) -> str:
        """32 hex digits that stay with the mailbox, whatever it is called."""
        ...
    @property
    def uid_validity(self) -> int: ...
    @property
    def uid_next(self) -> int: ...
    @property
    def highest_modseq(self) -> int: ...
    @property
    def keeps_modseqs(self) -> bool:
        """False: MODSEQs begin anew with the next process (INDEX=MEMORY)."""
        ...
    @property
    def keywords(self) -> list[str]:
        """All keywords known in this mailbox, in the order they came."""
        ...
    @property
    def permanent_keywords(self) -> bool:
        """May new keywords be made (\\* in PERMANENTFLAGS)?"""
        ...
    @property
    def writable(self) -> bool:
        """False: the files can't be changed; SELECT answers READ-ONLY."""
        ...

    def hold(self, *, unchanged: bool, claims: bool = True) -> bool:
        """For an event loop: take the lock, if that needs no wait, and if the mailbox is not so large that memory alone
        takes long. unchanged: only if the files are as they were looked at; they are not looked at again until
        `release`. claims: nor if nobody's \\Recent is to be taken. True: call `release` afterwards, in the same
        thread."""
        ...

    def hold_messages(self, uids: Sequence[int]) -> bool:
        """As hold(unchanged=False) in a mailbox of any size, with a few messages in hand: until `release` what is asked
        of them comes from their content, neither index nor file is looked at, but for INTERNALDATE. Only if all are
        small, and in our memory or the kernel's."""
        ...

    def release(self) -> None:
        """After `hold` or `hold_messages`."""
        ...

    def may(self, right: str) -> bool:
        """Does the user have a right of RFC 4314 here? "l", "r", "w"... Raises StoreError."""
        ...

    def may_write(self) -> bool:
        """Does the user have a right to change anything here? Raises StoreError."""
        ...

    def open_view(self, *, read_only: bool, claim_recent: bool = True) -> View:
        """SELECT or EXAMINE, POP3 login: refresh, then a view of all messages. read_only never claims \\Recent."""
        ...

    def refresh(self) -> None:
        """Look at the files for what other programs did. Cheap when nothing changed."""
        ...

    def status(self, *, size: bool = False, deleted: bool = False) -> Status:
        """size, deleted: with the sums of sizes, which may have to read files."""
        ...

    @property
    def total_known(self) -> bool:
        """status(size=True) needs neither index nor files."""
        ...

    def first_unseen(self, view: View) -> int | None:
        """Sequence number of the first message without \\Seen."""
        ...

    def columns(self, uids: Sequence[int], columns: Sequence[Column]) -> list[list[bytes | None]]:
        """Rendered octets: result[c][i] is column c of uids[i]; None when that message is gone.

        UID, FLAGS and MODSEQ come from memory; SIZE, INTERNALDATE, ENVELOPE, BODY, BODYSTRUCTURE from the index,
        or from the file the first time. Ask in batches (some hundred UIDs) when files may have to be read.
        """
        ...

    def header_fields(self, uids: Sequence[int], names: Sequence[bytes], *, negate: bool = False) -> list[bytes | None]:
        """BODY[HEADER.FIELDS (names)] or, with negate, HEADER.FIELDS.NOT: octets with the final empty line."""
        ...

    def message(self, uid: int) -> Message:
        """The whole message, parsed when first needed; the last few are kept. Raises MessageGone, StoreError."""
        ...

    def blocks(self, uid: int) -> Iterator[bytes] | None:
        """The message in blocks with CRLF line ends, as `Message.crlf`, for one that is too large for memory; its file
        stays open until the last block or `close`. None: this store reads whole messages only. Raises MessageGone,
        StoreError, the latter also between blocks."""
        ...

    def message_at_once(self, uid: int) -> Message | None:
        """A small message whose file the kernel has in its memory, for who must not wait (an event loop). None: it is
        none of these, or gone, or this store cannot tell."""
        ...

    def will_need(self, uids: Sequence[int]) -> None:
        """Have the kernel read these messages from the disk, for who will soon want them one by one. It raises nothing,
        and a store may do nothing."""
        ...

    def read_some(self, uids: Sequence[int], octets: int = ...) -> list[bytes | None]:
        """Messages as stored (LF or CRLF), for who reads many: of the first of uids, at least one, until they are so
        many octets together (by default 1 MB). None for a message that is gone. Nothing is kept. Raises StoreError."""
        ...

    def read_wire(self, uids: Sequence[int], octets: int = ...) -> list[bytes | None]:
        """As read_some, with CRLF line ends and without NUL."""
        ...

    @property
    def fulltext(self) -> MailboxText | None:
        """What is known of the words in its messages; None: there is no full text."""
        ...

    def arrived(self, recent: int) -> None:
        """There may be new messages, recent of them \\Recent: with fts_autoindex their words are looked at."""
        ...

    def flags(self, uid: int) -> list[str] | None:
        """Flags and keywords of one message without \\Recent; None when it is gone."""
        ...

    def with_flag(self, uids: Sequence[int], flag: str) -> set[int]:
        """Those of uids that carry the flag or keyword (any case), for SEARCH. Messages that are gone count as they
        were."""
        ...

    def fitting(self, uids: Sequence[int], fits: Callable[[Callable[[str], bool]], bool]) -> list[int]:
        """Those of uids whose flags fit, in their order. fits(has): has(flag) tells whether a flag or keyword (any
        case) is there; asked once for each combination of flags. Messages that are gone count as they were."""
        ...

    def count_with(self, uids: Sequence[int], flag: str) -> int:
        """How many of uids carry the flag or keyword; at once when these are all that are there."""
        ...

    def dates(self, uids: Sequence[int]) -> list[int | None]:
        """INTERNALDATE as seconds since the epoch, for SEARCH and SORT."""
        ...

    def sizes(self, uids: Sequence[int]) -> list[int | None]:
        """RFC822.SIZE: octets with CRLF line ends. POP3's LIST and SEARCH LARGER."""
        ...

    def saved_date(self, uid: int) -> int | None: ...

    def saved_dates(self, uids: Sequence[int]) -> list[int | None]:
        """When each message came into this mailbox, as far as the files tell: seconds since the epoch; None: gone."""
        ...

    def stored_octets(self, uid: int) -> int:
        """The size as stored; 0 for a message that is gone."""
        ...

    def modseqs(self, uids: Sequence[int]) -> list[int | None]: ...

    def identities(self, uids: Sequence[int], kind: str) -> list[str] | None:
        """For pop3_uidl_format; kind: "filename" (a Maildir file's base name), "guid", "header_md5" (mbox).

        "content": what a copy keeps and no other message has; "links": how many names a Maildir file has.

        "" for a message that is gone; None when the store has no such value.
        """
        ...

    def saved_uidls(self, uids: Sequence[int]) -> list[str | None]:
        """POP3 UIDLs kept beside the mail (P in dovecot-uidlist); None where there is none."""
        ...

    def save_uidls(self, uidls: Mapping[int, str]) -> None:
        """Keep POP3 UIDLs by UID, where the format has a place for them. Raises StoreError, MailboxInUse."""
        ...

    def store_flags(self, uids: Sequence[int], action: FlagAction, flags: Sequence[str], *,
                    silent_for: View | None = None, unchanged_since: int | None = None) -> StoreResult:
        """Change flags; new keywords are made. silent_for: this view's next sync() doesn't report the change.

        Messages that are gone are left out. Raises StoreError, MailboxInUse.
        """
        ...

    def add_keywords(self, names: Sequence[str]) -> bool:
        """Make keywords known without giving them to a message; True when one was new."""
        ...

    def expunge(self, uids: Sequence[int] | None = None) -> list[int]:
        """Remove messages with \\Deleted, of uids only when given. Returns the UIDs that went."""
        ...

    def remove(self, uids: Sequence[int]) -> list[int]:
        """Remove these messages, flagged or not (POP3 QUIT, MOVE). Returns the UIDs that went."""
        ...

    def begin_append(self, *, sender: str = "", delivery: bool = False) -> Append:
        """sender: of the envelope, for the From line of an mbox; "" means the user. delivery: new mail, which may use
        the grace of a quota."""
        ...

    def make_room(self, sizes: Sequence[int]) -> None:
        """Before `admit`: a full quota may have mailboxes that are emptied then (the trash plugin)."""
        ...

    def admit(self, sizes: Sequence[int], *, replaces: bool = False) -> None:
        """Would messages of these sizes be within the quota? replaces: sizes are by how much messages grow.

        Raises OverQuota, TooLarge.
        """
        ...

    def adopt(self, uid_validity: int) -> bool:
        """Take the UIDVALIDITY of the mailbox that this one is to be a copy of; only before it held anything and
        while nobody has it selected, else nothing changes and the answer is False."""
        ...

    def copy(self, uids: Sequence[int], target: "Mailbox", *, move: bool = False) -> CopyResult:
        """COPY or MOVE, with flags, keywords and dates; all or nothing, durable on return.

        Raises MessageGone when one of uids is gone (COPY), OverQuota, StoreError.
        """
        ...

    def checkpoint(self) -> None:
        """CHECK: write what was delayed."""
        ...

    def resync(self) -> None:
        """Forget what was read out of messages, and look at all files anew."""
        ...

    @property
    def doubts(self) -> int:
        """How often something that was read out of messages had to be forgotten."""
        ...

    def forget_cached(self, uids: Sequence[int]) -> None:
        """Forget what was read out of these messages."""
        ...

    def update(self, change: IdentityChange) -> None:
        """Give the mailbox other numbers, for doveadm and dsync. Raises NotPossible, StoreError.

        With another UIDVALIDITY it is another mailbox: views end, and it has to be opened anew.
        """
        ...

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call listener, from any thread, after each change made by this process; returns what ends it."""
        ...

    def watch_paths(self) -> list[str]:
        """Files and folders whose change may mean new mail: for store/watch.Watch in IDLE, with refresh() after."""
        ...
