"""Scripts of far ends with what the real Postfix did: NAME.yaml has the cases, NAME.recorded.json their outcomes.

A case: name, far (address to script: tests/support/far_end.py), and where they are needed main_cf, zone (tests/support/
dns_zone.py), nexthop, transport, sender, recipients, mail and rcpt (ESMTP parameters), content, ours (the parts of the
outcome that differ from Postfix on purpose), files (FOLDER/NAME in main_cf to text), times (how often), flags (flags=
of the transport in master.cf).
PORT in main_cf, zone and nexthop stands for the far ends' port.

An outcome: "log", the smtp client's lines without what changes from run to run; "said", what each connection to each
address brought.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent
TRANSACTION_LIMIT = 2 << 20


@dataclass(frozen=True)
class Case:
    """One delivery."""

    name: str
    far: dict[str, dict[str, Any]]
    main_cf: dict[str, str] = field(default_factory=dict)
    zone: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    nexthop: str = "[127.0.0.21]"
    transport: str = "smtp"
    sender: str = "a@b.test"
    recipients: tuple[str, ...] = ("x@c.test",)
    mail: str = ""
    rcpt: str = ""
    content: str = "Subject: x\n\nbody\n"
    times: int = 1
    flags: str = ""
    ours: dict[str, Any] = field(default_factory=dict)

    @property
    def octets(self) -> bytes:
        return self.content.encode("latin-1")


def load(name: str) -> list[Case]:
    entries = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    return [Case(**{**entry, "recipients": tuple(entry.get("recipients", ["x@c.test"]))}) for entry in entries]


def topics() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def recorded(name: str) -> dict[str, Any]:
    path = FOLDER / f"{name}.recorded.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def outcome(lines: list[str], said: dict[str, list[list[str]]], port: int, folder: str) -> dict[str, Any]:
    """lines: of the log, without time, host and program."""
    def plain(text: str) -> str:
        text = re.sub(rf"(?<!\d){port}(?!\d)", "PORT", text).replace(folder, "FOLDER")
        text = re.sub(r"delay=[\d.]+, delays=[\d./]+, ", "", text)
        return re.sub(r" (SIZE|PORT|IDENT)=\w+", r" \1=n", text)

    log = [plain(re.sub(r"^((?:warning: )?)[0-9A-F]{6,}: ", r"\1ID: ", line)) for line in lines]
    return {"log": log, "said": {plain(address): [[plain(line) for line in connection] for connection in connections]
                                 for address, connections in said.items()}}


def comparable(case: Case, found: dict[str, Any]) -> dict[str, Any]:
    """An outcome without what depends on the machine, or on when the recording ended."""
    def kept(connection: list[str]) -> list[str]:
        while case.times > 1 and connection[-1] in ("QUIT\r\n", "RSET\r\n"):
            connection = connection[:-1]
        return connection

    return {"log": [line.replace("Network is unreachable", "No route to host") for line in found["log"]],
            "said": {address: [kept(connection) for connection in connections]
                     for address, connections in found["said"].items()}}
