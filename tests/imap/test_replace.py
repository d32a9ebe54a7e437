"""REPLACE: what counts for the quota, and what is undone. Dialogue: replace.txt."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from mailsuite.config.dovecot import DovecotSettings
from mailsuite.store.api import StoreError
from mailsuite.store.maildir.mailbox import MaildirMailbox
from tests.imap.test_notify import Client
from tests.support.mail_sessions import ImapServer

CONF = """
mail_location = maildir:~/Maildir
mail_plugins = quota
imap_extensions = all
first_valid_uid = 0
plugin {
  quota = count:User quota
  quota_rule = *:bytes=3000
}
"""


def run(tmp_path: Path, script: Callable[[Client], Awaitable[None]]) -> None:
    conf = tmp_path / "dovecot.conf"
    conf.write_text(CONF + f"base_dir = {tmp_path}/run\n")

    async def main() -> None:
        async with ImapServer({"alice": tmp_path}, DovecotSettings.load(str(conf))) as server:  # type: ignore[arg-type]
            client = Client(*await asyncio.open_connection("127.0.0.1", server.port))
            await client.line()
            await client.say("LOGIN alice x")
            assert (await client.say(f"APPEND INBOX {literal(2000)}"))[-1].startswith("OK")
            assert (await client.say("SELECT INBOX"))[-1].startswith("OK")
            await script(client)
            client.writer.close()

    asyncio.run(main())


def literal(size: int) -> str:
    return f"{{{size}+}}\r\n{'Subject: x'.ljust(size - 4, 'x')}\r\n\r\n"


async def sizes(client: Client) -> list[str]:
    return [line for line in await client.say("FETCH 1:* RFC822.SIZE") if line.startswith("*")]


def test_only_the_difference_counts(tmp_path: Path) -> None:
    async def script(client: Client) -> None:
        assert (await client.say(f"APPEND INBOX {literal(1500)}"))[-1].startswith("NO [OVERQUOTA]")
        assert (await client.say(f"REPLACE 1 INBOX {literal(2900)}"))[-1].startswith("OK")
        assert await sizes(client) == ["* 1 FETCH (RFC822.SIZE 2900)"]
        assert (await client.say(f"REPLACE 1 INBOX {literal(3500)}"))[-1].startswith("NO [OVERQUOTA]")
        assert await sizes(client) == ["* 1 FETCH (RFC822.SIZE 2900)"]
        assert (await client.say(f"REPLACE 1 INBOX {literal(100)}"))[-1].startswith("OK")
        assert (await client.say(f"APPEND INBOX {literal(1500)}"))[-1].startswith("OK")

    run(tmp_path, script)


def test_a_replacement_that_cannot_be_ended_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[int]] = []
    remove: Any = MaildirMailbox.remove

    def fail_once(self: MaildirMailbox, uids: Sequence[int]) -> object:
        asked.append(list(uids))
        if len(asked) == 1:
            raise StoreError("the disk says no")
        return remove(self, uids)

    async def script(client: Client) -> None:
        monkeypatch.setattr(MaildirMailbox, "remove", fail_once)
        assert (await client.say(f"REPLACE 1 INBOX {literal(500)}"))[-1].startswith("NO [")
        assert asked == [[1], [2]]          # the old one, in vain; then the new one
        await client.say("NOOP")
        assert await sizes(client) == ["* 1 FETCH (RFC822.SIZE 2000)"]
        assert (await client.say(f"REPLACE 1 INBOX {literal(600)}"))[-1].startswith("OK")
        assert await sizes(client) == ["* 1 FETCH (RFC822.SIZE 600)"]

    run(tmp_path, script)
