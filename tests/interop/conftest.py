"""One suite for all foreign clients; clients are skipped with the reason where they are not installed."""

import shutil
from collections.abc import Iterator

import pytest

from tests.support.suite import Suite, running_suite


@pytest.fixture(scope="session")
def suite() -> Iterator[Suite]:
    with running_suite() as made:
        yield made


@pytest.fixture
def client(request: pytest.FixtureRequest) -> str:
    """The program that a test's mark `needs` names."""
    name = request.node.get_closest_marker("needs").args[0]
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path
