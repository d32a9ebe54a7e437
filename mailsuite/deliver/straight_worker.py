"""A delivery worker that takes requests from its parent and, over links, mail from qmgr (queue/straight.py).

    pool = WorkerPool(straight_main(handle_batch, "virtual"), ...)

What came together in a packet is synced together, has its lines in the log (those of the parent's agent, with this
worker's process id, as each of Postfix's virtual(8) has one), and is answered together. A grant that the parent's key
does not open, that is over, or a delivery that fails, is refused: qmgr then asks the parent, which knows what to say.
When the parent wants this worker to end, qmgr is told first, and what it has sent until then is delivered.
"""

import contextlib
import logging
import select
import socket
import time
from collections.abc import Sequence

from mailsuite.base import wire
from mailsuite.base.log import lines_together, logger
from mailsuite.deliver.headers import delivery_header
from mailsuite.net import packets
from mailsuite.net.worker_channel import Answers, Main, Request, WorkerChannel, answer_batch
from mailsuite.queue import straight
from mailsuite.queue.agent import SENT, DeliveryRequest, RecipientReport, Times, log_delivery
from mailsuite.queue.envelope import Recipient
from mailsuite.queue.straight import Answer, Grant, Item
from mailsuite.store.maildir_delivery import Delivery, deliver_maildirs

log = logging.getLogger("mailsuite.deliver")


def straight_main(function: Answers, program: str) -> Main:
    """function: what serve_batches takes. program: whose lines in the log."""
    def main(channel: WorkerChannel) -> None:
        _Worker(channel, function, program).run()

    return main


class _Link:
    """A link, and the grants that came over it, by qmgr's numbers; the oldest first."""

    def __init__(self, sock: socket.socket, key: bytes, group: int) -> None:
        self.sock, self.key, self.group = sock, key, group
        self.grants: dict[int, Grant] = {}

    def grant_of(self, item: Item, now: float) -> Grant | None:
        """None: it is not for us to deliver."""
        grant = self.grants.get(item.grant)
        if grant is None and item.token:
            grant = straight.unseal(self.key, item.token)
            if grant is not None:
                while self.grants and self.grants[oldest := next(iter(self.grants))].until < now:
                    del self.grants[oldest]
                self.grants[item.grant] = grant
        return grant if grant is not None and grant.until >= now else None


class _Worker:
    def __init__(self, channel: WorkerChannel, function: Answers, program: str) -> None:
        self._channel, self._function, self._program, self._log = channel, function, program, logger(program)
        self._links: dict[int, _Link] = {}
        self._poll = select.poll()
        self._poll.register(channel.fileno(), select.POLLIN)
        self._parent = True                     # it is there and wants us

    def run(self) -> None:
        """Until the parent and all links have ended."""
        while self._parent or self._links:
            if not self._links:
                self._requests()
                continue
            for fd, _ in self._poll.poll():
                if (link := self._links.get(fd)) is not None:
                    self._packet(link)
                elif self._parent and fd == self._channel.fileno():
                    self._requests()

    # --- the parent -------------------------------------------------------------------------------------------------

    def _requests(self) -> None:
        try:
            requests = self._channel.receive_batch()
            if requests is not None:
                if requests[0].number:
                    answer_batch(self._channel, self._function, requests)
                else:
                    for request in requests:
                        self._told(request)
        except OSError:
            if not self._links:
                raise
            requests = None
        if requests is None:
            self._parent = False
            self._poll.unregister(self._channel.fileno())
            self._leave()

    def _told(self, request: Request) -> None:
        message, fds = request.message, request.fds
        if message["op"] == "link" and len(fds) == 1:
            sock = socket.socket(fileno=fds[0])
            self._links[sock.fileno()] = _Link(sock, bytes.fromhex(message["key"]), message["group"])
            self._poll.register(sock.fileno(), select.POLLIN)
            return
        packets.close_all(fds)
        if message["op"] == "leave":
            self._leave()

    def _leave(self) -> None:
        """Have qmgr close its links, which it does when all that is in them is answered."""
        for link in list(self._links.values()):
            self._answer(link, Answer(bye=True))

    # --- links ------------------------------------------------------------------------------------------------------

    def _close(self, link: _Link) -> None:
        if self._links.pop(link.sock.fileno(), None) is None:
            return
        self._poll.unregister(link.sock.fileno())
        link.sock.close()
        if self._parent:
            with contextlib.suppress(OSError):          # it has gone: that is read in a moment
                self._channel.tell({"unlinked": link.group})

    def _answer(self, link: _Link, answer: Answer) -> None:
        try:
            link.sock.send(wire.encode(answer))
        except OSError:
            self._close(link)

    def _packet(self, link: _Link) -> None:
        try:
            octets = link.sock.recv(straight.PACKET_LIMIT + 1)
            items, contents = straight.read_packet(octets) if octets else ([], [])
        except OSError:
            items = []
        except ValueError as error:
            log.error("a packet of straight deliveries makes no sense: %s", error)
            items = []
        if items:
            self._answer(link, self._deliver(link, items, contents))
        else:
            self._close(link)

    def _deliver(self, link: _Link, items: Sequence[Item], contents: Sequence[bytes]) -> Answer:
        times = Times()
        now = time.monotonic()
        chosen: list[tuple[Item, Grant]] = []
        deliveries: list[Delivery] = []
        refused: list[int] = []
        for item, content in zip(items, contents, strict=True):
            grant = link.grant_of(item, now)
            if grant is None:
                refused.append(item.seq)
                continue
            header = delivery_header(item.sender, (item.original or grant.address) if grant.original else "",
                                     grant.address)
            if grant.limit and len(header) + item.size > grant.limit:
                refused.append(item.seq)
                continue
            chosen.append((item, grant))
            deliveries.append(Delivery(grant.path, header, (content,), grant.host, sync_directory=grant.sync))
        try:
            ends = deliver_maildirs(deliveries)
        except Exception:
            log.exception("unforeseen in a delivery")
            return Answer(refused=[item.seq for item in items])
        delivered: list[int] = []
        with lines_together():
            for (item, grant), end in zip(chosen, ends, strict=True):
                if isinstance(end, str):
                    delivered.append(item.seq)
                    self._log_line(item, grant, times)
                else:
                    refused.append(item.seq)
        return Answer(delivered, refused)

    def _log_line(self, item: Item, grant: Grant, times: Times) -> None:
        request = DeliveryRequest(item.seq, item.queue_id, "", 0, 0, item.sender, "", "", [], item.arrival_time,
                                  item.active_time)
        log_delivery(self._log, request, Recipient(grant.address, item.original),
                     RecipientReport(item.seq, 0, SENT, "2.0.0", straight.REASON, relay=self._program), times)
