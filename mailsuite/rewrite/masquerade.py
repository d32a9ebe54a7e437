"""masquerade_domains: hide the hosts behind a domain: user@pc.example.test -> user@example.test.

Domains are tried in order; "!keep.example.test" leaves that domain and all below it alone. Users in
masquerade_exceptions keep their host. Source: ADDRESS_REWRITING_README.
"""

from typing import TYPE_CHECKING

from mailsuite.base.trace import TRACE
from mailsuite.maps.matchlist import NameList

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.maps.maps import MapSource


class Masquerade:
    """The domains and exceptions of main.cf."""

    def __init__(self, settings: "Settings", source: "MapSource") -> None:
        self._domains: list[tuple[bool, str]] = []
        for word in settings.text("masquerade_domains").replace(",", " ").split():
            name = word.lstrip("!")
            self._domains.append(((len(word) - len(name)) % 2 == 0, name.lower()))
        self._exceptions = NameList(settings.text("masquerade_exceptions"), source, name="masquerade_exceptions")

    @property
    def empty(self) -> bool:
        return not self._domains

    async def apply(self, address: str) -> str:
        """The address as others should see it. Raises TemporaryError."""
        local, at, domain = address.rpartition("@")
        if not at or not self._domains:
            return address
        lower = domain.lower()
        for hides, name in self._domains:
            if lower == name or lower.endswith("." + name):
                if not hides or lower == name or await self._exceptions.matches(local):
                    return address
                hidden = f"{local}@{domain[-len(name):]}"
                if (trace := TRACE.get()) is not None:
                    trace.step("masquerade_domains", address, hidden, table=False)
                return hidden
        return address
