"""What the real Dovecot answers: its IMAP server on a Maildir of our own, without login, over a pipe."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

IMAP = "/usr/lib/dovecot/imap"
NOBODY = 65534

WHY_NOT = "" if os.geteuid() == 0 and os.path.exists(IMAP) and shutil.which("setpriv") else \
    "needs root and Debian's dovecot-imapd"

CONFIGURATION = """\
base_dir = {top}/run
state_dir = {top}/state
log_path = /dev/null
mail_location = {location}
first_valid_uid = 0
mail_uid = 65534
mail_gid = 65534
ssl = no
protocols = imap
mbox_dirty_syncs = no
import_environment = HOME USER
"""


def dialogue(top: Path, commands: bytes, *, location: str = "maildir:~/Maildir", more: str = ""
             ) -> bytes:
    """Commands in (the last one LOGOUT), responses out; the home is top/home. nobody must be able to reach it.

    more: configuration.
    """
    configuration = top / "dovecot.conf"
    configuration.write_text(CONFIGURATION.format(top=top, location=location) + more)
    subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", top / "home"], check=True)
    # Its input stays open until it ended by LOGOUT: at an end of file it would drop what is still to be sent.
    with subprocess.Popen(
        ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", "doveconf", "-c", configuration,
         "-m", "imap", "-e", IMAP], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(top / "home"), "USER": "nobody"}) as process:
        assert process.stdin and process.stdout
        process.stdin.write(commands)
        process.stdin.flush()
        return process.stdout.read()


def fetch(top: Path, messages: Sequence[bytes], item: bytes, *, shown: bytes = b"") -> list[bytes]:
    """What FETCH answers for one item of each message, without the item's name (shown: as the answer has it)."""
    folder = top / "home" / "Maildir"
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("cur", "new", "tmp"):
        (folder / name).mkdir(parents=True)
    for number, octets in enumerate(messages):
        (folder / "cur" / f"{1700000000 + number}.M{number}:2,S").write_bytes(octets)
    out = dialogue(top, b"a SELECT INBOX\r\nb FETCH 1:* (%b)\r\nc LOGOUT\r\n" % item)
    return [line[line.index(b"(") + len(shown or item) + 2: -1] for line in _responses(out)
            if re.match(rb"\* \d+ FETCH ", line)]


def _responses(out: bytes) -> list[bytes]:
    """Split at line ends that are not within a literal."""
    found, at = [], 0
    while at < len(out):
        start = at
        while True:
            end = out.index(b"\r\n", at)
            literal = re.search(rb"\{(\d+)\}$", out[max(start, end - 20): end])
            at = end + 2
            if literal is None or out.startswith(b"* OK", start):
                break
            at += int(literal[1])
        found.append(out[start: at - 2])
    return found
