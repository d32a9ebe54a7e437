"""SORT: what messages are ordered by (RFC 5256, RFC 5957).

    parse_program([Atom(b"REVERSE"), Atom(b"DATE")]) -> [Criterion("DATE", reverse=True)]
    Sorter(selected).sort(uids, program) -> uids in order; equals stay in the order of the mailbox
    base_subject("Re: [list] Fwd: x") -> ("x", True)

Headers are asked for once per criterion, for all messages together.
Raises: PeerError in Dovecot's words. Limits: MAX_CRITERIA.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mailsuite.base.errors import PeerError
from mailsuite.imap.search import Search
from mailsuite.imap.sent_date import sent_date
from mailsuite.imap.syntax import Argument, Atom
from mailsuite.imap.text import decode_header, fold
from mailsuite.imap.view import Selected
from mailsuite.message.address import parse_addresses

NAMES = ("ARRIVAL", "CC", "DATE", "FROM", "SIZE", "SUBJECT", "TO", "DISPLAYFROM", "DISPLAYTO", "RELEVANCY", "X-SCORE")
MAX_CRITERIA = 16


@dataclass(frozen=True)
class Criterion:
    name: str
    reverse: bool = False


def parse_program(arguments: Sequence[Argument]) -> list[Criterion]:
    """A sort program. Raises PeerError."""
    if not arguments:
        raise PeerError("Empty sort program")
    program, reverse = [], False
    for argument in arguments:
        if not isinstance(argument, Atom):
            raise PeerError("Invalid sort argument")
        name = argument.decode("ascii").upper()
        if name == "REVERSE":
            reverse = True
            continue
        if name not in NAMES:
            raise PeerError(f"Unknown sort argument: {name}")
        program.append(Criterion(name, reverse))
        reverse = False
    if reverse:
        raise PeerError("REVERSE without sort key")
    if len(program) > MAX_CRITERIA:
        raise PeerError("Too long sort program")
    return program


class Sorter:
    """Reads what a sort needs; shared by THREAD."""

    def __init__(self, selected: Selected) -> None:
        self.selected, self.mailbox = selected, selected.mailbox
        self._search = Search(selected, 0.0)

    def sort(self, uids: Sequence[int], program: Sequence[Criterion]) -> list[int]:
        ordered = sorted(uids)
        for criterion in reversed(program):     # the sort is stable: the last criterion goes first
            keys = self._keys(criterion.name, uids)
            if keys is not None:
                ordered.sort(key=keys.__getitem__, reverse=criterion.reverse)
        return ordered

    def _keys(self, name: str, uids: Sequence[int]) -> dict[int, Any] | None:
        match name:
            case "ARRIVAL":
                return {uid: date or 0 for uid, date in zip(uids, self.mailbox.dates(uids), strict=True)}
            case "SIZE":
                return {uid: size or 0 for uid, size in zip(uids, self.mailbox.sizes(uids), strict=True)}
            case "DATE":
                return self.sent_dates(uids)
            case "SUBJECT":
                return {uid: subject for uid, (subject, _) in self.subjects(uids).items()}
            case "CC" | "FROM" | "TO":
                return self._complete(uids, {uid: first_mailbox(value) for uid, value in self._values(name, uids)})
            case "DISPLAYFROM" | "DISPLAYTO":
                values = self._values(name.removeprefix("DISPLAY"), uids)
                return self._complete(uids, {uid: display_name(value) for uid, value in values})
        return None     # RELEVANCY: all the same

    def _values(self, name: str, uids: Sequence[int]) -> list[tuple[int, bytes]]:
        return [(uid, value or b"") for uid, value in self._search.values(name.encode(), uids)]

    def _complete(self, uids: Sequence[int], keys: dict[int, str]) -> dict[int, str]:
        return {uid: keys.get(uid, "") for uid in uids}

    def sent_dates(self, uids: Sequence[int]) -> dict[int, int]:
        """Seconds since the epoch of the Date field; INTERNALDATE where there is none (RFC 5256 section 2.2)."""
        dates: dict[int, int] = {}
        missing = []
        for uid, value in self._search.values(b"date", uids):
            parsed = sent_date(value) if value is not None else None
            if parsed is None:
                missing.append(uid)
            else:
                dates[uid] = parsed[0]
        if missing or len(dates) < len(uids):
            missing = [uid for uid in uids if uid not in dates]
            dates.update((uid, int(date or 0)) for uid, date in zip(missing, self.mailbox.dates(missing), strict=True))
        return dates

    def subjects(self, uids: Sequence[int]) -> dict[int, tuple[str, bool]]:
        """Folded base subjects, and whether the subject was that of a reply or forward."""
        found = {uid: base_subject(decode_header(value)) for uid, value in self._values("subject", uids)}
        return {uid: found.get(uid, ("", False)) for uid in uids}


def first_mailbox(value: bytes) -> str:
    """The local part of the first address."""
    addresses = parse_addresses(value)
    return fold((addresses[0].mailbox or b"").decode("utf-8", "replace")) if addresses else ""


def display_name(value: bytes) -> str:
    """The display name of the first address, else the address (RFC 5957)."""
    addresses = parse_addresses(value)
    if not addresses:
        return ""
    first = addresses[0]
    if first.name:
        return fold(decode_header(first.name))
    return fold(b"@".join(part for part in (first.mailbox, first.domain) if part).decode("utf-8", "replace"))


_BLANKS = re.compile(r"[ \t\r\n]+")
_TRAILER = re.compile(r"(?: |\(fwd\))+\Z", re.I)
_BLOB = re.compile(r"\[[^\[\]]*\] ?")
_LEADER = re.compile(r"(?:\[[^\[\]]*\] ?)*(?:re|fwd?) ?(?:\[[^\[\]]*\] ?)?:", re.I)


def base_subject(subject: str) -> tuple[str, bool]:
    """RFC 5256 section 2.1: the subject without what replies and forwards add, folded."""
    text = _BLANKS.sub(" ", subject)
    reply = False
    while True:
        trailer = _TRAILER.search(text)
        if trailer is not None:
            reply = reply or "(" in trailer[0]
            text = text[:trailer.start()]
        text, more = _without_leaders(text)
        reply = reply or more
        if text[:5].lower() == "[fwd:" and text.endswith("]"):
            text, reply = text[5:-1], True
            continue
        return fold(text), reply


def _without_leaders(text: str) -> tuple[str, bool]:
    reply = False
    while True:
        stripped = text.lstrip(" ")
        leader = _LEADER.match(stripped)
        if leader is not None:
            text, reply = stripped[leader.end():], True
            continue
        blob = _BLOB.match(stripped)
        if blob is not None and blob.end() < len(stripped):
            text = stripped[blob.end():]
            continue
        return stripped, reply
