"""Whole IMAP dialogues over a Maildir: tests/dialogues/imap.

A line "#= NAME = VALUE" in a dialogue is a setting of its server.
"""

import asyncio
import re
from pathlib import Path

import pytest

from tests.support.dialogues import play
from tests.support.mail_sessions import ImapServer, Settings

FILES = sorted(Path(__file__).parent.parent.joinpath("dialogues/imap").glob("*.txt"))


def settings_of(path: Path) -> Settings:
    return Settings(dict(re.findall(r"(?m)^#= *(\w+) *= *(.*)$", path.read_text(encoding="utf-8"))))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_dialogue(path: Path, tmp_path: Path) -> None:
    async def run() -> None:
        async with ImapServer({"alice": tmp_path}, settings_of(path)) as server:
            await play(path, server.port)

    asyncio.run(run())
