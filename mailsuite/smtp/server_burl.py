"""BURL's URLs, as the IMAP side gives them (access/url_service.py): verified and read by their owner's worker.

    octets = await fetch_url(settings, facts, question)         or the Refusal of RFC 4468 section 3.3

The client has logged in; the IMAP side is told its name, and that the message is to be sent (submit+NAME).
"""

from typing import TYPE_CHECKING

from mailsuite.access.url_service import AWAY, TOO_LARGE, UrlRequest, ask_async
from mailsuite.base.log import logger
from mailsuite.imap.commands.url_content import Asker, UrlRefused
from mailsuite.imap.commands.urls import BadUrl, parse_url
from mailsuite.smtp import params
from mailsuite.smtp.facts import Facts
from mailsuite.smtp.questions import FetchUrl, Refusal

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings

log = logger("smtpd")


async def fetch_url(settings: "Settings", facts: Facts, question: FetchUrl) -> bytes | Refusal:
    """Never raises what concerns this URL only."""
    octets = question.url.encode("utf-8", "surrogateescape")
    try:
        url = parse_url(octets)
        if not url.user:
            raise BadUrl("Missing user name")
    except BadUrl as error:
        return Refusal(f"501 5.5.4 Invalid URL: {error.public}", "protocol")
    asker = Asker(facts.sasl_username, submits=True)
    request = UrlRequest([url.user, f"{url.user}@{url.host}"], octets, None, asker, question.most)
    try:
        return await ask_async(settings[params.SMTPD_BURL_PATH], request)
    except UrlRefused as refused:
        log.info("%s: BURL for %s from %s: %s", facts.queue_id or "NOQUEUE", asker.user, facts.client.host, refused)
        match str(refused):
            case text if text == AWAY:
                return Refusal("451 4.4.1 IMAP server unavailable", "resource")
            case text if text == TOO_LARGE:
                return Refusal("554 5.3.4 Message too big for system", "policy")
        return Refusal("554 5.6.6 IMAP URL resolution failed", "policy")
