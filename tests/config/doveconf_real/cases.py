"""Configurations (configs.yaml), command lines (commands.txt), and what the real doveconf said (recorded.json)."""

import re
from pathlib import Path

import yaml

FOLDER = Path(__file__).parent
CONFIGS: dict[str, str] = yaml.safe_load((FOLDER / "configs.yaml").read_text())
COMMANDS = (FOLDER / "commands.txt").read_text().splitlines()
# Long outputs, for some configurations only.
LONG_COMMANDS = ("-a", "-d", "-a -s", "-n -s", "-m imap", "-m pop3-login", "-m nosuch", "service", "--help")
LONG = ("empty", "services", "protocols-filters")


# Lines that tell one machine or program from another, settings of our own, and the noise of Dovecot's Sieve helper.
_DROPPED = re.compile(r"^(# (2\.3\.19.*|\S+ \(mailsuite\).*|OS: .*|Hostname: .*|Pigeonhole .*)"
                      r"|managesieve_(sieve|notify)_capability = .*|auth_penalty.*"
                      r"|doveconf: Error: managesieve-login: dump-capability process returned 89)\n", re.M)
_NAMED = re.compile(r"^(login_greeting|managesieve_implementation_string) = (Dovecot|mailsuite).*", re.M)


def normal(text: str, folder: str) -> str:
    """What is comparable. An error that is told twice counts once."""
    text = _NAMED.sub(r"\1 = NAME", _DROPPED.sub("", text.replace(folder, "TOP")))
    if "doveconf: Fatal" in text:
        text = "".join(dict.fromkeys(text.splitlines(keepends=True)))
    return text


def commands_for(name: str) -> list[str]:
    """The command lines for a configuration."""
    return [*COMMANDS, *(LONG_COMMANDS if name in LONG else ())]
