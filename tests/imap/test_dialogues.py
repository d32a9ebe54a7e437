"""Whole IMAP dialogues over a Maildir: tests/dialogues/imap."""

import asyncio
from pathlib import Path

import pytest

from tests.support.dialogues import play
from tests.support.mail_sessions import ImapServer

FILES = sorted(Path(__file__).parent.parent.joinpath("dialogues/imap").glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_dialogue(path: Path, tmp_path: Path) -> None:
    async def run() -> None:
        async with ImapServer({"alice": tmp_path}) as server:
            await play(path, server.port)

    asyncio.run(run())
