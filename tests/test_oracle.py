"""The oracle: recorded behaviour of Postfix and Dovecot, played against us.

A case that is not passed yet stands in oracle_todo.txt with its reason; it fails here when it passes, so that the list
only shrinks. ORACLE (a folder) says where the cases are, by default ../shared/oracle.
"""

import os
import re
import subprocess
import sys
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
    names = {path.name.removesuffix(".case.yaml") for path in CASES}
    assert set(todo()) <= names


@pytest.mark.skipif(not CASES, reason=f"no oracle at {ORACLE}")
@pytest.mark.skipif(os.geteuid() != 0, reason="the oracle's sandbox needs root")
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name.removesuffix(".case.yaml"))
def test_case(path: Path) -> None:
    name = path.name.removesuffix(".case.yaml")
    done = subprocess.run([sys.executable, "run.py", "--sut", "mailsuite", "--bin", str(Path(sys.executable).parent),
                           "--jobs", "1", str(path)], cwd=ORACLE, capture_output=True, text=True, timeout=300,
                          check=False, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    passed = done.returncode == 0 and "1 passed, 0 failed" in done.stdout
    if name in todo():
        assert not passed, f"{name} passes: remove it from {TODO.name}"
        return
    assert passed, done.stdout + done.stderr
