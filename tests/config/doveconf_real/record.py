"""Record what the real doveconf says: python -m tests.config.doveconf_real.record, beside Dovecot."""

import shlex
import subprocess
import sys
from typing import Any

from tests.config.doveconf_real.cases import CONFIGS, commands_for, normal, write
from tests.support.suite import open_folder


def main() -> None:
    with open_folder("doveconf-real.") as folder:
        outcomes: dict[str, dict[str, Any]] = {}
        for name, text in CONFIGS.items():
            config = folder / "dovecot.conf"
            config.write_text(text)
            for line in commands_for(name):
                done = subprocess.run(["doveconf", "-c", str(config), *shlex.split(line)], capture_output=True,
                                      text=True, check=False, timeout=20)
                outcomes.setdefault(name, {})[line] = {
                    "out": normal(done.stdout, str(folder)), "err": normal(done.stderr, str(folder)),
                    "status": done.returncode}
        write(outcomes)


if __name__ == "__main__":
    sys.exit(main())
