"""What signing and checking a 4 KB message costs, in CPU time of one process, beside dkimpy.

    bench_identity.py         prints a section of docs/performance.md; bench.py puts it there
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import dkim

from mailsuite.auth_results.canonical import BodyForm, body_hashes
from mailsuite.auth_results.content import FieldIndex, parse_content
from mailsuite.auth_results.dkim import DkimOptions, SignOptions, sign, verify
from mailsuite.auth_results.dmarc import evaluate, from_domains
from mailsuite.auth_results.keys import PrivateKey, dns_record, new_key, parse_private_key
from mailsuite.auth_results.organization import public_suffixes
from mailsuite.auth_results.spf import SpfOptions, SpfResult, check_mail_from
from mailsuite.dns.resolver import Answer

LINE = b"The quick brown fox jumps over the lazy dog, and 0123456789 again.\n"
MESSAGE = (b"From: Anna <anna@a.test>\nTo: ben@b.test\nSubject: Hello\nDate: Sat, 21 Nov 2026 04:00:00 +0000\n"
           b"Message-ID: <1@a.test>\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n" + LINE * 60)
NAMES = (b"From", b"Reply-To", b"Subject", b"Date", b"Message-ID", b"To", b"Cc", b"MIME-Version", b"Content-Type")
OPTIONS = SignOptions(NAMES, frozenset(name.lower() for name in NAMES[:4]))
FORM = BodyForm(relaxed=True)


class Zone:
    """DNS that costs nothing."""

    def __init__(self, texts: Mapping[str, bytes]) -> None:
        self.texts = texts

    async def txt(self, name: str) -> Answer[bytes]:
        return Answer((self.texts[name],)) if name in self.texts else Answer((), exists=False)

    async def mx(self, domain: str) -> Answer[Any]:
        return Answer(())

    async def ptr(self, address: str) -> Answer[str]:
        return Answer(())

    async def addresses(self, host: str, *, family: str = "any", use_hosts: bool = True) -> Answer[str]:
        return Answer(())


def cost_us(work: Callable[[], object], times: int) -> float:
    """The best of five, microseconds."""
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        for _ in range(times):
            work()
        best = min(best, (time.process_time() - start) / times)
    return best * 1e6


def signed(message: bytes, key: PrivateKey) -> bytes:
    content = parse_content(message)
    body = body_hashes(content.body, {FORM})[FORM]
    return b"DKIM-Signature: " + sign(FieldIndex(content.fields), body, key, OPTIONS, time.time()).encode()


def section() -> str:
    """The text."""
    loop = asyncio.new_event_loop()
    run = loop.run_until_complete
    pems = {name: new_key(kind, bits) for name, kind, bits in (
        ("RSA-2048", "rsa", 2048), ("RSA-4096", "rsa", 4096), ("Ed25519", "ed25519", 0))}
    content, wire = parse_content(MESSAGE), MESSAGE.replace(b"\n", b"\r\n")
    big = parse_content(MESSAGE + LINE * 150_000)
    rows: list[tuple[str, float, float | None]] = []

    def add(what: str, ours: float, theirs: float | None = None) -> None:
        rows.append((what, ours, theirs))

    for name, pem in pems.items():
        key = parse_private_key(pem, "a.test", "sel")
        record = dns_record(key).encode()
        zone = Zone({key.domain: b"", "sel._domainkey.a.test": record})
        theirs = cost_us(lambda pem=pem: dkim.sign(wire, b"sel", b"a.test", pem), 20) if name == "RSA-2048" else None
        add(f"sign, {name}", cost_us(lambda key=key: sign(
            FieldIndex(content.fields), body_hashes(content.body, {FORM})[FORM], key, OPTIONS, 1e9), 50), theirs)
        message = signed(MESSAGE, key) + b"\n" + MESSAGE
        parsed, sent = parse_content(message), message.replace(b"\n", b"\r\n")
        assert run(verify(parsed, zone, DkimOptions(), time.time()))[0].result == "pass"
        theirs = None if name == "Ed25519" else cost_us(
            lambda sent=sent, record=record: dkim.verify(sent, dnsfunc=lambda name, timeout=5: record), 50)
        add(f"verify, {name}", cost_us(lambda parsed=parsed, zone=zone: run(
            verify(parsed, zone, DkimOptions(), time.time())), 200), theirs)
    dns = Zone({"a.test": b"v=spf1 ip4:192.0.2.1 -all", "_dmarc.a.test": b"v=DMARC1; p=reject"})
    public_suffixes()
    add("SPF, one record", cost_us(lambda: run(check_mail_from(dns, "192.0.2.1", "x@a.test", "h.test", SpfOptions())),
                                   200))
    spf = SpfResult("pass", domain="a.test")
    add("DMARC", cost_us(lambda: run(evaluate(from_domains(FieldIndex(content.fields)), spf, [], dns,
                                              sample=lambda: 0.0)), 200))
    for relaxed in (False, True):
        form = BodyForm(relaxed)
        add(f"hash a 10 MB body, {'relaxed' if relaxed else 'simple'}",
            cost_us(lambda form=form: body_hashes(big.body, {form}), 1))
    loop.close()
    lines = [f"{what:28} {ours:9.0f} us" + (f" {theirs:9.0f} us" if theirs is not None else "")
             for what, ours, theirs in rows]
    return (f"CPU time for one message of {len(MESSAGE) // 1024} KB in one process, the best of five, without waiting "
            "for DNS.\n\n```\n" + f"{'':28} {'mailsuite':>12} {'dkimpy':>12}\n" + "\n".join(lines) + "\n```")


if __name__ == "__main__":
    print(section())
