"""The header of a whole message as fields that can be inserted, added, changed; ESMTP parameters of envelope edits.

    header = Header(octets); header.apply(InsertHeader(0, "X-A", "1")); header.octets()

What is not edited comes out octet for octet as it went in.
"""

import re

from mailsuite.base.log import logger
from mailsuite.queue.envelope import Notify, Ret
from mailsuite.queue.headers import name_of
from mailsuite.queue.inspection import AddHeader, ChangeHeader, Field, InsertHeader, RemoveFields, ReplaceHeader
from mailsuite.smtp.dsn import decoded_xtext, read_notify, read_orcpt

log = logger("cleanup")
_FIELD_END = re.compile(rb"\n(?![ \t])")
_STRAY_LINE = re.compile(r"\n(?![ \t])")


class Header:
    """octets: whole lines with LF ends."""

    def __init__(self, octets: bytes) -> None:
        self._raw = _FIELD_END.split(octets)
        self._raw.pop()                      # behind the last LF stands nothing
        self._fields: list[Field] | None = None
        self.changed = False

    @property
    def fields(self) -> list[Field]:
        if self._fields is None:
            self._fields = [Field(name, value) for name, _, value in (raw.partition(b":") for raw in self._raw)]
        return self._fields

    def octets(self) -> bytes:
        return b"".join(raw + b"\n" for raw in self._raw)

    def apply(self, edit: InsertHeader | AddHeader | ChangeHeader | RemoveFields | ReplaceHeader) -> None:
        self._fields, self.changed = None, True
        match edit:
            case InsertHeader():
                self._raw.insert(max(0, edit.index), _rendered(edit.name, edit.value, edit.verbatim))
            case AddHeader():
                self._raw.append(_rendered(edit.name, edit.value, edit.verbatim))
            case ChangeHeader():
                self._change(edit)
            case ReplaceHeader():
                own = [raw for raw in self._raw if name_of(raw) == b"received"][:1]
                self._raw = own + Header(edit.octets)._raw
            case RemoveFields():
                self._raw = [raw for at, raw in enumerate(self._raw) if at not in edit.places]

    def _change(self, edit: ChangeHeader) -> None:
        name = edit.name.encode("utf-8", "surrogateescape").lower()
        found = [at for at, raw in enumerate(self._raw) if name_of(raw) == name]
        new = None if edit.value is None else _rendered(edit.name, edit.value, edit.verbatim)
        if 0 < edit.occurrence <= len(found):
            at = found[edit.occurrence - 1]
            self._raw[at:at + 1] = [] if new is None else [new]
        elif new is not None:
            self._raw.append(new)


def _rendered(name: str, value: str, verbatim: bool) -> bytes:
    # A line end that no white space follows would begin a field, or the body, of the writer's own making.
    value = _STRAY_LINE.sub("\n\t", value.replace("\r\n", "\n").replace("\0", "").rstrip("\n"))
    return f"{name}:{'' if verbatim else ' '}{value}".encode("utf-8", "surrogateescape")


def dsn_of_recipient(queue_id: str, parameters: str) -> tuple[str, Notify]:
    """ORCPT ("type;address", decoded) and NOTIFY of RFC 3461 sections 4.1 and 4.2."""
    orcpt, notify = "", 0
    for name, value in _parameters(parameters):
        if name == "ORCPT" and (said := read_orcpt(value)):
            orcpt = said
        elif name == "NOTIFY" and (mask := read_notify(value)):
            notify = mask
        else:
            log.warning("%s: ignoring bad ESMTP argument \"%s=%s\" of an added recipient", queue_id, name, value)
    return orcpt, Notify(notify)


def dsn_of_sender(queue_id: str, parameters: str) -> tuple[Ret | None, str]:
    """RET and ENVID of RFC 3461 sections 4.3 and 4.4; None and "" where they are not said."""
    ret, envid = None, ""
    for name, value in _parameters(parameters):
        if name == "RET" and value.upper() in ("FULL", "HDRS"):
            ret = Ret(value.upper())
        elif name == "ENVID" and (said := decoded_xtext(value)):
            envid = said
        else:
            log.warning("%s: ignoring bad ESMTP argument \"%s=%s\" of a new sender", queue_id, name, value)
    return ret, envid


def _parameters(text: str) -> list[tuple[str, str]]:
    return [(name.upper(), value) for name, _, value in (word.partition("=") for word in text.split())]
