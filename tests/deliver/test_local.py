"""local: aliases, .forward, mailboxes, commands, in workers; the forwarder is the real one, too."""

import os
from pathlib import Path
from typing import Any

import pytest

from mailsuite.config.settings import Settings
from mailsuite.deliver import local
from mailsuite.deliver.environment import exported_environment
from mailsuite.deliver.passwd import Account, Accounts
from mailsuite.queue.agent import RecipientReport
from mailsuite.queue.envelope import Notify
from mailsuite.queue.folders import make_folders
from mailsuite.queue.store import QueueStore
from tests.deliver.harness import MESSAGE, ROOT, SOMEBODY, Qmgr, with_agent


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of "user", the one account there is (and the mail owner)."""
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent) if ROOT else ():
        os.chmod(folder, 0o755)
    for name in ("home", "spool", "out"):
        (tmp_path / name).mkdir()
        os.chmod(tmp_path / name, 0o755)
        if ROOT:
            os.chown(tmp_path / name, SOMEBODY.pw_uid, SOMEBODY.pw_gid)
    account = Account("user", SOMEBODY.pw_uid, SOMEBODY.pw_gid, str(tmp_path / "home"), "/bin/sh")
    monkeypatch.setattr(Accounts, "named", lambda self, name: account if name in ("user", "nobody") else None)
    return tmp_path / "home"


def settings(home: Path, **more: str) -> dict[str, str]:
    return {"myhostname": "mx.test", "mydomain": "test", "myorigin": "a.test", "mydestination": "a.test",
            "mail_spool_directory": str(home.parent / "spool"), "mail_owner": "user", "recipient_delimiter": "+",
            "default_transport": "error:none", "alias_maps": "inline:{ {team = user, other} }",
            "deliver_lock_attempts": "1"} | more


def run(home: Path, *addresses: str, content: bytes = MESSAGE, **more: str) -> dict[str, RecipientReport]:
    async def talk(qmgr: Qmgr) -> dict[str, RecipientReport]:
        return await qmgr.ask(*addresses, content=content)

    found: dict[str, RecipientReport] = with_agent(local.serve, "local", settings(home, **more), talk)
    return found


def write(path: Path, text: str, mode: int = 0o644) -> None:
    path.write_text(text)
    path.chmod(mode)
    if ROOT:
        os.chown(path, SOMEBODY.pw_uid, SOMEBODY.pw_gid)


def end(report: RecipientReport) -> tuple[str, str, str]:
    return report.status, report.dsn, report.reason


def test_mbox_and_unknown_user(home: Path) -> None:
    reports = run(home, "User+ext@a.test", "nobody-here@a.test")
    assert end(reports["User+ext@a.test"]) == ("sent", "2.0.0", "delivered to mailbox")
    assert end(reports["nobody-here@a.test"]) == ("bounced", "5.1.1", 'unknown user: "nobody-here"')
    text = (home.parent / "spool/user").read_bytes()
    assert text.startswith(b"From a@b.test  ") and text.endswith(
        b"\nReturn-Path: <a@b.test>\nX-Original-To: User+ext@a.test\nDelivered-To: User+ext@a.test\n" + MESSAGE + b"\n")
    assert not (home.parent / "spool/user.lock").exists()


def test_the_original_recipient_is_left_out(home: Path) -> None:
    run(home, "User+ext@a.test", enable_original_recipient="no")
    assert b"\nReturn-Path: <a@b.test>\nDelivered-To: User+ext@a.test\n" in (home.parent / "spool/user").read_bytes()


@pytest.mark.parametrize("change", [{"home_mailbox": "Maildir/"}, {"mail_spool_directory": "SPOOL/"}])
def test_maildir(home: Path, change: dict[str, str]) -> None:
    spool = str(home.parent / "spool")
    reports = run(home, "user@a.test", **{name: value.replace("SPOOL", spool) for name, value in change.items()})
    assert end(reports["user@a.test"]) == ("sent", "2.0.0", "delivered to maildir")
    folder = home / "Maildir" if "home_mailbox" in change else Path(spool) / "user"
    assert len(os.listdir(folder / "new")) == 1


def test_a_looping_message_bounces(home: Path) -> None:
    content = b"Delivered-To: USER@a.test\n" + MESSAGE
    assert end(run(home, "user@a.test", content=content)["user@a.test"]) == (
        "bounced", "5.4.6", "mail forwarding loop for user@a.test")


@pytest.mark.parametrize(("target", "want"), [
    ('"|cat > OUT/got"', ("sent", "2.0.0", "delivered to command: cat > OUT/got")),
    ('"|exit 75"', ("deferred", "4.3.0", "temporary failure")),
    ("OUT/box", ("sent", "2.0.0", "delivered to file: OUT/box")),
    ("OUT/dir/", ("sent", "2.0.0", "delivered to maildir")),
    (":include:OUT/list", ("bounced", "5.7.1", "mail to command is restricted")),
    (":include:OUT/none", ("bounced", "5.3.5", "mail system configuration error")),
    ("x", ("bounced", "5.4.6", "alias database loop for x")),
    ("alias", ("bounced", "5.1.1", 'unknown user: "alias"')),
])
def test_aliases(home: Path, target: str, want: tuple[str, str, str]) -> None:
    out = str(home.parent / "out")
    write(Path(out) / "list", "# members\n\"|exit 1\"\n")
    report = run(home, "alias@a.test", alias_maps=f"inline:{{ {{alias = {target.replace('OUT', out)}}}, "
                                                  "{x = y}, {y = x} }")["alias@a.test"]
    assert end(report) == (want[0], want[1], want[2].replace("OUT", out))
    if target.endswith("got\""):
        assert (Path(out) / "got").read_bytes().endswith(b"Delivered-To: alias@a.test\n" + MESSAGE)


def test_a_command_sees_clean_variables(home: Path) -> None:
    out = home.parent / "out"
    run(home, "user+e;`x@a.test", mailbox_command=f"env > {out}/env; cat > {out}/mail")
    env = dict(line.split("=", 1) for line in (out / "env").read_text().splitlines())
    assert env["EXTENSION"] == "e__x" and env["USER"] == "user" and env["HOME"] == str(home)
    assert env["SENDER"] == "a@b.test" and env["DOMAIN"] == "a.test" and "SUDO_USER" not in env


def test_forward_file(home: Path) -> None:
    write(home / ".forward", f"\\user\n{home}/kept\n")
    assert end(run(home, "user@a.test")["user@a.test"])[0] == "sent"
    assert (home / "kept").exists() and (home.parent / "spool/user").exists()


@pytest.mark.parametrize("mode", [0o666, 0o646])
def test_a_forward_file_that_anybody_may_write_is_not_obeyed(home: Path, mode: int) -> None:
    write(home / ".forward", f"{home}/kept\n", mode)
    run(home, "user@a.test")
    assert not (home / "kept").exists() and (home.parent / "spool/user").exists()


@pytest.mark.parametrize("address", ["team@a.test", "user@a.test"])
def test_new_mail_is_made_for_others(home: Path, address: str) -> None:
    if address.startswith("user"):
        write(home / ".forward", "x@far.test, y@far.test\n")

    async def talk(qmgr: Qmgr) -> tuple[RecipientReport, list[Any]]:
        report = (await qmgr.ask(address))[address]
        store = QueueStore(str(qmgr._folder))
        return report, [store.read("incoming", name) for name in store.scan("incoming")]

    report, stored = with_agent(with_queue, "local", settings(
        home, alias_maps="inline:{ {team = x@far.test, y@far.test} }"), talk)
    assert report.status == "sent" and report.reason.startswith("forwarded as ") and report.action == "relayed"
    (message,) = stored
    assert sorted(r.address for r in message.recipients) == ["x@far.test", "y@far.test"]
    assert {r.original for r in message.recipients} == {address}


async def with_queue(context: Any) -> None:
    folder = context.settings.text("queue_directory")
    make_folders(folder)
    if ROOT:
        for name in ("incoming", "defer", "deferred"):
            os.chown(f"{folder}/{name}", SOMEBODY.pw_uid, SOMEBODY.pw_gid)
    await local.serve(context)


def test_probing_delivers_nothing(home: Path) -> None:
    async def talk(qmgr: Qmgr) -> RecipientReport:
        return (await qmgr.ask("user@a.test", verify="verify"))["user@a.test"]

    assert with_agent(local.serve, "local", settings(home), talk).reason == "delivers to mailbox"
    assert os.listdir(home.parent / "spool") == []


@pytest.mark.parametrize(("address", "want"), [
    ("team@a.test", ("sent", "delivery via local: alias expanded", "expanded")),
    ("list@a.test", ("sent", "alias expanded", "delivered")),
    ("user@a.test", ("sent", "delivered to mailbox", ""))])
def test_what_a_success_notice_tells(home: Path, address: str, want: tuple[str, str, str]) -> None:
    async def talk(qmgr: Qmgr) -> RecipientReport:
        path = qmgr.message()
        seq = qmgr.send((address,), path, len(MESSAGE), notify=Notify.SUCCESS)
        return (await qmgr.reports(seq, (address,)))[address]

    report = with_agent(with_queue, "local", settings(
        home, alias_maps="inline:{ {team = user}, {list = user}, {owner-list = user} }"), talk)
    assert (report.status, report.reason, report.action) == want


@pytest.mark.parametrize(("items", "want"), [
    ("TZ=UTC {SP = a b} X=1", {"TZ": "UTC", "SP": "a b", "X": "1"}),
    ("A=b{x y},C=d", {"A": "b{x y}", "C": "d"}),
    ("HOME=/h NOTSET_ANYWHERE", {"HOME": "/h"}),
])
def test_exported_environment(items: str, want: dict[str, str]) -> None:
    assert exported_environment(Settings.of({"export_environment": items})) == want


OWNED = "inline:{ {list = \"|exit 67\"}, {owner-list = boss}, {owner-owner-list = bosses}, {boss = other@far.test} }"


@pytest.mark.parametrize(("more", "owner"), [
    ({}, "owner-list@a.test"), ({"owner_request_special": "no"}, ""), ({"expand_owner_alias": "yes"}, "boss@a.test")])
def test_a_lists_owner_hears_of_its_commands(home: Path, more: dict[str, str], owner: str) -> None:
    report = run(home, "list@a.test", alias_maps=OWNED, **more)["list@a.test"]
    assert (report.status, report.dsn, report.owner) == ("bounced", "5.1.1", owner)


def test_a_forbidden_command_is_not_the_owners_failure(home: Path) -> None:
    report = run(home, "list@a.test", alias_maps=OWNED, allow_mail_to_commands="")["list@a.test"]
    assert (report.reason, report.owner) == ("mail to command is restricted", "")


def test_a_list_splits_its_name_only_when_told(home: Path) -> None:
    for special, want in (("yes", 'unknown user: "owner-x"'), ("no", 'unknown user: "owner"')):
        report = run(home, "owner-x@a.test", recipient_delimiter="-", owner_request_special=special)["owner-x@a.test"]
        assert report.reason == want


def test_a_forward_of_an_extension_may_name_its_user(home: Path) -> None:
    """Who is named in .forward+x is looked up as ever; who is named in an own .forward gets it into the mailbox."""
    write(home / ".forward+x", "user\n")
    write(home / ".forward", f"user\n{home}/kept\n~/tilde\n")
    assert end(run(home, "user+x@a.test")["user+x@a.test"])[0] == "sent"
    assert (home / "kept").exists() and (home / "tilde").exists() and (home.parent / "spool/user").exists()
    assert (home.parent / "spool/user").read_bytes().count(b"From a@b.test") == 1


@pytest.mark.parametrize(("relay", "name", "end_of_it"), [
    ("user${recipient_delimiter}$user", "ghost", ("sent", "2.0.0", "delivered to mailbox")),
    ("user", "mailer-daemon", ("sent", "2.0.0", "delivered to mailbox")),
    ("", "mailer-daemon", ("sent", "2.0.0", "discarded")),
    ("again$user", "ghost", ("bounced", "5.4.6", "alias database loop for " + "again" * 100 + "ghost")),
])
def test_luser_relay(home: Path, relay: str, name: str, end_of_it: tuple[str, str, str]) -> None:
    assert end(run(home, f"{name}@a.test", luser_relay=relay)[f"{name}@a.test"]) == end_of_it


def test_a_table_that_cannot_be_asked_defers_its_member_only(home: Path) -> None:
    out = home.parent / "out/box"
    report = run(home, "alias@a.test", alias_maps=f"inline:{{ {{alias = user, {out}}} }}",
                 mailbox_transport_maps="fail:x")["alias@a.test"]
    assert end(report) == ("deferred", "4.3.0", "table lookup failure")
    assert out.exists()


def test_tables_of_users_are_asked_without_extension(home: Path) -> None:
    report = run(home, "user+x@a.test", mailbox_command_maps="inline:{ {user+x = exit 67}, {user = exit 0} }")
    assert report["user+x@a.test"].status == "sent"


def test_a_list_that_only_its_owner_reads(home: Path) -> None:
    """A private list in root's aliases is read as its owner, and its members are hidden from everybody."""
    out = home.parent / "out"
    write(out / "list", "user, x@far.test\n", 0o600)
    found = run(home, "team@a.test", alias_maps=f"inline:{{ {{team = :include:{out}/list}} }}")["team@a.test"]
    assert "forward" in found.reason                # the queue is not there, but the members were found
    if ROOT:
        os.chown(out / "list", 0, 0)
        assert run(home, "team@a.test", alias_maps=f"inline:{{ {{team = :include:{out}/list}} }}")[
            "team@a.test"].reason == found.reason


