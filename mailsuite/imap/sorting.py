"""SORT: what messages are ordered by (RFC 5256, RFC 5957).

    parse_program([Atom(b"REVERSE"), Atom(b"DATE")]) -> [Criterion("DATE", reverse=True)]
    sort(mailbox, uids, program) -> uids in order; equals stay in the order of the mailbox

Raises: PeerError in Dovecot's words. Limits: MAX_CRITERIA.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mailsuite.base.errors import PeerError
from mailsuite.imap.facts import facts_of
from mailsuite.imap.syntax import Argument
from mailsuite.store.api import Mailbox

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
        if isinstance(argument, list):
            raise PeerError("Invalid sort argument")
        name = argument.decode("utf-8", "replace").upper()
        if name == "REVERSE":
            reverse = not reverse
            continue
        if name not in NAMES:
            raise PeerError(f"Unknown sort argument: {name}")
        program.append(Criterion(name, reverse))
        reverse = False
    if reverse:
        raise PeerError("Sort list ends with REVERSE")
    if len(program) > MAX_CRITERIA:
        raise PeerError("Too long sort program")
    return program


def sort(mailbox: Mailbox, uids: Sequence[int], program: Sequence[Criterion]) -> list[int]:
    """UIDs in the order that the program asks for."""
    ordered = sorted(uids)
    for criterion in reversed(program):     # the sort is stable: the last criterion goes first
        keys = _keys(mailbox, criterion.name, uids)
        if keys is not None:
            ordered.sort(key=keys.__getitem__, reverse=criterion.reverse)
    return ordered


def _keys(mailbox: Mailbox, name: str, uids: Sequence[int]) -> Mapping[int, Any] | None:
    facts = facts_of(mailbox)
    match name:
        case "ARRIVAL":
            return {uid: date or 0 for uid, date in zip(uids, mailbox.dates(uids), strict=True)}
        case "SIZE":
            return {uid: size or 0 for uid, size in zip(uids, mailbox.sizes(uids), strict=True)}
        case "DATE":
            return facts.sent_dates(uids)
        case "SUBJECT":
            subjects = facts.subjects(uids)
            return {uid: subjects[uid][0] for uid in uids}
        case "CC" | "FROM" | "TO":
            return facts.first_mailboxes(name, uids)
        case "DISPLAYFROM" | "DISPLAYTO":
            return facts.display_names(name.removeprefix("DISPLAY"), uids)
    return None     # RELEVANCY: all the same
