"""Access tables: in which order a client, name or address is looked up, and what the result makes of it.

Results: access(5) of Postfix: OK, REJECT, DEFER, 4xx/5xx text, DUNNO, HOLD, DISCARD, FILTER, REDIRECT, BCC, PREPEND,
WARN, INFO, DEFER_IF_PERMIT, DEFER_IF_REJECT, all digits (OK), or a list of restrictions.
"""

import re
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from mailsuite.base.errors import TemporaryError
from mailsuite.base.log import logger
from mailsuite.maps.lookup import Strategy, find_address
from mailsuite.maps.maps import Found, Maps
from mailsuite.smtp.policy.judge import Judge
from mailsuite.smtp.policy.lists import parse_list
from mailsuite.smtp.policy.verdict import PERMIT, Verdict
from mailsuite.smtp.reply import split_status

if TYPE_CHECKING:
    from mailsuite.smtp.policy.resources import Resources

log = logger("smtpd")
_DIGITS = re.compile(r"[0-9]+")
_CODE = re.compile(r"([45]\d\d)(?:\s+|$)")


def open_table(resources: "Resources", spec: str) -> Maps:
    """What a check_*_access restriction's argument becomes."""
    return resources.table(spec)


# --- look-up orders ---------------------------------------------------------------------------------------------

async def find_name(judge: Judge, maps: Maps, name: str) -> Found | None:
    """A host or domain name, then its parents: "a.b.test", "b.test", "test" (or ".b.test", ".test")."""
    found = await maps.find_with_source(name)
    dotted = not judge.resources.access_parents
    dot = name.find(".", 1)
    while found is None and dot >= 0 and dot + 1 < len(name):
        found = await maps.find_with_source(name[dot:] if dotted else name[dot + 1:], partial=True)
        dot = name.find(".", dot + 1)
    return found


async def find_network(maps: Maps, address: str) -> Found | None:
    """An address, then the networks it is in at octet borders: "192.0.2.1", "192.0.2", "192.0", "192"."""
    found = await maps.find_with_source(address)
    sign = ":" if ":" in address else "."
    while found is None and sign in address:
        address = address.rpartition(sign)[0]
        if address:
            found = await maps.find_with_source(address, partial=True)
    return found


async def find_client(judge: Judge, maps: Maps, name: str, address: str) -> Found | None:
    """A client's name, then its address."""
    found = await find_name(judge, maps, name)
    if found is None and address:
        found = await find_network(maps, address)
    return found


async def find_mail(judge: Judge, maps: Maps, address: str) -> Found | None:
    """user+ext@domain, user@domain, the domain and its parents, user+ext@, user@."""
    resources = judge.resources
    answer = await find_address(maps, address, delimiter=resources.delimiter,
                                strategy=Strategy.FULL | Strategy.NO_EXTENSION)
    if answer is not None:
        return Found(answer.value, ",".join(maps.names))
    domain = address.rpartition("@")[2] if "@" in address else ""
    if domain:
        value = await _find_parents(judge, maps, domain)
        if value is not None:
            return Found(value, ",".join(maps.names))
    answer = await find_address(maps, address, delimiter=resources.delimiter, strategy=Strategy.ACCESS)
    return Found(answer.value, ",".join(maps.names)) if answer is not None else None


async def _find_parents(judge: Judge, maps: Maps, domain: str) -> str | None:
    value = await maps.find(domain, partial=True)
    dotted = not judge.resources.access_parents
    dot = domain.find(".", 1)
    while value is None and dot >= 0 and dot + 1 < len(domain):
        value = await maps.find(domain[dot:] if dotted else domain[dot + 1:], partial=True)
        dot = domain.find(".", dot + 1)
    return value


# --- results ----------------------------------------------------------------------------------------------------

async def judge_result(judge: Judge, found: Found | None) -> Verdict:
    """What a table's (or policy service's) answer means. Raises TemporaryError, ServerError."""
    if found is None:
        return None
    value = found.value.strip()
    if not value:
        log.warning("access table %s entry %s has empty value", found.table, value)
        return None
    word, *more = value.split(None, 1)
    rest = more[0].strip() if more else ""
    action = ACTIONS.get(word.upper())
    # All digits permit: some tables hold time stamps (pop-before-smtp).
    verdict = action(judge, rest, found.table) if action is not None else PERMIT if _DIGITS.fullmatch(value) else None
    if action in (_permit, _discard) or verdict is PERMIT:
        await judge.note_permit(word, judge.kind, judge.name, f"from {found.table}")
    if action is not None or verdict is not None:
        return verdict
    code = _CODE.match(value)
    if code is not None:
        text = value[code.end():]
        status, text = split_status(text, f"{code[1][0]}.7.1")
        return judge.reject_named(int(code[1]), status, text or "Access denied")
    if ":" in value:
        log.warning("access table %s has entry with lookup table: %s", found.table.replace("\n", " "), value)
        log.warning("do not specify lookup tables inside SMTPD access maps")
        log.warning("define a restriction class and specify its name instead.")
        judge.server_error()
    if judge.nested_too_deeply:
        log.warning("access table %s entry %s causes unreasonable recursion", found.table, value)
        judge.server_error()
    return await judge.sublist(parse_list(value, judge.resources, judge.resources.classes, tables=False))


