"""Several domains on one machine: shared, separate with system accounts, separate with virtual accounts, forwarded."""

import os
import stat

import pytest

from tests.sites.site import FIRST, NOBODY, ROOT, SECOND, both_systems, site

pytestmark = [pytest.mark.system, both_systems]


def test_what_the_course_looks_at_first(system: str) -> None:
    with site(system) as mx:
        mx.postconf("myhostname = mx1.example.test")
        assert mx.command("postconf", "myhostname") == "myhostname = mx1.example.test\n"
        assert mx.command("postconf", "mydomain") == "mydomain = example.test\n"
        assert mx.command("postconf", "-h", "default_database_type") == "hash\n"
        assert mx.command("postconf", "-d", "message_size_limit") == "message_size_limit = 10240000\n"
        types = mx.command("postconf", "-m").split()
        assert {"hash", "btree", "regexp", "pcre", "cidr", "static", "unix", "texthash"} <= set(types)
        text = (mx.etc / "main.cf").read_text()
        assert text.startswith("# See /usr/share/postfix/main.cf.dist")
        assert "# appending .domain is the MUA's job." in text
        assert text.count("myhostname = ") == 1


def test_a_shared_domain_with_system_accounts(system: str) -> None:
    """Another name in mydestination: each account gets mail of all domains."""
    with site(system) as mx:
        mx.postconf("mydestination = $myhostname, localhost, one.test, two.test", "myorigin = one.test")
        mx.start()
        mx.send(f"{FIRST}@one.test", subject="first")
        mx.wait_mailbox(FIRST, 1)
        mx.send(f"{FIRST}+tag@two.test", subject="second")
        first, second = mx.wait_mailbox(FIRST, 2)
        assert "Subject: first" in first
        assert f"\nX-Original-To: {FIRST}@one.test\nDelivered-To: {FIRST}@one.test\n" in first
        assert f"\nX-Original-To: {FIRST}+tag@two.test\n" in second and "\nReturn-Path: <sender@far.test>\n" in second
        assert mx.answer("no-such-user@two.test") == (
            "550 5.1.1 <no-such-user@two.test>: Recipient address rejected: User unknown in local recipient table")
        assert mx.answer("postmaster@one.test").startswith("250 2.1.5")
        assert mx.answer("x@elsewhere.test", client="127.0.0.2") == "454 4.7.1 <x@elsewhere.test>: Relay access denied"


def test_aliases_are_built_and_asked(system: str) -> None:
    with site(system) as mx:
        mx.write("aliases", f"postmaster: root\nteam: {FIRST},\n  {SECOND}+list\nfile: {mx.out}/kept\n"
                            f"inc: :include:{mx.etc}/members\nowner-inc: {SECOND}\n")
        mx.write("members", f"# who is in\n{FIRST}\n")
        mx.command("newaliases")
        assert mx.command("postalias", "-q", "team", f"hash:{mx.etc}/aliases") == f"{FIRST}, {SECOND}+list\n"
        mx.start()
        mx.send("TEAM@localhost", subject="team")
        for user in {FIRST, SECOND}:
            assert "Subject: team" in mx.wait_mailbox(user, 1)[0]
        if ROOT:                    # files of root's aliases are written with default_privs
            mx.send("file@localhost", subject="file")
            assert "Delivered-To: file@localhost" in mx.wait(lambda: mx.mbox(mx.out / "kept"))[0]
        mx.send("inc@localhost", subject="members")
        got = mx.wait_mailbox(FIRST, 2)[-1]
        assert "Return-Path: <owner-inc@mx.example.test>" in got and "Subject: members" in got


def test_separate_domains_with_system_accounts(system: str) -> None:
    """info@one.test and info@two.test are two people; the names of accounts mean nothing in these domains."""
    with site(system) as mx:
        maps = mx.table("virtual", f"postmaster@one.test postmaster\ninfo@one.test   {FIRST}\n"
                                   f"info@two.test   {SECOND}\n"
                                   f"all@two.test    info@one.test, info@two.test\n@catch.test     {FIRST}\n")
        mx.postconf("virtual_alias_domains = one.test, two.test, catch.test", f"virtual_alias_maps = {maps}")
        assert mx.command("postmap", "-q", "info@one.test", maps) == f"{FIRST}\n"
        assert mx.command("postmap", "-q", "-", maps, text="all@two.test\nnone@two.test\n@catch.test\n") == (
            f"all@two.test\tinfo@one.test, info@two.test\n@catch.test\t{FIRST}\n")
        assert mx.run("postmap", "-q", "none@two.test", maps).returncode == 1
        mx.start()
        mx.send("info@one.test", subject="for one")
        assert "X-Original-To: info@one.test" in mx.wait_mailbox(FIRST, 1)[0]
        mx.send("info@two.test", subject="for two")
        mx.wait_mailbox(SECOND, 1 if FIRST != SECOND else 2)
        mx.send("all@two.test", "anybody@catch.test", subject="for many")
        many = mx.wait_mailbox(FIRST, 3 if FIRST != SECOND else 4)      # one person gets one copy of a message
        assert any("X-Original-To: anybody@catch.test" in one for one in many)
        assert mx.answer(f"{FIRST}@one.test") == (
            f"550 5.1.1 <{FIRST}@one.test>: Recipient address rejected: User unknown in virtual alias table")


