"""doveadm fetch: the fields of messages, as text.

    fields = [field_of(name) for name in ["uid", "hdr.subject", "body"]]     raises Failed with the list of all
    batch = Batch(run, selected, uids)
    fields[0].value(batch, 0)                    the first message's UID
    fields[2].stream                             the value has lines of its own, and is printed as a block

A batch asks the store once for what all its messages need. Values are UTF-8 with surrogate escapes; lines end in LF, in
sections of a message in CRLF.
Source: doveadm-fetch(1), and what Dovecot 2.3 prints.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from mailsuite.access.doveadm_run import Failed, Run
from mailsuite.base.errors import PeerError
from mailsuite.imap.binary import binary_content
from mailsuite.imap.preview import preview
from mailsuite.imap.sent_date import sent_date
from mailsuite.imap.text import decode, decode_header, is_text, parts, transfer_decoded
from mailsuite.imap.view import Selected
from mailsuite.message.address import parse_addresses
from mailsuite.message.header import first_text, split_fields
from mailsuite.message.message import Message
from mailsuite.message.section import parse_section
from mailsuite.store.api import Column
from mailsuite.store.names import from_mutf7

BATCH = 200             # messages that are asked for together
_FOLD = re.compile(r"\r?\n[ \t]+")


def shown(name: str) -> str:
    """A mailbox's name in UTF-8."""
    decoded = from_mutf7(name)
    return name if decoded is None else decoded


class Batch:
    """Messages of one mailbox of which the same fields are asked."""

    def __init__(self, run: Run, selected: Selected, uids: Sequence[int]) -> None:
        self.run, self.selected, self.mailbox, self.uids = run, selected, selected.mailbox, uids
        self._columns: dict[Column, list[bytes | None]] = {}
        self._headers: dict[bytes, list[list[bytes]]] = {}

    def column(self, column: Column, at: int) -> str:
        """A rendered column; "" for a message that is gone."""
        if column not in self._columns:
            self._columns[column] = self.mailbox.columns(self.uids, [column])[0]
        return (self._columns[column][at] or b"").decode("utf-8", "surrogateescape")

    def header(self, name: bytes, at: int) -> list[bytes]:
        """Raw values of the fields of that name (lower case)."""
        if name not in self._headers:
            found = self.mailbox.header_fields(self.uids, [name])
            self._headers[name] = [[first_text(value) for _, value, _ in split_fields(octets or b"")]
                                   for octets in found]
        return self._headers[name][at]

    @cached_property
    def dates(self) -> list[int | None]:
        return self.mailbox.dates(self.uids)

    @cached_property
    def guids(self) -> list[str]:
        return self.mailbox.identities(self.uids, "guid") or [""] * len(self.uids)

    @cached_property
    def files(self) -> list[str]:
        return self.mailbox.identities(self.uids, "filename") or [""] * len(self.uids)

    @cached_property
    def links(self) -> list[str]:
        return self.mailbox.identities(self.uids, "links") or [""] * len(self.uids)

    @cached_property
    def mailbox_guid(self) -> str:
        return self.mailbox.status().guid

    def message(self, at: int) -> Message:
        """Raises MessageGone, StoreError. The mailbox keeps the last few."""
        return self.mailbox.message(self.uids[at])

    def sent(self, at: int) -> tuple[int, int]:
        """Seconds since the epoch and the sender's offset; (0, 0) without a date."""
        values = self.header(b"date", at)
        return (sent_date(values[0]) if values else None) or (0, 0)


Value = Callable[[Batch, int], str]


class Field(NamedTuple):
    """stream: printed as a block of lines."""

    value: Value
    stream: bool = False


def _lf(octets: bytes) -> str:
    return octets.replace(b"\r\n", b"\n").decode("utf-8", "surrogateescape")


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")


def _local(stamp: float | None) -> str:
    return "" if stamp is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(stamp))


def _unix(stamp: float | None) -> str:
    return "" if stamp is None else str(int(stamp))


def _sent(batch: Batch, at: int) -> str:
    stamp, offset_s = batch.sent(at)
    sign, minutes = ("-" if offset_s < 0 else "+"), abs(offset_s) // 60
    return f"{_local(stamp)} ({sign}{minutes // 60:02d}{minutes % 60:02d})"


def _flags(batch: Batch, at: int) -> str:
    """System flags, \\Recent, keywords: in that order."""
    flags = batch.column(Column.FLAGS, at)
    if batch.uids[at] not in batch.selected.view.recent:
        return flags
    words = flags.split(" ") if flags else []
    system = [word for word in words if word.startswith("\\")]
    return " ".join([*system, "\\Recent", *words[len(system):]])


def _inside(rendered: str) -> str:
    """ENVELOPE and the like come without their outer parentheses."""
    return rendered[1:-1] if rendered.startswith("(") else rendered


def _in_utf8(batch: Batch, at: int) -> str:
    """The message as people read it: headers and parts decoded, texts in UTF-8."""
    message = batch.message(at)
    out: list[str] = []
    for part in parts(message.structure):
        header = message.octets[part.header_start:part.body_start]
        fields = split_fields(header)
        out += [_whole_field(whole) for _, _, whole in fields]
        if fields or header:
            out.append("\n")
        if not part.is_multipart and not part.is_message:
            octets = message.octets[part.body_start:part.end]
            decoded = transfer_decoded(octets, part.field(b"content-transfer-encoding") or b"")
            if decoded is None or decoded == octets:
                decoded = octets.replace(b"\r\n", b"\n")
            charset = part.content_type.param(b"charset") if part.content_type else None
            out.append(decode(decoded, charset or b"utf-8") if is_text(part) else _text(decoded))
    return "".join(out)


