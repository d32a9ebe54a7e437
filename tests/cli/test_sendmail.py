"""sendmail's options, as Postfix 3.7's command understands them; what becomes of the message."""

import asyncio
import io
import os
from pathlib import Path

import pytest

from mailsuite.cli import mailcommand, sendmail
from mailsuite.cli.sendmail_content import Content
from mailsuite.cli.sendmail_options import DEFAULT, Options, read_options
from mailsuite.queue.access import refused_sender
from mailsuite.queue.envelope import Envelope, Notify
from tests.cli.conftest import Run
from tests.queue.support import World, settings_for

MAIL = b"Subject: s\nMessage-Id: <1@c.test>\n\nbody\n"


def options(*words: str) -> Options:
    return read_options(list(words), "m")[0]


@pytest.mark.parametrize(("words", "verp", "envid", "rest", "warned"), [
    (["-XV", "a"], DEFAULT, "", ["a"], False), (["-XV+=", "a"], "+=", "", ["a"], False),
    (["-XVxy", "a"], "xy", "", ["a"], False), (["-V", "+=", "a"], DEFAULT, "", ["+=", "a"], True),
    (["-V", "-f", "x", "a"], DEFAULT, "", ["a"], True), (["-V-=", "a"], "-=", "", ["a"], True),
    (["-V", "env1", "a"], None, "env1", ["a"], False), (["-Venv1", "a"], None, "env1", ["a"], False),
    (["-V", "a b", "a"], None, "a b", ["a"], False), (["-V", "", "a"], None, "", ["a"], True),
    (["-Väb1", "a"], None, "", ["a"], True), (["-V", "x" * 101, "a"], None, "", ["a"], True),
    (["--", "-XV"], None, "", ["-XV"], False)])
def test_verp_and_envelope_ids(words: list[str], verp: str | None, envid: str, rest: list[str], warned: bool,
                               capsys: pytest.CaptureFixture[str]) -> None:
    found, left = read_options(words, "m")
    assert (found.verp, found.envid, left) == (verp, envid, rest)
    assert bool(capsys.readouterr().err) is warned


@pytest.mark.parametrize(("words", "error"), [
    (["-n"], "-n option not supported"), (["-B", "bogus"], "-B option needs 8BITMIME or 7BIT"),
    (["-X", "/tmp/x"], "unsupported: -X/"), (["-bz"], "unsupported: -bz"), (["-oA"], "-oA requires pathname"),
    (["-qfoo"], "-qf is not implemented"), (["-qS"], "-qS is not implemented"), (["-qI"], "specify: -qIqueueid"),
    (["-qR"], "specify: -qRsitename"), (["-q", "-qIabc"], "-qI can be used only in delivery mode"),
    (["-bs", "-t"], "-t can be used only in delivery mode"), (["-bv", "-t"], "-t option cannot be used with -bv")])
