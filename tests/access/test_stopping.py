"""A session that comes to a worker that is stopping already: its client hears goodbye, in its protocol's words."""

import asyncio
from pathlib import Path

import pytest

from tests.support.mail_sessions import ImapServer, Pop3Server, SessionServer


@pytest.mark.parametrize(("kind", "said", "last"), [
    (ImapServer, b"a1 LOGIN alice x\r\na2 NOOP\r\n", b"* BYE Server shutting down.\r\n"),
    (Pop3Server, b"USER alice\r\nPASS x\r\nSTAT\r\n", b"-ERR Server shutting down.\r\n"),
])
def test_a_late_session_hears_goodbye(tmp_path: Path, kind: type[SessionServer], said: bytes, last: bytes,
                                      caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "Maildir").mkdir()

    async def work() -> bytes:
        async with kind({"alice": tmp_path}) as server:
            server.world.stopping = True
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(said)
            answer = await asyncio.wait_for(reader.read(), 20)
            writer.close()
            while server.tasks:
                await asyncio.wait(server.tasks, timeout=20)
            return answer

    assert asyncio.run(work()).endswith(last)
    assert not [record for record in caplog.records if record.exc_info]