async def judge_as(judge: Judge, name: str, kind: str, found: "Found | Awaitable[Found | None] | None") -> Verdict:
    """Judge a table's result (or a look-up that is still to be made) with what was looked up as the culprit.

    A table that cannot be asked refuses: 451 4.3.5 <name>: kind rejected: Server configuration error. That is no
    software error: Postmaster gets no transcript of it.
    """
    before = judge.name, judge.kind
    judge.name, judge.kind = name, kind
    try:
        if isinstance(found, Awaitable):
            try:
                found = await found
            except TemporaryError:
                return judge.reject_named(451, "4.3.5", "Server configuration error")
        return await judge_result(judge, found)
    finally:
        judge.name, judge.kind = before


def _permit(judge: Judge, text: str, table: str) -> Verdict:
    return PERMIT


def _dunno(judge: Judge, text: str, table: str) -> Verdict:
    return None


def _reject(judge: Judge, text: str, table: str) -> Verdict:
    status, text = split_status(text, "5.7.1")
    return judge.reject_named(judge.resources.access_reject_code, status, text or "Access denied")


def _defer(judge: Judge, text: str, table: str) -> Verdict:
    status, text = split_status(text, "4.7.1")
    return judge.reject_named(judge.resources.access_defer_code, status, text or "Access denied")


def _named(judge: Judge, text: str) -> str:
    return f"<{judge.name}>: {judge.kind} {text}"


def _warn(judge: Judge, text: str, table: str) -> Verdict:
    judge.note("warn", text)
    return None


def _info(judge: Judge, text: str, table: str) -> Verdict:
    judge.note("info", text)
    return None


def _hold(judge: Judge, text: str, table: str) -> Verdict:
    if not judge.warn_only:
        judge.facts.treatment.hold = text
    judge.note("hold", _named(judge, text or "triggers HOLD action"))
    return None


def _discard(judge: Judge, text: str, table: str) -> Verdict:
    if not judge.warn_only:
        judge.facts.treatment.discard = text
    judge.note("discard", _named(judge, text or "triggers DISCARD action"))
    return None


def _filter(judge: Judge, text: str, table: str) -> Verdict:
    if ":" not in text:
        log.warning('access table %s entry "%s" requires transport:destination', table, judge.name)
        return None
    judge.note("filter", _named(judge, f"triggers FILTER {text}"))
    if not judge.warn_only:
        judge.facts.treatment.filter = text
    return None


def _redirect(judge: Judge, text: str, table: str) -> Verdict:
    if "@" not in text:
        log.warning('access table %s entry "%s" requires user@domain target', table, judge.name)
        return None
    judge.note("redirect", _named(judge, f"triggers REDIRECT {text}"))
    if not judge.warn_only:
        judge.facts.treatment.redirect = text
    return None


def _bcc(judge: Judge, text: str, table: str) -> Verdict:
    if "@" not in text:
        log.warning('access table %s entry "%s" requires user@domain target', table, judge.name)
        return None
    judge.note("bcc", _named(judge, f"triggers BCC {text}"))
    if not judge.warn_only:
        judge.facts.treatment.bcc.append(text)
    return None


def _prepend(judge: Judge, text: str, table: str) -> Verdict:
    if not re.match(r"[!-9;-~]+:", text):
        log.warning('access table %s entry "%s" requires header: text', table, judge.name)
        return None
    if judge.facts.where == "END-OF-MESSAGE":
        log.warning("access table %s: with PREPEND is not available at the end of the message", table)
        return None
    if not judge.warn_only:
        judge.facts.treatment.prepend.append(text)
    return None


def _defer_if_permit(judge: Judge, text: str, table: str) -> Verdict:
    status, text = split_status(text, "4.7.1")
    judge.defer_when_permitted(judge.resources.access_defer_code, status,
                               f"<{judge.name}>: {judge.kind} rejected: {text or 'Service unavailable'}")
    return None


def _defer_if_reject(judge: Judge, text: str, table: str) -> Verdict:
    status, text = split_status(text, "4.7.1")
    judge.defer_when_rejected(judge.resources.access_defer_code, status,
                              f"<{judge.name}>: {judge.kind} rejected: {text or 'Service unavailable'}")
    return None


ACTIONS = {
    "OK": _permit, "RELAY": _permit, "DUNNO": _dunno, "REJECT": _reject, "DEFER": _defer, "WARN": _warn,
    "INFO": _info, "HOLD": _hold, "DISCARD": _discard, "FILTER": _filter, "REDIRECT": _redirect, "BCC": _bcc,
    "PREPEND": _prepend, "DEFER_IF_PERMIT": _defer_if_permit, "DEFER_IF_REJECT": _defer_if_reject,
}

