"""The header of a message on its way into the queue: checked, rewritten, dropped, completed.

    header = HeaderPass(work, case)
    out = await header.fields([b"Subject: x", ...])          as often as needed
    out = await header.end(sender)                           the headers that were missing

Limits: a field longer than header_size_limit is cut; more than hopcount_limit Received: fields are a loop (554 5.4.0).
"""

import re
import time
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from mailsuite.address.syntax import quote_local
from mailsuite.base.log import logger
from mailsuite.message.mime_pass import MimePass
from mailsuite.queue import params
from mailsuite.queue.cleanup_checks import Case, ContentChecks
from mailsuite.queue.headers import DESTINATION_FIELDS, NAME, value_of
from mailsuite.queue.ids import is_long
from mailsuite.rewrite.mapping import MESSAGE
from mailsuite.rewrite.trivial import STANDARD_FIELD
from mailsuite.smtp.received import header_date

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.rewrite.rewriter import Rewriter

log = logger("cleanup")
_SPACES = re.compile(rb"\s+")
_SPECIALS = re.compile(r"[^\x00-\x7f]|[\x00-\x1f()<>@,;:\\\".\[\]]")


class AddressWork(Protocol):
    """What of the Rewriter is used here."""

    async def header(self, name: str, value: bytes, local: bool = True) -> bytes: ...
    def is_address_header(self, name: str) -> bool: ...
    def maps_header(self, name: str) -> bool: ...


class FieldKind(Enum):
    """ADDRESSES: those in standard form stay; MAPPED: tables are asked for each."""

    OTHER = 0
    ADDRESSES = 1
    MAPPED = 2


class HeaderWork:
    """What all header passes of a process share."""

    def __init__(self, settings: "Settings", rewriter: "Rewriter", checks: ContentChecks) -> None:
        self.rewriter: AddressWork = rewriter
        self.checks = checks
        self.size_limit = settings[params.HEADER_SIZE_LIMIT]
        self.hop_limit = settings[params.HOPCOUNT_LIMIT]
        self.drop = frozenset(name.encode() for name in settings[params.MESSAGE_DROP_HEADERS])
        # Headers of remote clients that are rewritten are completed as well.
        self.always_add = (settings[params.ALWAYS_ADD_MISSING_HEADERS]
                           or bool(settings.text("remote_header_rewrite_domain")))
        self.undisclosed = settings[params.UNDISCLOSED_RECIPIENTS_HEADER]
        self.obsolete_from = settings[params.HEADER_FROM_FORMAT].lower() == "obsolete"
        self.hostname = settings.text("myhostname")
        self.tls_required = settings.text("tls_required_enable") != "no"
        self.kinds: dict[bytes, FieldKind] = {}

    def kind(self, name: bytes) -> "FieldKind":
        """What is done with a field of that name."""
        known = self.kinds.get(name)
        if known is None:
            text = name.decode("ascii")
            known = FieldKind.OTHER
            if self.rewriter.is_address_header(text):
                known = FieldKind.MAPPED if self.rewriter.maps_header(text) else FieldKind.ADDRESSES
            if len(self.kinds) < 1000:             # names are the peer's: the cache has a limit
                self.kinds[name] = known
        return known


def shortened(field: bytes, limit: int) -> bytes:
    """A field of at most limit octets: its first line is cut there, of the others those stay that fit as a whole."""
    if field.find(b"\n", 0, limit + 1) < 0:
        return field[:limit]
    return field[:field.rfind(b"\n", 0, limit + 1)]


