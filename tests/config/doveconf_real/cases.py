"""Configurations (configs.yaml), command lines (commands.txt), and what the real doveconf said (recorded.json)."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent
CONFIGS: dict[str, str] = yaml.safe_load((FOLDER / "configs.yaml").read_text())
COMMANDS = (FOLDER / "commands.txt").read_text().splitlines()
# Long outputs, for some configurations only.
LONG_COMMANDS = ("-a", "-d", "-a -s", "-n -s", "-m imap", "-m pop3-login", "-m nosuch", "service", "--help")
LONG = ("empty", "services", "protocols-filters")


# Lines that tell one machine or program from another, settings of our own, and the noise of Dovecot's Sieve helper.
_DROPPED = re.compile(r"^(# (2\.3\.19.*|\S+ \(mailsuite\).*|OS: .*|Hostname: .*|Pigeonhole .*)"
                      r"|managesieve_(sieve|notify)_capability = .*"
                      r"|(auth_penalty|imap_extensions|imap_(append|message|save)_limit|imap_(output_timeout|progress_interval)).*"
                      r"|imap_(metadata_max|notify_max|search_max|urlauth_max).*"
                      r"|doveconf: Error: managesieve-login: dump-capability process returned 89)\n", re.M)
_NAMED = re.compile(r"^(login_greeting|managesieve_implementation_string) = (Dovecot|mailsuite).*", re.M)


def normal(text: str, folder: str) -> str:
    """What is comparable. An error that is told twice counts once."""
    text = _NAMED.sub(r"\1 = NAME", _DROPPED.sub("", text.replace(folder, "TOP")))
    if "doveconf: Fatal" in text:
        text = "".join(dict.fromkeys(text.splitlines(keepends=True)))
    return text


def recorded() -> dict[str, dict[str, dict[str, Any]]]:
    """Outcomes ("out", "err", "status") by configuration and command line. In the file each text stands once."""
    content = json.loads((FOLDER / "recorded.json").read_text())
    texts = content["texts"]
    return {name: {line: {"out": texts[out], "err": texts[err], "status": status}
                   for line, (out, err, status) in lines.items()} for name, lines in content["outcomes"].items()}


def write(outcomes: dict[str, dict[str, dict[str, Any]]]) -> None:
    """The reverse of recorded()."""
    numbers: dict[str, int] = {}
    told = {name: {line: [numbers.setdefault(one["out"], len(numbers)), numbers.setdefault(one["err"], len(numbers)),
                          one["status"]] for line, one in lines.items()} for name, lines in outcomes.items()}
    content = {"texts": list(numbers), "outcomes": told}
    text = json.dumps(content, indent=1, ensure_ascii=False)
    (FOLDER / "recorded.json").write_text(re.sub(r"\[\s+(\d+),\s+(\d+),\s+(\d+)\s+\]", r"[\1, \2, \3]", text) + "\n")


def commands_for(name: str) -> list[str]:
    """The command lines for a configuration."""
    return [*COMMANDS, *(LONG_COMMANDS if name in LONG else ())]
