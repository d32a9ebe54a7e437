"""A site with alice and bob, what they share, and public mailboxes; IMAP sessions in this process."""

import asyncio
import re
from pathlib import Path

from mailsuite.config.dovecot import DovecotSettings
from tests.support.mail_sessions import ImapServer

CONF = """
mail_location = maildir:~/Maildir
mail_fsync = never
base_dir = {root}/run
mail_plugins = acl
protocol imap {{
  mail_plugins = $mail_plugins imap_acl
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
namespace shared {{
  type = shared
  separator = /
  prefix = shared/%%u/
  location = maildir:{root}/%%u/Maildir:INDEXPVT=~/shared/%%u
  subscriptions = no
  list = children
}}
namespace public {{
  type = public
  separator = /
  prefix = Public/
  location = maildir:{root}/public:INDEXPVT=~/public
  subscriptions = no
}}
plugin {{
  acl = vfile{everywhere}
  acl_shared_dict = file:{root}/shared-mailboxes
{plugin}
}}
{more}
"""


class Client:
    """Asks, and reads lines up to the tagged one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.number = reader, writer, 0

    async def line(self) -> str:
        return (await asyncio.wait_for(self.reader.readline(), 60)).decode().rstrip("\r\n")

    async def ask(self, command: str, literal: bytes = b"") -> list[str]:
        self.number += 1
        tag = f"a{self.number}"
        if literal:
            command = re.sub(r"\{\d*\}$", "", command).rstrip() + f" {{{len(literal)}}}"
        self.writer.write(f"{tag} {command}\r\n".encode())
        lines: list[str] = []
        while not lines or not lines[-1].startswith(tag + " "):
            line = await self.line()
            if line.startswith("+ ") and literal:
                self.writer.write(literal + b"\r\n")
            else:
                assert line, f"closed after {command}"
                lines.append(line)
        return lines

    def close(self) -> None:
        self.writer.close()


class Site:
    """Everything below one folder."""

    def __init__(self, root: Path, *, plugin: str = "", everywhere: str = "", more: str = "") -> None:
        self.root = root
        self.settings = DovecotSettings.of(CONF.format(root=root, plugin=plugin, more=more, everywhere=everywhere))
        for user in ("alice", "bob", "carol"):
            (root / user).mkdir(mode=0o700, exist_ok=True)

    def mailbox(self, folder: str, flags: list[str], *, acl: str | None = None) -> Path:
        """A Maildir below the root with a message for each entry of flags."""
        path = self.root / folder
        for part in ("cur", "new", "tmp"):
            (path / part).mkdir(parents=True, exist_ok=True)
        for number, letters in enumerate(flags, 1):
            (path / "cur" / f"1{number}.M1P1.mx:2,{letters}").write_text("Subject: one\nFrom: a@b\n\nbody\n")
        if acl is not None:
            (path / "dovecot-acl").write_text(acl)
        return path

    def server(self) -> ImapServer:
        homes = {user: self.root / user for user in ("alice", "bob", "carol")}
        return ImapServer(homes, self.settings)         # type: ignore[arg-type]  # the real thing does, too

    async def client(self, server: ImapServer, user: str) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", server.port))
        await client.line()
        assert (await client.ask(f"LOGIN {user} x"))[-1].partition(" ")[2].startswith("OK")
        return client
