"""MESSAGELIMIT and SAVELIMIT (RFC 9738): how many messages one command works on.

    limit = Limited(context)
    ranges = limit.highest(selected, ranges)        the messages with the highest UIDs, as many as the limit allows
    yield from limit.notice(code)                   an untagged NO where the tagged line has another code already
    Reply(OK, "Fetch completed", limit.code(code))  "MESSAGELIMIT 1000 23221": the lowest UID that was worked on

FETCH, STORE, SEARCH, MOVE and UID EXPUNGE do what the limit allows; COPY and APPEND of more are refused.
imap_message_limit and imap_save_limit: 0, the default, for no limit and nothing announced.
"""

from collections.abc import Generator, Sequence

from mailsuite.imap.commands.context import Context
from mailsuite.imap.reply import Refusal
from mailsuite.imap.view import Selected


class Limited:
    """One command's. lowest: the UID of the last message that it works on, when there are more."""

    def __init__(self, context: Context) -> None:
        self.limit = context.params.message_limit if context.offers("MESSAGELIMIT") else 0
        self.lowest: int | None = None

    def highest(self, selected: Selected, ranges: Sequence[range]) -> list[range]:
        """Ascending ranges of positions, cut from below."""
        if not self.limit or sum(map(len, ranges)) <= self.limit:
            return list(ranges)
        left, kept = self.limit, []
        for each in reversed(ranges):
            part = each[-left:]
            kept.append(part)
            left -= len(part)
            if not left:
                break
        kept.reverse()
        self.lowest = selected.view.uids[kept[0].start]
        return kept

    def highest_uids(self, uids: Sequence[int]) -> list[int]:
        """Ascending UIDs, cut from below."""
        if not self.limit or len(uids) <= self.limit:
            return list(uids)
        kept = list(uids[-self.limit:])
        self.lowest = kept[0]
        return kept

    def notice(self, code: str) -> Generator[bytes, None, None]:
        if self.lowest is not None and code:
            yield b"* NO [MESSAGELIMIT %d %d] Not all messages were processed\r\n" % (self.limit, self.lowest)

    def code(self, code: str = "") -> str:
        if self.lowest is None or code:
            return code
        return f"MESSAGELIMIT {self.limit} {self.lowest}"


def check_save_limit(context: Context, messages: int) -> None:
    """COPY, APPEND: all or nothing. Raises Refusal."""
    params = context.params
    for name, limit in (("MESSAGELIMIT", params.message_limit), ("SAVELIMIT", params.save_limit)):
        if limit and context.offers(name) and messages > limit:
            raise Refusal(f"Too many messages for one command, at most {limit}", f"MESSAGELIMIT {limit}")
