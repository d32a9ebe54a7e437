"""imaptest's scripts against the running suite, with two users.

A script that is not passed yet stands in imapscript_todo.txt with its reason, and fails here when it passes.
IMAPSCRIPT (a folder) says where the scripts are, by default ../shared/imapscript.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.suite import Suite, open_folder

HERE = Path(__file__).parent
SCRIPTS = Path(os.environ.get("IMAPSCRIPT", HERE.parent.parent / "shared" / "imapscript"))
NAMES = sorted(path.name for path in SCRIPTS.glob("tests/*")
               if path.is_file() and not path.name.startswith((".", "COPYING")) and path.suffix != ".mbox")
PASSWORD = "one-for-both"

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("imapscript"),
              pytest.mark.skipif(not NAMES, reason=f"no scripts at {SCRIPTS}")]


def todo() -> dict[str, str]:
    """Script name -> why it does not pass."""
    lines = (HERE / "imapscript_todo.txt").read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines if line and not line.startswith("#"))


@pytest.fixture(scope="module")
def results() -> Iterator[dict[str, tuple[str, str]]]:
    """Script name -> (PASS, FAIL or SKIP; what went wrong)."""
    with open_folder() as folder:
        suite = Suite(folder)
        users = suite.top / "users"
        mode = users.stat().st_mode
        users.write_text("".join(f"{user}:{{PLAIN}}{PASSWORD}\n" for user in suite.users))
        users.chmod(mode)
        suite.start()
        try:
            done = subprocess.run(
                [sys.executable, "run.py", "--port", str(suite.ports["imap"]), "--user", suite.first, "--user2",
                 suite.second, "--password", PASSWORD, *(f"tests/{name}" for name in NAMES)],
                cwd=SCRIPTS, capture_output=True, text=True, check=False, timeout=600,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
        finally:
            suite.stop()
    found: dict[str, tuple[str, str]] = {}
    name = ""
    for line in done.stdout.splitlines():
        if match := re.fullmatch(r"(PASS|FAIL|SKIP) (\S+)", line):
            name = match[2]
            found[name] = (match[1], "")
        elif name and line.startswith("  "):
            found[name] = (found[name][0], found[name][1] + line[:500] + "\n")
    yield found


@pytest.mark.parametrize("name", NAMES)
def test_script(name: str, results: dict[str, tuple[str, str]]) -> None:
    verdict, why = results[name]
    if name in todo():
        assert verdict != "PASS", f"{name} passes: remove it from imapscript_todo.txt"
        return
    assert verdict == "PASS", f"{verdict}\n{why}"
