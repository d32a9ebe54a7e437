"""MTA-STS policies from a real HTTPS server on loopback: fetched, kept, refused."""

import asyncio
import datetime
import json
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import pytest

from certs.authority import Certificates, ensure_certificates
from mailsuite.config.settings import Settings
from mailsuite.dns.resolver import Answer, DnsError, Resolver
from mailsuite.smtp.client_sts import FETCH_ERROR, INVALID, WEBPKI, Found, Kept, StsFinder, _shared
from mailsuite.tls.sts import StsPolicy

POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: mx.far.test\r\nmax_age: 86400\r\n"
LOG = logging.getLogger("mailsuite.test")


class Names:
    """record: the TXT record's id, "" for none, None for a failing name server."""

    def __init__(self, record: str | None = "1") -> None:
        self.record = record

    async def txt(self, name: str) -> Answer[bytes]:
        if self.record is None:
            raise DnsError(name, "TXT")
        return Answer((f"v=STSv1; id={self.record}".encode(),) if self.record and name == "_mta-sts.far.test" else ())

    async def addresses(self, host: str, *, family: str = "any", use_hosts: bool = True) -> Answer[str]:
        return Answer(("127.0.0.1",))


def http(body: bytes = POLICY, *, status: str = "200 OK", kind: str = "text/plain", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{more}\r\n".encode() + body


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return ensure_certificates(tmp_path_factory.mktemp("certs"), ["mta-sts.far.test"],
                               datetime.datetime.now(datetime.UTC))


def with_web(certificates: Certificates, cache: Path | None, test: Callable[["Web"], Any], **settings: str) -> Any:
    async def run() -> Any:
        web = Web(certificates, cache, settings)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.chain, certificates.key)
        server = await asyncio.start_server(web.serve, "127.0.0.1", 0, ssl=context)
        web.port = server.sockets[0].getsockname()[1]
        try:
            return await test(web)
        finally:
            server.close()

    return asyncio.run(run())


class Web:
    def __init__(self, certificates: Certificates, cache: Path | None, settings: dict[str, str]) -> None:
        self.answer, self.asked, self.port = http(), 0, 0
        self.settings = Settings.of({"smtp_tls_CAfile": str(certificates.authority),
                                     "smtp_tls_mta_sts_cache": str(cache or "")} | settings)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        assert request.startswith(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.far.test\r\n")
        self.asked += 1
        if self.answer:
            writer.write(self.answer)
        else:
            await reader.read()         # until the client's patience ends
        writer.close()

    def finder(self, names: Names) -> StsFinder:
        return StsFinder(self.settings, "smtp", cast(Resolver, names), LOG, port=self.port)


def test_fetched_once_and_kept(certificates: Certificates, tmp_path: Path) -> None:
    async def talk(web: Web) -> None:
        names = Names()
        finder = web.finder(names)
        found = await asyncio.gather(*(finder.find("Far.test") for _ in range(5)))
        assert {one.policy.mode for one in found if one.policy} == {"enforce"} and web.asked == 1
        # Another process, while record and web server are gone: the policy still counts.
        web.answer = http(status="404 Not Found")
        for record in ("", None, "1", "2"):
            names.record = record
            later = web.finder(names)
            kept = await later.find("far.test")
            assert kept.policy == found[0].policy and kept.problem == (FETCH_ERROR if record == "2" else "")
        web.answer = http(POLICY.replace(b"enforce", b"testing"))
        names.record = "3"
        changed = (await web.finder(names).find("far.test")).policy
        assert changed is not None and changed.mode == "testing"
        assert (await web.finder(Names("")).find("elsewhere.test")) == Found()

    with_web(certificates, tmp_path / "cache", talk)


@pytest.mark.parametrize(("answer", "problem"), [
    (http(status="301 Moved", more="Location: https://mta-sts.far.test/x\r\n"), FETCH_ERROR),
    (http(status="404 Not Found"), FETCH_ERROR), (b"nonsense\r\n\r\n", FETCH_ERROR),
    (http(kind="text/html"), INVALID), (http(b"version: STSv1\r\n"), INVALID),
    (http(POLICY + b"x: y\r\n" * 20000), INVALID), (b"", FETCH_ERROR),
    (http(b"", more="Transfer-Encoding: chunked\r\n") + b"zz\r\n", FETCH_ERROR),
])
def test_answers_that_are_no_policy(certificates: Certificates, answer: bytes, problem: str) -> None:
    async def talk(web: Web) -> None:
        web.answer = answer
        finder = web.finder(Names())
        for _ in range(2):              # not asked again at once
            assert await finder.find("far.test") == Found(None, problem)
        assert web.asked == 1

    with_web(certificates, None, talk, smtp_tls_mta_sts_timeout="1s")


def test_answers_in_other_forms(certificates: Certificates) -> None:
    async def talk(web: Web) -> None:
        pieces = b"%x\r\n%b\r\n0\r\n\r\n" % (len(POLICY), POLICY)
        web.answer = http(pieces, kind="text/plain; charset=utf-8", more="Transfer-Encoding: chunked\r\n")
        assert (await web.finder(Names()).find("far.test")).policy is not None

    with_web(certificates, None, talk)


def test_the_web_server_must_be_the_right_one(certificates: Certificates, tmp_path: Path) -> None:
    other = ensure_certificates(tmp_path, ["elsewhere.test"], datetime.datetime.now(datetime.UTC))

    async def talk(web: Web) -> None:
        assert await web.finder(Names()).find("far.test") == Found(None, WEBPKI)

    with_web(other, None, talk)
    with_web(certificates, None, talk, smtp_tls_CAfile=str(other.authority))


def test_an_old_policy_is_fetched_anew_in_the_background(certificates: Certificates, tmp_path: Path) -> None:
    async def talk(web: Web) -> None:
        old = Kept("1", time.time() - 2 * 86400, StsPolicy("testing", ("mx.far.test",), 30 * 86400))
        _shared(str(tmp_path / "cache")).put("far.test", json.dumps(asdict(old)))
        finder = web.finder(Names())
        assert await finder.find("far.test") == Found(old.policy)
        await asyncio.gather(*finder._fetching.values())
        fresh = (await finder.find("far.test")).policy
        assert fresh is not None and fresh.mode == "enforce" and web.asked == 1
        _shared(str(tmp_path / "cache")).put("far.test", json.dumps(asdict(replace(old, fetched=0.0))))
        assert (await web.finder(Names("")).find("far.test")) == Found()        # expired

    with_web(certificates, tmp_path / "cache", talk)
