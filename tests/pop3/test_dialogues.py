"""Whole POP3 dialogues over a Maildir: tests/dialogues/pop3. Three messages are there."""

import asyncio
from pathlib import Path

import pytest

from tests.support.dialogues import play
from tests.support.mail_sessions import Pop3Server, Settings

FILES = sorted(Path(__file__).parent.parent.joinpath("dialogues/pop3").glob("*.txt"))
MESSAGES = (b"From: a@b.test\nSubject: one\n\nfirst\n.dot\n..two\n", b"Subject: two\n\n", b"Subject: three\n\nno end")


def fill(home: Path) -> None:
    for folder in ("cur", "new", "tmp"):
        (home / "Maildir" / folder).mkdir(parents=True)
    for number, message in enumerate(MESSAGES, 1):
        (home / f"Maildir/cur/170000000{number}.M{number}P1.mx:2,").write_bytes(message)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_dialogue(path: Path, tmp_path: Path) -> None:
    fill(tmp_path)

    async def run() -> None:
        async with Pop3Server({"alice": tmp_path}) as server:
            await play(path, server.port)

    asyncio.run(run())


def test_nothing_is_deleted_without_quit(tmp_path: Path) -> None:
    fill(tmp_path)

    async def run() -> None:
        async with Pop3Server({"alice": tmp_path}) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"USER alice\r\nPASS x\r\nDELE 1\r\nDELE 2\r\nDELE 3\r\n")
            for _ in range(6):
                assert (await reader.readline()).startswith(b"+OK")
            writer.close()

    asyncio.run(run())
    assert len(list((tmp_path / "Maildir/cur").iterdir())) == 3


def test_utf8_session_gets_headers_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "Maildir/cur").mkdir(parents=True)
    for folder in ("new", "tmp"):
        (tmp_path / "Maildir" / folder).mkdir()
    (tmp_path / "Maildir/cur/1700000001.M1P1.mx:2,").write_bytes("Subject: Grüße\n\nDörfer\n".encode())

    async def run(*, utf8: bool) -> bytes:
        async with Pop3Server({"alice": tmp_path}, Settings({"mail_utf8_extensions": "yes"})) as server:
            server.utf8 = utf8
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"USER alice\r\nPASS x\r\nCAPA\r\nLANG *\r\nUTF8\r\nTOP 1 1\r\nQUIT\r\n")
            said = await reader.read()
            writer.close()
            return said

    for utf8, subject in ((True, "Subject: Grüße".encode()), (False, b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=")):
        said = asyncio.run(run(utf8=utf8))
        assert b"UTF8\r\nLANG\r\n.\r\n+OK en Language is English.\r\n-ERR UTF8 comes before the login.\r\n" in said
        assert b"+OK\r\n" + subject + b"\r\n\r\n" + "Dörfer".encode() + b"\r\n.\r\n" in said
