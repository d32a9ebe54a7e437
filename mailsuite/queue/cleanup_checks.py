"""header_checks and body_checks: what a table says of a line, carried out.

    checks = ContentChecks(settings)                    one per process
    lines = await checks.header(case, text)             what stands in the place of the header line(s)
    lines = await checks.body(case, text)

`case` is the message at hand: it is told of hold, discard, filter, redirect, bcc and refusal.
A table that cannot be asked defers the message (451 4.3.0): mail must not slip past a check.
Actions, as in header_checks(5): BCC DISCARD DUNNO FILTER HOLD IGNORE INFO OK PASS PREPEND REDIRECT REJECT REPLACE
STRIP WARN.
"""

import re
from typing import TYPE_CHECKING, Protocol

from mailsuite.address.syntax import quote_local
from mailsuite.base.errors import TemporaryError
from mailsuite.base.log import logger
from mailsuite.maps.maps import Maps, MapSource, open_maps
from mailsuite.message.mime_pass import NESTED, PART, PRIMARY, MimeLimits, Problem
from mailsuite.queue import params
from mailsuite.queue.envelope import Envelope, Recipient
from mailsuite.queue.headers import name_of
from mailsuite.smtp.milter.params import HEADER_CHECKS
from mailsuite.smtp.params import LINE_LENGTH_LIMIT

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings

MILTER = "milter header"        # a header that a milter adds
BODY = "body"
# The parameter that names the tables, as Postfix's warnings tell it.
PARAMETERS = {PRIMARY: "header_checks", PART: "mime_header_checks", NESTED: "nested_header_checks",
              MILTER: "milter_header_checks", BODY: "body_checks"}
log = logger("cleanup")
_STATUS = re.compile(r"([45]\.\d{1,3}\.\d{1,3})(?:\s+|$)")
_LOGGED = {"WARN": "warning", "INFO": "info", "STRIP": "strip", "PASS": "pass"}


class Case(Protocol):
    """The message at hand, as the checks see it."""

    queue_id: str
    envelope: Envelope
    discarded: bool
    passed: bool                  # PASS: no further checks of this message
    recipients: list[Recipient]
    problems: set[Problem]        # what MIME limits refuse

    @property
    def said_sender(self) -> str:
        """After rewriting and canonical tables, as far as known."""
        ...

    @property
    def said_recipient(self) -> str:
        """The last one: after canonical tables, before aliases; "" when there is none yet."""
        ...

    @property
    def stopped(self) -> bool:
        """Refused or discarded: nobody needs to look any more."""
        ...

    def refuse(self, code: int, status: str, text: str) -> None: ...


