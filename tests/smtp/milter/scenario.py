"""Dialogues with milters beside the server: what the client, the milters, the log and the queue saw, as text.

`scenarios.yaml` lists them in groups; `recorded/GROUP.txt` is what Postfix 3.7.11 did (record.py makes it anew);
`different/GROUP.txt` what we do otherwise on purpose (test_recorded.py says why). A scenario:

    NAME:
      settings: {smtpd_milters: "$A"}      $A, $B: where the milters listen
      milters: {A: {...}}                  what each is told (tests/support/milter.py)
      say: [EHLO c.test, ...]              the client's lines; after DATA all up to the "." goes at once; "!wait" waits
                                           for the message to be in the queue; "!lost" expects the server to hang up;
                                           "!large": 210 KB of body
      each: {"@1": {name: value, ...}}     the scenario once for each value in the place of "@1"
      submit: text                         a message given to sendmail instead of a dialogue
"""

import functools
import itertools
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.support.milter import Milter

FOLDER = Path(__file__).parent
WAIT_S = 20.0
SETTINGS = {
    "compatibility_level": "3.6", "myhostname": "mx.example.test", "mydomain": "example.test",
    "mydestination": "example.test", "mynetworks": "127.0.0.0/8", "local_recipient_maps": "", "alias_maps": "",
    "smtpd_peername_lookup": "no", "smtpd_authorized_xclient_hosts": "127.0.0.1", "milter_command_timeout": "1s",
    "milter_connect_timeout": "1s", "milter_content_timeout": "1s", "mail_name": "Postfix",
    "smtpd_error_sleep_time": "0", "inet_protocols": "ipv4", "defer_transports": "local smtp",
    # A value with an apostrophe is a name of Postfix's own; both read it so.
    "virtual_alias_maps": "inline:{ {list@example.test = c@example.test, d@example.test} }",
}
_MASKS = [
    (re.compile(r"inet:127\.0\.0\.1:\d+|unix:/\S*milter\.[AB]"), "MILTER"),
    (re.compile(r"\b(?!10240000)(?=[A-F]*\d)[0-9A-F]{8,13}\b"), "QID"),
    (re.compile(r"^(connect: \S+ [46]) \d+"), r"\1 PORT"),
    (re.compile(r"(\{client_port\}|\{daemon_port\})=\d+"), r"\1=PORT"),
    (re.compile(r"\bPostfix \d+\.\d+\.\d+"), "Postfix VERSION"),
    (re.compile(r"\w{3}, [ \d]?\d \w{3} \d{4} [\d:]{8} [-+]\d{4}( \(\w+\))?"), "DATE"),
    (re.compile(r"\b20\d{12}\.QID"), "TIME.QID"),
    (re.compile(r"(unreasonable packet length): .*"), r"\1"),
    (re.compile(r"delay=[\d.]+, delays=[\d./]+"), "delay=D"),
    (re.compile(r": $"), ""),
    (re.compile(r"(can't read \S+ reply packet header): .*"), r"\1"),
]
_TELLS = re.compile("milter|reject|hold|discard|warning", re.I)
# What differs by program, or by where a failure was noticed; other tests look at our own warnings.
_NOISE = re.compile("anvil|file system clock|resetting file time|killed by signal|read error in initial handshake|"
                    "can't read SMFIC_|connect to Milter")


Scenario = dict[str, Any]


@functools.cache            # hundreds of tests ask
def scenarios() -> dict[str, dict[str, Scenario]]:
    """By group and name; nobody changes them."""
    loaded: dict[str, dict[str, Scenario]] = yaml.safe_load((FOLDER / "scenarios.yaml").read_text())
    loaded.pop("_")
    return {group: dict(one for name, scenario in members.items() for one in _each(name, scenario))
            for group, members in loaded.items()}


def _each(name: str, scenario: Scenario) -> Iterator[tuple[str, Scenario]]:
    scenario = dict(scenario)
    each = scenario.pop("each", {})
    values = [[(sign, label, value) for label, value in choices.items()] for sign, choices in each.items()]
    for chosen in itertools.product(*values):
        made: Any = scenario
        for sign, _, value in chosen:
            made = _put(made, sign, value)
        yield " ".join([name, *(label for _, label, _ in chosen)]), made


def _put(node: Any, sign: str, value: Any) -> Any:
    if isinstance(node, dict):
        return {_put(key, sign, value): _put(one, sign, value) for key, one in node.items()}
    if isinstance(node, list):
        return [_put(one, sign, value) for one in node]
    if node == sign:
        return value
    return node.replace(sign, str(value)) if isinstance(node, str) else node


