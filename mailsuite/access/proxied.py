"""Connections that login processes pass on to other servers: what `doveadm proxy list` and `kick` ask for.

    announcer = Announcer("/run/dovecot/imap")          one per login process
    number = announcer.begin(Passed(...), end)          end(): drop that connection;  announcer.over(number)

    directory = Directory()                             the access service's
    await directory.serve(sock)                         a login process, until it goes
    directory.find(users=["a*"], hosts=[]) -> [Passed, ...];  directory.kick(users, hosts) -> how many

A login process connects with its first such connection, and anew when the access service was away; then it tells all.
Limits: ROWS_LIMIT connections of one login process are listed; a name has NAME_LIMIT characters at most.
"""

import asyncio
import socket
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from mailsuite.access.entrance import say
from mailsuite.base.errors import TemporaryError
from mailsuite.net.ipc import Link, connect

ROWS_LIMIT = 20_000
NAME_LIMIT = 1000
AGAIN_S = 5.0               # before the access service is looked for again
HELLO_S = 10.0              # how long it may take to answer


class Passed(NamedTuple):
    """A connection that was passed on. address: the client's; to_address, to_port: the server's."""

    user: str
    protocol: str
    address: str
    to_address: str
    to_port: int


class Announcer:
    """A login process's end. path: the access service's socket."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._open: dict[int, tuple[Passed, Callable[[], None]]] = {}
        self._last = 0
        self._link: Link | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self, passed: Passed, end: Callable[[], None]) -> int:
        """A connection was passed on."""
        self._last += 1
        self._open[self._last] = passed, end
        if self._link is not None:
            self._link.send({"begun": [self._last, *passed]})
        elif self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        return self._last

    def over(self, number: int) -> None:
        """It has ended."""
        if self._open.pop(number, None) is not None and self._link is not None:
            self._link.send({"over": number})

    def close(self) -> None:
        """The process ends."""
        if self._task is not None:
            self._task.cancel()
        if self._link is not None:
            self._link.close()

    async def _run(self) -> None:
        """Stay connected; a login process goes on without, when there is nobody to tell."""
        while True:
            try:
                link = await connect(self._path)
            except TemporaryError:
                await asyncio.sleep(AGAIN_S)
                continue
            try:
                link.send({"proxying": True})
                if await asyncio.wait_for(link.receive(), HELLO_S) is not None:
                    self._link = link
                    for number, (passed, _) in self._open.items():
                        link.send({"begun": [number, *passed]})
                    await self._listen(link)
            except TimeoutError:
                pass
            finally:
                self._link = None
                link.close()
            await asyncio.sleep(AGAIN_S)

    async def _listen(self, link: Link) -> None:
        while (message := await link.receive()) is not None:
            for number in message.get("kick", ()):
                if (entry := self._open.get(number)) is not None:
                    entry[1]()


class Directory:
    """The access service's list."""

    def __init__(self) -> None:
        self._rows: dict[Link, dict[int, Passed]] = {}

    async def serve(self, sock: socket.socket) -> None:
        """Listen to a login process that said it passes connections on. The socket stays the caller's."""
        say(sock, {"ok": True})
        loop = asyncio.get_running_loop()
        _, link = await loop.connect_accepted_socket(Link, sock.dup())
        rows = self._rows[link] = {}
        try:
            while (message := await link.receive()) is not None:
                _note(rows, message)
        finally:
            del self._rows[link]
            link.close()

    def find(self, users: Iterable[str] = (), hosts: Iterable[str] = ()) -> list[Passed]:
        """Those of users (masks with * and ?) or to hosts (addresses); of all where neither is given."""
        return [passed for _, _, passed in self._matching(list(users), list(hosts))]

    def kick(self, users: Iterable[str] = (), hosts: Iterable[str] = ()) -> int:
        """End them; how many."""
        found = list(self._matching(list(users), list(hosts)))
        for link, number, _ in found:
            link.send({"kick": [number]})
        return len(found)

    def _matching(self, users: list[str], hosts: list[str]) -> Iterator[tuple[Link, int, Passed]]:
        for link, rows in self._rows.items():
            for number, passed in rows.items():
                if (not users and not hosts) or passed.to_address in hosts or any(
                        fnmatchcase(passed.user, mask) for mask in users):
                    yield link, number, passed


def _note(rows: dict[int, Passed], message: dict[str, Any]) -> None:
    """What a login process said; nonsense is passed over."""
    match message:
        case {"begun": [int(number), str(user), str(protocol), str(address), str(to_address), int(to_port)]}:
            if len(rows) < ROWS_LIMIT and max(map(len, (user, protocol, address, to_address))) <= NAME_LIMIT:
                rows[number] = Passed(user, protocol, address, to_address, to_port)
        case {"over": int(number)}:
            rows.pop(number, None)
