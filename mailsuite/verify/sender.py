"""The sender of probes, which may change with time (address_verify_sender_ttl).

    sender = ProbeSender(settings)
    sender.now(1795247546.0) -> "double-bounce@example.test"        internal form; "" is the null sender
    sender.is_ours("double-bounce3x1@example.test", now)            of this period or the last one
"""

import time
from typing import TYPE_CHECKING

from mailsuite.address.syntax import split_domain
from mailsuite.verify import params

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class ProbeSender:
    def __init__(self, settings: "Settings") -> None:
        written = settings[params.ADDRESS_VERIFY_SENDER].strip()
        self._null = written in ("", "<>")
        self._local, domain = split_domain(written)
        self._domain = domain or settings.text("myorigin")
        self._ttl_s = settings[params.ADDRESS_VERIFY_SENDER_TTL]

    def now(self, at: float) -> str:
        return "" if self._null else self._of(int(at))

    def _of(self, at: int) -> str:
        if not self._ttl_s:
            return f"{self._local}@{self._domain}"
        number, digits = at // self._ttl_s, ""
        while number:
            number, digit = divmod(number, len(_DIGITS))
            digits = _DIGITS[digit] + digits
        return f"{self._local}{digits}@{self._domain}"

    def is_ours(self, address: str, at: float | None = None) -> bool:
        """Whether an address is that of probes, now or a period ago."""
        if self._null:
            return False
        when = int(time.time() if at is None else at)
        return address.lower() in (self._of(when).lower(), self._of(max(0, when - self._ttl_s)).lower())
