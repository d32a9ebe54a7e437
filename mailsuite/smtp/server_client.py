"""Who the client of a connection is: its names, what anvil counts of it, whether it may go on.

An Arrival lives as long as its connection. With anvil away everybody is welcome.
"""

from typing import TYPE_CHECKING

from mailsuite.base.dialogue import Peer
from mailsuite.base.log import logger
from mailsuite.smtp.facts import Facts, NameStatus
from mailsuite.smtp.log_lines import log_unsecured
from mailsuite.smtp.policy.rates import EVENTS, KINDS
from mailsuite.smtp.questions import Refusal

if TYPE_CHECKING:
    from mailsuite.smtp.server import Server

log = logger("smtpd")
_STATUSES = {"ok": NameStatus.OK, "temporary": NameStatus.TEMPORARY, "permanent": NameStatus.PERMANENT}


class Arrival:
    """One client, as long as it is connected."""

    def __init__(self, server: "Server", peer: Peer, facts: Facts) -> None:
        self._server, self._peer, self._facts = server, peer, facts
        self._counted = ""               # what this client is to anvil; "" when it is not counted
        self._at_once = 0

    def meet(self) -> bool:
        """Take what is known without asking anybody. Returns whether more has to be asked before the greeting."""
        server = self._server
        known = server.known_name(self._peer.address)
        if known is not None:
            self._take_name(*known)
        counted = server.is_counted_now(self._facts.client) if known is not None else None
        if counted:
            self._count_in()
        return counted is None or server.asks_at_connect or 0 < server.rates.at_once < self._at_once

    async def learn(self) -> None:
        """What `meet` did not find, where it was not asked yet."""
        if self._server.known_name(self._peer.address) is None:
            await self._learn_name()

    def left(self) -> None:
        """The connection is gone."""
        if self._counted and self._server.anvil is not None:
            self._server.anvil.disconnect(self._counted)

    def never_secured(self, why: str) -> None:
        """A client of smtps with whom there is no TLS. Its place is free already: a flood must not gather here."""
        if self._server.is_behind:
            log_unsecured(self._facts, why)
        else:
            self._server.in_background(self._tell_of_unsecured(why))

    async def _tell_of_unsecured(self, why: str) -> None:
        await self._learn_name()
        log_unsecured(self._facts, why)

    async def _learn_name(self) -> None:
        name, reverse, status, reverse_status, warning = await self._server.look_up_name(self._peer.address)
        if warning:
            log.warning("%s", warning)
        self._take_name(name, reverse, status, reverse_status)

    def _take_name(self, name: str, reverse: str, status: str, reverse_status: str) -> None:
        client = self._facts.client
        client.name, client.reverse_name = name, reverse
        client.name_status = _STATUSES.get(status, NameStatus.PERMANENT)
        client.reverse_status = _STATUSES.get(reverse_status, NameStatus.PERMANENT)

    async def too_many(self) -> Refusal | None:
        """Count the client if it is to be counted. Returns the refusal of one beyond its limits."""
        if not self._counted and await self._server.is_counted(self._facts.client):
            self._count_in()
        return await self._beyond_limits() if self._counted else None

    def _count_in(self) -> None:
        """Tell anvil of this connection."""
        if self._server.anvil is not None:
            self._counted = self._server.client_key.of(self._peer.address)
            self._at_once = self._server.anvil.connect(self._counted)

    async def _beyond_limits(self) -> Refusal | None:
        """smtpd_client_connection_count_limit, smtpd_client_connection_rate_limit."""
        server, rates, anvil, host = self._server, self._server.rates, self._server.anvil, self._facts.client.host
        assert anvil is not None
        no = Refusal(f"421 4.7.0 {server.config.hostname} Error: too many connections from "
                     f"{self._facts.client.address}")
        if 0 < rates.at_once < self._at_once:
            seen = await anvil.seen(self._counted)
            at_once = seen.open if seen is not None else self._at_once
            if at_once > rates.at_once:
                log.warning("Connection concurrency limit exceeded: %d from %s for service %s", at_once, host,
                            server.name)
                return no
        if "connection" in rates.events:
            rate = await anvil.rate(self._counted)
            if rate is not None and rates.exceeded("connection", rate):
                log.warning("Connection rate limit exceeded: %d from %s for service %s", rate, host, server.name)
                return no
        return None

    async def may(self, event: str) -> bool:
        """The smtpd_client_*_rate_limit parameters; with anvil away everything goes on."""
        server, client, anvil = self._server, self._facts.client, self._server.anvil
        if anvil is None or not await server.is_counted(client):
            return True
        key = server.client_key.of(client.address)
        ask = anvil.peek if event == "tls" else anvil.event
        seen = await ask(EVENTS[event], key)
        if seen is None or not server.rates.exceeded(event, seen):
            return True
        if event == "tls":
            log.warning("Refusing STARTTLS request from %s for service %s", client.host, server.name)
        else:
            log.warning("%s rate limit exceeded: %d from %s for service %s", KINDS[event], seen, client.host,
                        server.name)
        return False

    async def connections(self) -> int:
        """How many this client has; 0: it is not counted."""
        if not self._counted or self._server.anvil is None:
            return 0
        seen = await self._server.anvil.seen(self._counted)
        return seen.open if seen is not None else self._at_once

    async def is_local(self) -> bool:
        """Whether this client's headers are completed; XFORWARD may say otherwise for a message."""
        facts = self._facts
        if facts.local is None:
            facts.local = await self._server.policy.is_local(facts)
        if facts.forwarded is not None and facts.forwarded.local is not None:
            return facts.forwarded.local
        return facts.local
