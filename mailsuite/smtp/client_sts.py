"""MTA-STS for outgoing mail: the policy of a domain, fetched over HTTPS, kept in a cache (RFC 8461).

    found = await finder.find("example.org")        Found(policy, problem): either may be None or ""

A TXT record at _mta-sts.DOMAIN says that there is a policy; its id says when it changed. A policy counts for max_age
from when it was fetched, also when record or file are gone: who can hide them must not switch TLS off. One that is a
day old is fetched anew while the mail goes on. What cannot be fetched is no policy, and is not tried again for 5
minutes. Fetching is asynchronous, with limits for time and size, a certificate that must be good, and no redirects.
"""

import asyncio
import http.client
import io
import json
import logging
import ssl
import time
from collections import OrderedDict
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import cast

from mailsuite.base.errors import PeerError, TemporaryError
from mailsuite.config.settings import Settings
from mailsuite.dns.resolver import DnsError, Resolver
from mailsuite.maps.cache import Cache, CacheError
from mailsuite.net.client_tls import ClientSpec, client_context
from mailsuite.smtp.client_tls_params import MTA_STS_CACHE, MTA_STS_SIZE, MTA_STS_TIMEOUT
from mailsuite.tls.protocols import parse_protocols
from mailsuite.tls.sts import StsPolicy, parse_policy, record_id

FETCH_ERROR, INVALID, WEBPKI = "sts-policy-fetch-error", "sts-policy-invalid", "sts-webpki-invalid"   # RFC 8460
REFRESH_S = 86400.0
RETRY_S = 300.0
FETCHES_AT_ONCE = 20
FAILURES_KEPT = 1000
HEADER_ROOM = 32768


@dataclass(frozen=True)
class Kept:
    """An entry of the cache. fetched: epoch seconds."""

    id: str
    fetched: float
    policy: StsPolicy

    @property
    def valid(self) -> bool:
        return time.time() < self.fetched + self.policy.max_age_s


@dataclass(frozen=True)
class Found:
    """problem: why there is no fresh policy, a result type of RFC 8460; "" when all is well."""

    policy: StsPolicy | None = None
    problem: str = ""


