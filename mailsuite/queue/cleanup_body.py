"""What header and body checks see of a message's inside, and what MIME limits say of it.

    mime = new_pass(checks, case)           None where nothing of it is wanted
    text = await mime.lines(octets)         see message/mime_pass.py

strict_7bit_headers, strict_8bitmime, strict_8bitmime_body, strict_mime_encoding_domain and mime_nesting_limit find
problems; the message is read to its end all the same, and refused by the commit (550 5.6.0).
"""

from mailsuite.address.syntax import quote_local
from mailsuite.base.log import logger
from mailsuite.message.mime_pass import MimePass, Problem
from mailsuite.queue.cleanup_checks import Case, ContentChecks

log = logger("cleanup")


def new_pass(checks: ContentChecks, case: Case) -> MimePass | None:
    """The reader of a message that is to be checked."""
    if not (checks.header_on or checks.body_on or checks.part_headers_on or checks.lines_on):
        return None
    return MimePass(_Checked(checks, case), checks.mime_limits)


class _Checked:
    """A Visitor."""

    def __init__(self, checks: ContentChecks, case: Case) -> None:
        self._checks, self._case = checks, case

    async def header(self, field: bytes, kind: str) -> list[bytes]:
        return await self._checks.header(self._case, field, kind)

    async def body(self, line: bytes, offset: int) -> list[bytes]:
        if 0 < self._checks.body_limit <= offset:
            return [line]
        return await self._checks.body(self._case, line)

    def problem(self, problem: Problem, text: bytes) -> None:
        case = self._case
        if problem not in self._checks.problems or case.stopped:
            return
        if problem is Problem.EIGHT_IN_HEADER and case.envelope.smtputf8:
            return
        case.problems.add(problem)
        to = f" to=<{quote_local(case.said_recipient)}>" if case.said_recipient else ""
        log.info("%s: reject: mime-error %s: %s from %s; from=<%s>%s", case.queue_id, problem.value,
                 text.decode("utf-8", "backslashreplace")[:100], case.envelope.origin.message_origin,
                 quote_local(case.said_sender), to)
