"""Restrictions on senders and recipients."""

from mailsuite.dns.resolver import DnsError
from mailsuite.maps.lookup import find_address
from mailsuite.maps.maps import Found, Maps
from mailsuite.maps.table import fold
from mailsuite.smtp import params
from mailsuite.smtp.policy.access import find_mail, judge_as, open_table
from mailsuite.smtp.policy.judge import Judge
from mailsuite.smtp.policy.lists import restriction
from mailsuite.smtp.policy.verdict import PERMIT, Verdict
from mailsuite.smtp.syntax import is_hostname

SENDER, RECIPIENT = "Sender address", "Recipient address"


# --- access tables ----------------------------------------------------------------------------------------------

async def _find_resolved(judge: Judge, maps: Maps, address: str) -> Found | None:
    """Look an address up as it will be known: completed, routes taken out, in lower case for every table."""
    resolution = await judge.resources.resolve("", address)
    return await find_mail(judge, maps, fold(resolution.recipient))


@restriction("check_sender_access", prepare=open_table)
async def check_sender_access(judge: Judge, argument: object) -> Verdict:
    assert isinstance(argument, Maps)
    sender = judge.facts.sender
    if sender is None:
        return None
    if sender:
        found = _find_resolved(judge, argument, sender)
    else:
        found = argument.find_with_source(judge.resources.null_key)
    return await judge_as(judge, sender, SENDER, found)


@restriction("check_recipient_access", prepare=open_table)
async def check_recipient_access(judge: Judge, argument: object) -> Verdict:
    assert isinstance(argument, Maps)
    recipient = judge.facts.recipient
    if not recipient:
        return None
    return await judge_as(judge, recipient, RECIPIENT, _find_resolved(judge, argument, recipient))


# --- where mail may go ------------------------------------------------------------------------------------------

async def _is_authorised(judge: Judge, recipient: str) -> bool:
    """Whether we are final destination or relay for a recipient."""
    resolution = await judge.resources.resolve(judge.facts.sender or "", recipient)
    if "@" not in resolution.recipient:
        return True
    if resolution.routed and judge.resources.settings.text("allow_untrusted_routing") != "yes":
        return False
    return resolution.address_class != "default"


@restriction("permit_auth_destination")
async def permit_auth_destination(judge: Judge, argument: object) -> Verdict:
    recipient = judge.facts.recipient
    return PERMIT if recipient and await _is_authorised(judge, recipient) else None


async def _unauthorised(judge: Judge, code: int, status: str) -> Verdict:
    recipient = judge.facts.recipient
    if not recipient or await _is_authorised(judge, recipient):
        return None
    return judge.reject(code, status, f"<{recipient}>: Relay access denied")


@restriction("reject_unauth_destination", "check_relay_domains")
async def reject_unauth_destination(judge: Judge, argument: object) -> Verdict:
    return await _unauthorised(judge, judge.resources.relay_code, "5.7.1")


@restriction("defer_unauth_destination")
async def defer_unauth_destination(judge: Judge, argument: object) -> Verdict:
    return await _unauthorised(judge, judge.resources.relay_code - 100, "4.7.1")


# --- unlisted ---------------------------------------------------------------------------------------------------

async def _unlisted(judge: Judge, address: str, kind: str) -> Verdict:
    resources = judge.resources
    resolution = await resources.resolve("" if kind == SENDER else judge.facts.sender or "", address)
    if resolution.bad_syntax:
        if kind == SENDER:
            return judge.reject(501, "5.1.7", "Bad sender address syntax")
        return judge.reject(501, "5.1.3", "Bad recipient address syntax")
    unknown = await resources.rewriter.validate_recipient(resolution, address, sender=kind == SENDER)
    if unknown is None:
        return None
    return judge.reject(unknown.code, unknown.status, f"<{address}>: {kind} rejected: {unknown.text}", sort="bounce")


@restriction("reject_unlisted_recipient", "check_recipient_maps")
async def reject_unlisted_recipient(judge: Judge, argument: object) -> Verdict:
    recipient = judge.facts.recipient
    if not recipient or judge.recipient_checked:
        return None
    if not judge.warn_only:
        judge.recipient_checked = True
    return await _unlisted(judge, recipient, RECIPIENT)


@restriction("reject_unlisted_sender")
async def reject_unlisted_sender(judge: Judge, argument: object) -> Verdict:
    sender = judge.facts.sender
    if not sender or judge.sender_checked:
        return None
    if not judge.warn_only:
        judge.sender_checked = True
    return await _unlisted(judge, sender, SENDER)


# --- syntax and DNS ---------------------------------------------------------------------------------------------

def _not_full(judge: Judge, address: str, kind: str) -> Verdict:
    domain = address.rpartition("@")[2] if "@" in address else ""
    if domain.startswith("[") and domain.endswith("]"):
        return None
    bare = domain[:-1] if domain.endswith(".") and not domain.endswith("..") else domain
    if is_hostname(bare) and "." in bare:
        return None
    return judge.reject(judge.resources.non_fqdn_code, "5.5.2",
                        f"<{address}>: {kind} rejected: need fully-qualified address")


