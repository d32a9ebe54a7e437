"""An IMAP client with the commands that moving mail needs.

    with Client(account) as client:             connects and logs in
        client.list_folders() -> [ListedFolder]
        chosen = client.select("INBOX", read_only=True)
        for uid, flags, date, size in client.facts(1): ...
        for fetched in client.messages([[1, 2], [3]]): ...      pipelined: two commands are under way
        client.append("Sent", [Outgoing(...), ...]) -> [Appended, ...]

Raises: Lost (make another connection), PeerError (no IMAP), Refusal (the server said NO or BAD), and what login_client
raises. Names of mailboxes are as the server spells them (str, surrogateescape).
"""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from mailsuite.base.errors import PeerError
from mailsuite.imapc.connection_client import Refusal, name_octets, quote
from mailsuite.imapc.fetch_client import FetchClient
from mailsuite.imapc.response import uid_set
from mailsuite.imapc.wire_client import Lost, Tagged


class Outgoing(NamedTuple):
    """A message for APPEND. blocks: size octets in all."""

    flags: bytes
    date: bytes
    size: int
    blocks: Callable[[], Iterable[bytes]]


class Appended(NamedTuple):
    """uid: 0 where the server doesn't tell. error: why it was refused."""

    uid: int = 0
    error: Refusal | None = None


class Client(FetchClient):
    """Blocking; belongs to one thread."""

    def append(self, name: str, messages: Sequence[Outgoing]) -> list[Appended]:
        """Put messages into a mailbox, together where the server can; the result of each.

        One that is larger than the server's APPENDLIMIT (RFC 7889) is not sent: some servers close the connection.
        """
        most = self.append_limit
        if most is not None and any(message.size > most for message in messages):
            why = b"larger than the server's limit of %d" % most
            refusal = Refusal(Tagged(b"", b"NO", b"TOOBIG", b"", why), "APPEND")
            taken = iter(self.append(name, [message for message in messages if message.size <= most]))
            return [next(taken) if message.size <= most else Appended(error=refusal) for message in messages]
        if len(messages) > 1 and "MULTIAPPEND" in self.capabilities:
            try:
                return self._append_together(name, messages)
            except Refusal as error:
                if error.temporary:
                    raise
        pipelined = all(self.sends_at_once(message.size) for message in messages)
        if not pipelined:
            return [self._append_one(name, message) for message in messages]
        tags = [self._send_append(name, [message]) for message in messages]
        answers: dict[bytes, Tagged] = {}
        while len(answers) < len(tags):
            response = self._next(None)
            if isinstance(response, Tagged) and response.tag in tags:
                answers[response.tag] = response
        return [_appended(answers[tag], 1)[0] for tag in tags]

    @property
    def append_limit(self) -> int | None:
        """Octets of a message, where the server says it for all mailboxes."""
        words = [word.partition("=")[2] for word in self.capabilities if word.startswith("APPENDLIMIT=")]
        return int(words[0]) if words and words[0].isdigit() else None

    def _append_together(self, name: str, messages: Sequence[Outgoing]) -> list[Appended]:
        done = self._finish(self._send_append(name, messages), None)
        if done.status != b"OK":
            raise Refusal(done, "APPEND")
        return _appended(done, len(messages))

    def _append_one(self, name: str, message: Outgoing) -> Appended:
        try:
            return _appended(self._finish(self._send_append(name, [message]), None), 1)[0]
        except Refusal as error:
            return Appended(error=error)

    def _send_append(self, name: str, messages: Sequence[Outgoing]) -> bytes:
        """Raises Refusal when the server does not want a literal that it was asked for."""
        self._count += 1
        tag = b"a%d" % self._count
        head = [tag, b" APPEND ", *quote(name_octets(name))]
        for message in messages:
            plus = self.sends_at_once(message.size)
            head.append(b" (%b) %b {%d%b}\r\n" % (message.flags, message.date, message.size, b"+" if plus else b""))
            self._wire.send(b"".join(head))
            if not plus:
                self._await_go_ahead(tag)
            sent = 0
            for block in message.blocks():
                self._wire.send(block)
                sent += len(block)
            if sent != message.size:                # the server would take what follows for the message
                self._wire.close()
                raise Lost("a message changed while it was sent")
            head = []
        self._wire.send(b"\r\n")
        return tag


def _appended(done: Tagged, count: int) -> list[Appended]:
    if done.status != b"OK":
        return [Appended(error=Refusal(done, "APPEND"))] * count
    if done.code == b"APPENDUID" and len(words := done.arguments.split()) == 2:
        with contextlib.suppress(PeerError):
            uids = uid_set(words[1], most=count + 1)
            if len(uids) == count:
                return [Appended(uid) for uid in uids]
    return [Appended()] * count


__all__ = ["Appended", "Client", "Outgoing", "Refusal"]