@functools.cache
def recorded(group: str, folder: str = "recorded") -> dict[str, str]:
    """Transcripts by name."""
    path = FOLDER / folder / f"{group}.txt"
    if not path.exists():
        return {}
    parts = re.split(r"^=== (.*)\n", path.read_text(), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def masked(text: str) -> str:
    text = text.replace("\r", "\\r")
    for pattern, mask in _MASKS:
        text = pattern.sub(mask, text)
    return text


class Client:
    """One SMTP connection; what was said stays in `transcript`."""

    def __init__(self, port: int) -> None:
        self.transcript: list[str] = []
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
        self._lines = self._socket.makefile("rb")
        self._reply()

    def _reply(self) -> None:
        while True:
            try:
                line = self._lines.readline().decode("utf-8", "backslashreplace").rstrip("\r\n")
            except ConnectionError:
                line = ""
            self.transcript.append(f"S: {line}" if line else "S: <closed>")
            if not line or line[3:4] != "-":
                return

    def say(self, lines: Sequence[str], wait: Callable[[], None]) -> None:
        content: list[str] | None = None
        skipping = False
        for line in lines:
            if skipping:                    # DATA was refused
                skipping = line != "."
                continue
            if line == "!wait":
                wait()
                continue
            if line == "!lost":
                self._reply()
                continue
            if line == "!large":
                assert content is not None
                content += ["0123456789" * 7] * 3000
                continue
            self.transcript.append(f"C: {line}")
            if content is None:
                try:
                    self._socket.sendall(line.encode() + b"\r\n")
                except ConnectionError:
                    self.transcript.append("S: <closed>")
                    return
                self._reply()
                if line.upper() == "DATA":
                    content, skipping = ([], False) if self.transcript[-1].startswith("S: 354") else (None, True)
                if self.transcript[-1] == "S: <closed>":
                    return
                continue
            content.append(line)
            if line == ".":
                self._socket.sendall("".join(one + "\r\n" for one in content).encode())
                self._reply()
                content = None

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


def start_milters(scenario: Scenario, folder: Path) -> dict[str, Milter]:
    started = {}
    for name, told in scenario.get("milters", {}).items():
        path = folder / f"milter.{name}" if told.get("unix") else None
        started[name] = Milter(told, str(path) if path else "")
        if path:
            path.chmod(0o666)
        if told.get("down"):
            started[name].stop()
    return started


def settings_of(scenario: Scenario, milters: dict[str, Milter]) -> dict[str, str]:
    values = {**SETTINGS, **scenario.get("settings", {})}
    if not any(word in str(scenario.get("milters")) for word in ("hang", "sleep")):
        values |= dict.fromkeys((name for name, value in values.items() if name.startswith("milter_") and name.endswith(
            "_timeout") and value == "1s"), "30s")          # nobody waits for their end
    for name, milter in milters.items():
        values = {key: str(value).replace(f"${name}", milter.where) for key, value in values.items()}
    return values


def play(scenario: Scenario, port: int, milters: dict[str, Milter], wait: Callable[[], None],
         log: Callable[[], list[str]], queue: Callable[[], list[str]], submit: Callable[[str], None]) -> str:
    """The transcript. wait: until new mail is in the queue; log: "daemon: text" lines; queue: what lies there."""
    out: list[str] = []
    if "submit" in scenario:
        submit(scenario["submit"])
        wait()
    else:
        client = Client(port)
        client.say(scenario["say"], wait)
        client.close()
        out = ["--- client", *client.transcript]
    end = time.monotonic() + WAIT_S
    for name, milter in milters.items():
        while milter.open and time.monotonic() < end:
            time.sleep(0.01)
        packets = milter.take()
        if "submit" in scenario and "negotiate" in (later := [line.partition(":")[0] for line in packets[1:]]):
            packets = packets[:later.index("negotiate") + 1]        # pickup tries again and again
        out += [f"--- milter {name}", *packets]
    lines = [line for line in log() if _TELLS.search(line) and not _NOISE.search(line)]
    if "submit" in scenario:
        lines = list(dict.fromkeys(masked(line) for line in lines))
    out += ["--- log", *lines, "--- queue", *_sorted(queue())]
    return "\n".join(masked(line) for line in out) + "\n"


def _sorted(lines: list[str]) -> list[str]:
    """Messages in an order that does not depend on their ids."""
    messages: list[list[str]] = []
    for line in lines:
        if line.startswith("in "):
            messages.append([])
        messages[-1].append(line)
    return [line for message in sorted(messages) for line in message]


def contents(envelope: Sequence[tuple[str, str]], queue: str, text: str) -> list[str]:
    """One message of the queue, as lines. envelope: (name, value)."""
    lines = text.rstrip("\n").split("\n")
    shown = lines if len(lines) < 100 else [*lines[:20], f"... {len(lines)} lines"]
    facts = [f"{name}: {value}" for name, value in envelope if name == "sender" or value]
    return [f"in {queue}", *facts, "", *("| " + line for line in shown)]
