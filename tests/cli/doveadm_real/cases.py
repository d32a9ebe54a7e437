"""Scripts of doveadm commands with what the real doveadm 2.3.19 answered: NAME.yaml and NAME.recorded.json.

A script: its name, and commands, one after the other on mail that is fresh at the script's beginning. A command is a
line as typed in a shell without the word "doveadm", or {run: line, stdin: text}; {ours: ...} gives the parts of the
outcome (out, err, status) that differ on purpose, {skip: err} those that are not compared. TOP stands for the site.
An outcome: {"out", "err", "status"}.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Command:
    """One call of doveadm."""

    line: str
    stdin: str = ""
    ours: dict[str, Any] = field(default_factory=dict)
    skip: tuple[str, ...] = ()

    @classmethod
    def of(cls, written: "str | dict[str, Any]") -> "Command":
        if isinstance(written, str):
            return cls(written)
        return cls(written["run"], written.get("stdin", ""), written.get("ours", {}),
                   tuple(written.get("skip", "").split()))


@dataclass(frozen=True)
class Script:
    """Commands on the same mail."""

    name: str
    commands: tuple[Command, ...]


def scripts() -> list[Script]:
    """Of all files."""
    found = []
    for path in sorted(FOLDER.glob("*.yaml")):
        for name, commands in yaml.safe_load(path.read_text()).items():
            found.append(Script(f"{path.stem}/{name}", tuple(map(Command.of, commands))))
    return found


def recorded() -> dict[str, list[dict[str, Any]]]:
    """Outcomes by script name."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(FOLDER.glob("*.recorded.json")):
        for name, outcomes in json.loads(path.read_text()).items():
            found[f"{path.name.partition('.')[0]}/{name}"] = outcomes
    return found


def normal(text: str, top: Path) -> str:
    """Without what changes from run to run."""
    text = text.replace(str(top), "TOP")
    text = re.sub(r"\b(17[6-9]|1[89]\d)\d{7}\.M\d+P\d+\.[\w.-]+", "NEWFILE", text)
    text = re.sub(r"\b20(2[6-9]|[3-9]\d)-\d\d-\d\d \d\d:\d\d:\d\d", "NOW", text)
    text = re.sub(r"\b(17[6-9]|1[89]\d)\d{7}\b", "NOW", text)
    text = re.sub(r"<\d+>(<[\w+/]+>)?|doveadm\(\d+\)", "<PID>", text)
    text = re.sub(r"\b(highestmodseq=|modseq: )\d+", r"\1MODSEQ", text)          # each index counts in its own way
    return re.sub(r"\b[0-9a-f]{24}[0-9a-f]{8}\b", lambda m: m[0] if m[0].startswith("0000") else "GUID", text)
