"""header_checks and body_checks: what a table says of a line, carried out.

    checks = ContentChecks(settings)                    one per process
    lines = await checks.header(case, text)             what stands in the place of the header line(s)
    lines = await checks.body(case, text)

`case` is the message at hand: it is told of hold, discard, filter, redirect, bcc and refusal.
A table that cannot be asked defers the message (451 4.3.5): mail must not slip past a check.
Actions, as in header_checks(5): BCC DISCARD DUNNO FILTER HOLD IGNORE INFO OK PASS PREPEND REDIRECT REJECT REPLACE
STRIP WARN.
"""

import re
from typing import TYPE_CHECKING, Protocol

from mailsuite.base.errors import TemporaryError
from mailsuite.base.log import logger
from mailsuite.maps.maps import Maps, MapSource, open_maps
from mailsuite.queue import params
from mailsuite.queue.envelope import Envelope, Recipient
from mailsuite.smtp.milter.params import HEADER_CHECKS

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings

MILTER = "milter header"        # a header that a milter adds
log = logger("cleanup")
_STATUS = re.compile(r"([45]\.\d{1,3}\.\d{1,3})(?:\s+|$)")
_TRANSPORT = re.compile(r"[^\s:]+:.*")


class Case(Protocol):
    """The message at hand, as the checks see it."""

    queue_id: str
    envelope: Envelope
    discarded: bool
    passed: bool                  # PASS: no further checks of this message
    recipients: list[Recipient]

    def refuse(self, code: int, status: str, text: str) -> None: ...


class ContentChecks:
    """The tables of one configuration. Empty tables cost nothing: ask `header_on`, `body_on` first."""

    def __init__(self, settings: "Settings") -> None:
        source = MapSource(settings, "cleanup")
        self.headers: dict[str, Maps] = {
            "header": open_maps(settings[params.HEADER_CHECKS], source),
            "mime header": open_maps(settings[params.MIME_HEADER_CHECKS], source),
            "nested header": open_maps(settings[params.NESTED_HEADER_CHECKS], source),
            MILTER: open_maps(settings[HEADER_CHECKS], source)}
        self.body_maps = open_maps(settings[params.BODY_CHECKS], source)
        self.body_limit = settings[params.BODY_CHECKS_SIZE_LIMIT]
        self.header_on = any(not maps.empty for kind, maps in self.headers.items() if kind != MILTER)
        self.part_headers_on = any(not self.headers[kind].empty for kind in ("mime header", "nested header"))
        self.body_on = not self.body_maps.empty

    async def header(self, case: Case, text: bytes, kind: str = "header") -> list[bytes]:
        """kind: "header", "mime header", "nested header" or MILTER. Returns the lines that replace it, perhaps none."""
        return await self._check(case, self.headers[kind], kind, text)

    async def body(self, case: Case, text: bytes) -> list[bytes]:
        return await self._check(case, self.body_maps, "body", text)

    async def _check(self, case: Case, maps: Maps, what: str, octets: bytes) -> list[bytes]:
        if maps.empty or case.passed:
            return [octets]
        text = octets.decode("utf-8", "surrogateescape")
        try:
            found = await maps.find(text)
        except TemporaryError:
            case.refuse(451, "4.3.5", "Error: queue file write error")
            return [octets]
        if found is None:
            return [octets]
        word, _, rest = found.strip().partition(" ")
        return self._act(case, what, octets, word.upper(), rest.strip(), ",".join(maps.names))

    def _act(self, case: Case, what: str, octets: bytes, word: str, rest: str, table: str) -> list[bytes]:
        new = rest.encode("utf-8", "surrogateescape")
        if word in ("IGNORE", "STRIP"):
            if word == "STRIP":
                self._say(case, "strip", what, octets, rest)
            return []
        if word == "REPLACE" and rest:
            self._say(case, "replace", what, octets, rest)
            return [new]
        if word == "PREPEND" and rest:
            self._say(case, "prepend", what, octets, rest)
            if what == MILTER:
                log.warning("the milter_header/body_checks prepend action is not implemented")
                return [octets]
            return [new, octets]
        if word == "PASS":
            self._say(case, "pass", what, octets, rest)
            case.passed = True
        elif word in ("WARN", "INFO"):
            self._say(case, {"WARN": "warning"}.get(word, "info"), what, octets, rest)
        elif word not in ("DUNNO", "OK"):
            self._decide(case, what, octets, word, rest, table)
        return [octets]

    def _decide(self, case: Case, what: str, octets: bytes, word: str, rest: str, table: str) -> None:
        """Actions that concern the message as a whole."""
        if word == "REJECT":
            status, text = split_status(rest or "message content rejected", "5.7.1")
            self._say(case, "reject", what, octets, f"{status} {text}")
            case.refuse(550 if status.startswith("5") else 450, status, text)
        elif word == "HOLD":
            if not case.envelope.hold:
                self._say(case, "hold", what, octets, rest)
            case.envelope.hold = True
        elif word == "DISCARD":
            self._say(case, "discard", what, octets, rest)
            case.discarded = True
        elif word == "FILTER" and _TRANSPORT.fullmatch(rest):
            self._say(case, "filter", what, octets, rest)
            case.envelope.filter = rest
        elif word == "REDIRECT" and "@" in rest:
            self._say(case, "redirect", what, octets, rest)
            case.envelope.redirect = rest
        elif word == "BCC" and "@" in rest:
            self._say(case, "bcc", what, octets, rest)
            case.envelope.bcc.append(rest)
        elif what == MILTER:
            log.warning("unsupported command in milter_header_checks map: %s", f"{word} {rest}".rstrip())
        else:
            log.warning("unknown command in %s map: %s %s", table, word, rest)

    def _say(self, case: Case, act: str, what: str, octets: bytes, text: str) -> None:
        if what == MILTER:
            act, what = f"milter-header-{act}", "header"
        shown = octets.decode("utf-8", "backslashreplace")[:200]
        log.info("%s", described(case, f"{act}: {what} {shown}", "") + (f": {text}" if text else ""))


def described(case: Case, what: str, text: str, *, origin_name: str = "", told: bool = True) -> str:
    """A decision as the log tells it: "4F3A2: hold: header X: y from host[addr]; from=<> to=<> proto=SMTP helo=<x>".
    origin_name: another than the message's. told False: recipients are not known yet."""
    origin, envelope = case.envelope.origin, case.envelope
    parts = [f"{case.queue_id}: {what} from {origin_name or origin.message_origin}{text};",
             f"from=<{envelope.sender}>"]
    if case.recipients and told:
        parts.append(f"to=<{case.recipients[-1].original or case.recipients[-1].address}>")
    if origin.protocol_name:
        parts.append(f"proto={origin.protocol_name}")
    if origin.helo_name:
        parts.append(f"helo=<{origin.helo_name}>")
    return " ".join(parts)


def split_status(text: str, default: str) -> tuple[str, str]:
    """"5.7.7 words" -> ("5.7.7", "words"); without a code, the default one."""
    match = _STATUS.match(text)
    return (match[1], text[match.end():]) if match else (default, text)
