"""One line for each login, and for each connection that ended without one, in the grammar of login_log_format.

    Login: user=<alice>, method=PLAIN, rip=192.0.2.9, lip=192.0.2.1, mpid=123, TLS, session=<...>
    Disconnected: Connection closed (auth failed, 1 attempts in 2 secs): user=<alice>, method=PLAIN, ...
"""

import re
from collections.abc import Callable, Mapping

from mailsuite.config.variables import expand_common

_VARIABLE = re.compile(r"%[0-9.\-]*[A-Z]*(?:\{[^}]*\}|[a-z])")
_WHOLE = re.compile(r"([^%]*)%(?:([a-z])|\{([a-z_]+)\})([^%]*)")     # a text around one value that is told as it is
_EVENT_FIRST = re.compile("([^%\0\1]*)\1([^%\0\1]*)\0([^%\0\1]*)")
_USER = re.compile(r"%[0-9.\-]*[A-Z]*(?:u|\{user\})")


class LineFormat:
    """login_log_format and login_log_format_elements of one configuration."""

    def __init__(self, form: str, elements: str) -> None:
        # The event may hold what a peer said: it is put in last, and no variable in it is expanded.
        self._form = form.replace("%s", "\0").replace("%$", "\1")
        # Each with what it is when its variables have no value; None: it is told all the same.
        self._elements = [(element, None if _USER.search(element) else _VARIABLE.sub("", element))
                          for element in elements.split()]
        frame = _EVENT_FIRST.fullmatch(self._form)
        self._frame = frame.groups() if frame is not None else ()
        self._whole = _whole_values(self._elements) if self._frame else None

    def line(self, event: str, common: Mapping[str, str], others: Callable[[], Mapping[str, str]]) -> str:
        """An element without a value is left out, the user's name never: fail2ban looks for user=<>.

        common: what most formats want to know, under the same names each time; others: all there is, asked for where
        that is not enough.
        """
        if self._whole is not None:             # the usual road: one look at each value
            try:
                told = ", ".join([before + value + after for before, name, after, always in self._whole
                                  if (value := common[name]) or always])
            except KeyError:
                self._whole = None
            else:
                begin, middle, end = self._frame
                return f"{begin}{event}{middle}{told}{end}"
        parts = []
        for element, empty in self._elements:
            text = expand_common(element, common, others)
            if text != empty:
                parts.append(text)
        whole = expand_common(self._form, common, others)
        return whole.replace("\0", ", ".join(parts)).replace("\1", event)


def _whole_values(elements: list[tuple[str, str | None]]) -> list[tuple[str, str, str, bool]] | None:
    """What stands before the one value of each element, its name, what stands behind, and whether it is told when it
    is empty; None: there are others. Most formats are such."""
    found = []
    for element, empty in elements:
        match = _WHOLE.fullmatch(element)
        if match is None:
            return None
        found.append((match[1], match[2] or match[3], match[4], empty is None))
    return found
