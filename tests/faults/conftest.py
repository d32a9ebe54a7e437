"""A site whose disk and clock obey the test, shared by the tests of a module."""

from collections.abc import Iterator

import pytest

from tests.faults.far_end import FarEnd, Plan
from tests.faults.shim import Shim, open_shim
from tests.faults.world import World, open_world
from tests.support.suite import free_port


@pytest.fixture(scope="module")
def far() -> Iterator[FarEnd]:
    with FarEnd(free_port(), Plan()) as running:
        yield running


@pytest.fixture(scope="module")
def shimmed(far: FarEnd) -> Iterator[tuple[World, Shim]]:
    """A running site with the shim; whoever sets a rule heals it."""
    with open_shim() as shim, open_world(far.port) as world:
        with shim.loaded():
            world.suite.start()
        yield world, shim
