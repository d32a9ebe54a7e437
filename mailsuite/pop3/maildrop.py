"""The mailbox as one POP3 session sees it: a snapshot of INBOX, made at login.

Numbers, sizes and UIDLs don't change while the session lasts; new mail shows in the next. Deletions and \\Seen are
remembered here. `update()`, at QUIT only, carries all of it out; `keep_seen()`, when the client just left, only \\Seen.
Messages with pop3_deleted_flag are not in it.
Blocks: run it in a thread.
"""

import re
from array import array
from collections.abc import Iterator, Sequence
from functools import cached_property

from mailsuite.pop3.listings import Known, known_already, known_of, numbered
from mailsuite.pop3.params import Params
from mailsuite.pop3.uidl import Uidl, renamed
from mailsuite.store.api import FlagAction, Mailbox, MailStore, Message, MessageGone

SEEN = "\\Seen"
LARGE = 256 * 1024      # octets of a message that is read and sent in blocks
READ_AHEAD = 16         # messages that the kernel is asked for while one is sent
_LIST_LINE = b"%d %d\r\n"
_XUIDL = re.compile(rb"(?i)x-uidl[ \t]*:[ \t]*([^\r\n]+)\r\n(?![ \t])")


class Maildrop:
    """Positions are message numbers - 1."""

    def __init__(self, store: MailStore, params: Params) -> None:
        self.mailbox: Mailbox = store.open("INBOX")
        self.view = self.mailbox.open_view(read_only=False, claim_recent=not params.no_flag_updates)
        self.uids = array("I", self.view.uids)
        if params.deleted_flag and (hidden := self.mailbox.with_flag(self.uids, params.deleted_flag)):
            self.uids = array("I", [uid for uid in self.uids if uid not in hidden])
        self.uidls_told = False                 # the client has asked for some or all
        self.deleted: set[int] = set()          # positions
        self.seen: set[int] = set()
        self.unseen = False                     # RSET with pop3_enable_last
        self.lowest_retrieved = 0               # the lowest number that RETR asked for
        self._params = params
        self.last = self._last_seen() if params.enable_last else 0      # the highest number that was read
        self.gone_before = 0                    # the last number that was found to be gone
        self._reads_ahead, self._ahead = False, 0               # whether, and the position that it has come to
        self._in_hand: tuple[int, Message] | None = None        # its position

    def _last_seen(self) -> int:
        seen = self.mailbox.with_flag(self.uids, SEEN)
        return next((at + 1 for at in range(self.count - 1, -1, -1) if self.uids[at] in seen), 0)

    @property
    def count(self) -> int:
        return len(self.uids)

    @cached_property
    def known(self) -> Known:
        """Sizes; found out when first asked for."""
        return known_of(self.mailbox, self.uids)

    @property
    def sizes(self) -> Sequence[int]:
        """Octets of each message as RETR sends it."""
        return self.known.sizes

    @property
    def sizes_known(self) -> bool:
        """They need not be found out, here or by another session."""
        if "known" in self.__dict__:
            return True
        known = known_already(self.mailbox, self.uids)
        if known is not None:
            self.__dict__["known"] = known
        return known is not None

    @property
    def left(self) -> Sequence[int]:
        """Positions that are not deleted."""
        if not self.deleted:
            return range(self.count)
        return [position for position in range(self.count) if position not in self.deleted]

    @property
    def listing_known(self) -> bool:
        """LIST was made before."""
        return not self.deleted and self.sizes_known and "LIST" in self.known.replies

    def listing(self) -> bytes:
        """The lines of LIST."""
        if not self.deleted:
            return self.known.replies.get("LIST") or self.known.keep(
                "LIST", numbered(_LIST_LINE, [range(1, self.count + 1), self.sizes]))
        left = self.left
        return numbered(_LIST_LINE, [[at + 1 for at in left], [self.sizes[at] for at in left]])

    def uidl_listing(self) -> bytes:
        """The lines of UIDL. Raises as uidls."""
        self.uidls_told = True
        uidl, params = Uidl(self._params.uidl_format), self._params
        if self.deleted or not uidl.numbers_only or params.reuse_xuidl or params.rename_duplicates or params.save_uidl \
                or any(self.mailbox.saved_uidls(self.uids)):
            return b"".join([b"%d %b\r\n" % (at + 1, self.uidls[at]) for at in self.left])
        known, key = known_already(self.mailbox, self.uids), (params.uidl_format, self.mailbox.uid_validity)
        if known is None:
            return uidl.listing(self.mailbox, self.uids)
        return known.replies.get(key) or known.keep(key, uidl.listing(self.mailbox, self.uids))

    def left_size(self) -> tuple[int, int]:
        """Number and octets of what is not deleted."""
        size = self.total - sum(self.sizes[position] for position in self.deleted)
        return self.count - len(self.deleted), size

    @cached_property
    def uidls(self) -> list[bytes]:
        """What was saved, else X-UIDL, else by the format. Raises NotAvailable, MailError."""
        saved = self.mailbox.saved_uidls(self.uids)
        own = self._x_uidls() if self._params.reuse_xuidl else [None] * self.count
        found: list[bytes | None] = [x if kept is None else kept.encode("utf-8", "surrogateescape")
                                     for kept, x in zip(saved, own, strict=True)]
        missing = [position for position, uidl in enumerate(found) if uidl is None]
        if missing:
            rendered = Uidl(self._params.uidl_format).render(self.mailbox, [self.uids[at] for at in missing])
            for at, uidl in zip(missing, rendered, strict=True):
                found[at] = uidl
        uidls = [uidl or b"" for uidl in found]
        if self._params.rename_duplicates:
            uidls = renamed(uidls)
        if self._params.save_uidl:
            new = {self.uids[at]: uidl.decode("utf-8", "surrogateescape") for at, uidl in enumerate(uidls)
                   if saved[at] is None and uidl and b" " not in uidl and uidl.isascii()}
            if new:
                self.mailbox.save_uidls(new)
        return uidls

    def _x_uidls(self) -> list[bytes | None]:
        """A field that is empty or folded is none: its lines would break the listing."""
        headers = self.mailbox.header_fields(self.uids, [b"x-uidl"])
        matches = [_XUIDL.match(header) if header else None for header in headers]
        return [match[1] if match and match[1].strip() else None for match in matches]

    @property
    def total(self) -> int:
        """Octets of all messages."""
        return self.known.total

    def message(self, position: int) -> Message | Iterator[bytes]:
        """The message, or its blocks when it is large (Mailbox.blocks). Raises MessageGone, also for one that could
        still be read from memory."""
        taken, self._in_hand = self._in_hand, None
        if taken is not None and taken[0] == position:
            return taken[1]
        self.mailbox.refresh()
        uid = self.uids[position]
        if self.mailbox.modseqs([uid])[0] is None:
            raise MessageGone
        if self.mailbox.stored_octets(uid) >= LARGE and (blocks := self.mailbox.blocks(uid)) is not None:
            return blocks
        return self.mailbox.message(uid)

    def in_hand(self, position: int) -> bool:
        """Take a message that is small, and that the kernel has in memory, for the next call of `message`; from the
        event loop. False: that call would have to wait."""
        message = self.mailbox.message_at_once(self.uids[position]) if 0 <= position < self.count else None
        self._in_hand = None if message is None else (position, message)
        return message is not None

    def wanted_next(self, position: int, *, waited: bool) -> list[int]:
        """UIDs of messages behind this one that the kernel should read meanwhile (Mailbox.will_need). Most clients take
        one message after the other, and from a disk each would wait for its own. waited: this one was not in memory."""
        if waited:
            self._reads_ahead = True
        if not self._reads_ahead or not 0 <= position < self.count or position + READ_AHEAD // 2 < self._ahead:
            return []
        begin, self._ahead = max(position + 1, self._ahead), position + 1 + READ_AHEAD
        return self.uids[begin:self._ahead].tolist()

    def size_of(self, position: int, message: object) -> int:
        """Octets of one message, as LIST has them; of others nothing is found out. Raises MessageGone, StoreError."""
        if "known" in self.__dict__:
            return self.sizes[position]
        if isinstance(message, Message):
            return message.size
        return sum(map(len, self.mailbox.blocks(self.uids[position]) or ()))

    def retrieved(self, position: int) -> None:
        """RETR was asked for it."""
        self.last = max(self.last, position + 1)
        self.lowest_retrieved = min(self.lowest_retrieved or position + 1, position + 1)

    def reset(self) -> None:
        """RSET: all marks of this session go, \\Seen as well."""
        self.deleted.clear()
        self.seen.clear()
        self.last = 0
        self.unseen = self._params.enable_last

    def keep_seen(self) -> None:
        """Set \\Seen where RETR has asked for it. Raises MailError."""
        if self.unseen:
            self.mailbox.store_flags(self.uids, FlagAction.REMOVE, [SEEN])
        if self.seen:
            self.mailbox.store_flags([self.uids[position] for position in sorted(self.seen)], FlagAction.ADD, [SEEN])

    @property
    def has_news(self) -> bool:
        """There is something for `update` to do."""
        return bool(self.deleted or self.seen or self.unseen)

    def update(self) -> None:
        """QUIT: set \\Seen, remove what was deleted. Raises MailError; nothing is then half forgotten: marks stay."""
        doomed = [self.uids[position] for position in sorted(self.deleted)]
        self.seen -= self.deleted
        self.keep_seen()
        if doomed and self._params.delete_by_flag:
            self.mailbox.store_flags(doomed, FlagAction.ADD, [self._params.deleted_flag])
        elif doomed and self.mailbox.may("e"):      # else they stay, and nobody is told, as with Dovecot
            self.mailbox.remove(doomed)

    def close(self) -> None:
        self.view.close()
