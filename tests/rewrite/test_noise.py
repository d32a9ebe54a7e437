"""Addresses and headers that nobody would write: nothing raises, what is standard stays so."""

import asyncio
from random import Random

import pytest

from mailsuite.address.syntax import quote_local
from mailsuite.config.settings import Settings
from mailsuite.rewrite.rewriter import Rewriter

REWRITER = Rewriter(Settings.of({
    "myhostname": "mx.example.test", "mydomain": "example.test", "myorigin": "example.test", "alias_maps": "",
    "mydestination": "example.test", "recipient_delimiter": "+-", "append_dot_mydomain": "yes",
    "virtual_alias_maps": "inline:{a=b@c, @x=@y}", "canonical_maps": "inline:{b=c}", "masquerade_domains": "c.test",
    "local_recipient_maps": "unix:passwd.byname", "transport_maps": "inline:{c=smtp:d}",
    "compatibility_level": "3.7"}))
PIECES = ["a", "b", "x", "@", ".", "%", "!", '"', "\\", "[", "]", "(", ")", "<", ">", ",", ";", ":", " ", "+", "-",
          "example.test", "192.0.2.1", "\udcff", "é", "\n", "|", "c.test"]


@pytest.mark.parametrize("seed", range(60))
def test_noise(seed: int) -> None:
    noise = Random(seed)

    async def work() -> None:
        for _ in range(40):
            text = "".join(noise.choices(PIECES, k=noise.randint(0, 12)))
            standard = await REWRITER.rewrite(text)
            resolution = await REWRITER.resolve("", standard)
            assert "@" in resolution.recipient
            await REWRITER.validate_recipient(resolution, text)
            for one in await REWRITER.expand_recipient(text):
                quote_local(one).encode("utf-8", "surrogateescape")
            await REWRITER.sender(text)
            value = text.encode("utf-8", "surrogateescape")
            once = await REWRITER.header("To", value)
            assert await REWRITER.header("To", await REWRITER.header("To", once)) is not None

    asyncio.run(work())


def test_a_long_header_takes_linear_time() -> None:
    for text in (b"a, " * 3000, b"(" * 9000, b'"' * 9001, b"<" * 9000, b"a:" * 5000 + b";", b"(c)" * 5000 + b"a,"):
        asyncio.run(REWRITER.header("To", text))