@pytest.mark.parametrize(("target", "want"), [
    ("~/file", ("bounced", "5.3.5", "mail system configuration error")),
    ('":include: /etc/passwd"', ("bounced", "5.3.5", "mail system configuration error")),
    ('"@b.test:user@a.test"', ("sent", "2.0.0", "delivered to mailbox")),
    ('"|echo 2.0.0 fine; exit 1"', ("bounced", "5.0.0", "fine")),
    ('"|echo 5.7.1; exit 1"', ("bounced", "5.7.1", "(description unavailable)")),
    ('"|printf \'a\\\\001b\\\\000c\'; exit 67"', ("bounced", "5.1.1", "user unknown. Command output: a_b")),
    ('"|head -c 2000 /dev/zero >OUT/big 2>&-; stat -c %s OUT/big; exit 67"', (
        "bounced", "5.1.1", "user unknown. Command output: 1500")),
])
def test_odd_destinations(home: Path, target: str, want: tuple[str, str, str]) -> None:
    out = str(home.parent / "out")
    report = run(home, "alias@a.test", mailbox_size_limit="1500", message_size_limit="1000",
                 alias_maps=f"inline:{{ {{alias = {target.replace('OUT', out)}}} }}")["alias@a.test"]
    assert end(report) == want


@pytest.mark.parametrize(("frozen", "want"), [("yes", b"team@a.test"), ("no", b"user@a.test")])
def test_frozen_delivered_to(home: Path, frozen: str, want: bytes) -> None:
    run(home, "team@a.test", frozen_delivered_to=frozen, alias_maps="inline:{ {team = user} }")
    assert b"\nDelivered-To: " + want + b"\n" in (home.parent / "spool/user").read_bytes()


