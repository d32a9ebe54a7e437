"""Record what the real doveadm says: python -m tests.cli.doveadm_real.record [FILE...], as root, beside Dovecot."""

import json
import os
import subprocess
import sys
import time
from typing import Any

from tests.cli.doveadm_real.cases import FOLDER, Script, normal, scripts
from tests.cli.doveadm_real.site import ZONE, Site
from tests.support.suite import open_folder

ENVIRONMENT = {"PATH": os.environ["PATH"], "TZ": ZONE, "LC_ALL": "C.UTF-8", "USER": "alice"}


def play(site: Site, script: Script) -> list[dict[str, Any]]:
    """The outcomes of one script."""
    site.fresh()
    outcomes = []
    for command in script.commands:
        line = command.line.replace("TOP", str(site.top))
        done = subprocess.run(["sh", "-c", f"doveadm -c {site.config} {line}"], input=command.stdin.encode(),
                              capture_output=True, check=False, env=ENVIRONMENT, timeout=60)
        outcomes.append({"run": command.line, "out": normal(done.stdout.decode("utf-8", "replace"), site.top),
                         "err": normal(done.stderr.decode("utf-8", "replace"), site.top), "status": done.returncode})
    return outcomes


def main(names: list[str]) -> None:
    with open_folder("doveadm-real.") as folder:
        site = Site(folder).make()
        dovecot = subprocess.Popen(["dovecot", "-F", "-c", str(site.config)], env=ENVIRONMENT)
        try:
            while not (site.top / "run/auth-userdb").exists():
                time.sleep(0.05)
            found: dict[str, dict[str, Any]] = {}
            for script in scripts():
                file, _, name = script.name.partition("/")
                if not names or file in names:
                    found.setdefault(file, {})[name] = play(site, script)
            for file, outcomes in found.items():
                (FOLDER / f"{file}.recorded.json").write_text(json.dumps(outcomes, indent=1, ensure_ascii=False) + "\n")
        finally:
            dovecot.terminate()
            dovecot.wait()


if __name__ == "__main__":
    main(sys.argv[1:])
