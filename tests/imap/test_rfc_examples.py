"""The examples of the RFCs, and what their sentences ask of a server: tests/dialogues/rfc, one file an RFC."""

import asyncio
from pathlib import Path

import pytest

from tests.support.examples import play_file

FILES = sorted(Path(__file__).parent.parent.joinpath("dialogues/rfc").glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_examples(path: Path, tmp_path: Path) -> None:
    assert not asyncio.run(play_file(path, tmp_path))
