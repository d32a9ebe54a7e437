"""One address becomes another: canonical, generic, and the parts that virtual shares.

    mapping = AddressMapping("canonical_maps", maps, completer, delimiter="+", propagate=True, ...)
    await mapping.apply("u+ext@old.test") -> "u+ext@new.test"

A value is an address list; addresses in it are completed as local ones are. "@new.test" keeps the local part. An
extension that was not part of the key is carried over when `propagate` says so (propagate_unmatched_extensions).
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING

from mailsuite.address.header import parse_addresses
from mailsuite.address.syntax import unquote_local
from mailsuite.base.errors import TemporaryError
from mailsuite.base.trace import TRACE
from mailsuite.maps.lookup import AddressFound, IsLocal, find_address
from mailsuite.maps.maps import Maps

if TYPE_CHECKING:
    from logging import Logger

RECURSION_LIMIT = 10
# The queue id of the message at hand, for warnings; set by who handles one.
MESSAGE: ContextVar[str] = ContextVar("MESSAGE", default="")


class AddressMapping:
    """The tables of one parameter. complete: makes a local address standard. is_local: see find_address."""

    def __init__(self, name: str, maps: Maps, log: "Logger", *, complete: Callable[[str], str], delimiter: str,
                 propagate: bool, is_local: IsLocal) -> None:
        self.name, self._maps, self._log = name, maps, log
        self._complete, self._delimiter, self._propagate = complete, delimiter, propagate
        self._is_local = is_local

    @property
    def empty(self) -> bool:
        return self._maps.empty

    async def find(self, address: str) -> list[str] | None:
        """All addresses that one maps to, in internal form; None when there is no entry. Raises TemporaryError."""
        try:
            found = await find_address(self._maps, address, delimiter=self._delimiter, is_local=self._is_local,
                                       external=True)
        except TemporaryError:
            self._warn("%s map lookup problem for %s -- message not accepted, try again later", address)
            raise
        if found is None:
            return None
        if (trace := TRACE.get()) is None:
            return self._applied(address, found)
        step = trace.step(self.name, address)
        with trace.inside(step):
            new = self._applied(address, found)
        step.result, step.results = ", ".join(new), tuple(new)
        return new

    def _applied(self, address: str, found: AddressFound) -> list[str]:
        """What an entry makes of an address."""
        value = found.value
        if value.startswith("@"):
            local = address.rpartition("@")[0] if "@" in address else address
            if found.extension and not self._propagate:
                local = local[:-len(found.extension)]
            return [local + value]
        return [self._extend(self._complete(unquote_local(one)), found.extension)
                for one in parse_addresses(value).addresses()]

    def _extend(self, address: str, extension: str) -> str:
        if not extension or not self._propagate:
            return address
        local, at, domain = address.rpartition("@")
        return local + extension + at + domain if at else address + extension

    async def once(self, address: str) -> str:
        """Map once; of several results the first counts."""
        if self._maps.empty or not address:
            return address
        new = await self.find(address)
        if new is not None and len(new) > 1:
            self._log.warning("multi-valued %s result for %s", self.name, address)
        return new[0] if new else address

    async def apply(self, address: str) -> str:
        """Map again and again until nothing changes; a loop is logged and left at its tenth step."""
        if self._maps.empty:
            return address
        for _ in range(RECURSION_LIMIT):
            new = await self.find(address)
            if not new:
                return address
            if len(new) > 1:
                self._warn("multi-valued %s entry for %s", address)
            if not new[0] or new[0].lower() == address.lower():
                return new[0]
            address = new[0]
        self._warn("unreasonable %s map nesting for %s -- message not accepted, try again later", address)
        return address

    def _warn(self, text: str, address: str) -> None:
        message = MESSAGE.get()
        self._log.warning("%s" + text, f"{message}: " if message else "", self.name, address)
