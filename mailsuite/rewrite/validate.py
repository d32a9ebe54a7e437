"""Is a recipient (or sender) one that we know? What reject_unlisted_recipient and reject_unlisted_sender ask.

    unknown = await recipients.check(resolution, "ghost@example.test")      None: known, or not ours to know

An address that canonical or virtual alias tables rewrite counts as known. Raises TemporaryError.
Source: postconf(5), smtpd_reject_unlisted_recipient; LOCAL_RECIPIENT_README.
"""

import re
from typing import TYPE_CHECKING, NamedTuple

from mailsuite.maps.lookup import IsLocal, find_address
from mailsuite.maps.maps import Maps, MapSource, open_maps
from mailsuite.maps.table import fold
from mailsuite.rewrite import params
from mailsuite.rewrite.resolve import Resolution
from mailsuite.verify.sender import ProbeSender

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings

_STATUS = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|\Z)")
# Postfix tells of a sender in the sender's words (RFC 3463 section 3.2).
_SENDER_STATUS = {"1.1": "1.7", "1.2": "1.8", "1.3": "1.7", "1.4": "1.0", "1.5": "1.0", "1.6": "1.7"}


class Unknown(NamedTuple):
    """Why a recipient (or sender) is refused: 550, "5.1.1", "User unknown in local recipient table"."""

    code: int
    status: str
    text: str


def sender_status(status: str) -> str:
    """An enhanced status code about a recipient, said of a sender: "5.1.1" -> "5.1.7"."""
    return status[:2] + _SENDER_STATUS.get(status[2:], status[2:])


class Recipients:
    """The tables of known recipients."""

    def __init__(self, settings: "Settings", source: MapSource, is_local: IsLocal) -> None:
        text = settings.text
        self._is_local, self._delimiter = is_local, text("recipient_delimiter")
        self._rewritten = [open_maps(text(name), source, name) for name in
                           ("recipient_canonical_maps", "canonical_maps", "virtual_alias_maps")]
        self._rewritten = [maps for maps in self._rewritten if not maps.empty]
        self._sender_canonical = open_maps(text("sender_canonical_maps"), source, "sender_canonical_maps")
        self._probe_sender = ProbeSender(settings)
        self._always_local = tuple(f"{name.lower()}@" for name in (text("double_bounce_sender"), "postmaster",
                                                              "mailer-daemon") if name)
        self._alias_code = settings[params.UNKNOWN_VIRTUAL_ALIAS_REJECT_CODE]
        shown = settings[params.SHOW_USER_UNKNOWN_TABLE_NAME]
        self._classes: dict[str, tuple[Maps, int, str]] = {}
        for name, parameter, code, table in (
                ("local", "local_recipient_maps", params.UNKNOWN_LOCAL_RECIPIENT_REJECT_CODE, "local recipient"),
                ("virtual_mailbox", "virtual_mailbox_maps", params.UNKNOWN_VIRTUAL_MAILBOX_REJECT_CODE,
                 "virtual mailbox"),
                ("relay", "relay_recipient_maps", params.UNKNOWN_RELAY_RECIPIENT_REJECT_CODE, "relay recipient")):
            maps = open_maps(text(parameter), source, parameter)
            if not maps.empty:
                self._classes[name] = (maps, settings[code], f"User unknown{f' in {table} table' if shown else ''}")

    async def _knows(self, maps: Maps, address: str) -> bool:
        # In lower case also for tables that do not fold their keys (patterns, servers), as Postfix's smtpd asks.
        return await find_address(maps, fold(address), delimiter=self._delimiter, is_local=self._is_local) is not None

    async def check(self, resolution: Resolution, address: str, *, sender: bool = False) -> Unknown | None:
        """None: known, or not ours to know. Raises TemporaryError."""
        recipient = resolution.recipient
        if resolution.address_class == "local" and (recipient.lower().startswith(self._always_local)
                                                    or self._probe_sender.is_ours(recipient)):
            return None             # never asked: mail to us must get in while a table is away
        for maps in self._rewritten:
            if await self._knows(maps, recipient):
                return None
        if sender and not self._sender_canonical.empty and await self._knows(self._sender_canonical, recipient):
            return None
        default = "1.0" if sender else "1.1"
        if resolution.transport in ("error", "retry"):
            return self._undeliverable(resolution, default, sender)
        known = self._classes.get(resolution.address_class)
        if known is None:
            return None
        maps, code, text = known
        if await self._knows(maps, recipient):
            return None
        return Unknown(code, f"{str(code)[0]}.{default}", text)

    def _undeliverable(self, resolution: Resolution, default: str, sender: bool) -> Unknown:
        """What the transport error: or retry: says instead of delivering."""
        retry = resolution.transport == "retry"
        code = 450 if retry else self._alias_code if resolution.address_class == "virtual_alias" else 550
        first = str(code)[0]
        found = _STATUS.match(resolution.nexthop)
        status = found[1] if found is not None else f"{first}.{default}"
        text = resolution.nexthop[found.end():] if found is not None else resolution.nexthop
        # The reply's class decides: 4xx while an administrator tests with a soft code.
        status = first + status[1:]
        return Unknown(code, sender_status(status) if sender else status, text)
