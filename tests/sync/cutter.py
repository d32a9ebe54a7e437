"""A wire between a client and a server that breaks after some octets from the server."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Cutter:
    """cuts: octets after which each connection ends, one after the other; later ones are left alone."""

    def __init__(self, port: int, cuts: list[int]) -> None:
        self._server, self._cuts = port, cuts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._server))
            limit = self._cuts[self.connections] if self.connections < len(self._cuts) else None
            self.connections += 1
            threading.Thread(target=_pump, args=(client, server, None), daemon=True).start()
            threading.Thread(target=_pump, args=(server, client, limit), daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)       # wakes accept
        self._listener.close()


def _pump(source: socket.socket, target: socket.socket, limit: int | None) -> None:
    passed = 0
    with contextlib.suppress(OSError):
        while octets := source.recv(4096):
            if limit is not None and passed + len(octets) > limit:
                target.sendall(octets[:limit - passed])
                break
            target.sendall(octets)
            passed += len(octets)
    for sock in (source, target):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


@contextmanager
def cutter(port: int, cuts: list[int]) -> Iterator[Cutter]:
    made = Cutter(port, cuts)
    try:
        yield made
    finally:
        made.close()
