"""Passes a login on to another server: the fields of the database, the dialogue there, the joined connection.

    result = await pass_on(connection, session, question, options, log)        HandedOver | NotPassedOn

log(level, text) writes a line with the client's facts behind it, as of any login.
"""

import logging
from collections.abc import Callable, Mapping

from mailsuite.access.login import LoginSession
from mailsuite.access.login_questions import HandedOver, NotPassedOn, PassOn
from mailsuite.access.proxied import Announcer, Passed
from mailsuite.access.proxy_dialogue import ClientSide, Kind, ProxyDialogue, ProxyFailed
from mailsuite.access.proxy_imap import ImapDialogue
from mailsuite.access.proxy_pop3 import Pop3Dialogue
from mailsuite.access.proxy_relay import Ended, join
from mailsuite.access.proxy_remote import LoggedInRemote, ProxyOptions, log_in
from mailsuite.access.proxy_sieve import SieveDialogue
from mailsuite.access.proxy_target import BadTarget, Target, target_of
from mailsuite.net.driver import Connection

Log = Callable[[int, str], None]

DIALOGUES: Mapping[str, Callable[[Target, ClientSide], ProxyDialogue]] = {
    "imap": ImapDialogue, "pop3": Pop3Dialogue, "sieve": SieveDialogue}


async def pass_on(connection: Connection, session: LoginSession, question: PassOn, options: ProxyOptions, protocol: str,
                  *, announcer: Announcer, verbose: bool, log: Log) -> HandedOver | NotPassedOn:
    """Returns when the relay has begun, or why there is none. Reading from the client pauses meanwhile."""
    user, origin = question.success.user, session.origin
    connection.hold()
    try:
        target = target_of(question.success.fields, user, protocol)
        if _is_ourselves(target, session, user):
            raise BadTarget("Proxying loops to itself")
    except BadTarget as error:
        log(logging.ERROR, f"proxy({user}): {error.detail}")
        return NotPassedOn(Kind.INTERNAL.name)
    prefix = f"proxy({user},{target.address}:{target.port}): "
    client = ClientSide(origin, *session.proxy_facts())
    try:
        if origin.ttl <= 1:
            raise ProxyFailed(Kind.REMOTE_CONFIG, "TTL reached zero - proxies appear to be looping?")
        done = await log_in(target, lambda: DIALOGUES[protocol](target, client), options)
    except ProxyFailed as failed:
        if not failed.kind.by_server:
            log(logging.ERROR, f"{prefix}{failed.kind.in_words}{failed.reason}")
        elif verbose:
            log(logging.INFO, f"{prefix}Login failed{_as_whom(target, user, options)}: {failed.reason}")
        return NotPassedOn(failed.kind.name, failed.reply)
    log(logging.INFO, prefix + _started(done, target, user, options))
    session.story.handed_over = True
    kick: list[Callable[[], None]] = []
    number = announcer.begin(Passed(user, protocol, origin.peer.address, target.address, target.port),
                             lambda: kick[0]())

    def over(ended: Ended) -> None:
        log(logging.INFO, prefix + _over(ended))
        announcer.over(number)

    kick.append(join(connection, done.remote, session.remaining(), session.sent, over))
    return HandedOver(0)


def _is_ourselves(target: Target, session: LoginSession, user: str) -> bool:
    peer = session.origin.peer
    return (target.port == peer.server_port and target.address == peer.server_address and target.user == user)


def _as_whom(target: Target, user: str, options: ProxyOptions) -> str:
    text = f" from {target.source_address}" if target.source_address else ""
    if target.user != user:
        text += f" as user {target.user}"
    return text + (f" (master {target.master})" if target.master else "")


def _started(done: LoggedInRemote, target: Target, user: str, options: ProxyOptions) -> str:
    host = f" (<{target.host}>)" if target.host != target.address else ""
    tries = f", {done.reconnects} reconnects" if done.reconnects else ""
    return (f"Started proxying to <{target.address}>{host}{_as_whom(target, user, options)} "
            f"({done.seconds:.3f} secs{tries})")


def _over(ended: Ended) -> str:
    error = f": {ended.error}" if ended.error else ""
    by = "Kicked by admin" if ended.by == "admin" else f"Disconnected by {ended.by}"
    return (f"{by}{error} "
            f"({ended.idle_s}s idle, in={ended.octets_in}, out={ended.octets_out})")
