"""What rights mean, against what Dovecot 2.3.19 was recorded to answer: tests/acl/recorded.

evaluated.json: ACL files and what MYRIGHTS says to alice, who is in the groups staff and other. rights.txt: commands on
a public mailbox, and the answers by the rights that alice has there.
"""

import asyncio
import json
import re
from pathlib import Path

import pytest

from mailsuite.acl.entries import BadAcl, Who, granted, parse
from mailsuite.acl.rights import imap_text
from tests.acl.support import Site

RECORDED = Path(__file__).parent / "recorded"
EVALUATED = json.loads((RECORDED / "evaluated.json").read_text())
ALICE = Who("alice", frozenset(("staff", "other")))


@pytest.mark.parametrize("row", EVALUATED, ids=lambda row: row["acl"].replace("\n", "; ")[:40])
def test_evaluation(row: dict[str, str]) -> None:
    if row["rights"] == "damaged":
        with pytest.raises(BadAcl):
            parse(row["acl"])
    else:
        assert (imap_text(granted(parse(row["acl"]), ALICE)) or "none") == row["rights"]


def recorded() -> dict[str, dict[str, list[str]]]:
    """Command -> rights -> lines of the answer."""
    found: dict[str, dict[str, list[str]]] = {}
    for line in (RECORDED / "rights.txt").read_text().splitlines():
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match len(line) - len(line.lstrip()):
            case 0:
                answers = found.setdefault(text, {})
            case 4:
                lines: list[str] = []
                answers.update(dict.fromkeys(text.split(), lines))
            case _:
                lines.append(text)
    return found


def told(command: str, lines: list[str]) -> list[str]:
    """Of an answer, what was recorded."""
    kept = [line for line in lines[:-1] if line.startswith(("* MYRIGHTS", "* LISTRIGHTS", "* ACL"))
            or "PERMANENTFLAGS" in line and command.startswith("SELECT")]
    last = lines[-1].partition(" ")[2]
    kept = [re.sub(r"\(([^)]*)\)", lambda list_: f"({' '.join(sorted(list_[1].split()))})", line) for line in kept]
    return [*kept, re.sub(r"\[(APPENDUID|COPYUID) [^]]*\]", r"[\1]", re.sub(r" \(\d[^)]*secs\)", "", last))]


@pytest.mark.parametrize("rights", sorted({rights for answers in recorded().values() for rights in answers}))
def test_commands(tmp_path: Path, rights: str) -> None:
    site = Site(tmp_path)
    acl = f"user=alice {rights.strip('-')}\n"
    site.mailbox("public/.B", ["T", "", ""], acl=acl)
    site.mailbox("public/.B.sub", [])

    async def run() -> None:
        async with site.server() as server:
            client = await site.client(server, "alice")
            for command, answers in recorded().items():
                if rights in answers:
                    sent = re.sub(r"\bB\b", "Public/B", command)
                    literal = b"Subject: one\r\nFrom: a@b\r\n\r\nbody\r\n" if command.startswith("APPEND") else b""
                    lines = [line.replace("Public/B", "B") for line in await client.ask(sent, literal)]
                    assert told(command, lines) == answers[rights], command
            client.close()

    asyncio.run(run())
