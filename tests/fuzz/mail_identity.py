"""Fuzz targets of SPF, DKIM, ARC and DMARC: what a message and the DNS of strangers can hold."""

import asyncio
from random import Random

from mailsuite.auth_results.arc import verify_chain
from mailsuite.auth_results.content import FieldIndex, parse_content
from mailsuite.auth_results.dkim import DkimOptions, DkimResult, verify
from mailsuite.auth_results.dmarc import evaluate, from_domains
from mailsuite.auth_results.header import is_from, method_result
from mailsuite.auth_results.spf import SpfOptions, check_mail_from
from tests.auth_results.test_arc import TWO, ZONE
from tests.support.dns_zone import ZoneResolver
from tests.support.signing import NOW, key, record, signed

RESULTS = {"pass", "fail", "softfail", "neutral", "policy", "none", "temperror", "permerror"}
MESSAGE = b"Authentication-Results: (c) \"mx.test\"; arc=pass\n" + signed(TWO)
DNS = b"v=spf1 a:%{d} mx/24//64 include:a.test exists:%{ir}.%{l1r-}.a.test ip4:192.0.2.0/24 ?all exp=a.test\n"


def whole_message(octets: bytes, chance: Random) -> None:
    content = parse_content(octets)
    resolver = ZoneResolver({**ZONE, **record(key())})

    async def work() -> list[DkimResult]:
        found = await verify(content, resolver, DkimOptions(), NOW)
        assert (await verify_chain(content, resolver, DkimOptions(), NOW)).result in RESULTS
        dmarc = await evaluate(from_domains(FieldIndex(content.fields)), None, found, resolver, sample=chance.random)
        assert dmarc.result in RESULTS
        return found

    assert all(one.result in RESULTS for one in asyncio.run(work()))
    for field in content.fields:
        assert is_from(field.value, "mx.test") in (True, False)
        assert isinstance(method_result(field.value, "arc"), str)


def dns_records(octets: bytes, chance: Random) -> None:
    text = octets.decode("utf-8", "surrogateescape").replace("\n", " ")
    name = chance.choice(["a.test", "_dmarc.a.test", "sel._domainkey.a.test"])
    resolver = ZoneResolver({"a.test": ["A 192.0.2.1", "MX 1 a.test."], name: [f"TXT {text}"]})

    async def work() -> None:
        found = await check_mail_from(resolver, "192.0.2.9", "b@a.test", text[:50], SpfOptions())
        assert found.result in RESULTS
        content = parse_content(signed())
        dkim = await verify(content, resolver, DkimOptions(), NOW)
        dmarc = await evaluate(from_domains(FieldIndex(content.fields)), found, dkim, resolver, sample=chance.random)
        assert dkim[0].result in RESULTS and dmarc.result in RESULTS

    asyncio.run(work())
