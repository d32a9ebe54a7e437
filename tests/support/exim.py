"""Debian's Exim for tests, from the folder where scripts/unpack-exim put it.

    program = exim()                    its path; skips the test where it is not there
"""

import os
import subprocess
from pathlib import Path

import pytest


def folders() -> list[Path]:
    """Where it may lie, the first that has it counts."""
    own = os.environ.get("MAILSUITE_PEERS")
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return [Path(own)] if own else [Path("/opt/mailsuite-peers"), Path(cache, "mailsuite-peers")]


def exim() -> Path:
    """The program. Skips the test, with the reason, where it is missing or does not run."""
    found = next((path for folder in folders() if (path := folder / "usr/sbin/exim4").exists()), None)
    if found is None:
        pytest.skip("Exim is not unpacked (scripts/unpack-exim)")
    done = subprocess.run([str(found), "-C", "/dev/null", "-bV"], capture_output=True, text=True, check=False,
                          timeout=20)
    if done.returncode != 0:
        pytest.skip(f"{found} does not run: {done.stderr.strip()[:200]}")
    return found
