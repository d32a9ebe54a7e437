"""A site whose disk and clock obey the test, shared by all tests that want it."""

from collections.abc import Iterator

import pytest

from tests.faults.far_end import FarEnd, Plan
from tests.faults.shim import Shim, open_shim
from tests.faults.world import World, open_world
from tests.support.suite import free_port


@pytest.fixture(scope="session")
def far() -> Iterator[FarEnd]:
    with FarEnd(free_port(), Plan()) as running:
        yield running


@pytest.fixture(scope="session")
def shim_site(far: FarEnd) -> Iterator[tuple[World, Shim]]:
    with open_shim() as shim, open_world(far.port) as world:
        with shim.loaded():
            world.suite.start()
        yield world, shim


@pytest.fixture
def shimmed(shim_site: tuple[World, Shim], far: FarEnd) -> Iterator[tuple[World, Shim]]:
    """A running site with the shim. Afterwards all is well again, and the log has no traceback."""
    world, shim = shim_site
    before = len(world.suite.log())
    yield shim_site
    shim.heal()
    shim.set_clock(0)
    far.plan = Plan()
    log = world.suite.log()[before:]
    assert "Traceback" not in log, log.partition("Traceback")[2][:3000]
