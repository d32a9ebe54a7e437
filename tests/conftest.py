"""What all tests share."""

import os
import tempfile
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz-seconds", type=float, default=1.0, help="time for each fuzz target (make fuzz: longer)")


@pytest.fixture
def fuzz_s(request: pytest.FixtureRequest) -> float:
    """Seconds that a fuzz target may run."""
    return float(request.config.getoption("--fuzz-seconds"))


@pytest.fixture(scope="session", autouse=True)
def _passable_folders(tmp_path_factory: pytest.TempPathFactory) -> None:
    """As root, code under test runs as other accounts: they may pass (not list) the folders above a test's own."""
    if os.geteuid() == 0:
        top = Path(tempfile.gettempdir())
        for folder in [tmp_path_factory.getbasetemp(), *tmp_path_factory.getbasetemp().parents]:
            if folder == top or top not in folder.parents:
                break
            folder.chmod(0o711)
