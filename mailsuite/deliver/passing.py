"""Handing a recipient on to another delivery agent, as qmgr would: mailbox_transport and its like.

    ended = await pass_on(queue_directory, request, recipient, "lmtp:unix:/run/lmtp")

The other agent logs the delivery. Raises TemporaryError when it is not there or breaks off.
"""

import os

from msgspec.structs import replace

from mailsuite.base.errors import TemporaryError
from mailsuite.net.ipc import connect
from mailsuite.queue.agent import DeliveryRequest, RecipientReport
from mailsuite.queue.envelope import Recipient


async def pass_on(queue_directory: str, request: DeliveryRequest, recipient: Recipient,
                  destination: str) -> RecipientReport:
    """destination: transport or transport:nexthop, as in transport_maps."""
    transport, _, nexthop = destination.partition(":")
    path = _socket(queue_directory, transport)
    link = await connect(path)
    try:
        link.send(replace(request, seq=1, transport=transport, nexthop=nexthop or request.nexthop,
                          recipients=[recipient]).to_json())
        answer: RecipientReport | None = None
        while (message := await link.receive()) is not None:
            if "number" in message:
                answer = RecipientReport.from_json(message)
            if message.get("done"):
                break
        if answer is None:
            raise TemporaryError("mail transport unavailable", detail=f"{path}: no answer")
        return answer
    finally:
        link.close()


def _socket(queue_directory: str, transport: str) -> str:
    """As the private column of master.cf says."""
    private = f"{queue_directory}/private/{transport}"
    return private if os.path.exists(private) else f"{queue_directory}/public/{transport}"
