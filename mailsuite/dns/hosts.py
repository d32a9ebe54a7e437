"""/etc/hosts: names and addresses that need no server.

    hosts = Hosts(); hosts.addresses("localhost") -> ("127.0.0.1", "::1"); hosts.name("127.0.0.1") -> "localhost"

Read again when the file changes; a missing file is an empty one.
"""

import ipaddress
import os
import time

CHECK_INTERVAL_S = 1.0


class Hosts:
    """One hosts(5) file."""

    def __init__(self, path: str = "/etc/hosts") -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = (0, 0, 0)
        self._next = 0.0
        self._addresses: dict[str, tuple[str, ...]] = {}
        self._names: dict[str, str] = {}

    def addresses(self, name: str) -> tuple[str, ...]:
        """Addresses of a name in the file's order, () when it is not there."""
        self._refresh()
        return self._addresses.get(name.lower().rstrip("."), ())

    def name(self, address: str) -> str:
        """The first name of an address, "" when it is not there."""
        self._refresh()
        return self._names.get(address, "")

    def _refresh(self) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + CHECK_INTERVAL_S
        try:
            status = os.stat(self._path)
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        except OSError:
            stamp = None
        if stamp != self._stamp:
            self._stamp = stamp
            self._read()

    def _read(self) -> None:
        addresses: dict[str, list[str]] = {}
        names: dict[str, str] = {}
        try:
            with open(self._path, encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
        except OSError:
            lines = []
        for line in lines:
            address, *aliases = line.partition("#")[0].split() or [""]
            try:
                address = str(ipaddress.ip_address(address.partition("%")[0]))
            except ValueError:
                continue
            for name in aliases:
                names.setdefault(address, name)
                known = addresses.setdefault(name.lower(), [])
                if address not in known:
                    known.append(address)
        self._addresses = {name: tuple(known) for name, known in addresses.items()}
        self._names = names