def _whole_field(whole: bytes) -> str:
    name, colon, value = whole.partition(b":")
    if not colon:
        return _lf(whole) + "\n"
    return f"{name.decode('utf-8', 'replace')}: {_decoded(first_text(value))}\n"


def _decoded(value: bytes) -> str:
    """A field's value without encoded words, on one line; white space inside stays."""
    text = _FOLD.sub(" ", value.decode("utf-8", "surrogateescape"))
    return decode_header(text.encode("utf-8", "surrogateescape")) if "=?" in text else text


FIELDS: Mapping[str, Field] = {
    "user": Field(lambda batch, at: batch.run.store.user),
    "mailbox": Field(lambda batch, at: shown(batch.selected.name)),
    "mailbox-guid": Field(lambda batch, at: batch.mailbox_guid),
    "seq": Field(lambda batch, at: str(batch.selected.view.sequence(batch.uids[at]) or "")),
    "uid": Field(lambda batch, at: str(batch.uids[at])),
    "guid": Field(lambda batch, at: batch.guids[at]),
    "flags": Field(_flags),
    "modseq": Field(lambda batch, at: batch.column(Column.MODSEQ, at)),
    "hdr": Field(lambda batch, at: _lf(batch.message(at).header), stream=True),
    "body": Field(lambda batch, at: _lf(batch.message(at).body), stream=True),
    "body.preview": Field(lambda batch, at: preview(batch.message(at)).decode("utf-8", "replace")),
    "body.snippet": Field(lambda batch, at: preview(batch.message(at)).decode("utf-8", "replace")),
    "text": Field(lambda batch, at: _lf(batch.message(at).octets), stream=True),
    "text.utf8": Field(_in_utf8, stream=True),
    "size.physical": Field(lambda batch, at: str(batch.mailbox.stored_octets(batch.uids[at]))),
    "size.virtual": Field(lambda batch, at: batch.column(Column.SIZE, at)),
    "date.received": Field(lambda batch, at: _local(batch.dates[at])),
    "date.sent": Field(_sent),
    "date.saved": Field(lambda batch, at: _local(batch.mailbox.saved_date(batch.uids[at]))),
    "date.received.unixtime": Field(lambda batch, at: _unix(batch.dates[at])),
    "date.sent.unixtime": Field(lambda batch, at: str(batch.sent(at)[0])),
    "date.saved.unixtime": Field(lambda batch, at: _unix(batch.mailbox.saved_date(batch.uids[at]))),
    "imap.envelope": Field(lambda batch, at: _inside(batch.column(Column.ENVELOPE, at))),
    "imap.body": Field(lambda batch, at: _inside(batch.column(Column.BODY, at))),
    "imap.bodystructure": Field(lambda batch, at: _inside(batch.column(Column.BODYSTRUCTURE, at))),
    "pop3.uidl": Field(lambda batch, at: ""),
    "pop3.order": Field(lambda batch, at: ""),
    "refcount": Field(lambda batch, at: batch.links[at]),
    "storageid": Field(lambda batch, at: batch.files[at]),
}


def field_of(name: str) -> Field:
    """A field by its name, in any case. Raises Failed."""
    lower = name.lower()
    if lower in FIELDS:
        return FIELDS[lower]
    kind, dot, rest = lower.partition(".")
    if dot and kind == "hdr":
        return _header_field(rest)
    if dot and kind in ("body", "binary"):
        return _section_field(rest, binary=kind == "binary")
    raise unknown("field", name)


def unknown(what: str, name: str) -> Failed:
    """As Dovecot answers: all there are, then which is none."""
    known = " ".join(("hdr.<name>", "body.<section>", "binary.<section>", *FIELDS))
    return Failed(f"Unknown fetch {what}: {name}", before=f"Available fetch fields: {known}\n")


def _header_field(rest: str) -> Field:
    """hdr.NAME, hdr.NAME.utf8, hdr.NAME.address, hdr.NAME.address_name, hdr.NAME.address_name.utf8."""
    name, utf8 = rest.removesuffix(".utf8"), rest.endswith(".utf8")
    how = next((ending for ending in ("address_name", "address") if name.endswith("." + ending)), "")
    header = name.removesuffix("." + how if how else "").encode("utf-8", "surrogateescape")

    def value(batch: Batch, at: int) -> str:
        values = batch.header(header, at)
        if how:
            values = [found for each in values for found in _addresses(each, how)]
        return "\n".join(_decoded(each) if utf8 else _lf(each) for each in values)

    return Field(value)


def _addresses(value: bytes, how: str) -> list[bytes]:
    if how == "address_name":
        return [address.name or b"" for address in parse_addresses(value)]
    found = []
    for address in parse_addresses(value):
        mailbox, domain = (b"" if part is None or part.startswith(b"MISSING_") else part
                           for part in (address.mailbox, address.domain))
        found.append(mailbox if address.domain is None else mailbox + b"@" + domain)     # no domain: a group's ends
    return found


def _section_field(rest: str, *, binary: bool) -> Field:
    try:
        section = parse_section(rest.encode("utf-8", "surrogateescape"))
    except PeerError:
        raise unknown("section", rest) from None

    def value(batch: Batch, at: int) -> str:
        message = batch.message(at)
        if not binary:
            return _text(message.section(section))
        return _text(binary_content(message, section).octets)

    return Field(value, stream=True)
