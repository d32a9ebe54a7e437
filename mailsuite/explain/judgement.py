"""What smtpd would answer to RCPT TO, and which restriction decided.

    judgement = await judge(site, service, "bob@example.test", Asker(client="198.51.100.7"), resolver)

The policy of smtp/policy is asked with the facts of an imagined client. Policy services, the greylist
and the verify service are not asked (they remember, and would count the question), nor does anybody sleep.
"""

from dataclasses import dataclass

from mailsuite.base.errors import ConfigError, TemporaryError
from mailsuite.base.trace import Step, tracing
from mailsuite.dns.resolver import Resolver
from mailsuite.explain.model import Decision, Judgement, decision_of, with_hit
from mailsuite.explain.site import Service, Site
from mailsuite.maps.maps import MapSource
from mailsuite.maps.matchlist import AddressList
from mailsuite.rewrite.rewriter import Rewriter
from mailsuite.smtp import params
from mailsuite.smtp.facts import Client, Facts, NameStatus
from mailsuite.smtp.policy.policy import LIST_MARK, Policy
from mailsuite.smtp.questions import Refusal

STRANGERS = ("203.0.113.1", "198.51.100.1", "192.0.2.1")       # RFC 5737: nobody's
NOT_ASKED = frozenset({"check_policy_service", "check_greylist", "reject_unverified_sender",
                       "reject_unverified_recipient", "sleep"})
_STATUSES = {"ok": NameStatus.OK, "temporary": NameStatus.TEMPORARY, "permanent": NameStatus.PERMANENT,
             "forged": NameStatus.FORGED}


@dataclass(frozen=True)
class Asker:
    """Who would send. client "": a stranger. name: instead of what DNS says. policy: ask policy services too."""

    sender: str = ""
    client: str = ""
    name: str = ""
    helo: str = ""
    login: str = ""
    policy: bool = False


async def judge(site: Site, service: Service, address: str, asker: Asker, resolver: Resolver) -> Judgement:
    """What the service says. A configuration that no smtpd would start with is a reply, too."""
    settings = service.settings
    facts = Facts(await _client(service, asker, resolver), service="smtpd", where="RCPT", protocol="ESMTP",
                  sender=asker.sender, recipient=address, sasl_username=asker.login,
                  sasl_method="PLAIN" if asker.login else "")
    facts.helo = asker.helo or (facts.client.name if facts.client.name != "unknown" else f"[{facts.client.address}]")
    judgement = Judgement("permit", "250 2.1.5 Ok", service.name, facts.client.host, facts.helo, asker.sender)
    with tracing() as trace:
        trace.passed_over = frozenset() if asker.policy else NOT_ASKED
        try:
            policy = Policy(settings, Rewriter(settings), resolver)
        except ConfigError as error:
            judgement.verdict, judgement.reply = "defer", f"451 4.3.5 Server configuration error ({error.public})"
            return judgement
        refusal = await _asked(policy, facts)
        steps = trace.steps
    judgement.steps = [site.locate(decision_of(step), service) for step in steps]
    judgement.actions = [f"{step.by.removeprefix('log ')}: {step.result}" for step in _noted(steps)]
    if refusal is not None:
        judgement.reply = refusal.reply
        judgement.verdict = "defer" if refusal.reply[:1] == "4" else "reject"
    _decided(site, service, judgement, steps, refusal)
    return judgement


async def _asked(policy: Policy, facts: Facts) -> Refusal | None:
    """The stages in their order; with smtpd_delay_reject the last one runs the lists of all."""
    for wanted, stage in ((policy.judges_connect, policy.client), (policy.judges_helo, policy.helo),
                          (policy.judges_mail, policy.mail)):
        refusal = await stage(facts) if wanted else None
        if refusal is not None:
            return refusal
    return await policy.rcpt(facts)


async def _client(service: Service, asker: Asker, resolver: Resolver) -> Client:
    client = Client(asker.client or await _stranger(service))
    if asker.name:
        client.name = client.reverse_name = asker.name
        client.name_status = client.reverse_status = NameStatus.OK
    elif asker.client and service.settings[params.SMTPD_PEERNAME_LOOKUP]:
        found = await resolver.client_name(asker.client)
        client.name, client.reverse_name = found.name, found.reverse_name
        client.name_status = _STATUSES.get(found.name_status, NameStatus.PERMANENT)
        client.reverse_status = _STATUSES.get(found.reverse_name_status, NameStatus.PERMANENT)
    return client


async def _stranger(service: Service) -> str:
    """An address that mynetworks does not have."""
    networks = AddressList(service.settings.text("mynetworks"), MapSource(service.settings, "smtpd"), name="mynetworks")
    for address in STRANGERS:
        try:
            if not await networks.matches_host("unknown", address):
                return address
        except TemporaryError:
            break
    return STRANGERS[0]


def _noted(steps: list[Step]) -> list[Step]:
    """What was done besides the verdict: held, filtered, warned..."""
    found: list[Step] = []
    for step in steps:
        if step.by.startswith("log ") and step.by != "log reject":
            found.append(step)
        found += _noted(step.inner)
    return found


def _decided(site: Site, service: Service, judgement: Judgement, steps: list[Step], refusal: Refusal | None) -> None:
    """Which list and rule gave the verdict: the last that said it. A permit of one list ends only that list."""
    wanted = refusal.reply if refusal is not None else "permit"
    current = ""
    for step in steps:
        if step.by == LIST_MARK:
            current = step.subject
        elif step.result == wanted:
            rule = _innermost(step, wanted)
            judgement.parameter, judgement.rule, judgement.argument = current, rule.by, rule.subject
            decision = with_hit(Decision(rule.by, rule.subject, rule.result), rule.hit or step.hit)
            judgement.decision = decision
            if not decision.file:
                decision.file, decision.line = site.where(current, service)
    if refusal is not None and not judgement.rule and steps:
        judgement.parameter, judgement.rule = current, "defer_if_permit"     # a doubt of an earlier rule


def _innermost(step: Step, wanted: str) -> Step:
    """Of restriction classes and lists in tables, the rule inside."""
    for inner in step.inner:
        if inner.result == wanted and not inner.by.startswith("log "):
            return _innermost(inner, wanted)
    return step
