"""A queue in a temporary folder, and the commands as a user runs them, in this process."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mailsuite.cli import sendmail
from tests.queue.support import World

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    (tmp_path / "etc" / "main.cf").write_text(
        f"queue_directory = {tmp_path}/spool\nmyhostname = mx.test\nmaillog_file = {tmp_path}/log\n"
        "maillog_file_prefixes = /\nfast_flush_domains = far.test\n")
    return made


@pytest.fixture
def run(world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def call(main: Callable[[], int], *words: str, stdin: bytes = b"") -> tuple[int, str, str]:
        option = "-C" if main is sendmail.main else "-c"
        monkeypatch.setattr(sys, "argv", ["x", option, world.settings.config_directory, *words])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        try:
            status = main()
        except SystemExit as ended:
            status = int(ended.code or 0)
        out, err = capsys.readouterr()
        return status, out, err

    return call
