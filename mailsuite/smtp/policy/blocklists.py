"""Block lists and welcome lists in DNS: reject_rbl_client, permit_dnswl_client, reject_rhsbl_* and their kind.

    reject_rbl_client zen.example.test=127.0.0.[2..5]         the part behind "=" says which answers count
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailsuite.base.errors import TemporaryError
from mailsuite.base.log import logger
from mailsuite.dns.resolver import DnsError
from mailsuite.smtp.policy.judge import Judge
from mailsuite.smtp.policy.lists import restriction
from mailsuite.smtp.policy.verdict import PERMIT, Verdict
from mailsuite.smtp.reply import split_status
from mailsuite.smtp.syntax import is_hostname

if TYPE_CHECKING:
    from mailsuite.smtp.policy.resources import Resources

log = logger("smtpd")
_NUMBERS = re.compile(r"\[([^\]]*)\]|(\d+)")


@dataclass(frozen=True)
class BlockList:
    """answers: four sets of numbers, one an octet; None: every answer counts."""

    domain: str
    pattern: str = ""
    answers: tuple[frozenset[int], ...] | None = None

    def counts(self, address: str) -> bool:
        if self.answers is None:
            return True
        return all(int(octet) in allowed for octet, allowed in zip(address.split("."), self.answers, strict=True))


def _octet(text: str) -> frozenset[int]:
    """"2" or "[2..5;9]"."""
    numbers: set[int] = set()
    for part in text.strip("[]").split(";"):
        first, _, last = part.partition("..")
        numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers)


def parse_block_list(resources: "Resources", text: str) -> BlockList:
    """"domain" or "domain=127.0.0.[2..5]"; a pattern that cannot be read is logged and matches nothing."""
    domain, _, pattern = text.partition("=")
    if not pattern:
        return BlockList(domain)
    try:
        parts = [_octet(match[0]) for match in _NUMBERS.finditer(pattern)]
        if len(parts) != 4:
            raise ValueError
    except ValueError:
        log.warning("bad DNS list filter syntax: %s", text)
        parts = [frozenset()] * 4
    return BlockList(domain, pattern, tuple(parts))


async def _listed(judge: Judge, name: str, block: BlockList) -> tuple[bool, str]:
    """Whether a name is on a list, and the reason its TXT record gives. Raises DnsError."""
    resolver = judge.resources.resolver
    answer = await resolver.addresses(name, family="ipv4", use_hosts=False)
    if not any(block.counts(address) for address in answer.records):
        return False, ""
    try:
        texts = await resolver.records(name, "TXT")
    except DnsError:
        return True, ""
    # The first string of the first record, as in Postfix.
    return True, texts.records[0].strings[0].decode("utf-8", "replace") if texts.records else ""


def _reversed(address: str) -> str:
    """"1.2.0.192" for 192.0.2.1; nibbles for IPv6."""
    try:
        pointer = ipaddress.ip_address(address).reverse_pointer
    except ValueError:
        return ""
    return pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")


async def _reject_if_listed(judge: Judge, what: str, key: str, kind: str, block: BlockList) -> Verdict:
    name = f"{key}.{block.domain}"
    try:
        listed, reason = await _listed(judge, name, block)
    except DnsError as error:
        log.warning("%s: RBL lookup error: %s", name, error.public)
        return None
    if not listed:
        return None
    reply = await _reply(judge, what, kind, block, reason)
    status, text = split_status(reply[4:], "5.7.1")
    return judge.reject(int(reply[:3]), status, text)


async def _reply(judge: Judge, what: str, kind: str, block: BlockList, reason: str) -> str:
    """rbl_reply_maps or default_rbl_reply with its $names filled in."""
    resources, facts = judge.resources, judge.facts
    key = f"{block.domain}={block.pattern}" if block.pattern else block.domain
    try:
        template = await resources.rbl_reply_maps.find(key) if not resources.rbl_reply_maps.empty else None
    except TemporaryError:
        judge.server_error()
    values = {
        "rbl_code": str(resources.rbl_code), "rbl_class": kind, "rbl_what": what, "rbl_domain": block.domain,
        "rbl_reason": reason, "rbl_txt": reason, "client": facts.client.host, "client_name": facts.client.name,
        "client_address": facts.client.address, "reverse_client_name": facts.client.reverse_name,
        "helo_name": facts.helo or "", "sender": facts.sender or "", "recipient": facts.recipient or "",
        "sender_domain": (facts.sender or "").rpartition("@")[2],
        "recipient_domain": (facts.recipient or "").rpartition("@")[2],
        "sender_name": (facts.sender or "").rpartition("@")[0],
        "recipient_name": (facts.recipient or "").rpartition("@")[0],
    }
    allowed = resources.expansion_filter
    values = {name: "".join([sign if sign in allowed else "_" for sign in value]) for name, value in values.items()}
    text = resources.settings.expand(template or resources.settings.raw("default_rbl_reply"), values)
    if not re.match(r"[45]\d\d ", text):
        text = resources.settings.expand(resources.settings.raw("default_rbl_reply"), values)
    return text if re.match(r"[45]\d\d ", text) else f"{resources.rbl_code} {text}"


@restriction("reject_rbl_client", "reject_rbl", prepare=parse_block_list)
async def reject_rbl_client(judge: Judge, argument: object) -> Verdict:
    assert isinstance(argument, BlockList)
    address = judge.facts.client.address
    key = _reversed(address)
    return await _reject_if_listed(judge, address, key, "Client host", argument) if key else None


@restriction("permit_dnswl_client", prepare=parse_block_list)
async def permit_dnswl_client(judge: Judge, argument: object) -> Verdict:
    assert isinstance(argument, BlockList)
    key = _reversed(judge.facts.client.address)
    if not key:
        return None
    name = f"{key}.{argument.domain}"
    try:
        listed, _ = await _listed(judge, name, argument)
    except DnsError as error:
        log.warning("%s: RBL lookup error: %s", name, error.public)
        # Somebody who is welcome must not be refused because DNS is down.
        judge.defer_when_rejected(450, "4.7.1", f"<{judge.name}>: {judge.kind} rejected: Service unavailable")
        return None
    return PERMIT if listed else None


@restriction("permit_rhswl_client", prepare=parse_block_list)
async def permit_rhswl_client(judge: Judge, argument: object) -> Verdict:
    assert isinstance(argument, BlockList)
    client = judge.facts.client.name
    if not is_hostname(client) or client == "unknown":
        return None
    name = f"{client}.{argument.domain}"
    try:
        listed, _ = await _listed(judge, name, argument)
    except DnsError as error:
        log.warning("%s: RBL lookup error: %s", name, error.public)
        judge.defer_when_rejected(450, "4.7.1", f"<{judge.name}>: {judge.kind} rejected: Service unavailable")
        return None
    return PERMIT if listed else None


@restriction("reject_maps_rbl")
async def reject_maps_rbl(judge: Judge, argument: object) -> Verdict:
    """The old form: all of maps_rbl_domains."""
    log.warning('support for restriction "reject_maps_rbl" will be removed from Postfix; '
                'use "reject_rbl_client domain-name" instead')
    for domain in judge.resources.settings.text("maps_rbl_domains").replace(",", " ").split():
        verdict = await reject_rbl_client(judge, BlockList(domain))
        if verdict is not None:
            return verdict
    return None


def _domain_of(address: str | None) -> str:
    return (address or "").rpartition("@")[2] if "@" in (address or "") else ""


async def _rhsbl(judge: Judge, what: str, domain: str, kind: str, argument: object) -> Verdict:
    assert isinstance(argument, BlockList)
    if not is_hostname(domain) or domain == "unknown":
        return None
    return await _reject_if_listed(judge, what, domain, kind, argument)


@restriction("reject_rhsbl_client", prepare=parse_block_list)
async def reject_rhsbl_client(judge: Judge, argument: object) -> Verdict:
    name = judge.facts.client.name
    return await _rhsbl(judge, name, name, "Client host", argument)


@restriction("reject_rhsbl_reverse_client", prepare=parse_block_list)
async def reject_rhsbl_reverse_client(judge: Judge, argument: object) -> Verdict:
    name = judge.facts.client.reverse_name
    return await _rhsbl(judge, name, name, "Unverified Client host", argument)


@restriction("reject_rhsbl_helo", prepare=parse_block_list)
async def reject_rhsbl_helo(judge: Judge, argument: object) -> Verdict:
    name = judge.facts.helo or ""
    return await _rhsbl(judge, name, name, "Helo command", argument)


@restriction("reject_rhsbl_sender", prepare=parse_block_list)
async def reject_rhsbl_sender(judge: Judge, argument: object) -> Verdict:
    sender = judge.facts.sender
    return await _rhsbl(judge, sender or "", _domain_of(sender), "Sender address", argument)


@restriction("reject_rhsbl_recipient", prepare=parse_block_list)
async def reject_rhsbl_recipient(judge: Judge, argument: object) -> Verdict:
    recipient = judge.facts.recipient
    return await _rhsbl(judge, recipient or "", _domain_of(recipient), "Recipient address", argument)
