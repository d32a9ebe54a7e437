"""sendmail, postsuper, postcat, postqueue without a running suite."""

import asyncio
import os
from pathlib import Path

import pytest

from mailsuite.cli import postqueue, postsuper, sendmail
from tests.cli.conftest import Run
from tests.queue.support import World

MAIL = b"Date: Sat, 21 Nov 2026 05:00:00 +0000\nFrom: a@far.test\nMessage-Id: <1@far.test>\n\nbody\n"
def drafted(world: World) -> list[tuple[str, list[str], bytes]]:
    """What lies in maildrop: sender, recipients, content."""
    found = []
    for queue_id in sorted(world.store.scan("maildrop")):
        stored = world.store.read("maildrop", queue_id)
        found.append((stored.envelope.sender, [one.address for one in stored.recipients],
                      world.content("maildrop", queue_id)))
    return found


@pytest.mark.parametrize(("words", "stdin", "want"), [
    pytest.param(["-f", "x@y.test", "bob"], b"S: 1\n\nb\n.\nmore\n", ("x@y.test", ["bob"], b"S: 1\n\nb\n"), id="dot"),
    pytest.param(["-i", "-f", "x@y.test", "bob"], b"S: 1\n\nb\n.\n", ("x@y.test", ["bob"], b"S: 1\n\nb\n.\n"), id="-i"),
    pytest.param(["-oi", "-f", "", "a@b.test, c"], b"b", ("", ["a@b.test", "c"], b"b\n"), id="list, no line end"),
    pytest.param(["-t", "-f", "<x@y.test>"], b"To: A <a@b.test>,\n c\nCc: g: d@e.test;\nBcc: f\n\nb\n",
                 ("x@y.test", ["a@b.test", "c", "d@e.test", "f"],
                  b"To: A <a@b.test>,\n c\nCc: g: d@e.test;\nBcc: f\n\nb\n"), id="-t"),
    pytest.param(["-tr", "x@y.test"], b"To: a\nResent-To: b\n\n", ("x@y.test", ["b"], b"To: a\nResent-To: b\n\n"),
                 id="-t resent, -r"),
    pytest.param(["-f", "x@y.test", "bob"], b"From u Sat\nS: 1\r\n\r\nb\r\n", ("x@y.test", ["bob"], b"S: 1\n\nb\n"),
                 id="mbox line, CRLF"),
])
def test_sendmail(world: World, run: Run, words: list[str], stdin: bytes, want: tuple[str, list[str], bytes]) -> None:
    status, out, err = run(sendmail.main, *words, stdin=stdin)
    assert (status, out) == (0, "")
    assert err == "postdrop: warning: unable to look up public/pickup: No such file or directory\n"
    assert drafted(world) == [want]


@pytest.mark.parametrize(("words", "status", "text"), [
    (["-t"], 75, "No recipient addresses found in message header"),
    ([], 75, "Recipient addresses must be specified on the command line or via the -t option"),
    (["-bz"], 75, "sendmail: fatal: unsupported: -bz"), (["-n"], 75, "-n option not supported"),
    (["-X"], 75, "option requires an argument -- 'X'"),
    (["-bv", "-t"], 75, "sendmail: fatal: -t option cannot be used with -bv"),
    (["-q"], 69, "Cannot flush mail queue - mail system is down"),
])
def test_sendmail_says_no(world: World, run: Run, words: list[str], status: int, text: str) -> None:
    got, _, err = run(sendmail.main, *words, stdin=b"Subject: x\n\n")
    assert (got, drafted(world)) == (status, [])
    assert text in err


@pytest.mark.parametrize(("words", "text"), [
    (["-f", "a b@c.test", "d"], "-f option specified malformed sender: a b@c.test"),
    (["-N", "often", "d"], "bad -N option value -- ignored"), (["-R", "some", "d"], "bad -R option value -- ignored")])
def test_sendmail_warns(world: World, run: Run, words: list[str], text: str) -> None:
    status, _, err = run(sendmail.main, *words, stdin=b"Subject: x\n\n")
    assert (status, len(drafted(world))) == (0, 1)
    assert f"sendmail: warning: {text}\n" in err


