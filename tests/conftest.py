"""What all tests share."""

import gc
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support.distribution import expected_s, scheduling

# How long an example takes says more about the machine than about the code, and a run says the same as the last one:
# new examples are tried by `make fuzz` (--hypothesis-profile random).
SLOW = [hypothesis.HealthCheck.too_slow]
hypothesis.settings.register_profile("tests", deadline=None, suppress_health_check=SLOW, derandomize=True)
hypothesis.settings.register_profile("random", deadline=None, suppress_health_check=SLOW)
hypothesis.settings.load_profile("tests")

DESCRIPTORS = 200           # more than after the last time before the tests' process is tidied up
_kept = 0


def _lowest_free_descriptor() -> int:
    """What the next file or socket gets. Listing /proc/self/fd after each test would take a minute of the whole run."""
    fd = os.open(os.devnull, os.O_RDONLY)
    os.close(fd)
    return fd


# A folder of its own for each run (its xdist workers inherit it): pytest closes /tmp/pytest-of-USER to others with each
# run that begins, and code under test, which runs as other accounts, must pass it. A short name: sockets lie below.
_OWN_FOLDER = ""
if "PYTEST_DEBUG_TEMPROOT" not in os.environ:
    _OWN_FOLDER = os.environ["PYTEST_DEBUG_TEMPROOT"] = tempfile.mkdtemp(prefix="ms-")
    os.chmod(_OWN_FOLDER, 0o711)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """The run's folder goes with it; what failed tests left is kept."""
    if _OWN_FOLDER and exitstatus == 0:
        shutil.rmtree(_OWN_FOLDER, ignore_errors=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz-seconds", type=float, default=1.0, help="time for each fuzz target (make fuzz: longer)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Workers of a parallel run begin with what takes longest; otherwise the order stays."""
    if hasattr(config, "workerinput"):
        items.sort(key=expected_s, reverse=True)


def pytest_collection_finish(session: pytest.Session) -> None:
    """The collected tests stay to the end; looking for garbage among them takes a tenth of a second each time."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """See tests/support/distribution.py."""
    if config.getvalue("dist") != "loadgroup":
        return None
    return scheduling(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """The mark `needs` names a foreign program; without it the test is skipped, and says so."""
    for mark in item.iter_markers("needs"):
        name = mark.args[0]
        if shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin") is None:
            pytest.skip(f"{name} is not installed")


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Queue stores, rings and event loops that refer to each other keep their descriptors until somebody looks for such
    circles: with hundreds of tests in a process that would be too late for programs that take 1,024 at most."""
    global _kept
    if _lowest_free_descriptor() > _kept + DESCRIPTORS:
        gc.collect()
        _kept = _lowest_free_descriptor()


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


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Commands called in this process send the log to their standard error: not beyond their test."""
    loggers = [logging.getLogger(name) for name in (None, "mailsuite", "mailsuite.dovecot")]
    before = [(logger, list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, handlers, level, propagate in before:
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)
