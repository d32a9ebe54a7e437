"""smtp_dns_reply_filter and its kin: DNS records that are not to be believed, by a table.

    resolver = Resolver.of(settings, reply_filter=dns_filter(settings, "smtp", "smtp_dns_reply_filter"))

The key is a record's text, "mx.a.test. 60 IN A 192.0.2.1"; the only action is IGNORE, which leaves it out.
"""

from collections.abc import Awaitable, Callable

from mailsuite.base.log import logger
from mailsuite.config.settings import Settings
from mailsuite.maps import MapSource, open_maps


def dns_filter(settings: Settings, program: str, name: str) -> Callable[[str], Awaitable[bool]] | None:
    """What a Resolver asks of each record; None when the parameter is empty. Raises ConfigError."""
    maps = open_maps(settings.text(name), MapSource(settings, program))
    if maps.empty:
        return None
    log = logger(program)

    async def drop(record: str) -> bool:
        action = await maps.find(record)
        if action is None:
            return False
        if action.strip().upper() == "IGNORE":
            log.info("ignoring DNS RR: %s", record)
            return True
        log.warning("%s: unknown DNS filter action: \"%s\"", name, action.strip())
        raise ValueError(action)

    return drop
