"""Restrictions that fit into every list, and those on the client and its HELO."""

import asyncio

from mailsuite.base.log import logger
from mailsuite.dns.resolver import DnsError
from mailsuite.maps.maps import Maps
from mailsuite.smtp import params
from mailsuite.smtp.facts import NameStatus
from mailsuite.smtp.policy.access import find_client, find_name, judge_as, open_table
from mailsuite.smtp.policy.judge import Judge
from mailsuite.smtp.policy.lists import restriction
from mailsuite.smtp.policy.verdict import PERMIT, Verdict
from mailsuite.smtp.syntax import is_address_literal, is_hostname, is_ip

log = logger("smtpd")
SLEEP_LIMIT_S = 1000


# --- any list ---------------------------------------------------------------------------------------------------

@restriction("permit")
async def permit(judge: Judge, argument: object) -> Verdict:
    return PERMIT


@restriction("reject")
async def reject(judge: Judge, argument: object) -> Verdict:
    return judge.reject_named(judge.resources.reject_code, "5.7.1", "Access denied")


@restriction("defer")
async def defer(judge: Judge, argument: object) -> Verdict:
    return judge.reject_named(judge.resources.defer_code, "4.3.2", "Try again later")


@restriction("defer_if_permit")
async def defer_if_permit(judge: Judge, argument: object) -> Verdict:
    judge.defer_when_permitted(450, "4.7.0", f"<{judge.name}>: {judge.kind} rejected: defer_if_permit requested")
    return None


@restriction("defer_if_reject")
async def defer_if_reject(judge: Judge, argument: object) -> Verdict:
    judge.defer_when_rejected(450, "4.7.0", f"<{judge.name}>: {judge.kind} rejected: defer_if_reject requested")
    return None


@restriction("sleep", prepare=lambda resources, text: min(float(text), SLEEP_LIMIT_S) if text.isdigit() else None)
async def sleep(judge: Judge, argument: object) -> Verdict:
    if not isinstance(argument, float):
        log.warning("restriction sleep must be followed by number")
        judge.server_error()
        return None
    await asyncio.sleep(argument)
    return None


@restriction("reject_unauth_pipelining")
async def reject_unauth_pipelining(judge: Judge, argument: object) -> Verdict:
    if judge.facts.ill_pipelining:
        return judge.reject_named(503, "5.5.0", "Improper use of SMTP command pipelining", sort="protocol")
    return None


@restriction("reject_plaintext_session")
async def reject_plaintext_session(judge: Judge, argument: object) -> Verdict:
    if judge.facts.tls is None:
        return judge.reject(judge.resources.plaintext_code, "4.7.1", "Session encryption is required")
    return None


# --- the client -------------------------------------------------------------------------------------------------

@restriction("permit_mynetworks")
async def permit_mynetworks(judge: Judge, argument: object) -> Verdict:
    client = judge.facts.client
    if await judge.resources.mynetworks.matches_host(client.name, client.address):
        return PERMIT
    return None


@restriction("permit_inet_interfaces")
async def permit_inet_interfaces(judge: Judge, argument: object) -> Verdict:
    return PERMIT if judge.resources.is_own_address(judge.facts.client.address) else None


@restriction("check_address_map", prepare=open_table)
async def check_address_map(judge: Judge, argument: object) -> Verdict:
    """In local_header_rewrite_clients: whose address the table lists; its networks are not looked up."""
    assert isinstance(argument, Maps)
    return PERMIT if await argument.find(judge.facts.client.address) is not None else None


@restriction("permit_sasl_authenticated")
async def permit_sasl_authenticated(judge: Judge, argument: object) -> Verdict:
    return PERMIT if judge.facts.sasl_username and judge.resources.sasl else None


@restriction("reject_unknown_client_hostname", "reject_unknown_client")
async def reject_unknown_client_hostname(judge: Judge, argument: object) -> Verdict:
    client = judge.facts.client
    if client.name != "unknown":
        return None
    code = 450 if client.name_status is NameStatus.TEMPORARY else judge.resources.unknown_client_code
    return judge.reject(code, "4.7.25", f"Client host rejected: cannot find your hostname, [{client.address}]")


