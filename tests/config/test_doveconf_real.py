"""Our doveconf against what the real one said of the same configurations: tests/config/doveconf_real."""

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from mailsuite.cli import doveconf
from tests.config.doveconf_real.cases import CONFIGS, commands_for, normal, recorded

RECORDED = recorded()
# Where Dovecot is not to be followed: it shows nothing at all of a configuration with a passdb that has no driver.
UNLIKE = {("error-driver", "-S mail_location")}


def comparable(outcome: dict[str, Any]) -> dict[str, Any]:
    """What Dovecot's Sieve helper complains of, in whatever order, is not doveconf's when it ends well."""
    complaints = sorted(line for line in outcome["err"].splitlines()
                        if outcome["status"] or not line.startswith("doveconf: Fatal"))
    return {**outcome, "err": [line for line in complaints if line]}


@pytest.mark.parametrize("name", CONFIGS)
def test_as_the_real_one(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str],
                         monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "dovecot.conf"
    config.write_text(CONFIGS[name])
    wrong = []
    for line in commands_for(name):
        if (name, line) in UNLIKE:
            continue
        monkeypatch.setattr(sys, "argv", ["doveconf", "-c", str(config), *shlex.split(line)])
        with open(os.dup(1), "w", encoding="utf-8") as stdout:
            monkeypatch.setattr(sys, "stdout", stdout)
            try:
                doveconf.main()
                status = 0
            except SystemExit as end:
                status = int(str(end.code or 0))
        out, err = capfd.readouterr()
        got = comparable({"out": normal(out, str(tmp_path)), "err": normal(err, str(tmp_path)), "status": status})
        want = comparable(RECORDED[name][line])
        if got != want:
            wrong.append(f"$ doveconf {line}\nwant {want}\ngot  {got}")
    assert not wrong, "\n".join(["", *wrong])
