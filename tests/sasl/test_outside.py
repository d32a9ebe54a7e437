"""The process that asks servers: its rights, its death, its end."""

import asyncio
import os
import pwd
from pathlib import Path

import pytest

from mailsuite.base.errors import TemporaryError
from mailsuite.sasl.outside.process import Outside, packed, unpacked

SPEC = {"driver": "sqlite", "connect": "/nonexistent/users.db"}
QUESTION = {"query": "SELECT 1", "values": {}, "limit": 1}


async def pid_of(outside: Outside) -> int:
    """Ask something that fails, and say who failed."""
    with pytest.raises(TemporaryError, match="Not connected"):
        await outside.ask("sql", SPEC, QUESTION)
    assert outside._peer is not None
    return outside._peer.process.pid


def uids_of(pid: int) -> set[str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return set(next(line for line in lines if line.startswith("Uid")).split()[1:])


def test_a_process_without_rights() -> None:
    async def work() -> None:
        outside = Outside("nobody")
        pid = await pid_of(outside)
        if os.geteuid() == 0:
            assert uids_of(pid) == {str(pwd.getpwnam("nobody").pw_uid)}
        os.kill(pid, 9)                         # what it had in hand would fail; the next question starts another
        assert outside._peer is not None
        await outside._peer.reading
        other = await pid_of(outside)
        assert other != pid
        peer = outside._peer
        outside.close()
        async with asyncio.timeout(20):
            await peer.reading
        assert peer.process.returncode == 0
    asyncio.run(work())


def test_what_is_under_way_when_it_dies_fails() -> None:
    async def work() -> None:
        outside = Outside("nobody")
        pid = await pid_of(outside)
        os.kill(pid, 19)                        # it says nothing any more
        task = asyncio.create_task(outside.ask("sql", SPEC, QUESTION))
        await asyncio.sleep(0)
        os.kill(pid, 9)
        with pytest.raises(TemporaryError):
            await task
        outside.close()
    asyncio.run(work())


@pytest.mark.parametrize(("octets", "want"), [
    (packed({"a": "\udcff"}), {"a": "\udcff"}), (b"", None), (b"\0\0", None), (b"\0\0\0\x05{}", None),
    (b"\xff\xff\xff\xff", ValueError), (b"\0\0\0\x02[]", ValueError), (b"\0\0\0\x02{x", ValueError),
])
def test_messages(octets: bytes, want: object) -> None:
    async def work() -> object:
        reader = asyncio.StreamReader()
        reader.feed_data(octets)
        reader.feed_eof()
        try:
            return await unpacked(reader)
        except ValueError:
            return ValueError
    assert asyncio.run(work()) == want
