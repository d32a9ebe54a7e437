"""What Dovecot 2.3.19 said, word by word: each file below recorded/ is a mailbox, and dialogues over it.

A file's steps: {"set": settings of dovecot.conf}, {"pop3": lines "C: " and "S: " after the login, "C= " raw octets},
{"flag": [UIDs, flag]} over IMAP meanwhile, {"copy": [file, new file]}. <UIDVALIDITY1> stands for the mailbox's value.
"""

import asyncio
import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mailsuite.store.api import FlagAction
from mailsuite.store.opening import open_store
from tests.support.mail_sessions import Pop3Server, Settings

FILES = sorted(Path(__file__).parent.joinpath("recorded").glob("*.json"))
WAIT_S = 20.0


def fill(home: Path, mailbox: dict[str, Any]) -> str:
    """Returns the mail_location."""
    messages = [text.encode("utf-8", "surrogateescape") for text in mailbox["messages"]]
    if mailbox["format"] == "mbox":
        inbox = home / "inbox"
        inbox.write_bytes(b"".join(
            b"From sender@remote.test  Tue Nov 14 22:%02d:20 2023\n" % (13 + number) + text
            + (b"" if text.endswith(b"\n") else b"\n") + b"\n" for number, text in enumerate(messages)))
        return f"mbox:{home}/mail:INBOX={inbox}"
    for folder in ("cur", "new", "tmp"):
        (home / "Maildir" / folder).mkdir(parents=True)
    for number, text in enumerate(messages):
        letters = mailbox["flags"][number] if mailbox["flags"] else ""
        (home / f"Maildir/cur/{1700000000 + 60 * number}.M{number + 1}P1.mx:2,{letters}").write_bytes(text)
    return "maildir:~/Maildir"


def uid_validity(home: Path, location: str) -> int:
    store = open_store("alice", home=str(home), location=location)
    try:
        return store.open("INBOX").uid_validity
    finally:
        store.close()


async def dialogue(lines: list[str], port: int, validity: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"USER alice\r\nPASS x\r\n")
    for _ in range(2):
        await reader.readline()
    last = ""
    for line in lines:
        kind, text = line[:3], line[3:]
        if kind == "C= ":
            writer.write(text.encode("utf-8", "surrogateescape"))
        elif kind == "C: " and text != "<close>":
            writer.write(text.encode("utf-8", "surrogateescape") + b"\r\n")
            last = line
        elif kind == "S: ":
            wanted = text.replace("<UIDVALIDITY1 in hex>", f"{validity:08x}").replace("<UIDVALIDITY1>", str(validity))
            octets = b""
            with contextlib.suppress(ConnectionError):      # a line sent to who has closed
                octets = await asyncio.wait_for(reader.readline(), WAIT_S)
            said = octets.decode("utf-8", "surrogateescape").rstrip("\n").rstrip("\r") if octets else "<closed>"
            assert said == wanted.rstrip("\r"), f"after {last!r}"
            if said == "<closed>":
                break
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@pytest.mark.parametrize("in_blocks", [False, True], ids=["whole", "in blocks"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_recorded(path: Path, in_blocks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """in_blocks: as if every message were a large one."""
    if in_blocks:
        monkeypatch.setattr("mailsuite.pop3.maildrop.LARGE", 0)
        monkeypatch.setattr("mailsuite.store.maildir.mailbox.BLOCK", 7)
    record = json.loads(path.read_text())
    location = fill(tmp_path, record["mailbox"])
    validity = uid_validity(tmp_path, location)
    values = {"mail_location": location}

    async def run() -> None:
        for step in record["steps"]:
            if "set" in step:
                values.update(step["set"])
            elif "copy" in step:
                source, target = (tmp_path / "Maildir" / name for name in step["copy"])
                shutil.copy(source, target)
            elif "flag" in step:
                store = open_store("alice", home=str(tmp_path), location=location)
                store.open("INBOX").store_flags([int(uid) for uid in step["flag"][0].split(",")], FlagAction.ADD,
                                                [step["flag"][1]])
                store.close()
            else:
                async with Pop3Server({"alice": tmp_path}, Settings(dict(values))) as server:
                    await dialogue(step["pop3"], server.port, validity)

    asyncio.run(run())
