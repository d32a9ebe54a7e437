"""Two users and one mailbox: what LIST tells, whose \\Seen it is, what an IDLE hears, RFC 4314's examples."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.acl.support import Client, Site

MESSAGE = b"Subject: one\r\n\r\nbody\r\n"


def play(site: Site, script: Callable[[Client, Client], Awaitable[None]]) -> None:
    async def run() -> None:
        async with site.server() as server:
            alice, bob = await site.client(server, "alice"), await site.client(server, "bob")
            await script(alice, bob)
            alice.close()
            bob.close()

    asyncio.run(run())


async def ok(client: Client, command: str, literal: bytes = b"") -> list[str]:
    lines = await client.ask(command, literal)
    assert lines[-1].split()[1] == "OK", lines
    return lines[:-1]


async def refused(client: Client, command: str, literal: bytes = b"") -> str:
    last = (await client.ask(command, literal))[-1]
    assert last.split()[1] == "NO", last
    return re.sub(r" \(\d[^)]*secs\)", "", last.partition(" NO ")[2])


def test_a_shared_folder(tmp_path: Path) -> None:
    async def script(alice: Client, bob: Client) -> None:
        await ok(alice, "CREATE Work/Plans")
        await ok(alice, "APPEND Work/Plans {}", MESSAGE)
        assert await ok(bob, 'LIST "" *') == ['* LIST (\\HasNoChildren) "/" INBOX',
                                             '* LIST (\\Noselect \\HasNoChildren) "/" Public']
        await ok(alice, "SETACL Work/Plans bob lrs")
        assert await ok(bob, 'LIST "" shared/*') == [
            '* LIST (\\HasNoChildren) "/" shared/alice/Work/Plans',
            '* LIST (\\Noselect \\HasChildren) "/" shared/alice']
        theirs = await ok(alice, "STATUS Work/Plans (UIDVALIDITY UIDNEXT MESSAGES)")
        ours = await ok(bob, "STATUS shared/alice/Work/Plans (UIDVALIDITY UIDNEXT MESSAGES)")
        assert theirs[0].partition(" (")[2] == ours[0].partition(" (")[2]
        assert await refused(bob, "SELECT shared/alice/Work") == "Mailbox doesn't exist: shared/alice/Work."
        assert (await refused(bob, "CREATE shared/alice/Work/Plans/x")).startswith("[NOPERM]")
        await ok(bob, "SUBSCRIBE shared/alice/Work/Plans")
        assert await ok(bob, 'LSUB "" *') == ['* LSUB () "/" shared/alice/Work/Plans']
        await ok(alice, "DELETEACL Work/Plans bob")
        # As with Dovecot, who was asked for by name stays in the list.
        assert await ok(bob, 'LIST "" shared/*') == ['* LIST (\\Noselect \\HasNoChildren) "/" shared/alice']
        assert "doesn't exist" in await refused(bob, "SELECT shared/alice/Work/Plans")

    play(Site(tmp_path), script)
    assert (tmp_path / "shared-mailboxes").read_text() == ""
    assert (tmp_path / "bob/Maildir/subscriptions").read_text().splitlines()[2:] == ["shared/alice/Work\tPlans"]


def test_seen_is_each_users_own(tmp_path: Path) -> None:
    async def script(alice: Client, bob: Client) -> None:
        await ok(alice, "SELECT INBOX")
        await ok(alice, "STORE 1 +FLAGS (\\Seen)")
        await ok(bob, "SELECT shared/alice")
        assert (await ok(bob, "FETCH 1:3 FLAGS"))[0].endswith("(\\Flagged))")
        await ok(bob, "STORE 2:3 +FLAGS (\\Seen \\Flagged)")
        assert [("\\Seen" in line, "\\Flagged" in line) for line in await ok(bob, "FETCH 1:3 FLAGS")] == \
            [(False, True), (True, False), (True, False)]           # no right to w: \\Flagged is passed over
        assert ["\\Seen" in line for line in await ok(alice, "FETCH 1:3 FLAGS")] == [True, False, False]
        await ok(bob, "UNSELECT")
        assert await ok(bob, "STATUS shared/alice (UNSEEN)") == ["* STATUS shared/alice (UNSEEN 1)"]

    site = Site(tmp_path)
    site.mailbox("alice/Maildir", ["F", "", ""], acl="user=bob lrs\n")
    play(site, script)
    assert sorted(path.name[-1:] for path in (tmp_path / "alice/Maildir/cur").iterdir()) == [",", ",", "S"]

    async def later(alice: Client, bob: Client) -> None:
        await ok(bob, "SELECT shared/alice")
        assert ["\\Seen" in line for line in await ok(bob, "FETCH 1:3 FLAGS")] == [False, True, True]

    play(Site(tmp_path), later)


def test_another_user_is_told_in_idle(tmp_path: Path) -> None:
    async def script(alice: Client, bob: Client) -> None:
        await ok(bob, "SELECT shared/alice/Work")
        bob.writer.write(b"i IDLE\r\n")
        assert (await bob.line()).startswith("+ ")
        await ok(alice, "APPEND Work {}", MESSAGE)
        assert await bob.line() == "* 2 EXISTS"
        assert await bob.line() == "* 2 RECENT"
        await ok(alice, "SELECT Work")
        await ok(alice, "STORE 1 +FLAGS (\\Deleted)")
        assert await bob.line() == "* 1 FETCH (FLAGS (\\Deleted \\Recent))"
        await ok(alice, "EXPUNGE")
        assert await bob.line() == "* 1 EXPUNGE"
        bob.writer.write(b"DONE\r\n")

    site = Site(tmp_path)
    site.mailbox("alice/Maildir/.Work", [""], acl="user=bob lr\n")
    play(site, script)


def test_examples_of_rfc_4314(tmp_path: Path) -> None:
    """Sections 3.1 to 3.6, with our names."""
    async def script(alice: Client, bob: Client) -> None:
        await ok(alice, "CREATE Drafts")
        await ok(alice, "SETACL Drafts david lrswida")
        assert await ok(alice, "GETACL Drafts") == ["* ACL Drafts david aeilrwtsd alice lrwstipekxacd"]
        await ok(alice, "SETACL Drafts david -da")
        assert await ok(alice, "GETACL Drafts") == ["* ACL Drafts david ilrws alice lrwstipekxacd"]
        await ok(alice, "SETACL Drafts -fred +w")
        await ok(alice, "SETACL Drafts $team-1 lr")
        assert await ok(alice, "GETACL Drafts") == [
            "* ACL Drafts $team-1 lr david ilrws -fred w alice lrwstipekxacd"]
        await ok(alice, "DELETEACL Drafts david")
        assert await ok(alice, "LISTRIGHTS Drafts smith") == [
            '* LISTRIGHTS Drafts smith "" l r w s t p i e k x a c d']
        assert await ok(alice, "MYRIGHTS INBOX") == ["* MYRIGHTS INBOX lrwstipekxacd"]
        assert await refused(bob, "GETACL shared/alice/Drafts") == \
            "[NONEXISTENT] Mailbox doesn't exist: shared/alice/Drafts."
        await ok(alice, "SETACL Drafts bob lra")
        await ok(bob, "SETACL shared/alice/Drafts carol lr")        # who administers may let others in
        assert "carol lr" in (await ok(alice, "GETACL Drafts"))[0]
        await ok(alice, "SETACL Drafts alice lr")                   # nobody locks himself out
        assert await ok(alice, "MYRIGHTS Drafts") == ["* MYRIGHTS Drafts lra"]
        for wrong in ("SETACL Drafts bob z", "SETACL Drafts anyone lr", "SETACL Drafts #bob lr", "SETACL Drafts bob"):
            assert (await alice.ask(wrong))[-1].split()[1] == "BAD"

    play(Site(tmp_path), script)


def test_list_myrights(tmp_path: Path) -> None:
    """RFC 8440, with imap_extensions = all."""
    async def script(alice: Client, bob: Client) -> None:
        assert "LIST-MYRIGHTS" in (await ok(bob, "CAPABILITY"))[0]
        assert await ok(bob, 'LIST "" (INBOX Public/*) RETURN (MYRIGHTS)') == [
            '* LIST () "/" INBOX', "* MYRIGHTS INBOX lrwstipekxacd",
            '* LIST () "/" Public/Board', "* MYRIGHTS Public/Board lr"]

    site = Site(tmp_path, more="imap_extensions = all")
    site.mailbox("public/.Board", [], acl="anyone lr\n")
    play(site, script)


def test_a_damaged_acl_lets_nobody_in(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def script(alice: Client, bob: Client) -> None:
        assert await ok(bob, 'LIST "" Public/*') == ['* LIST (\\HasNoChildren) "/" Public/Good']
        for command in ("SELECT Public/Bad", "STATUS Public/Bad (MESSAGES)"):
            assert (await refused(bob, command)).startswith("[SERVERBUG]")
        (tmp_path / "public/.Bad/dovecot-acl").write_text("anyone lr\n")
        await ok(bob, "SELECT Public/Bad")

    site = Site(tmp_path)
    site.mailbox("public/.Bad", [], acl="anyone lr\nuser=bob lrZ\n")
    site.mailbox("public/.Good", [], acl="anyone lr\n")
    play(site, script)
    assert "line 2: Unknown ACL 'Z'" in caplog.text


def test_the_administrators_acls_go_before(tmp_path: Path) -> None:
    async def script(alice: Client, bob: Client) -> None:
        assert await ok(bob, "MYRIGHTS Public/Board") == ["* MYRIGHTS Public/Board lr"]
        assert await ok(bob, "MYRIGHTS Public/Board/Deep") == ["* MYRIGHTS Public/Board/Deep lrw"]
        assert await ok(alice, "GETACL INBOX") == ["* ACL INBOX bob l #alice alr"]
        assert (await refused(alice, "CREATE INBOX/x")).startswith("[NOPERM]")
        await ok(alice, "CREATE Free")

    (tmp_path / "global").write_text('# for all\nINBOX owner lra\nPublic/* anyone lr\n"Public/Board/*" user=bob lrw\n')
    site = Site(tmp_path, everywhere=f":{tmp_path}/global:cache_secs=60")
    site.mailbox("alice/Maildir", [], acl="user=bob l\n")
    site.mailbox("public/.Board", [], acl="user=bob lrwstipekxa\n")
    site.mailbox("public/.Board.Deep", [])
    play(site, script)


def test_copies_between_namespaces(tmp_path: Path) -> None:
    async def script(alice: Client, bob: Client) -> None:
        await ok(bob, "SELECT shared/alice/Work")
        assert "COPYUID" in (await bob.ask("COPY 1 INBOX"))[-1]
        assert await refused(bob, "MOVE 1 INBOX") == "[NOPERM] Permission denied."
        assert (await refused(bob, "COPY 1 Public/Board")).startswith("[NOPERM]")
        await ok(bob, "SELECT INBOX")
        assert (await ok(bob, "FETCH 1 FLAGS"))[0] == "* 1 FETCH (FLAGS (\\Flagged \\Recent))"
        moved = await ok(bob, "MOVE 1 Public/Drop")
        assert not any("COPYUID" in line for line in moved)         # who may not read there learns no UID
        assert "cannot" in (await refused(bob, "RENAME shared/alice/Work Public/Work")).lower()

    site = Site(tmp_path)
    site.mailbox("alice/Maildir/.Work", ["F"], acl="user=bob lr\n")
    site.mailbox("public/.Board", [], acl="anyone lr\n")
    site.mailbox("public/.Drop", [], acl="anyone li\n")
    play(site, script)
    (kept,) = [*(tmp_path / "public/.Drop/new").iterdir(), *(tmp_path / "public/.Drop/cur").iterdir()]
    assert not kept.name.endswith("F")                              # no right to w: without its flags
