"""default_delivery_status_filter and its kin, and smtp_reply_filter: outcomes of deliveries, rewritten by a table.

    made = StatusFilter.of(settings, "smtp")
    made.apply("5.7.1", "host x said: 550 5.7.1 later") -> ("4.7.1", "...") or what went in

The key is "code text", as in the log; so is the result. A code of class 2 stays one, any other never becomes one: a
table must not lose mail, nor deliver it twice. Tables that ask other processes are passed over with a warning.
"""

import re
from collections.abc import Coroutine
from typing import Any

from mailsuite.base.errors import TemporaryError
from mailsuite.base.log import logger
from mailsuite.config.settings import Settings
from mailsuite.maps import Maps, MapSource, open_maps

_RESULT = re.compile(r"([245]\.\d{1,3}\.\d{1,3})\s+(.*)", re.DOTALL)


class LineFilter:
    """smtp_reply_filter: a line of a server's reply, as it came, and what stands for it."""

    def __init__(self, settings: Settings, prefix: str) -> None:
        name = f"{prefix}_reply_filter"
        self._maps = open_maps(settings.text(name), MapSource(settings, prefix))
        if not self._maps.empty and not self._maps.immediate:
            logger(prefix).warning("%s: only tables that answer at once can be used here", name)
            self._maps = open_maps("", MapSource(settings, prefix))

    @property
    def empty(self) -> bool:
        return self._maps.empty

    def replace(self, line: str) -> str | None:
        """None: the line stays. Raises TemporaryError."""
        return _at_once(self._maps.find(line))


class StatusFilter:
    """One agent's filter. maps None: nothing is changed."""

    def __init__(self, maps: Maps | None, program: str) -> None:
        self._maps, self._log = maps, logger(program)

    @classmethod
    def of(cls, settings: Settings, program: str) -> "StatusFilter":
        name = f"{program}_delivery_status_filter"
        maps: Maps | None = open_maps(settings.text(name), MapSource(settings, program))
        if maps is not None and not maps.empty and not maps.immediate:
            logger(program).warning("%s: only tables that answer at once can be used here", name)
            maps = None
        return cls(maps, program)

    @property
    def empty(self) -> bool:
        return self._maps is None or self._maps.empty

    def apply(self, dsn: str, reason: str) -> tuple[str, str]:
        """The code and text to report."""
        if self._maps is None or self._maps.empty:
            return dsn, reason
        try:
            found = _at_once(self._maps.find(f"{dsn} {reason}"))
        except TemporaryError:
            return dsn, reason          # logged by the tables; an outcome must not depend on that
        match = _RESULT.fullmatch(found.strip()) if found else None
        if found and (match is None or (match[1][0] == "2") != (dsn[0] == "2")):
            self._log.warning("delivery status filter: bad result \"%s\" for \"%s %s\" is not used", found, dsn, reason)
            match = None
        return (match[1], match[2]) if match is not None else (dsn, reason)


def _at_once(work: Coroutine[Any, Any, str | None]) -> str | None:
    """The result of a coroutine that does not suspend."""
    try:
        work.send(None)
    except StopIteration as stop:
        result: str | None = stop.value
        return result
    work.close()
    return None
