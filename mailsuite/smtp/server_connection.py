"""The server's side of one connection: answers the session's questions with tables, disk and other processes.

A handler lives as long as its connection. Who the client is, is in server_client.py, its message in server_message.py.
"""

import asyncio
from typing import TYPE_CHECKING

from msgspec.structs import replace

from mailsuite.base.dialogue import Peer, Session, TlsInfo
from mailsuite.base.errors import Bug
from mailsuite.net.handler import HANDSHAKE_FAILED
from mailsuite.smtp import questions
from mailsuite.smtp.commands.proxy import apply_xclient
from mailsuite.smtp.facts import Client, Facts
from mailsuite.smtp.log_lines import log_connect
from mailsuite.smtp.observers import Answer
from mailsuite.smtp.server_burl import fetch_url
from mailsuite.smtp.server_client import Arrival
from mailsuite.smtp.server_login import Login
from mailsuite.smtp.server_message import Incoming
from mailsuite.smtp.session import ServerSession

if TYPE_CHECKING:
    from mailsuite.net.handler import Channel, Pending
    from mailsuite.smtp.server import Server


class SmtpHandler:
    """One connection."""

    def __init__(self, server: "Server", peer: Peer) -> None:
        self.server, self.peer = server, peer
        self.facts = Facts(Client(peer.address, peer.port, server_address=peer.server_address,
                                  server_port=peer.server_port, log_port=server.log_port),
                           service=server.name)
        self._channel: Channel | None = None
        self._session: ServerSession | None = None
        self._arrival = Arrival(server, peer, self.facts)
        self._message = Incoming(server, self.facts, self._arrival)
        self._login = Login(server, self.facts)

    # --- what the driver calls ----------------------------------------------------------------------------------

    def open(self, channel: "Channel") -> Session:
        self._channel = channel
        self.facts.tls = channel.tls
        ask = self._arrival.meet()
        self.server.open += 1
        self.server.busy.count()
        config = self.server.config_now()
        self.facts.stress = config is self.server.stressed
        self._session = ServerSession(config, self.facts, ask_connect=ask,
                                      ask_mail=self.server.space_is_low())
        return self._session

    def body(self, octets: bytes) -> None:
        self._message.body(octets)

    def closed(self, reason: str) -> None:
        self.server.open -= 1
        if self._session is not None:
            begins, _, why = reason.partition(": ")
            self._session.handshake_failed(why if begins == HANDSHAKE_FAILED else "")
            self.server.report_trouble(self._session)
        self._message.closed()
        self._login.cancel()
        observers = self._message.observers
        if self.facts.sender is not None:
            observers.reset(self.facts)
        observers.close(self.facts)
        self._arrival.left()

    def never_secured(self, why: str) -> None:
        self._arrival.never_secured(why)

    def take(self, question: object, pending: "Pending") -> bool:
        if type(question) is not questions.EndOfMessage:
            return False
        self._report_pages()
        return self._message.end_soon(pending)

    async def answer(self, question: object) -> object:
        self._report_pages()
        message = self._message
        match question:
            case questions.RcptTo():
                return await message.rcpt(question)
            case questions.EndOfMessage():
                return await message.end()
            case questions.Connected():
                return await self._connected()
            case questions.BecomeClient():
                return await self._become(question)
            case questions.Greeted():
                return await self._helo()
            case questions.AddressSyntax():
                return await self.server.policy.is_address(self.facts, question.address, utf8=question.utf8)
            case questions.MailFrom():
                return await message.mail()
            case questions.Verify():
                return await self.server.policy.rcpt(self.facts)
            case questions.DataStart():
                return await message.data()
            case questions.FetchUrl():
                return await fetch_url(self.server.settings, self.facts, question)
            case questions.Abandon():
                message.drop()
                message.observers.reset(self.facts)
            case questions.EhloOptions():
                return await self._options()
            case questions.AuthStart() | questions.AuthLine():
                return await self._login.answer(question, message.observers, self._who(), self._tls)
            case questions.AuthCancel():
                self._login.cancel()
            case questions.Etrn():
                return await self.server.etrn(self.facts, question.domain)
            case questions.Forbidden():
                return (await self.server.is_forbidden(question.command)
                        or await message.observers.unknown(self.facts, self.facts.words))
            case questions.Observe():
                return await message.observers.other(self.facts, question.verb, self.facts.words)
            case questions.EhloLines():
                return await message.observers.ehlo_lines(self.facts, list(question.lines))
            case questions.RateCheck():
                return await self._arrival.may(question.event)
            case questions.FilterCommand():
                return await self.server.filter_command(question.line)
            case questions.Delay():
                await asyncio.sleep(question.seconds)
            case _:
                raise Bug(f"unknown question {question!r}")
        return None

    def _report_pages(self) -> None:
        """What the postmaster is to be told of the dialogue so far (notify_classes)."""
        if self._session is not None and self._session.ledger.transcripts:
            self.server.report_pages(self._session)

    # --- the client ---------------------------------------------------------------------------------------------

    async def _connected(self) -> Answer:
        server, client = self.server, self.facts.client
        await self._arrival.learn()
        log_connect(self.facts)
        if self._session is not None:
            self._session.may_xclient = await server.xclient_hosts.matches_host(client.name, client.address)
            self._session.may_xforward = await server.xforward_hosts.matches_host(client.name, client.address)
            self._session.may_verp = await server.verp_hosts.matches_host(client.name, client.address)
            if await server.debugged.matches_host(client.name, client.address):
                self._session.ledger.log_dialogue()
            if self._session.content.refuses_bare_lf:
                self._session.content.refuses_bare_lf = not await server.may_end_lines_in_lf(client)
        if (refusal := await self._arrival.too_many()) is not None:
            return refusal
        return await self._judge_client()

    async def _judge_client(self) -> Answer:
        """Our policy, then those who watch."""
        server, message = self.server, self._message
        if server.policy.judges_connect and (refusal := await server.policy.client(self.facts)) is not None:
            return refusal
        if not server.config.observed:
            return None
        message.observers.forget(self.facts)
        message.observers.close(self.facts)
        message.observers = await server.observer(self.facts, self._arrival.connections)
        return await message.observers.connect(self.facts)

    async def _become(self, question: questions.BecomeClient) -> Answer:
        """XCLIENT: what is decided by the real client is decided first."""
        server, facts = self.server, self.facts
        await self._arrival.is_local()
        said = dict(question.attributes)
        apply_xclient(facts, said)
        if "ADDR" in said and self._session is not None:
            client = facts.client
            self._session.may_xclient = await server.xclient_hosts.matches_host(client.name, client.address)
        return await self._judge_client()

    async def _helo(self) -> Answer:
        policy = self.server.policy
        if policy.judges_helo and (refusal := await policy.helo(self.facts)) is not None:
            return refusal
        return await self._message.observers.helo(self.facts, self.facts.words)

    async def _options(self) -> questions.Offer:
        """What EHLO lists for this client."""
        server, facts = self.server, self.facts
        discard = await server.discarded_keywords(facts.client)
        if not server.config.sasl:
            return questions.Offer(discard)
        mechanisms = await server.mechanisms(facts.tls)
        mechanisms += tuple(name for name in server.handlers.mechanisms if name not in mechanisms)
        hidden = await server.sasl_exceptions.matches_host(facts.client.name, facts.client.address)
        return questions.Offer(discard, mechanisms, hide_auth=hidden)

    @property
    def _tls(self) -> TlsInfo | None:
        return self._channel.tls if self._channel is not None else None

    def _who(self) -> Peer:
        """The client as the auth service is told: after XCLIENT, the one it names."""
        client = self.facts.client
        return replace(self.peer, address=client.address, port=client.port, server_address=client.server_address,
                       server_port=client.server_port)