def test_a_home_that_is_away(home: Path) -> None:
    home.rename(home.parent / "elsewhere")
    assert run(home, "user@a.test")["user@a.test"].status == "sent"
    assert end(run(home, "user@a.test", require_home_directory="yes")["user@a.test"]) == (
        "deferred", "4.3.0", f"cannot access home directory {home}: No such file or directory")


def test_links_are_not_obeyed(home: Path) -> None:
    write(home / "other", f"{home}/kept\n")
    (home / ".forward").symlink_to("other")
    run(home, "user@a.test")
    assert not (home / "kept").exists()
    os.link(home.parent / "spool/user", home.parent / "spool/second")
    assert end(run(home, "user@a.test")["user@a.test"])[2].endswith("file has 2 hard links")


def test_a_closed_home_has_no_forward_file(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(home / ".forward", f"{home}/kept\n")
    home.chmod(0)
    try:
        assert end(run(home, "user@a.test")["user@a.test"])[2] == "delivered to mailbox"
    finally:
        home.chmod(0o755)
    assert not caplog.records or "cannot open" not in caplog.text


def test_one_user_by_several_addresses(home: Path) -> None:
    """Each address of a user is a delivery of its own."""
    run(home, "team@a.test", alias_maps="inline:{ {team = user, USER, user@a.test, user+x} }")
    assert (home.parent / "spool/user").read_bytes().count(b"From a@b.test") == 2


def test_members_of_a_list_do_not_show_it(home: Path) -> None:
    out = home.parent / "out/box"
    run(home, "list@a.test", alias_maps=f"inline:{{ {{list = child}}, {{owner-list = boss}}, {{child = {out}}} }}")
    assert b"Return-Path: <owner-list@a.test>\nDelivered-To: list@a.test\n" in out.read_bytes()


@pytest.mark.parametrize(("change", "want"), [
    ({}, ("bounced", "5.2.2")), ({"mailbox_full_tempfail": "yes"}, ("deferred", "4.2.2")),
    ({"message_size_limit": "100000"}, ("deferred", "4.3.5"))])
def test_a_full_mailbox(home: Path, change: dict[str, str], want: tuple[str, str]) -> None:
    report = run(home, "user@a.test", content=MESSAGE + b"x\n" * 500,
                 **{"mailbox_size_limit": "500", "message_size_limit": "500"} | change)["user@a.test"]
    assert (report.status, report.dsn) == want


def test_default_privs_that_cannot_be(home: Path) -> None:
    """The world hears nothing of it; the log and `start` tell."""
    report = run(home, "alias@a.test", default_privs="no-such-user", alias_maps="inline:{ {alias = \"|exit 0\"} }")
    if ROOT:
        assert end(report["alias@a.test"]) == ("deferred", "4.3.5", "mail system configuration error")
