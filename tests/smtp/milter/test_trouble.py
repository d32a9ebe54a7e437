"""Milters that hang, die, talk nonsense or too much: the configured action, a line in the log, and no mail lost."""

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from mailsuite.queue.cleanup import Refused
from mailsuite.queue.envelope import Envelope, Recipient
from mailsuite.smtp.facts import Client, Facts
from mailsuite.smtp.milter import client
from mailsuite.smtp.milter.client import Milter, chunks
from mailsuite.smtp.milter.server_content import ContentMilter
from mailsuite.smtp.milter.server_observer import MilterSuite, SmtpMilters
from mailsuite.smtp.milter.session import Act, Answer
from mailsuite.smtp.milter.settings import MilterOptions, read_milters
from mailsuite.smtp.milter.syntax import BODY_CHUNK
from tests.queue.support import World
from tests.support.milter import Milter as Double

CONTENT = b"Received: by mx.test\nSubject: x\n\nbody\n"


def told(top: Path, say: dict[str, Any] | None, content: bytes = CONTENT, *, size: str = "0", limit: str = "",
         **settings: str) -> tuple[World, str, list[str], Double]:
    """Bring a message past one milter: the queue id or the refusal, and the packets."""
    limit = limit or ("1s" if "hang" in str(say) or "sleep" in str(say) else "30s")
    world = World(top, message_size_limit=size, milter_content_timeout=limit, milter_connect_timeout=limit, **settings)

    async def go(double: Double) -> str:
        options = MilterOptions.of(world.settings)
        spec, = read_milters(double.where, options)
        intake = world.cleanup.begin(Envelope(sender="a@far.test"))
        milter = Milter(spec, options, logging.getLogger("mailsuite.cleanup"))
        intake.inspectors = [ContentMilter(milter, intake, dict[str, str], soft_bounce=False)]
        await intake.recipient(Recipient("b@mx.test"))
        intake.write(content)
        try:
            return (await intake.commit()).queue_id
        except Refused as error:
            return error.reply
        finally:
            milter.close()

    with Double(say or {}) as double:
        if say is None:
            double.stop()
        got = asyncio.run(go(double))
        end = time.monotonic() + 20
        while double.open and time.monotonic() < end and "hang" not in str(say) and "sleep" not in str(say):
            time.sleep(0.005)
        return world, got, double.take(), double


def eom(*say: Any) -> dict[str, Any]:
    return {"replies": [{"at": "eom", "say": list(say)}]}


