"""Every parameter is declared once, in a module that the master imports before a strict check."""

import subprocess
import sys


def test_all_params_modules_load_together() -> None:
    done = subprocess.run([sys.executable, "-c", "from mailsuite.config.registry import declared, import_all\n"
                           "import_all(); print(len(declared()))"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100
