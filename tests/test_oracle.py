"""The oracle: recorded behaviour of Postfix and Dovecot, played against us.

A case that is not passed yet stands in oracle_todo.txt with its reason; it fails here when it passes, so that the list
only shrinks. ORACLE (a folder) says where the cases are, by default ../shared/oracle.
"""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ORACLE = Path(os.environ.get("ORACLE", HERE.parent.parent / "shared" / "oracle"))
TODO = HERE / "oracle_todo.txt"
LINE = re.compile(r"(?P<name>[\w-]+): (?P<reason>\S.*)")

pytestmark = pytest.mark.system


def todo() -> dict[str, str]:
    """Case name -> why it does not pass."""
    found = {}
    for line in TODO.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            match = LINE.fullmatch(line)
            assert match, f"oracle_todo.txt: not \"NAME: REASON\": {line}"
            found[match["name"]] = match["reason"]
    return found


CASES = sorted(ORACLE.glob("cases/*.case.yaml"))


def test_the_list_names_cases_that_exist() -> None:
    if not CASES:
        pytest.skip(f"no oracle at {ORACLE}")
    names = {_name(path) for path in CASES}
    assert set(todo()) <= names


def _name(path: Path) -> str:
    return path.name.removesuffix(".case.yaml")


# Several go to the runner at a time: an interpreter that starts for each would take a tenth of the time.
AT_A_TIME = 4
EACH = [pytest.param(path, id=_name(path), marks=pytest.mark.xdist_group(f"oracle-{number // AT_A_TIME}"))
        for number, path in enumerate(CASES)]
Told = dict[str, tuple[bool, str]]          # case -> whether it passed, what the runner said
_told: Told = {}


def run(paths: Sequence[Path]) -> Told:
    """Play cases one after the other."""
    done = subprocess.run([sys.executable, "run.py", "--sut", "mailsuite", "--bin", str(Path(sys.executable).parent),
                           "--jobs", "1", *map(str, paths)], cwd=ORACLE, capture_output=True, text=True,
                          timeout=300 * len(paths), check=False, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    parts = re.split(r"^(PASS|FAIL) (\S+)$", done.stdout, flags=re.M)
    found = {name.removesuffix(".case.yaml"): (verdict == "PASS", said)
             for verdict, name, said in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)}
    return {_name(path): found.get(_name(path), (False, done.stdout + done.stderr)) for path in paths}


@pytest.fixture
def told(request: pytest.FixtureRequest, path: Path) -> tuple[bool, str]:
    """What came of a case; those of its group that were asked for are played with it."""
    if _name(path) not in _told:
        group = request.node.get_closest_marker("xdist_group")
        _told.update(run([item.callspec.params["path"] for item in request.session.items
                          if item.path == request.node.path and item.get_closest_marker("xdist_group") == group]))
    return _told[_name(path)]


@pytest.mark.skipif(not CASES, reason=f"no oracle at {ORACLE}")
@pytest.mark.skipif(os.geteuid() != 0, reason="the oracle's sandbox needs root")
@pytest.mark.parametrize("path", EACH)
def test_case(path: Path, told: tuple[bool, str]) -> None:
    passed, said = told
    if _name(path) in todo():
        assert not passed, f"{_name(path)} passes: remove it from {TODO.name}"
        return
    assert passed, said