class ContentChecks:
    """The tables of one configuration. Empty tables cost nothing: ask `header_on`, `body_on` first."""

    def __init__(self, settings: "Settings") -> None:
        source = MapSource(settings, "cleanup")
        self.headers: dict[str, Maps] = {
            PRIMARY: open_maps(settings[params.HEADER_CHECKS], source, PARAMETERS[PRIMARY]),
            PART: open_maps(settings[params.MIME_HEADER_CHECKS], source, PARAMETERS[PART]),
            NESTED: open_maps(settings[params.NESTED_HEADER_CHECKS], source, PARAMETERS[NESTED]),
            MILTER: open_maps(settings[HEADER_CHECKS], source, PARAMETERS[MILTER])}
        self.body_maps = open_maps(settings[params.BODY_CHECKS], source, PARAMETERS[BODY])
        self.body_limit = settings[params.BODY_CHECKS_SIZE_LIMIT]
        mime_off = settings[params.DISABLE_MIME_INPUT_PROCESSING]
        self.mime_limits = MimeLimits(
            nesting=settings[params.MIME_NESTING_LIMIT], boundary=settings[params.MIME_BOUNDARY_LENGTH_LIMIT],
            header=settings[params.HEADER_SIZE_LIMIT], line=settings[LINE_LENGTH_LIMIT], off=mime_off)
        strict = frozenset() if mime_off else _strict(settings)
        self.problems = strict if mime_off else strict | {Problem.NESTING}
        self.header_on = any(not maps.empty for kind, maps in self.headers.items() if kind != MILTER)
        self.part_headers_on = any(not self.headers[kind].empty for kind in (PART, NESTED))
        self.body_on = not self.body_maps.empty
        # Only then somebody looks at the lines of a body.
        self.lines_on = self.body_on or not mime_off and (self.part_headers_on or bool(strict))

    async def header(self, case: Case, text: bytes, kind: str = "header") -> list[bytes]:
        """kind: "header", "mime header", "nested header" or MILTER. Returns the lines that replace it, perhaps none."""
        return await self._check(case, self.headers[kind], kind, text)

    async def body(self, case: Case, text: bytes) -> list[bytes]:
        return await self._check(case, self.body_maps, BODY, text)

    def disallowed(self, case: Case, line: str) -> None:
        """A line with a character of message_reject_characters."""
        if case.passed or case.stopped:
            return
        log.info("%s: 5.7.1 disallowed character", described(case, f"reject: content {line}", ""))
        case.refuse(550, "5.7.1", "disallowed character")

    async def _check(self, case: Case, maps: Maps, what: str, octets: bytes) -> list[bytes]:
        if maps.empty or case.passed or case.stopped:
            return [octets]
        text = octets.decode("utf-8", "surrogateescape")
        try:
            found = await maps.find(text)
        except TemporaryError:
            log.warning("%s: %s_checks map lookup problem -- message not accepted, try again later", case.queue_id,
                        what.replace(" ", "_"))
            case.refuse(451, "4.3.0", "Error: queue file write error")
            return [octets]
        if found is None:
            return [octets]
        word, *rest = found.strip().split(None, 1)[:2] or [""]
        return self._act(case, what, octets, word.upper(), rest[0] if rest else "")

    def _act(self, case: Case, what: str, octets: bytes, word: str, rest: str) -> list[bytes]:
        if word in _LOGGED:
            self._say(case, _LOGGED[word], what, octets, rest)
        match word:
            case "IGNORE" | "STRIP":
                return []
            case "REPLACE" | "PREPEND":
                return self._edit(case, what, octets, word, rest)
            case "PASS":
                case.passed = True
            case "WARN" | "INFO" | "DUNNO" | "OK":
                pass
            case _:
                self._decide(case, what, octets, word, rest)
        return [octets]

    def _edit(self, case: Case, what: str, octets: bytes, word: str, rest: str) -> list[bytes]:
        """REPLACE and PREPEND: text of the table comes into the message."""
        new, parameter = rest.encode("utf-8", "surrogateescape"), PARAMETERS[what]
        if not rest:
            log.warning("%s action without text in %s map", word, parameter)
        elif what == MILTER and word == "PREPEND":
            self._say(case, "prepend", what, octets, rest)
            log.warning("the milter_header/body_checks prepend action is not implemented")
        elif what != BODY and not name_of(new):
            log.warning('bad %s header text "%s" in %s map -- need "headername: headervalue"', word, rest, parameter)
        else:
            self._say(case, word.lower(), what, octets, rest)
            return [new] if word == "REPLACE" else [new, octets]
        return [octets]

    def _decide(self, case: Case, what: str, octets: bytes, word: str, rest: str) -> None:
        """Actions that concern the message as a whole."""
        if word == "REJECT":
            status, text = split_status(rest or "message content rejected", "5.7.1")
            self._say(case, "reject", what, octets, f"{status} {text}")
            case.refuse(550 if status.startswith("5") else 451, status, text)
        elif word == "HOLD":
            if not case.envelope.hold:
                self._say(case, "hold", what, octets, rest)
            case.envelope.hold = True
        elif word == "DISCARD":
            self._say(case, "discard", what, octets, rest)
            case.discarded = True
        elif word in ("FILTER", "REDIRECT", "BCC") and (bad := _bad_target(word, rest, PARAMETERS[what])):
            log.warning("%s", bad)
        elif word == "FILTER":
            self._say(case, "filter", what, octets, rest)
            case.envelope.filter = rest
        elif word == "REDIRECT":
            self._say(case, "redirect", what, octets, rest)
            case.envelope.redirect, case.passed = rest, True        # what would be found now matters no more
        elif word == "BCC":
            self._say(case, "bcc", what, octets, rest)
            case.envelope.bcc.append(rest)
        else:
            log.warning("%s command in %s map: %s", "unsupported" if what == MILTER else "unknown", PARAMETERS[what],
                        f"{word} {rest}".rstrip())

    def _say(self, case: Case, act: str, what: str, octets: bytes, text: str) -> None:
        origin = ""
        if what == MILTER:
            act = f"milter-header-{act}"
            origin = "" if case.envelope.origin.client_address else "localhost[127.0.0.1]"      # as milters are told
        if what != BODY:
            what = PRIMARY
        shown = octets.decode("utf-8", "backslashreplace")[:200]
        log.info("%s", described(case, f"{act}: {what} {shown}", "", origin_name=origin)
                 + (f": {text}" if text else ""))


def _bad_target(word: str, rest: str, parameter: str) -> str:
    """What is wrong with where a message is to go; "" when nothing is."""
    if word == "FILTER":
        if not rest:
            return f"missing FILTER command argument in {parameter} map"
        return "" if ":" in rest else f"bad FILTER command {rest} in {parameter} -- need transport:destination"
    name = "REDIRECT target" if word == "REDIRECT" else "BCC address"
    return "" if "@" in rest else f'bad {name} "{rest}" in {parameter} map -- need user@domain'


def _strict(settings: "Settings") -> frozenset[Problem]:
    """What is refused on request. Postfix does so while MIME is read."""
    both = settings[params.STRICT_8BITMIME]
    found = {Problem.EIGHT_IN_HEADER: both or settings[params.STRICT_7BIT_HEADERS],
             Problem.EIGHT_IN_BODY: both or settings[params.STRICT_8BITMIME_BODY],
             Problem.ENCODING: settings[params.STRICT_MIME_ENCODING_DOMAIN]}
    return frozenset(problem for problem, on in found.items() if on)


def described(case: Case, what: str, text: str, *, origin_name: str = "", told: bool = True) -> str:
    """A decision as the log tells it: "4F3A2: hold: header X: y from host[addr]; from=<> to=<> proto=SMTP helo=<x>".
    origin_name: another than the message's. told False: recipients are not known yet."""
    origin = case.envelope.origin
    parts = [f"{case.queue_id}: {what} from {origin_name or origin.message_origin}{text};",
             f"from=<{quote_local(case.said_sender)}>"]
    if case.said_recipient and told:
        parts.append(f"to=<{quote_local(case.said_recipient)}>")
    if origin.protocol_name:
        parts.append(f"proto={origin.protocol_name}")
    if origin.helo_name:
        parts.append(f"helo=<{origin.helo_name}>")
    return " ".join(parts)


def split_status(text: str, default: str) -> tuple[str, str]:
    """"5.7.7 words" -> ("5.7.7", "words"); without a code, the default one."""
    match = _STATUS.match(text)
    return (match[1], text[match.end():]) if match else (default, text)
