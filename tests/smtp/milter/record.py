"""Plays the scenarios with real Postfix and writes recorded/GROUP.txt:

    python -m tests.smtp.milter.record [GROUP[/NAME]...]        without arguments, all; new: those that are missing

Needs root and Debian's Postfix; starts an instance of its own in a temporary folder, on a free port of 127.0.0.1.
"""

import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.smtp.milter.scenario import (
    FOLDER,
    WAIT_S,
    Scenario,
    contents,
    play,
    recorded,
    scenarios,
    settings_of,
    start_milters,
)

MASTER_CF = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 1 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
showq unix n - n - - showq
postlog unix-dgram n - n - 1 postlogd
"""


class Instance:
    def __init__(self, folder: Path, values: dict[str, str]) -> None:
        self.folder, self.etc, self.log_file = folder, folder / "etc", folder / "log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        for name in ("etc", "spool", "data"):
            (folder / name).mkdir()
        shutil.chown(folder / "data", "postfix")
        own = {"queue_directory": folder / "spool", "data_directory": folder / "data", "maillog_file": self.log_file,
               "maillog_file_prefixes": folder, "inet_interfaces": "127.0.0.1"}
        (self.etc / "main.cf").write_text("".join(f"{key} = {value}\n" for key, value in {**own, **values}.items()))
        (self.etc / "master.cf").write_text(MASTER_CF.format(port=self.port))

    def run(self, *command: str) -> str:
        done = subprocess.run([command[0], "-c", str(self.etc), *command[1:]], capture_output=True,
                              timeout=60, check=False)
        return done.stdout.decode("utf-8", "backslashreplace")

    def start(self) -> None:
        self.run("postfix", "start")
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as peer:
                    peer.sendall(b"QUIT\r\n")
                    peer.recv(1000)
                break
            except OSError:
                time.sleep(0.1)
        time.sleep(0.3)

    def forget(self) -> None:
        """What was logged so far is not told."""
        time.sleep(0.3)
        self.log_file.write_text("")

    def submit(self, text: str) -> None:
        subprocess.run(["sendmail", "-C", str(self.etc), "-f", "root@example.test", "b@example.test"],
                       input=text.encode(), timeout=30, check=False)

    def log(self) -> list[str]:
        time.sleep(0.5)
        found = []
        for line in self.log_file.read_text(errors="backslashreplace").splitlines():
            if match := re.search(r"postfix/(\w+)\[\d+\]: (.*)", line):
                found.append(f"{match[1]}: {match[2]}")
        return found

    def wait(self) -> None:
        time.sleep(1.0)

    def queue(self) -> list[str]:
        self.wait()
        lines: list[str] = []
        for queue in ("hold", "deferred", "active", "incoming", "maildrop", "corrupt"):
            for path in sorted((self.folder / "spool" / queue).rglob("*"), key=lambda path: path.name):
                if path.is_file():
                    lines += self._message(queue, path.name)
        return lines

    def _message(self, queue: str, name: str) -> list[str]:
        shown = self.run("postcat", "-q", name)
        head, _, rest = shown.partition("*** MESSAGE CONTENTS")
        text = rest.partition("***\n")[2].partition("*** HEADER EXTRACTED")[0]
        pairs = re.findall(r"^(sender|recipient|original_recipient|dsn_envelope_id|dsn_notify_flags): (.*)$",
                           head + rest.partition("*** HEADER EXTRACTED")[2], re.M)
        there = [pair for at, pair in enumerate(pairs) if pair[0] != "original_recipient"
                 or pairs[at + 1:at + 2] and pairs[at + 1][0] == "recipient"]      # else deleted
        return contents(there, queue, text)


def record(scenario: Scenario) -> str:
    with tempfile.TemporaryDirectory(prefix="record-") as top:
        folder = Path(top)
        folder.chmod(0o755)
        milters = start_milters(scenario, folder)
        instance = Instance(folder, settings_of(scenario, milters))
        instance.start()
        try:
            for milter in milters.values():
                while milter.open:
                    time.sleep(0.05)
                milter.take()
                milter.forget()
            instance.forget()
            return play(scenario, instance.port, milters, instance.wait, instance.log, instance.queue,
                        instance.submit)
        finally:
            instance.run("postfix", "stop")
            for milter in milters.values():
                milter.stop()


def main(wanted: list[str]) -> None:
    for group, members in scenarios().items():
        known = {name: text for name, text in recorded(group).items() if name in members}
        for name, scenario in members.items():
            if not wanted or {group, f"{group}/{name}"} & set(wanted) or (wanted == ["new"] and name not in known):
                known[name] = record(scenario)
                print(group, name, flush=True)
                text = "".join(f"=== {name}\n{known[name]}" for name in members if name in known)
                (FOLDER / "recorded" / f"{group}.txt").write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
