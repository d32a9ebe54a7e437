"""error(8) and retry: all recipients end with the reason that the nexthop gives, "5.7.1 no mail here".

The service named "retry" defers, every other bounces; without an enhanced code it is 4.0.0 or 5.0.0.
"""

import re
from collections.abc import Callable

from mailsuite.deliver.agent import Job, serve_agent
from mailsuite.net.service import ServiceContext
from mailsuite.queue.agent import BOUNCED, DEFERRED

_CODED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+(.*)|\Z)", re.DOTALL)
NO_TEXT = "?"                 # a reason that is a code and nothing else


def split_code(text: str, default: str, warn: Callable[[str], None] = lambda code: None) -> tuple[str, str]:
    """"5.7.1 text" -> ("5.7.1", "text"). A code of another class than default's is left out: error never defers,
    retry never bounces; warn is told of it."""
    match = _CODED.fullmatch(text.strip())
    if match is None:
        return default, text.strip()
    if match[1][0] != default[0]:
        warn(match[1])
        return default, match[2] or NO_TEXT
    return match[1], match[2] or NO_TEXT


def fail(job: Job, *, retry: bool) -> None:
    """End all recipients with the nexthop's text."""
    dsn, reason = split_code(job.request.nexthop, "4.0.0" if retry else "5.0.0", lambda code: job.log.warning(
        '%s: ignoring dsn code "%s"', "defer_append" if retry else "bounce_append", code))
    job.report_rest(DEFERRED if retry else BOUNCED, dsn, reason)


async def serve(context: ServiceContext) -> None:
    async def deliver(job: Job) -> None:
        fail(job, retry=context.name == "retry")

    await serve_agent(context, deliver)
