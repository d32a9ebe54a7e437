"""The mail_log plugin: a log line for what clients do with mail, as Dovecot writes them.

    events = mail_log(settings, lambda text: log.info("%s", text, extra=extra))     None: mail_plugins has no mail_log
    with telling(events): ...                                                       store/events.py

    imap(alice)<pid><session>: Info: expunge: box=INBOX, uid=1, msgid=<m1@x>, size=63
    imap(alice)<pid><session>: Info: Mailbox renamed: Box -> Box2

Settings of plugin { } (mail_log(5) does not exist; Dovecot's wiki tells of them):

mail_log_events        delete undelete expunge save copy mailbox_create mailbox_delete mailbox_rename flag_change
mail_log_fields        box uid msgid size vsize from subject flags; they stand in this order
mail_log_cached_only   no message is read for it: what the index does not know is empty

Lines about a message are written after the change, so a line is a fact. mail_log raises ConfigError for unknown names.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

from mailsuite.base.errors import ConfigError, MailError
from mailsuite.imap.text import decode_header
from mailsuite.message.header import first_fields
from mailsuite.store.api import Mailbox
from mailsuite.store.events import MailEvents
from mailsuite.store.flags import DELETED, KEYWORD_SHIFT, SYSTEM_MASK
from mailsuite.store.mailbox import BaseMailbox
from mailsuite.store.names import from_mutf7

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings

EVENTS = ("delete", "undelete", "expunge", "save", "copy", "mailbox_create", "mailbox_delete", "mailbox_rename",
          "flag_change")
DEFAULT_EVENTS = frozenset(EVENTS[:5]) | {"mailbox_delete", "mailbox_rename"}
FIELDS = ("box", "uid", "msgid", "size", "vsize", "from", "subject", "flags")
DEFAULT_FIELDS = frozenset({"box", "uid", "msgid", "size"})
SHOWN = 80              # octets of a name or a header field in a line
BATCH = 500             # messages whose fields are read together
_HEADERS: Mapping[str, bytes] = {"msgid": b"Message-ID", "from": b"From", "subject": b"Subject"}
Say = Callable[[str], None]
T = TypeVar("T")
Recent = Literal["any", "unclaimed", "none"]      # whose \\Recent is shown


class _Wanted(NamedTuple):
    events: frozenset[str]
    fields: frozenset[str]
    cached_only: bool


def mail_log(settings: "DovecotSettings", say: Say) -> MailEvents | None:
    """What a session's threads tell their changes to. Raises ConfigError."""
    wanted = wanted_of(settings)
    return None if wanted is None else MailLog(wanted, say)


def logging_to(log: logging.Logger, extra: Mapping[str, str]) -> Say:
    """A session's log."""
    return lambda text: log.info("%s", text, extra=extra)


@lru_cache(maxsize=16)
def wanted_of(settings: "DovecotSettings") -> _Wanted | None:
    """What of a protocol's sessions is logged. Raises ConfigError."""
    if "mail_log" not in settings.words("mail_plugins"):
        return None
    plugin = settings.plugin
    events = _names(plugin.get("mail_log_events", ""), EVENTS, "event in mail_log_events") or DEFAULT_EVENTS
    fields = _names(plugin.get("mail_log_fields", ""), FIELDS, "field in mail_log_fields") or DEFAULT_FIELDS
    return _Wanted(events, fields, "mail_log_cached_only" in plugin and plugin["mail_log_cached_only"] != "no")


def _names(text: str, known: Sequence[str], what: str) -> frozenset[str]:
    names = text.replace(",", " ").split()
    for name in names:
        if name not in known:
            raise ConfigError(f"Unknown {what}: '{name}'", status="4.3.5")
    return frozenset(names)


