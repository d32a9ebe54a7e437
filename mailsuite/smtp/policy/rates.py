"""What the smtpd_client_*_limit parameters allow one client: connections at once, and events per time unit.

    rates = Rates({"message": 100}, at_once=50);  rates.exceeded("message", 101) -> True

Counting is anvil's (mailsuite/anvil/), for all processes together; anvil_rate_time_unit is its time unit.
"""

from collections.abc import Mapping

# Events as sessions ask of them -> as anvil counts them.
EVENTS = {"message": "message", "recipient": "recipient", "tls": "newtls", "newtls": "newtls", "auth": "auth"}

# What the log says before "rate limit exceeded".
KINDS = {"message": "Message delivery request", "recipient": "Recipient address", "newtls": "New TLS session",
         "auth": "AUTH command", "connection": "Connection"}


class Rates:
    """limits: event -> most per unit ("connection", "message", "recipient", "tls", "auth"); 0 or absent: no limit."""

    def __init__(self, limits: Mapping[str, int], *, at_once: int = 0) -> None:
        self.limits = {event: most for event, most in limits.items() if most}
        if "tls" in self.limits:
            self.limits["newtls"] = self.limits["tls"]      # before a handshake one looks, after it one counts
        self.at_once = at_once

    @property
    def events(self) -> frozenset[str]:
        """Events that have a limit."""
        return frozenset(self.limits)

    @property
    def any(self) -> bool:
        """Whether somebody must count at all."""
        return bool(self.limits or self.at_once)

    def exceeded(self, event: str, seen: int) -> bool:
        """Whether `seen` in this time unit are too many."""
        return 0 < self.limits.get(event, 0) < seen