@restriction("reject_non_fqdn_sender")
async def reject_non_fqdn_sender(judge: Judge, argument: object) -> Verdict:
    sender = judge.facts.sender
    return _not_full(judge, sender, SENDER) if sender else None


@restriction("reject_non_fqdn_recipient")
async def reject_non_fqdn_recipient(judge: Judge, argument: object) -> Verdict:
    recipient = judge.facts.recipient
    return _not_full(judge, recipient, RECIPIENT) if recipient else None


async def _unknown_domain(judge: Judge, address: str, kind: str) -> Verdict:
    resources = judge.resources
    resolution = await resources.resolve(judge.facts.sender or "", address)
    domain = resolution.recipient.rpartition("@")[2] if "@" in resolution.recipient else ""
    if not domain or resolution.address_class not in ("default", "relay") or domain.startswith("["):
        return None
    status, null_code, null_status = ("4.1.8", 550, "5.7.27") if kind == SENDER else ("4.1.2", 556, "5.1.10")
    head = f"<{address}>: {kind} rejected: "
    try:
        mx = await resources.resolver.mx(domain)
        if len(mx.records) == 1 and not mx.records[0].host:
            return judge.reject(null_code, null_status, f"{head}Domain {domain} does not accept mail (nullMX)")
        if mx or await resources.resolver.addresses(domain, use_hosts=False):
            return None
    except DnsError:
        action = resources.settings[params.UNKNOWN_ADDRESS_TEMPFAIL_ACTION]
        return judge.tempfail(action, 450, status, head + "Domain not found")
    return judge.reject(resources.unknown_address_code, status, head + "Domain not found")


@restriction("reject_unknown_sender_domain", "reject_unknown_address")
async def reject_unknown_sender_domain(judge: Judge, argument: object) -> Verdict:
    sender = judge.facts.sender
    return await _unknown_domain(judge, sender, SENDER) if sender else None


@restriction("reject_unknown_recipient_domain")
async def reject_unknown_recipient_domain(judge: Judge, argument: object) -> Verdict:
    recipient = judge.facts.recipient
    return await _unknown_domain(judge, recipient, RECIPIENT) if recipient else None


@restriction("reject_multi_recipient_bounce")
async def reject_multi_recipient_bounce(judge: Judge, argument: object) -> Verdict:
    facts = judge.facts
    several = facts.recipients > (1 if facts.where in ("DATA", "BDAT", "END-OF-MESSAGE") else 0)
    if facts.sender == "" and several:
        return judge.reject_named(judge.resources.multi_bounce_code, "5.5.3", "Multi-recipient bounce")
    return None


# --- who may use which sender address ---------------------------------------------------------------------------

async def _owners(judge: Judge, sender: str) -> list[str] | None:
    resources = judge.resources
    resolution = await resources.resolve("", sender)
    found = await find_address(resources.login_maps, resolution.recipient, delimiter=resources.delimiter,
                               is_local=resources.rewriter.has_local_names)
    return found.value.replace(",", " ").split() if found is not None else None


async def _not_owned(judge: Judge, *, known_only: bool) -> Verdict:
    sender, login = judge.facts.sender, judge.facts.sasl_username
    if not sender or not login:
        return None
    owners = await _owners(judge, sender)
    if owners is None and known_only:
        return None
    if owners is not None and any(owner.lower() == login.lower() for owner in owners):
        return None
    return judge.reject(553, "5.7.1", f"<{sender}>: {SENDER} rejected: not owned by user {login}")


async def _not_logged_in(judge: Judge) -> Verdict:
    sender = judge.facts.sender
    if not sender or judge.facts.sasl_username or await _owners(judge, sender) is None:
        return None
    return judge.reject(553, "5.7.1", f"<{sender}>: {SENDER} rejected: not logged in")


@restriction("reject_authenticated_sender_login_mismatch")
async def reject_authenticated_sender_login_mismatch(judge: Judge, argument: object) -> Verdict:
    if judge.without_sasl("reject_authenticated_sender_login_mismatch"):
        return None
    return await _not_owned(judge, known_only=False)


@restriction("reject_known_sender_login_mismatch")
async def reject_known_sender_login_mismatch(judge: Judge, argument: object) -> Verdict:
    if judge.without_sasl("reject_known_sender_login_mismatch"):
        return None
    return await (_not_owned(judge, known_only=True) if judge.facts.sasl_username else _not_logged_in(judge))


@restriction("reject_unauthenticated_sender_login_mismatch")
async def reject_unauthenticated_sender_login_mismatch(judge: Judge, argument: object) -> Verdict:
    if judge.without_sasl("reject_unauthenticated_sender_login_mismatch"):
        return None
    return await _not_logged_in(judge)


@restriction("reject_sender_login_mismatch")
async def reject_sender_login_mismatch(judge: Judge, argument: object) -> Verdict:
    if judge.without_sasl("reject_authenticated_sender_login_mismatch",
                     "reject_unauthenticated_sender_login_mismatch"):
        return None
    return await (_not_owned(judge, known_only=False) if judge.facts.sasl_username else _not_logged_in(judge))