class StsError(TemporaryError):
    """kind: the result type for reports."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind


class StsFinder:
    """One configuration's. port: of policy hosts."""

    def __init__(self, settings: Settings, prefix: str, resolver: Resolver, log: logging.Logger, *,
                 port: int = 443) -> None:
        self._resolver, self._log, self._port = resolver, log, port
        self._timeout_s, self._limit = float(settings[MTA_STS_TIMEOUT]), settings[MTA_STS_SIZE]
        file, path = settings.text(f"{prefix}_tls_CAfile").strip(), settings.text(f"{prefix}_tls_CApath").strip()
        # The system's authorities where main.cf names none: policy hosts are web servers.
        self._spec = ClientSpec(parse_protocols(">=TLSv1.2"), verify=True, ca_file=file, ca_path=path,
                                default_authorities=not (file or path)
                                or settings.text("tls_append_default_CA") == "yes")
        self._cache = _open_cache(settings[MTA_STS_CACHE], log)
        self._memory: OrderedDict[str, Kept] = OrderedDict()        # where there is no cache
        self._failed: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._fetching: dict[str, asyncio.Task[Kept]] = {}
        self._places = asyncio.Semaphore(FETCHES_AT_ONCE)

    async def find(self, domain: str) -> Found:
        """Never raises: without an answer there is no policy."""
        domain = domain.lower().rstrip(".")
        kept = self._get(domain)
        try:
            wanted = record_id((await self._resolver.txt(f"_mta-sts.{domain}")).records)
        except DnsError:
            wanted = None
        if kept is not None and (wanted is None or wanted == kept.id):
            if wanted is not None and time.time() - kept.fetched > REFRESH_S and not self._failure(domain):
                self._begin(domain, wanted)
            return Found(kept.policy)
        if wanted is None:
            return Found()
        problem = self._failure(domain)
        if not problem:
            try:
                kept = await asyncio.shield(self._begin(domain, wanted))
            except StsError as error:
                problem = error.kind
        return Found(kept.policy if kept is not None else None, problem)

    def _failure(self, domain: str) -> str:
        until, kind = self._failed.get(domain, (0.0, ""))
        return kind if time.monotonic() < until else ""

    # --- the cache ------------------------------------------------------------------------------------------------

    def _get(self, domain: str) -> Kept | None:
        kept = self._memory.get(domain)
        if self._cache is not None:
            text = self._cache.get(domain)
            kept = _from_json(text) if text is not None else None
        return kept if kept is not None and kept.valid else None

    def _put(self, domain: str, kept: Kept) -> None:
        if self._cache is not None:
            self._cache.put(domain, json.dumps(asdict(kept)))
            return
        self._memory[domain] = kept
        if len(self._memory) > FAILURES_KEPT:
            self._memory.popitem(last=False)

    # --- fetching -------------------------------------------------------------------------------------------------

    def _begin(self, domain: str, wanted: str) -> "asyncio.Task[Kept]":
        """One fetch of a domain at a time, for all who ask."""
        task = self._fetching.get(domain)
        if task is None:
            task = self._fetching[domain] = asyncio.get_running_loop().create_task(self._renew(domain, wanted))
            task.add_done_callback(lambda done: self._ended(domain, done))
        return task

    def _ended(self, domain: str, task: "asyncio.Task[Kept]") -> None:
        self._fetching.pop(domain, None)
        if not task.cancelled():
            task.exception()            # told by _renew

    async def _renew(self, domain: str, wanted: str) -> Kept:
        """Raises StsError."""
        try:
            async with self._places, asyncio.timeout(self._timeout_s):
                octets = await self._fetch(f"mta-sts.{domain}")
            kept = Kept(wanted, time.time(), parse_policy(octets))
        except (StsError, PeerError, TimeoutError) as error:
            kind = error.kind if isinstance(error, StsError) else INVALID
            why = str(error)
            if isinstance(error, TimeoutError):
                kind, why = FETCH_ERROR, f"took longer than {self._timeout_s:.0f} s"
            self._log.warning("MTA-STS policy of %s: %s", domain, why)
            self._failed[domain] = time.monotonic() + RETRY_S, kind
            if len(self._failed) > FAILURES_KEPT:
                self._failed.popitem(last=False)
            raise StsError(kind, why) from error
        self._put(domain, kept)
        return kept

    async def _fetch(self, host: str) -> bytes:
        """The body. Raises StsError."""
        try:
            addresses = (await self._resolver.addresses(host)).records
        except DnsError as error:
            raise StsError(FETCH_ERROR, error.public) from error
        if not addresses:
            raise StsError(FETCH_ERROR, f"{host} has no address")
        failure = StsError(FETCH_ERROR, "")
        for address in addresses[:3]:
            try:
                return _body(await self._ask(host, address), self._limit)
            except ssl.SSLError as error:
                failure = StsError(WEBPKI, f"{host}[{address}]: {error.reason or error}")
            except (OSError, EOFError) as error:
                failure = StsError(FETCH_ERROR, f"{host}[{address}]: {error}")
        raise failure

    async def _ask(self, host: str, address: str) -> bytes:
        """All that the server says, at most the limit. Raises OSError."""
        reader, writer = await asyncio.open_connection(address, self._port, ssl=client_context(self._spec),
                                                       server_hostname=host)
        try:
            writer.write(f"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: {host}\r\nAccept: text/plain\r\n"
                         "User-Agent: mailsuite\r\nConnection: close\r\n\r\n".encode("ascii"))
            octets = b""
            while len(octets) <= self._limit + HEADER_ROOM and (block := await reader.read(65536)):
                octets += block
            return octets
        finally:
            writer.close()


class _Answered:
    """What http.client takes for a socket."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._octets)


def _body(octets: bytes, limit: int) -> bytes:
    """The body of a good answer. Raises StsError."""
    response = http.client.HTTPResponse(cast("ssl.SSLSocket", _Answered(octets)))
    try:
        response.begin()
        if response.status != 200:          # redirects too: RFC 8461 section 3.3
            raise StsError(FETCH_ERROR, f"the server answers {response.status}")
        if response.headers.get_content_type() != "text/plain":
            raise StsError(INVALID, "the policy is no text/plain")
        body = response.read(limit + 1)
    except (http.client.HTTPException, ValueError, OSError) as error:
        raise StsError(FETCH_ERROR, f"the server's answer is no HTTP: {type(error).__name__}") from error
    if len(body) > limit:
        raise StsError(INVALID, f"the policy is larger than {limit} octets")
    return body


def _open_cache(name: str, log: logging.Logger) -> Cache | None:
    if not name:
        return None
    try:
        return _shared(name)
    except CacheError as error:
        log.warning("%s: MTA-STS policies are kept in memory only", error)
        return None


@lru_cache(maxsize=8)
def _shared(name: str) -> Cache:
    """LMDB must not open a file twice in a process, and a reload makes a new finder."""
    return Cache(name)


def _from_json(text: str) -> Kept | None:
    try:
        said = json.loads(text)
        policy = said["policy"]
        return Kept(str(said["id"]), float(said["fetched"]), StsPolicy(
            str(policy["mode"]), tuple(policy["mx"]), int(policy["max_age_s"]), tuple(policy["lines"])))
    except (ValueError, KeyError, TypeError):
        return None             # of another version: fetched anew