def test_wrong_options(words: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options(*words)
    assert ended.value.code == 75
    assert capsys.readouterr().err == f"sendmail: fatal: {error}\n"


def test_a_wrong_option_is_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the folder that -C names, wherever it stands."""
    monkeypatch.setattr(mailcommand, "_log_targets", {})
    (tmp_path / "main.cf").write_text(f"maillog_file = {tmp_path}/log\nmaillog_file_prefixes = /\n")
    (tmp_path / "master.cf").write_text("")
    with pytest.raises(SystemExit):
        options("-qf", "-C", str(tmp_path))
    assert (tmp_path / "log").read_text().endswith(": fatal: -qf is not implemented\n")


def test_options_that_only_sendmail_knew() -> None:
    given = options("-Am", "-Ac", "-h", "5", "-L", "x", "-m", "-U", "-O", "ErrorMode=m", "-om", "-oem", "-o7", "-o8",
                    "-e", "m", "-p", "x", "-c", "-x", "-a", "-q5m")
    assert (given.mode, given.encoding, given.flush, given.dots, given.local) == ("m", "", ("daemon", ""), True, True)
    assert options("-bh").mode == options("-bH").mode == "h"
    assert (options("-v").verbose, options("-v", "-v").verbose) == (1, 2)
    assert (options("-oi").dots, options("-G").local, options("-oA/x").aliases) == (False, False, "/x")


def stored(world: World) -> tuple[Envelope, list[str], bytes]:
    [queue_id] = world.store.scan("maildrop")
    found = world.store.read("maildrop", queue_id)
    return found.envelope, [one.address for one in found.recipients], world.content("maildrop", queue_id)


def test_what_is_asked_for_is_in_the_envelope(world: World, run: Run) -> None:
    assert run(sendmail.main, "-XV", "-G", "-N", "success,delay", "-R", "hdrs", "-f", "list@mx.test", "a@far.test",
               stdin=MAIL)[0] == 0
    envelope, recipients, _ = stored(world)
    assert (envelope.sender, envelope.verp, envelope.local, envelope.ret.value) == ("list@mx.test", "+=", False, "HDRS")
    [queue_id] = world.store.scan("maildrop")
    assert world.store.read("maildrop", queue_id).recipients[0].notify == Notify.SUCCESS | Notify.DELAY
    assert recipients == ["a@far.test"]


@pytest.mark.parametrize(("words", "error"), [
    (["-XVxy", "-f", "l", "a@far.test"], "-V requires two characters from -=+"),
    (["-XV", "-f", "<>", "a@far.test"], f"({os.getuid()}): -V option requires non-null sender address")])
def test_verp_that_cannot_be(run: Run, words: list[str], error: str) -> None:
    assert run(sendmail.main, *words, stdin=MAIL) == (75, "", f"sendmail: fatal: {error}\n")


@pytest.mark.parametrize(("mode", "text", "want"), [
    ("always", b"a: b\r\n\r\nx\r\ny\nend\r", b"a: b\n\nx\ny\nend\n"),
    ("never", b"a: b\r\n\r\nx\r\nend\r", b"a: b\r\n\r\nx\r\nend\r\n"),
    ("strict", b"a: b\r\n\r\nx\r\ny\nend", b"a: b\n\nx\ny\nend\n"),
    ("strict", b"a: b\n\nx\r\ny\n", b"a: b\n\nx\r\ny\n"),
    ("always", b"a: b\n\nx\r\n.\r\nlost\r\n", b"a: b\n\nx\n"),
    ("never", b"a: b\n\nx\n.\r\nkept\n", b"a: b\n\nx\n.\r\nkept\n")])
def test_line_ends(mode: str, text: bytes, want: bytes) -> None:
    out = bytearray()
    Content(True, mode).copy(io.BytesIO(text), out.extend, read_header=False)
    assert bytes(out) == want


def test_a_wrong_mode_of_line_ends(world: World, run: Run) -> None:
    path = Path(world.settings.config_directory) / "main.cf"
    path.write_text(path.read_text() + "sendmail_fix_line_endings = bogus\n")
    assert run(sendmail.main, "a@far.test", stdin=MAIL) == (
        75, "", "sendmail: fatal: invalid sendmail_fix_line_endings value: bogus\n")


@pytest.mark.parametrize(("maps", "sender", "fine"), [
    ("static:*", "who@ever.test", True), ("inline:{ {root=root, root@a.test} }", "root@a.test", True),
    ("inline:{ {root=root@a.test} }", "Root+ext@A.test", True),
    ("inline:{ {root=root@a.test} }", "other@a.test", False),
    ("inline:{ {root=@a.test} }", "other@a.test", True), ("inline:{ {root=@a.test} }", "other@sub.a.test", False),
    ("inline:{ {root=@a.test} }", "other", False), ("inline:{ {root=*} }", "", True),
    ("inline:{ {root=<>} }", "", True),
    ("inline:{ {root=root@a.test} }", "", False), ("inline:{ {alice=*} }", "root", False),
    ("texthash:/nonexistent/table", "root", False)])
def test_local_login_sender_maps(tmp_path: Path, maps: str, sender: str, fine: bool) -> None:
    settings = settings_for(tmp_path, local_login_sender_maps=maps, recipient_delimiter="+")
    assert (asyncio.run(refused_sender(settings, 0, sender)) == "") is fine


def test_users_without_a_name_and_another_null_sender(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, local_login_sender_maps="inline:{ {uid:987654=EMPTY} }",
                            empty_address_local_login_sender_maps_lookup_key="EMPTY")
    assert asyncio.run(refused_sender(settings, 987654, "")) == ""
    assert asyncio.run(refused_sender(settings, 987654, "a@b.test")) == "not authorized to use sender='a@b.test'"