ADD = ["addheader", "X-A", "1"]
FAULTS = {
    "down": (None, "connect to Milter service"),
    "hangs": (eom("hang"), "Connection timed out"),
    "dies": (eom("close"), "can't read SMFIC_BODYEOB reply packet header"),
    "dies in the middle": (eom(ADD, "close"), "can't read SMFIC_BODYEOB"),
    "nonsense": (eom(["raw", "000000025a5a"]), "unexpected filter response"),
    "over-long packet": (eom(["raw", "7fffffff68"]), "unreasonable packet length"),
    "half a packet": (eom(["raw", "0000001068"], "hang"), "Connection timed out"),
    "too many edits": (eom(*[ADD] * 6, "continue"), "more than 5 changes (milter_edit_limit)"),
    "too large a body": (eom(*[["replbody", "x" * 60_000]] * 20, "continue"), "a new body over message_size_limit"),
    "an edit too early": ({"replies": [{"at": "header", "say": [ADD, "continue"]}]}, "SMFIR_ADDHEADER after event"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("action", "reply"), [
    ("accept", ""), ("reject", "550 5.5.0 Service unavailable"), ("quarantine", ""),
    ("tempfail", "451 4.7.1 Service unavailable - try again later"),
    ("shutdown", "421 4.7.0 Server closing connection")])
def test_a_fault_ends_in_the_default_action(fault: str, action: str, reply: str, tmp_path: Path,
                                            caplog: pytest.LogCaptureFixture) -> None:
    say, warning = FAULTS[fault]
    world, got, _, _ = told(tmp_path, say, milter_default_action=action, milter_edit_limit="5", size="1000000")
    assert warning in caplog.text
    if reply:
        assert got == reply
        assert not list(world.store.scan("incoming")) and not list(world.store.scan("hold"))
        return
    queue = "hold" if action == "quarantine" else "incoming"
    assert world.content(queue, got).startswith(b"Received: by mx.test\nSubject: x\n"), "no edit is carried out by half"
    assert b"X-A" not in world.content(queue, got)


def test_progress_prolongs_the_wait_but_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                     caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(client, "PROGRESS", 2)
    say = eom(*["progress", ["sleep", 0.4]] * 20, "continue")
    assert told(tmp_path, say)[1].startswith("451") and "Connection timed out" in caplog.text


def test_progress_is_waited_for(tmp_path: Path) -> None:
    say = eom(*["progress", ["sleep", 0.5]] * 5, ADD, "continue")
    world, queue_id, _, _ = told(tmp_path, say, limit="2s")
    assert b"X-A: 1\n" in world.content("incoming", queue_id)


@pytest.mark.parametrize("size", [0, 1, 65534, 65535, 65536, 200_000])
def test_the_body_arrives_as_it_is(size: int, tmp_path: Path) -> None:
    body = (b"0123456789abcde\n" * (size // 16 + 1))[:size]
    world, queue_id, packets, double = told(tmp_path, {}, b"Subject: x\n\n" + body)
    assert b"".join(double.bodies) == body.replace(b"\n", b"\r\n")
    assert all(len(one) == BODY_CHUNK for one in double.bodies[:-1])
    assert world.content("incoming", queue_id).endswith(b"\n\n" + body)


def test_chunks_without_a_border_effect() -> None:
    blocks = [b"a\n" * 30_000, b"\n", b"b" * 70_000]
    assert b"".join(chunks(blocks)) == b"".join(blocks).replace(b"\n", b"\r\n")


def test_a_new_body_in_many_pieces(tmp_path: Path) -> None:
    piece = "0123456789abcd\r\n" * 4000
    world, queue_id, _, _ = told(tmp_path, eom(*[["replbody", piece]] * 5, ADD, "continue"))
    assert world.content("incoming", queue_id).endswith(b"\nX-A: 1\n\n" + piece.replace("\r", "").encode() * 5)


def test_skip_ends_the_body(tmp_path: Path) -> None:
    say = {"steps": 0x400, "replies": [{"at": "body", "say": ["skip"]}]}
    packets = told(tmp_path, say, b"Subject: x\n\n" + b"y\n" * 200_000)[2]
    assert [line.partition(":")[0] for line in packets if not line.startswith("macros")] == [
        "negotiate", *["header"] * 4, "eoh", "body", "eom", "quit"]


def test_a_milter_that_reads_nothing_is_given_up(tmp_path: Path) -> None:
    say = {"steps": 0x80000, "replies": [{"at": "eoh", "say": ["continue", ["sleep", 30]]}]}
    assert told(tmp_path, say, b"Subject: x\n\n" + b"y\n" * 20_000_000)[1].startswith("451")


def test_an_answer_is_a_value() -> None:
    assert Answer(Act.REPLY, "550 x") == Answer(Act.REPLY, "550 x") != Answer(Act.DISCARD)


@pytest.mark.parametrize(("reply", "want"), [
    ("550 5.7.1 no", ["mx.test", "ENHANCEDSTATUSCODES"]),
    ("", ["mx.test", "PIPELINING", "ENHANCEDSTATUSCODES", "DSN"])])
def test_whom_a_milter_refuses_at_helo_is_offered_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reply: str,
                                                         want: list[str]) -> None:
    async def answer(*_: object) -> str:
        return reply

    async def one() -> int:
        return 1

    world = World(tmp_path)
    milters = SmtpMilters(MilterSuite(world.settings, world.cleanup.rewriter), [], one)
    monkeypatch.setattr(milters, "_ask", answer)
    facts = Facts(Client("192.0.2.9", 1234), helo="c.test")
    assert asyncio.run(milters.helo(facts, [])) is None
    lines = ["mx.test", "PIPELINING", "ENHANCEDSTATUSCODES", "DSN"]
    assert asyncio.run(milters.ehlo_lines(facts, lines)) == want
