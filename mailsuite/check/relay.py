"""An open relay: the policy is asked what it would tell a stranger who wants to send to somebody elsewhere.

What depends on DNS, lists on the net or policy services is taken not to object: they may be right or away, relaying
must be refused without them.
"""

import asyncio
import ipaddress
import re
from collections.abc import Iterator

from mailsuite.base.errors import ConfigError, MailError
from mailsuite.base.trace import Trace, tracing
from mailsuite.check.finding import Finding, error, warning
from mailsuite.check.site import Site
from mailsuite.config.settings import Settings
from mailsuite.dns.resolver import Answer, DnsError, Resolver
from mailsuite.maps.cidr import Network, parse_network
from mailsuite.maps.rules import SkipRule
from mailsuite.rewrite.rewriter import Rewriter
from mailsuite.smtp.facts import Client, Facts
from mailsuite.smtp.policy.lists import RESTRICTIONS
from mailsuite.smtp.policy.policy import LIST_MARK, Policy
from mailsuite.smtp.questions import Refusal

STRANGERS = ("203.0.113.77", "198.51.100.77", "2001:db8:77::77")    # RFC 5737, RFC 3849
FAR = "relay-test.invalid"                                          # RFC 2606
_MAY_BE_AWAY = re.compile(r"unknown|rbl|rhsbl|_mx_access|_ns_access|_a_access|"
                          r"policy|greylist|sleep|unverified|spf|dmarc|dkim")
SMALLEST_PREFIX = {4: 16, 6: 32}        # a public network that is larger is not "mine"


class _NoDns(Resolver):
    """Asks nobody."""

    async def records(self, name: str, rtype: str) -> Answer[object]:
        raise DnsError(name, rtype, "not asked")


def check_open_relay(site: Site) -> Iterator[Finding]:
    """Each smtpd of master.cf that others can reach."""
    for entry, own in site.services("smtpd"):
        if entry.type != "inet" or entry.name.startswith(("127.", "[::1]", "localhost:")) \
                or own.text("inet_interfaces") == "loopback-only" or own.text("smtpd_client_restrictions") == "reject":
            continue
        try:
            found = asyncio.run(_relays(own))
        except (ConfigError, MailError):
            continue                    # it would not start, or answer 451
        if found is not None:
            what, decided_list, rule = found
            yield error(f"open relay: {entry.name}/{entry.type} would take mail from a stranger {what}; "
                        f"{f'{rule} in {decided_list} permits it' if rule else 'no restriction refuses it'}",
                        site.service_place(entry, decided_list or "smtpd_relay_restrictions"),
                        "smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, "
                        "reject_unauth_destination\nand no \"permit\" or \"OK\" before it for addresses that anybody "
                        "can write")


async def _relays(settings: Settings) -> tuple[str, str, str] | None:
    """What would be relayed, and the list and the rule that let it through."""
    here = settings.text("myhostname")
    own_domain = settings.text("myorigin")
    with tracing() as trace:
        trace.passed_over = frozenset(name for name in RESTRICTIONS if _MAY_BE_AWAY.search(name))
        policy = Policy(settings, Rewriter(settings), _NoDns())
        for address in STRANGERS:
            for sender in (f"someone@{FAR}", f"postmaster@{own_domain}", ""):
                for recipient in (f"someone@{FAR}", f"someone%{FAR}@{here}", f"someone@{FAR}@{here}"):
                    decided = await _asked(policy, trace, address, sender, recipient)
                    if decided is not None:
                        return f"({address}, sender <{sender}>) to <{recipient}>", *decided
    return None


async def _asked(policy: Policy, trace: Trace, address: str, sender: str, recipient: str) -> tuple[str, str] | None:
    """The list and the rule that permit; None: it is refused."""
    trace.steps.clear()
    facts = Facts(Client(address), where="RCPT", protocol="ESMTP", helo=FAR, sender=sender, recipient=recipient)
    for wanted, stage in ((policy.judges_connect, policy.client), (policy.judges_helo, policy.helo),
                          (policy.judges_mail, policy.mail), (True, policy.rcpt)):
        if wanted and isinstance(await stage(facts), Refusal):
            return None
    if facts.treatment.discard is not None or facts.treatment.hold is not None:
        return None
    current, found = "", ("", "")
    for step in trace.steps:
        if step.by == LIST_MARK:
            current = step.subject
        elif step.result == "permit" and not found[0] and ("relay" in current or "recipient" in current):
            found = (current, f"{step.by} {step.subject}".strip())
    return found


def check_mynetworks(site: Site) -> Iterator[Finding]:
    """Everybody, or far too many, as "my networks"."""
    for entry, own in [(None, site.settings), *site.services("smtpd")]:
        if entry is not None and "mynetworks" not in entry.overrides:
            continue
        place = site.place("mynetworks") if entry is None else (entry.file, entry.line)
        for word in own.text("mynetworks").replace(",", " ").split():
            try:
                network = parse_network(word)
            except SkipRule:
                continue
            yield from _network(word, network, place)


def _network(word: str, network: Network, place: tuple[str, int]) -> Iterator[Finding]:
    prefix = bin(network.mask).count("1")
    if prefix == 0:
        yield error(f"mynetworks has {word}: everybody may send mail to everybody through this machine", place,
                    "mynetworks = 127.0.0.0/8 [::1]/128 and the networks that are yours")
        return
    version = 4 if network.bits == 32 else 6
    whole = ipaddress.ip_network((network.base, prefix)) if version == 6 else ipaddress.IPv4Network(
        (network.base, prefix))
    mapped = version == 6 and network.base >> 32 == 0xffff
    if not mapped and not whole.is_private and not whole.is_loopback and prefix < SMALLEST_PREFIX[version]:
        yield warning(f"mynetworks has {word}: everybody there may send mail through this machine", place,
                      "name only the networks that are yours")