@restriction("reject_unknown_reverse_client_hostname")
async def reject_unknown_reverse_client_hostname(judge: Judge, argument: object) -> Verdict:
    client = judge.facts.client
    if client.reverse_name != "unknown":
        return None
    code = 450 if client.reverse_status is NameStatus.TEMPORARY else judge.resources.unknown_client_code
    return judge.reject(code, "4.7.1",
                        f"Client host rejected: cannot find your reverse hostname, [{client.address}]")


@restriction("check_client_access", prepare=open_table)
async def check_client_access(judge: Judge, argument: object) -> Verdict:
    assert isinstance(argument, Maps)
    client = judge.facts.client
    found = find_client(judge, argument, client.name, client.address)
    return await judge_as(judge, client.host, "Client host", found)


@restriction("check_reverse_client_hostname_access", prepare=open_table)
async def check_reverse_client_hostname_access(judge: Judge, argument: object) -> Verdict:
    assert isinstance(argument, Maps)
    client = judge.facts.client
    found = find_client(judge, argument, client.reverse_name, client.address)
    return await judge_as(judge, client.reverse_name, "Unverified Client host", found)


@restriction("check_sasl_access", prepare=open_table)
async def check_sasl_access(judge: Judge, argument: object) -> Verdict:
    assert isinstance(argument, Maps)
    login = judge.facts.sasl_username
    if judge.without_sasl("check_sasl_access") or not login:
        return None
    return await judge_as(judge, login, "SASL login name", argument.find_with_source(login))


# --- HELO -------------------------------------------------------------------------------------------------------

def _without_last_dot(name: str) -> str:
    return name[:-1] if name.endswith(".") and not name.endswith("..") else name


def _bad_literal(judge: Judge, name: str) -> Verdict:
    if is_address_literal(name):
        return None
    return judge.reject_helo(judge.resources.bad_name_code, "5.5.2", "invalid ip address")


@restriction("reject_invalid_helo_hostname", "reject_invalid_hostname")
async def reject_invalid_helo_hostname(judge: Judge, argument: object) -> Verdict:
    name = judge.facts.helo
    if name is None:
        return None
    if name.startswith("["):
        return _bad_literal(judge, name)
    if is_hostname(_without_last_dot(name)) or is_ip(name):
        return None
    return judge.reject_helo(judge.resources.bad_name_code, "5.5.2", "Invalid name")


@restriction("reject_non_fqdn_helo_hostname", "reject_non_fqdn_hostname")
async def reject_non_fqdn_helo_hostname(judge: Judge, argument: object) -> Verdict:
    name = judge.facts.helo
    if name is None:
        return None
    if name.startswith("["):
        return _bad_literal(judge, name)
    bare = _without_last_dot(name)
    if is_hostname(bare) and "." in bare:
        return None
    return judge.reject_helo(judge.resources.non_fqdn_code, "5.5.2", "need fully-qualified hostname")


@restriction("reject_unknown_helo_hostname", "reject_unknown_hostname")
async def reject_unknown_helo_hostname(judge: Judge, argument: object) -> Verdict:
    name = judge.facts.helo
    if name is None:
        return None
    if name.startswith("["):
        return _bad_literal(judge, name)
    resources = judge.resources
    try:
        if is_hostname(_without_last_dot(name)) and (await resources.resolver.addresses(name, use_hosts=False)
                                                     or await resources.resolver.mx(name)):
            return None
    except DnsError:
        return judge.tempfail(resources.settings[params.UNKNOWN_HELO_HOSTNAME_TEMPFAIL_ACTION],
                              450, "4.7.1", f"<{name}>: Helo command rejected: Host not found")
    return judge.reject_helo(resources.unknown_hostname_code, "4.7.1", "Host not found")


@restriction("check_helo_access", prepare=open_table)
async def check_helo_access(judge: Judge, argument: object) -> Verdict:
    assert isinstance(argument, Maps)
    name = judge.facts.helo
    if name is None:
        return None
    return await judge_as(judge, name, "Helo command", find_name(judge, argument, name))


@restriction("check_etrn_access", prepare=open_table)
async def check_etrn_access(judge: Judge, argument: object) -> Verdict:
    assert isinstance(argument, Maps)
    name = judge.facts.etrn_name
    if not name:
        return None
    return await judge_as(judge, name, "Etrn command", find_name(judge, argument, name))
