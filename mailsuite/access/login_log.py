"""One line for each login, and for each connection that ended without one, in the grammar of login_log_format.

    Login: user=<alice>, method=PLAIN, rip=192.0.2.9, lip=192.0.2.1, mpid=123, TLS, session=<...>
    Disconnected: Connection closed (auth failed, 1 attempts in 2 secs): user=<alice>, method=PLAIN, ...
"""

import re
from collections.abc import Mapping

from mailsuite.config.variables import expand_variables

_VARIABLE = re.compile(r"%[0-9.\-]*[A-Z]*(?:\{[^}]*\}|[a-z])")
_USER = re.compile(r"%[0-9.\-]*[A-Z]*(?:u|\{user\})")


class LineFormat:
    """login_log_format and login_log_format_elements of one configuration."""

    def __init__(self, form: str, elements: str) -> None:
        self._form = form
        self._elements = elements.split()

    def line(self, event: str, values: Mapping[str, str]) -> str:
        """An element without a value is left out, the user's name never: fail2ban looks for user=<>."""
        parts = []
        for element in self._elements:
            text = expand_variables(element, values)
            if text != _VARIABLE.sub("", element) or _USER.search(element):
                parts.append(text)
        # The event may hold what a peer said: it is put in last, and no variable in it is expanded.
        whole = self._form.replace("%s", "\0").replace("%$", "\1")
        whole = expand_variables(whole, values) if "%" in whole else whole
        return whole.replace("\0", ", ".join(parts)).replace("\1", event)
