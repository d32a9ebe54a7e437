"""imap/preview.py against what Dovecot 2.3.19 said of the same messages: tests/imap/recorded/previews.json."""

import json
import time
from pathlib import Path

import pytest

from mailsuite.imap.preview import LENGTH, preview
from mailsuite.message.message import Message

RECORDED: list[tuple[str, str]] = json.loads(
    Path(__file__).parent.joinpath("recorded/previews.json").read_text(encoding="utf-8"))


def of(text: str) -> str:
    return preview(Message(text.encode().replace(b"\n", b"\r\n"))).decode()


@pytest.mark.parametrize("number", range(len(RECORDED)))
def test_as_the_real_one(number: int) -> None:
    text, want = RECORDED[number]
    assert of(text) == want


@pytest.mark.parametrize("body", [
    pytest.param("> quoted line\n" * 8000 + "late words\n", id="much that is quoted"),
    pytest.param(" \n" * 40000 + "late words\n", id="empty lines"),
])
def test_words_come_late(body: str) -> None:
    assert of("From: a@b\n\n" + body) == "late words"


@pytest.mark.parametrize("body", ["<" * 300_000, "<\"" * 150_000, "&" * 300_000, "<!--" * 75_000, "-- " * 100_000,
                                  "<script>" * 40_000, "<![CDATA[" * 33_000, "<blockquote>" * 25_000 + "x",
                                  "<a b='" * 50_000, "<!--" + "--     " * 40_000])
def test_hostile_html_costs_little(body: str) -> None:
    started = time.process_time()
    assert len(of(f"Content-Type: text/html\n\n{body}\n")) <= LENGTH
    assert time.process_time() - started < 5
