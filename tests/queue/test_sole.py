"""One process works on a queue folder at a time; the next waits for its end."""

import asyncio
import os
from pathlib import Path

import pytest

from mailsuite.queue.sole import hold


def test_the_second_waits_for_the_first(tmp_path: Path) -> None:
    async def play() -> None:
        first = await hold(str(tmp_path), wait_s=1)
        second = asyncio.ensure_future(hold(str(tmp_path), wait_s=60))
        await asyncio.sleep(0.2)
        assert not second.done()
        os.close(first)
        os.close(await asyncio.wait_for(second, 60))

    asyncio.run(play())


def test_who_hangs_holds_up_nobody_for_ever(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def play() -> None:
        first = await hold(str(tmp_path), wait_s=1)
        second = await asyncio.wait_for(hold(str(tmp_path), wait_s=0.1), 60)
        os.close(first)
        os.close(second)

    with caplog.at_level("WARNING"):
        asyncio.run(play())
    assert "another process still works in" in caplog.text


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert asyncio.run(hold(str(tmp_path / "none"), wait_s=0.1)) == -1