class MailLog:
    """One session's lines; see store/events.MailEvents."""

    def __init__(self, wanted: _Wanted, say: Say) -> None:
        self._wanted, self._say = wanted, say

    def flags_changed(self, mailbox: Mailbox, changes: Sequence[tuple[int, int, int]]) -> None:
        """System flags and keywords have a line each."""
        lines: list[tuple[str, int, int]] = []
        for uid, before, now in changes:
            if (before ^ now) & SYSTEM_MASK:
                event = "flag_change" if not (before ^ now) & DELETED else "delete" if now & DELETED else "undelete"
                lines.append((event, uid, now & SYSTEM_MASK | before & ~SYSTEM_MASK))
            if (before ^ now) >> KEYWORD_SHIFT:
                lines.append(("flag_change", uid, now))
        lines = [line for line in lines if line[0] in self._wanted.events]
        told = self._described(mailbox, [uid for _, uid, _ in lines], [bits for _, _, bits in lines])
        for (event, _, _), text in zip(lines, told, strict=True):
            self._say(f"{event}: {text}")

    def removing(self, mailbox: Mailbox, uids: Sequence[int], *, moved: bool = False
                 ) -> Callable[[Collection[int]], None]:
        if "expunge" not in self._wanted.events:
            return lambda gone: None
        told = dict(zip(uids, self._described(mailbox, uids, recent="unclaimed" if moved else "any"), strict=True))

        def gone(uids: Collection[int]) -> None:
            for uid in uids:
                if uid in told:
                    self._say(f"expunge: {told[uid]}")

        return gone

    def saved(self, mailbox: Mailbox, uids: Sequence[int]) -> None:
        if "save" in self._wanted.events:
            for text in self._described(mailbox, uids, recent="none"):
                self._say(f"save: {text}")

    def copied(self, source: Mailbox, target: Mailbox, uids: Sequence[int], new: Sequence[int]) -> None:
        if "copy" in self._wanted.events:
            for text in self._described(target, new, recent="none"):
                self._say(f"copy from {_shown_name(source.name)}: {text}")

    def created(self, name: str) -> None:
        if "mailbox_create" in self._wanted.events:
            self._say(f"Mailbox created: {_shown_name(name)}")

    def deleting(self, mailbox: Mailbox | None, name: str) -> Callable[[], None]:
        uids: list[int] = []
        gone: Callable[[Collection[int]], None] = lambda uids: None  # noqa: E731
        if isinstance(mailbox, BaseMailbox):
            uids = list(mailbox.rows.uids)
            gone = self.removing(mailbox, uids)

        def done() -> None:
            gone(uids)
            if "mailbox_delete" in self._wanted.events:
                self._say(f"Mailbox deleted: {_shown_name(name)}")

        return done

    def renamed(self, old: str, new: str) -> None:
        if "mailbox_rename" in self._wanted.events:
            self._say(f"Mailbox renamed: {_shown_name(old)} -> {_shown_name(new)}")

    # --- what a line says of a message ------------------------------------------------------------------------------

    def _described(self, mailbox: Mailbox, uids: Sequence[int], bits: Sequence[int] = (), *,
                   recent: Recent = "any") -> list[str]:
        """bits: flags to be shown; without them those that the messages have."""
        told: list[str] = []
        for at in range(0, len(uids), BATCH):
            told += self._batch(mailbox, uids[at: at + BATCH], bits[at: at + BATCH], recent)
        return told

    def _batch(self, mailbox: Mailbox, uids: Sequence[int], bits: Sequence[int], recent: Recent) -> list[str]:
        wanted = self._wanted.fields
        parts: list[list[str]] = [[] for _ in uids]

        def add(name: str, values: Sequence[object]) -> None:
            if name in wanted:
                for one, value in zip(parts, values, strict=True):
                    one.append(f"{name}={value}")

        assert isinstance(mailbox, BaseMailbox)
        add("box", [_shown_name(mailbox.name)] * len(uids))
        add("uid", uids)
        headers = self._headers(mailbox, uids)
        add("msgid", [one.get("msgid", "") for one in headers])
        if "size" in wanted:
            add("size", [mailbox.stored_octets(uid) for uid in uids])
        if "vsize" in wanted:
            add("vsize", _or_nothing(lambda: [size or 0 for size in mailbox.sizes(uids)], [0] * len(uids)))
        add("from", [one.get("from", "") for one in headers])
        add("subject", [one.get("subject", "") for one in headers])
        if "flags" in wanted:
            add("flags", [_flags(mailbox, uid, bits[at] if bits else None, recent) for at, uid in enumerate(uids)])
        return [", ".join(one) for one in parts]

    def _headers(self, mailbox: Mailbox, uids: Sequence[int]) -> list[dict[str, str]]:
        names = {name.lower(): field for field, name in _HEADERS.items() if field in self._wanted.fields}
        if not names or self._wanted.cached_only:
            return [{} for _ in uids]
        fields = [_HEADERS[field] for field in names.values()]
        nothing: list[bytes | None] = [None] * len(uids)
        found = _or_nothing(lambda: mailbox.header_fields(uids, fields), nothing)
        return [_values(octets, names) if octets else {} for octets in found]


def _or_nothing(read: Callable[[], T], nothing: T) -> T:
    """A message that cannot be read any more is logged all the same."""
    try:
        return read()
    except MailError:
        return nothing


def _values(octets: bytes, names: Mapping[bytes, str]) -> dict[str, str]:
    """The first of each field, by what the log calls it."""
    return {names[name]: shortened(decode_header(value, even=False)) for name, value in first_fields(octets).items()
            if name in names}


def _flags(mailbox: BaseMailbox, uid: int, bits: int | None, recent: Recent) -> str:
    if bits is None:
        bits = mailbox.table.bits(mailbox.flags(uid) or [])
    names = mailbox.table.names(bits & SYSTEM_MASK)
    if recent != "none" and mailbox.is_recent(uid, claimed=recent == "any"):
        names.append("\\Recent")
    return f"({' '.join(names + mailbox.table.names(bits & ~SYSTEM_MASK))})"


def _shown_name(name: str) -> str:
    return shortened(from_mutf7(name) or name)


def shortened(text: str) -> str:
    """At most SHOWN octets of UTF-8."""
    octets = text.encode("utf-8", "surrogateescape")
    if len(octets) <= SHOWN:
        return text
    return octets[:SHOWN - 3].decode("utf-8", "ignore") + "..."
