"""discard(8): all recipients are "sent" to nowhere, for the reason that the nexthop gives."""

from mailsuite.deliver.agent import Job, serve_agent
from mailsuite.deliver.error import split_code
from mailsuite.net.service import ServiceContext
from mailsuite.queue.agent import SENT


def discard(job: Job) -> None:
    """End all recipients as if they had been delivered."""
    dsn, reason = split_code(job.request.nexthop, "2.0.0", lambda code: job.log.warning(
        'sent: ignoring dsn code "%s"', code))
    job.report_rest(SENT, dsn, reason)


async def serve(context: ServiceContext) -> None:
    async def deliver(job: Job) -> None:
        discard(job)

    await serve_agent(context, deliver)
