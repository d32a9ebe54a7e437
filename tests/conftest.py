"""What all tests share."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz-seconds", type=float, default=1.0, help="time for each fuzz target (make fuzz: longer)")


@pytest.fixture
def fuzz_s(request: pytest.FixtureRequest) -> float:
    """Seconds that a fuzz target may run."""
    return float(request.config.getoption("--fuzz-seconds"))