class HeaderPass:
    """The header of one message."""

    def __init__(self, work: HeaderWork, case: Case, mime: MimePass | None = None) -> None:
        self.work, self.case, self.mime = work, case, mime
        self.seen: set[bytes] = set()
        self.hops = 0

    async def fields(self, fields: list[bytes]) -> bytes:
        """The fields as they go into the file, each with its LF."""
        out: list[bytes] = []
        work, stopped = self.work, self.case.stopped
        for field in fields:
            if len(field) > work.size_limit:
                field = shortened(field, work.size_limit)
            if self.mime is not None or self.hops >= work.hop_limit:    # what may refuse the message meanwhile
                stopped = self.case.stopped
            if stopped:
                break
            if self.mime is not None:
                for line in await work.checks.header(self.case, field, self.mime.field(field)):
                    if not self.case.stopped and (open_field := self._look(line, out)) is not None:
                        out.append(await self._rewritten(open_field))
            elif (open_field := self._look(field, out)) is not None:
                out.append(await self._rewritten(open_field))
        if not out:
            return b""
        out.append(b"")
        text = b"\n".join(out)
        if not text.isascii():
            self.case.envelope.utf8_header = True
        return text

    def _look(self, field: bytes, out: list[bytes]) -> bytes | None:
        """Take a field into out; one that has to be rewritten first comes back."""
        found = NAME.match(field)
        name = found[1].lower() if found is not None else b""
        if name in self.work.drop:
            if name in DESTINATION_FIELDS:
                self.seen.add(name)
            return None
        self.seen.add(name)
        if name and field[len(name)] != 0x3A:      # "Name :" was allowed once; others stumble over it
            label, _, value = field.partition(b":")
            field = label.rstrip() + b":" + value
        if name == b"received":
            self._hop()
        elif name in (b"message-id", b"resent-message-id"):
            self._log_id(name, value_of(field))
        elif name == b"content-transfer-encoding":
            self._encoding(value_of(field).lower())
        elif name == b"tls-required" and self.work.tls_required:
            self._tls_required(value_of(field))
        else:
            kind = self.work.kinds.get(name)
            if kind is None:
                kind = self.work.kind(name)
            if kind is FieldKind.MAPPED or (kind is FieldKind.ADDRESSES and not STANDARD_FIELD.fullmatch(field)):
                return field
        out.append(field)
        return None

    async def _rewritten(self, field: bytes) -> bytes:
        label, _, value = field.partition(b":")
        MESSAGE.set(self.case.queue_id)
        new = await self.work.rewriter.header(label.strip().decode("ascii"), value, self.case.envelope.local)
        if new == value:
            return field
        return label.rstrip() + b": " + new

    def _hop(self) -> None:
        self.hops += 1
        if self.hops == self.work.hop_limit:
            log.warning("%s: message rejected: hopcount exceeded", self.case.queue_id)
            self.case.refuse(554, "5.4.0", "Error: too many hops")

    def _encoding(self, value: bytes) -> None:
        if value in (b"7bit", b"8bit"):
            self.case.envelope.encoding = value.decode()

    def _tls_required(self, value: bytes) -> None:
        """"no": the message had rather arrive than be secret; REQUIRETLS outweighs it (RFC 8689 section 4.1)."""
        if value.strip().lower() == b"no" and not self.case.envelope.require_tls:
            self.case.envelope.require_tls = "no"

    def _log_id(self, name: bytes, value: bytes) -> None:
        shown = _SPACES.sub(b" ", value).decode("utf-8", "backslashreplace")
        log.info("%s: %s=%s", self.case.queue_id, name.decode(), shown)

    async def end(self, sender: str) -> bytes:
        """What is missing: Message-Id, Date, From, To, in Postfix's order; only for local mail, unless told so."""
        if self.case.stopped:
            return b""
        adds = self.case.envelope.local or self.work.always_add
        resent = prefix = b""
        for name in self.seen:
            if name.startswith(b"resent-"):
                resent, prefix = b"resent-", b"Resent-"
                break
        out: list[bytes] = []
        if resent + b"message-id" not in self.seen:
            if adds:
                moment = time.gmtime(self.case.envelope.arrival_time)
                # A long id is unique by itself.
                day = "" if is_long(self.case.queue_id) else time.strftime("%Y%m%d%H%M%S.", moment)
                made = f"<{day}{self.case.queue_id}@{self.work.hostname}>"
                out.append(prefix + b"Message-Id: " + made.encode())
                self._log_id(resent + b"message-id", made.encode())
            else:
                self._log_id(resent + b"message-id", b"<>")
        if adds and resent + b"date" not in self.seen:
            out.append(prefix + b"Date: " + header_date(self.case.envelope.arrival_time).encode())
        if adds and resent + b"from" not in self.seen:
            out.append(prefix + b"From: " + self._from(sender))
        if adds and self.work.undisclosed and not self.seen & DESTINATION_FIELDS:
            out.append(self.work.undisclosed.encode())
        if not out:
            return b""
        text = b"".join(line + b"\n" for line in out)
        if not text.isascii():
            self.case.envelope.utf8_header = True
        return text

    def _from(self, sender: str) -> bytes:
        address = quote_local(sender) if sender else "MAILER-DAEMON"
        name = self.case.envelope.full_name or ""
        if not name or not sender:
            text = address
        elif self.work.obsolete_from:
            text = f"{address} ({name})"
        else:
            if _SPECIALS.search(name):
                name = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
            text = f"{name} <{address}>"
        return text.encode("utf-8", "surrogateescape")
