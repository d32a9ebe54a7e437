"""What became of TLS in outgoing sessions, counted for TLS reports (smtp_tlsrpt_enable).

    reports = TlsReports.of(settings, prefix, resolver)         None: not wanted
    reports.note(outcome)                                       any time; written some seconds later, in a thread
    await reports.close()                                       what is not written yet

Only domains that ask for reports (a TXT record at _smtp._tls.DOMAIN) are counted. Source: RFC 8460 section 3.
"""

import asyncio
import datetime
import logging
from collections import Counter

from mailsuite.base.errors import TemporaryError
from mailsuite.base.log import logger
from mailsuite.config.settings import Settings
from mailsuite.dns.resolver import DnsError, Resolver
from mailsuite.smtp.client import ClientConnection, Endpoint, HandshakeTrouble
from mailsuite.smtp.client_dane import NoTls
from mailsuite.smtp.client_policy import Policy
from mailsuite.smtp.client_session import Trouble
from mailsuite.smtp.client_tls import CertificateTrouble, NoStartTls
from mailsuite.smtp.client_tls_params import TLSRPT_DATABASE, TLSRPT_KEEP, TLSRPT_LIMIT
from mailsuite.smtp.syntax import is_hostname
from mailsuite.tls.chain import Failure
from mailsuite.tlsrpt import outcome as outcomes
from mailsuite.tlsrpt.outcome import Outcome, result_type
from mailsuite.tlsrpt.store import add

WRITE_S = 2.0
WAITING_MOST = 10000        # different outcomes between two writes


class TlsReports:
    """One configuration's."""

    def __init__(self, settings: Settings, resolver: Resolver, log: logging.Logger) -> None:
        self._path, self._limit = settings[TLSRPT_DATABASE], settings[TLSRPT_LIMIT]
        self._keep_days = settings[TLSRPT_KEEP] // 86400
        self._resolver, self._log = resolver, log
        self._waiting: Counter[tuple[str, Outcome]] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None

    @staticmethod
    def of(settings: Settings, prefix: str, resolver: Resolver) -> "TlsReports | None":
        if prefix != "smtp" or settings.text("smtp_tlsrpt_enable") != "yes":
            return None
        return TlsReports(settings, resolver, logger(prefix))

    def note(self, outcome: Outcome) -> None:
        """Count a session's end."""
        key = datetime.datetime.now(datetime.UTC).date().isoformat(), outcome
        if key in self._waiting or len(self._waiting) < WAITING_MOST:
            self._waiting[key] += 1
        if self._timer is None and self._writing is None:
            self._timer = asyncio.get_running_loop().call_later(WRITE_S, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._writing = asyncio.get_running_loop().create_task(self._write())
        self._writing.add_done_callback(self._written)

    def _written(self, task: "asyncio.Task[None]") -> None:
        self._writing = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.warning("TLS reports: %s", error)
        if self._waiting and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WRITE_S, self._begin)

    async def _write(self) -> None:
        waiting, self._waiting = self._waiting, Counter()
        records = {domain: await self._record(domain) for domain in {outcome.domain for _, outcome in waiting}}
        contacts = {domain: record for domain, record in records.items() if record}
        for day in {day for day, _ in waiting}:
            counts = {outcome: count for (of_day, outcome), count in waiting.items()
                      if of_day == day and outcome.domain in contacts}
            if counts:
                await asyncio.to_thread(add, self._path, day, counts, contacts=contacts, keep_days=self._keep_days,
                                        limit=self._limit)

    async def _record(self, domain: str) -> str:
        """The domain's TLSRPT record, "" for none."""
        try:
            found = [text for text in (await self._resolver.txt(f"_smtp._tls.{domain}")).records
                     if text.replace(b" ", b"").startswith(b"v=TLSRPTv1;")]
        except DnsError:
            return ""
        return found[0].decode("utf-8", "replace") if len(found) == 1 else ""

    async def close(self) -> None:
        """Write what is waiting."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing is not None:
            await asyncio.wait([self._writing])
        if self._timer is not None:
            self._timer.cancel()
        if self._waiting:
            try:
                await self._write()
            except TemporaryError as error:
                self._log.warning("TLS reports: %s", error)

    # --- what to note -------------------------------------------------------------------------------------------------

    def session(self, policy: Policy | None, endpoint: Endpoint, nexthop: str, link: ClientConnection | None, *,
                trouble: Trouble | None = None, failure: Failure | None = None) -> None:
        """A session began, or did not: trouble. failure: the certificate's, where the policy is only rehearsed."""
        if not is_hostname(nexthop) or endpoint.fallback or endpoint.path or (policy and policy.level == "none"):
            return
        result, reason = _result(trouble, failure, link)
        if result is None:
            return
        outcome = _with_policy(policy, nexthop.lower())
        here = link.local_address if link is not None else ""
        there = endpoint.address if link is not None else ""
        self.note(Outcome(outcome.domain, outcome.kind, outcome.policy, outcome.patterns, result, endpoint.host, here,
                          there, reason))
        if policy is not None and policy.sts is not None and policy.sts.problem:
            self.note(Outcome(nexthop.lower(), outcomes.STS, result=policy.sts.problem))


def _with_policy(policy: Policy | None, domain: str) -> Outcome:
    if policy is not None and policy.kind == "sts":
        lines = policy.sts.policy.lines if policy.sts is not None and policy.sts.policy is not None else ()
        return Outcome(policy.domain or domain, outcomes.STS, lines, policy.patterns)
    if policy is not None and policy.records and policy.dane:
        return Outcome(domain, outcomes.TLSA, tuple(map(str, policy.records)))
    return Outcome(domain)


def _result(trouble: Trouble | None, failure: Failure | None,
            link: ClientConnection | None) -> tuple[str | None, str]:
    """Result type and reason; None: the session says nothing about TLS."""
    match trouble:
        case CertificateTrouble():
            return result_type(trouble.failure), trouble.failure.text if trouble.failure else ""
        case HandshakeTrouble():
            return outcomes.VALIDATION, trouble.why
        case NoStartTls():
            return outcomes.NO_STARTTLS, ""
        case NoTls():
            if "TLSA lookup error" in trouble.public:
                return outcomes.DNSSEC_INVALID, trouble.public
            known = {"TLSA records unusable": outcomes.TLSA_INVALID, "no TLSA records found": outcomes.DANE_REQUIRED,
                     "non DNSSEC destination": outcomes.DANE_REQUIRED}
            if "MTA-STS" in trouble.public:
                return outcomes.VALIDATION, trouble.public
            return known.get(trouble.public), ""
        case Trouble() if not trouble.tls:
            return None, ""
        case Trouble():
            return outcomes.NO_STARTTLS, trouble.public
    if failure is not None:
        return result_type(failure), failure.text
    return ("", "") if link is not None and link.tls else (outcomes.NO_STARTTLS, "")