def test_separate_domains_with_virtual_accounts(system: str) -> None:
    """No accounts at all: an mbox and a Maildir, owned by who the uid tables name, with a static fallback."""
    with site(system) as mx:
        base = mx.top / "vmail"
        for folder in (base, base / "abc-domain", base / "xyz-domain"):
            folder.mkdir()
            folder.chmod(0o1777)
        boxes = mx.table("vmailbox", "ceo@abc.test   abc-domain/CEO\nceo@xyz.test   xyz-domain/CEO/\n"
                                     "sales@xyz.test xyz-domain/sales/\n")
        uid = 12345 if ROOT else os.geteuid()
        uids = mx.table("virtual_uids", f"ceo@xyz.test {uid}\n")
        mx.postconf("virtual_mailbox_domains = abc.test, xyz.test", f"virtual_mailbox_base = {base}",
                    f"virtual_mailbox_maps = {boxes}", "virtual_minimum_uid = 100",
                    f"virtual_uid_maps = {uids}, static:{NOBODY.pw_uid}", f"virtual_gid_maps = static:{NOBODY.pw_gid}",
                    "virtual_alias_maps = inline:{ {postmaster@xyz.test = ceo@xyz.test} }")
        assert mx.command("postmap", "-q", "ceo@xyz.test", boxes) == "xyz-domain/CEO/\n"
        mx.start()
        mx.send("ceo@abc.test", "CEO@xyz.test", "sales@xyz.test", "postmaster@xyz.test", subject="virtual")
        text = mx.wait(lambda: mx.mbox(base / "abc-domain/CEO"))[0]
        assert text.startswith("From sender@far.test  ") and "\nDelivered-To: ceo@abc.test\n" in text

        def new(name: str) -> list[str]:
            folder = base / "xyz-domain" / name / "new"
            return [path.read_text() for path in sorted(folder.iterdir())] if folder.is_dir() else []

        got = sorted(mx.wait(lambda: new("CEO"), 2))
        assert got[0].startswith("Return-Path: <sender@far.test>\nX-Original-To: ")
        assert {"X-Original-To: CEO@xyz.test", "X-Original-To: postmaster@xyz.test"} == {
            line for one in got for line in one.splitlines() if line.startswith("X-Original-To")}
        mx.wait(lambda: new("sales"))
        found = {name: (base / name).stat() for name in ("abc-domain/CEO", "xyz-domain/CEO", "xyz-domain/sales")}
        assert [one.st_uid for one in found.values()] == [NOBODY.pw_uid, uid, NOBODY.pw_uid]
        assert stat.S_IMODE(found["abc-domain/CEO"].st_mode) == 0o600
        assert mx.answer("nobody-here@xyz.test") == (
            "550 5.1.1 <nobody-here@xyz.test>: Recipient address rejected: User unknown in virtual mailbox table")


def test_a_forwarding_domain(system: str) -> None:
    """Mail for a domain goes on to other sites; nothing stays here."""
    with site("mailsuite", "far.test") as far, site(system) as mx:
        far.postconf("mydestination = far.test, other.test", "local_recipient_maps =",
                     f"luser_relay = {FIRST}@far.test")
        far.start()
        maps = mx.table("virtual", "joe@fwd.test    joe@far.test\njane@fwd.test   jane@other.test, joe@fwd.test\n"
                                   "@old.test       @fwd.test\n")
        mx.postconf("virtual_alias_domains = fwd.test old.test", f"virtual_alias_maps = {maps}",
                    f"relayhost = [127.0.0.1]:{far.port}")
        mx.start()
        mx.send("jane@old.test", subject="forwarded")
        got = far.wait_mailbox(FIRST, 2)
        assert all("Return-Path: <sender@far.test>" in one and "Subject: forwarded" in one for one in got)
        assert {"joe@far.test", "jane@other.test"} == {
            line.removeprefix("X-Original-To: ") for one in got for line in one.splitlines()
            if line.startswith("X-Original-To: ")}
        assert mx.answer("ghost@fwd.test").startswith("550 5.1.1 ")
        assert not list((mx.top / "mail").iterdir())
