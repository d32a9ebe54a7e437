"""How a parallel run shares the tests out among its workers (`-n N --dist loadgroup`, as `make test` does).

What belongs together goes to one worker: the tests of an xdist_group, else those of a file, so that a fixture of a
module is made once. The files in APART start a whole suite for each test: those go wherever there is room. The longest
come first, so that no worker has much left when the others are done.
"""

from collections.abc import Mapping

import pytest
from xdist.scheduler.loadgroup import LoadGroupScheduling

APART = frozenset({"tests/test_oracle.py", "tests/system/test_spawn.py", "tests/system/test_dead_hosts.py"})
# Seconds of what takes long, by group or file (of one test where they go apart); the order is what counts.
LONG: Mapping[str, float] = {}


def scope(nodeid: str) -> str:
    """What goes to one worker with this test. nodeid: as xdist has it, with @GROUP behind the name of the test."""
    if nodeid.rfind("@") > nodeid.rfind("]"):
        return nodeid.rpartition("@")[2]
    path = nodeid.partition("::")[0]
    return nodeid if path in APART else path


def expected_s(item: pytest.Item) -> float:
    """Seconds that the test's group or file takes; 0 for the many short ones."""
    group = item.get_closest_marker("xdist_group")
    return LONG.get(group.args[0] if group else item.nodeid.partition("::")[0], 0)


class Scheduling(LoadGroupScheduling):
    """xdist's, by scope()."""

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid)


def scheduling(config: pytest.Config, log: object) -> Scheduling:
    """The scheduler of a run: groups in the order in which the workers have collected them."""
    config.option.loadscopereorder = False      # by number of tests
    return Scheduling(config, log)