def test_a_probe(world: World, run: Run) -> None:
    assert run(sendmail.main, "-bv", "-f", "x@y.test", "a", "b@c.test")[:2] == (
        0, "Mail Delivery Status Report will be mailed to <x@y.test>.\n")
    assert drafted(world) == [("x@y.test", ["a", "b@c.test"], b"From: x@y.test\nSubject: probe\nTo:\ta,\n\tb@c.test\n")]


def test_sendmail_options(world: World, run: Run) -> None:
    run(sendmail.main, "-N", "success,delay", "-R", "hdrs", "-V", "id1", "-F", "Full", "-G", "-B8BITMIME", "-v", "a",
        stdin=b"\n")
    queue_id, = world.store.scan("maildrop")
    stored = world.store.read("maildrop", queue_id)
    envelope = stored.envelope
    assert (envelope.ret.value, envelope.envid, envelope.full_name, envelope.local, envelope.encoding,
            envelope.verify, int(stored.recipients[0].notify)) == ("HDRS", "id1", "Full", False, "8bit", "record", 10)


def test_postsuper(world: World, run: Run, tmp_path: Path) -> None:
    first, second = (asyncio.run(world.put(MAIL)).queue_id for _ in range(2))
    assert run(postsuper.main, "-h", first) == (0, "", f"postsuper: {first}: placed on hold\n"
                                                       "postsuper: Placed on hold: 1 message\n")
    assert world.store.find(first) == "hold"
    assert run(postsuper.main, "-H", "ALL")[2] == "postsuper: Released from hold: 1 message\n"
    assert world.store.find(first) == "deferred"
    assert run(postsuper.main, "-r", "-", stdin=f"{first}\n".encode())[2].endswith("Requeued: 1 message\n")
    assert list(world.store.scan("maildrop")) == [first]
    assert run(postsuper.main, "-d", "NOSUCH1D", "-d", second, "-d", "../x")[2] == (
        f"postsuper: {second}: removed\npostsuper: warning: invalid mail queue id: ../x\n"
        "postsuper: Deleted: 1 message\n")
    assert run(postsuper.main, "-d", "ALL", "hold")[2] == "postsuper: Deleted: 0 messages\n"
    assert run(postsuper.main, "-d", "ALL", "nowhere")[0] == 1
    assert f"{second}: removed" in (tmp_path / "log").read_text()


def test_postsuper_repairs_the_structure(world: World, run: Run) -> None:
    queue_id = asyncio.run(world.put(MAIL)).queue_id
    os.makedirs(f"{world.store.directory}/incoming/x/y")
    os.rename(world.store.path("incoming", queue_id), f"{world.store.directory}/incoming/x/y/{queue_id}")
    assert run(postsuper.main, "-s") == (0, "", "")
    assert os.path.exists(world.store.path("incoming", queue_id))
    assert run(postsuper.main) == (0, "", "")


def test_postqueue(world: World, run: Run) -> None:
    down = ("postqueue: warning: Mail system is down -- accessing queue directly (Connect to the Postfix showq "
            "service: No such file or directory)\n")
    assert run(postqueue.main, "-p") == (0, "Mail queue is empty\n", down)
    queue_id = asyncio.run(world.put(MAIL)).queue_id
    assert run(postqueue.main, "-j")[1].startswith(f'{{"queue_name": "incoming", "queue_id": "{queue_id}"')
    down = "postqueue: fatal: Cannot flush mail queue - mail system is down\n"
    gone = "No such file or directory\n"
    assert run(postqueue.main, "-f")[::2] == (
        69, f"postqueue: warning: unable to look up public/qmgr: {gone}{down}")
    assert run(postqueue.main, "-i", "AB")[::2] == (
        69, f"postqueue: warning: connect to public/flush: {gone}{down}")
    assert "not configured for destination" in run(postqueue.main, "-s", "x.test")[2]
    assert run(postqueue.main, "-i", "../x")[0] == 69
    assert run(postqueue.main, "-p", "-f")[0] == 69
    assert run(postqueue.main, "--help")[2].startswith("postqueue: invalid option -- '-'\n")


@pytest.mark.parametrize(("words", "status", "err"), [
    (["-bp", "x"], 75, "sendmail: fatal: display queue mode requires no recipient\n"), (["-q15m"], 0, ""),
    (["-qSx"], 75, "sendmail: fatal: -qS is not implemented\n")])
def test_sendmail_and_the_queue(world: World, run: Run, words: list[str], status: int, err: str) -> None:
    assert run(sendmail.main, *words)[::2] == (status, err)
