"""Address lists of headers, whole and broken, as Postfix 3.7 wrote them (header_lists.jsonl: what came, what went)."""

import asyncio
import json
from pathlib import Path

import pytest

from mailsuite.config.settings import Settings
from mailsuite.rewrite.rewriter import Rewriter

LISTS = [json.loads(line) for line in (Path(__file__).parent / "header_lists.jsonl").read_text().splitlines()]
SETTINGS = {"compatibility_level": "3.6", "myhostname": "mx.example.test", "mydomain": "example.test",
            "myorigin": "example.test", "mydestination": "example.test"}


def test_there_are_enough() -> None:
    assert len(LISTS) >= 200


@pytest.mark.parametrize(("came", "wrote"), LISTS, ids=range(len(LISTS)))
def test_list(came: str, wrote: str) -> None:
    rewriter = Rewriter(Settings.of(SETTINGS))
    assert asyncio.run(rewriter.header("To", b" " + came.encode())).decode() == wrote
