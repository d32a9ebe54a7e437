"""The client's dialogue without sockets: what is said for which offers, what the replies come to."""

from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsuite.base.errors import PeerError
from mailsuite.config.settings import Settings
from mailsuite.queue.envelope import Notify, Recipient
from mailsuite.smtp.client_body import encode_body
from mailsuite.smtp.client_params import ClientConfig
from mailsuite.smtp.client_reply import Reply, ReplyReader
from mailsuite.smtp.client_session import (
    Features,
    Mail,
    Receive,
    Send,
    SendBody,
    SendChunk,
    Trouble,
    greeting,
    hello,
)
from mailsuite.smtp.client_transaction import transaction
from mailsuite.smtp.syntax import xtext

SETTINGS = {"myhostname": "here.test", "smtp_helo_name": "here.test", "lmtp_lhlo_name": "here.test"}
HOST = "mx.test[192.0.2.1]"


def config(prefix: str = "smtp", **more: str) -> ClientConfig:
    return ClientConfig.of(Settings.of(SETTINGS | more), prefix)


def play(dialogue: Generator[Any, Any, Any], *replies: str) -> tuple[list[str], Any]:
    """Run a dialogue with these replies; returns what was said and the result (or the Trouble)."""
    said: list[str] = []
    waiting = list(replies)
    reply: Reply | None = None
    try:
        while True:
            step = dialogue.send(reply)
            reply = None
            match step:
                case Send():
                    said += step.octets.decode().split("\r\n")[:-1]
                case SendBody():
                    said.append("." if step.empty else "BODY")
                case Receive():
                    reader = ReplyReader()
                    reader.feed(waiting.pop(0).replace("|", "\r\n").encode() + b"\r\n")
                    reply = reader.take()
                    assert reply is not None
                case _:
                    said.append(type(step).__name__)
    except StopIteration as stop:
        return said, stop.value
    except Trouble as trouble:
        return said, trouble


def mail(*addresses: str, **more: Any) -> Mail:
    return Mail(more.pop("sender", "a@b.test"), [Recipient(address, original=address, number=number)
                                                 for number, address in enumerate(addresses)], 100, **more)


def features(*keywords: str) -> Features:
    return Features(True, {name: value for name, _, value in (keyword.partition(" ") for keyword in keywords)})


# --- greeting and EHLO ------------------------------------------------------------------

@pytest.mark.parametrize(("reply", "status", "reason"), [
    ("220 mx.test ESMTP", None, ""),
    ("421 4.3.2 busy", "4.3.2", f"host {HOST} refused to talk to me: 421 4.3.2 busy"),
    ("554 5.3.2 no mail here", "4.3.2", f"host {HOST} refused to talk to me: 554 5.3.2 no mail here"),
])
def test_greeting(reply: str, status: str | None, reason: str) -> None:
    _, result = play(greeting(config(smtp_skip_5xx_greeting="yes"), HOST), reply)
    if status is None:
        assert result is True
    else:
        assert (result.status, result.public) == (status, reason)


def test_hello_reads_keywords() -> None:
    said, found = play(hello(config(), HOST), "250-mx.test|250-SIZE 1000|250-AUTH PLAIN|250-AUTH=LOGIN|250 8bitmime")
    assert said == ["EHLO here.test"]
    assert found.size_limit == 1000 and found.mechanisms == ["PLAIN", "LOGIN"] and found.has("8BITMIME")


def test_old_server_gets_helo() -> None:
    said, found = play(hello(config(), HOST), "502 5.5.1 what", "250 mx.test")
    assert said == ["EHLO here.test", "HELO here.test"] and not found.esmtp


def test_refused_hello() -> None:
    _, trouble = play(hello(config(), HOST), "550 5.7.1 go away", "550 5.7.1 really")
    assert (trouble.status, trouble.public) == ("5.7.1", f"host {HOST} refused to talk to me: 550 5.7.1 really")


@pytest.mark.parametrize("best", ["", "c.test"])
def test_talking_to_ourselves(best: str) -> None:
    said, result = play(hello(config(), HOST, best_mx_of=best), "250 here.test")
    assert said == ["EHLO here.test", "Warn"]
    assert (result.public == "mail for c.test loops back to myself") if best else result.esmtp


def test_lmtp_says_lhlo() -> None:
    assert play(hello(config("lmtp"), HOST), "250 mx.test")[0] == ["LHLO here.test"]


# --- transactions ------------------------------------------------------------------

def test_pipelined() -> None:
    said, results = play(
        transaction(config(), features("PIPELINING", "SIZE 0", "DSN", "8BITMIME"), HOST,
                    mail("x+y@c.test", "z@c.test", encoding="8bit", envid="e 1", ret="HDRS")),
        "250 2.1.0 Ok", "250 2.1.5 Ok", "550 5.1.1 no such user", "354 go", "250 2.0.0 Taken")
    assert said == ["MAIL FROM:<a@b.test> SIZE=100 BODY=8BITMIME ENVID=e+201 RET=HDRS",
                    "RCPT TO:<x+y@c.test> ORCPT=rfc822;x+2By@c.test", "RCPT TO:<z@c.test> ORCPT=rfc822;z@c.test",
                    "DATA", "BODY"]
    assert (results[0].kind, results[0].dsn, results[0].reason) == (2, "2.0.0", "250 2.0.0 Taken")
    assert (results[1].kind, results[1].dsn, results[1].reason) == (
        5, "5.1.1", f"host {HOST} said: 550 5.1.1 no such user (in reply to RCPT TO command)")


def test_without_offers_nothing_is_added() -> None:
    said, _ = play(transaction(config(), Features(), HOST, mail("x@c.test", encoding="8bit", envid="e")),
                   "250 ok", "250 ok", "354 go", "250 ok")
    assert said == ["MAIL FROM:<a@b.test>", "RCPT TO:<x@c.test>", "DATA", "BODY"]


def test_all_recipients_refused_means_no_message() -> None:
    said, results = play(transaction(config(), Features(), HOST, mail("x@c.test")),
                         "250 ok", "450 4.2.0 later", "250 ok")
    assert said[-2:] == ["RCPT TO:<x@c.test>", "RSET"] and results[0].kind == 4
    said, results = play(transaction(config(), features("PIPELINING"), HOST, mail("x@c.test")),
                         "250 ok", "450 4.2.0 later", "354 go", "250 ok")
    assert said[-1] == "." and results[0].kind == 4


@pytest.mark.parametrize(("replies", "dsn"), [
    (["451 4.1.8 sender trouble"], "4.1.8"), (["553 5.1.8 refused"], "5.1.8"), (["421 4.3.0 bye"], "4.3.0"),
    (["250 ok", "421 4.3.0 bye"], "4.3.0")])
def test_refusals(replies: list[str], dsn: str) -> None:
    told: list[tuple[int | None, str]] = []
    said, results = play(transaction(config(), Features(), HOST, mail("x@c.test"), ended=lambda number, result:
                                     told.append((number, result.dsn))), *replies, "250 reset")
    assert said[-1] == "RSET" and results[0].dsn == dsn
    assert told == [(None if len(replies) == 1 else 0, dsn)]


def test_chunks() -> None:
    """Each but the last has its reply at once; a refusal ends it."""
    def run(*replies: str) -> tuple[list[str], Any]:
        left = iter([False, False, True])
        said, waiting = [], list(replies)
        dialogue = transaction(config(smtp_send_chunking="yes"), features("CHUNKING"), HOST, mail("x@c.test"))
        reply = None
        try:
            while True:
                step = dialogue.send(reply)     # type: ignore[arg-type]
                reply = None
                if isinstance(step, SendChunk):
                    step.last = next(left)
                    said.append("BDAT")
                elif isinstance(step, Send):
                    said.append(step.octets.decode().strip())
                else:
                    reader = ReplyReader()
                    reader.feed(waiting.pop(0).encode() + b"\r\n")
                    reply = reader.take()
        except StopIteration as stop:
            return said, stop.value

    said, results = run("250 a", "250 b", "250 c", "250 d", "250 2.0.0 whole")
    assert said[-3:] == ["BDAT"] * 3 and results[0].dsn == "2.0.0"
    said, results = run("250 a", "250 b", "250 c", "552 5.3.4 enough", "250 reset")
    assert said[-3:] == ["BDAT", "BDAT", "RSET"] and results[0].dsn == "5.3.4"
    assert results[0].reason == f"host {HOST} said: 552 5.3.4 enough (in reply to BDAT command)"


def test_lmtp_has_a_reply_for_each_recipient() -> None:
    said, results = play(transaction(config("lmtp"), features("PIPELINING"), HOST, mail("x@c.test", "y@c.test")),
                         "250 ok", "250 ok", "250 ok", "354 go", "250 2.0.0 Saved", "452 4.2.2 full")
    assert [results[n].kind for n in range(2)] == [2, 4]
    assert results[1].reason.endswith("said: 452 4.2.2 full (in reply to end of DATA command)")


def test_too_large_is_not_offered() -> None:
    said, results = play(transaction(config(), features("SIZE 99"), HOST, mail("x@c.test")))
    assert said == [] and results[0].dsn == "5.3.4"
    assert results[0].reason == f"message size 100 exceeds size limit 99 of server {HOST}"


def test_large_recipient_lists_go_in_groups() -> None:
    addresses = [f"u{n}@c.test" for n in range(250)]
    said, results = play(transaction(config(), features("PIPELINING"), HOST, mail(*addresses)),
                         *["250 ok"] * 251, "354 go", "250 ok")
    assert len(said) == 253 and len(results) == 250


def test_notify() -> None:
    one = Mail("", [Recipient("x@c.test", "", "rfc822;O@c.test", Notify.SUCCESS | Notify.FAILURE, 0)], 1)
    said, _ = play(transaction(config(), features("DSN", "PIPELINING"), HOST, one), "250 a", "250 b", "354 c", "250 d")
    assert said[1] == "RCPT TO:<x@c.test> ORCPT=rfc822;O@c.test NOTIFY=SUCCESS,FAILURE"


def test_probing_sends_nothing() -> None:
    said, results = play(transaction(config(), features("PIPELINING"), HOST, mail("x@c.test", "y@c.test", probe=True)),
                         "250 a", "250 2.1.5 fine", "550 5.1.1 unknown", "250 reset")
    assert said[-2:] == ["RCPT TO:<y@c.test>", "RSET"]
    assert [(results[n].kind, results[n].dsn) for n in range(2)] == [(2, "2.1.5"), (5, "5.1.1")]


def test_xforward() -> None:
    values = {"NAME": "c.test", "ADDR": "192.0.2.9", "PROTO": "ESMTP", "SOURCE": "REMOTE"}
    said, _ = play(transaction(config(smtp_send_xforward_command="yes"), features("XFORWARD NAME ADDR PROTO SOURCE"),
                               HOST, mail("x@c.test", xforward=values)),
                   "250 ok", "250 ok", "250 ok", "250 ok", "354 go", "250 ok")
    assert said[:2] == ["XFORWARD NAME=c.test ADDR=192.0.2.9", "XFORWARD PROTO=ESMTP SOURCE=REMOTE"]


# --- replies and content ------------------------------------------------------------------

@pytest.mark.parametrize(("octets", "text", "dsn"), [
    (b"250 2.0.0 Ok\r\n", "250 2.0.0 Ok", "2.0.0"), (b"250\r\n", "250", "2.0.0"),
    (b"550-5.1.1 first\r\n550 5.1.2 last\r\n", "550-5.1.1 first 550 5.1.2 last", "5.1.2"),
    (b"noise\r\n250 ok\r\n", "noise 250 ok", "2.0.0"), (b"999 odd\r\n", "999 odd", "5.5.0"),
    (b"550 " + b"x" * 9000 + b"\r\n", "550 " + "x" * 2044, "5.0.0"), (b"550 \xff\x07\tz\r\n", "550 ???z", "5.0.0"),
    (b"450 5.1.1 odd\r\n", "450 5.1.1 odd", "4.0.0"), (b"550 no code\n", "550 no code", "5.0.0")])
def test_replies(octets: bytes, text: str, dsn: str) -> None:
    reader = ReplyReader()
    for octet in octets:
        reader.feed(bytes([octet]))
    reply = reader.take()
    assert reply is not None and (reply.text, reply.dsn) == (text, dsn) and reader.empty


@pytest.mark.parametrize("octets", [b"250-a\r\n" * 300, b"hello\n" * 300])
def test_replies_without_end(octets: bytes) -> None:
    with pytest.raises(PeerError):
        ReplyReader().feed(octets)


@given(st.lists(st.binary(max_size=30), max_size=200))
def test_noise_keeps_little(blocks: list[bytes]) -> None:
    reader = ReplyReader(lines_limit=10**6)
    for block in [b"250-x\r\n", *blocks, b"y" * 5000]:
        reader.feed(block)
        while reader.take():
            pass
    assert sum(map(len, reader._lines)) <= 2 * 2048 + 40 and len(reader._rest) <= 2048


@given(st.lists(st.sampled_from([b"250 a\r\n", b"250-b\n", b"x\r\n", b"550 5.1.1 " + b"z" * 3000 + b"\n"])),
       st.integers(1, 50))
def test_packet_borders_do_not_matter(lines: list[bytes], size: int) -> None:
    whole, parts = ReplyReader(), ReplyReader()
    octets = b"".join(lines)
    whole.feed(octets)
    for at in range(0, len(octets), size):
        parts.feed(octets[at:at + size])
    assert list(whole._ready) == list(parts._ready)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_content_on_the_wire(size: int) -> None:
    content = b".a\nb\n..c\n\n.\nlast" + b"x" * 30
    blocks = [content[at:at + size] for at in range(0, len(content), size)]
    assert b"".join(encode_body(blocks)) == b"..a\r\nb\r\n...c\r\n\r\n..\r\nlast" + b"x" * 30 + b"\r\n"


@pytest.mark.parametrize("length", [998, 999, 1996, 200_000])
def test_long_lines_are_broken(length: int) -> None:
    out = b"".join(encode_body([b"A" * length + b"\nx\n"]))
    lines = out.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert b"".join([lines[0], *(line[1:] for line in lines[1:-2])]) == b"A" * length
    assert lines[-2:] == [b"x", b""]


def test_xtext() -> None:
    assert xtext("a+b=c d\u00fc") == "a+2Bb+3Dc+20d+C3+BC"


# --- SMTPUTF8 -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("sender", "to", "more", "bounces"), [
    ("a@b.test", "x@y.test", {}, False),
    ("caf\u00e9@b.test", "x@y.test", {}, True),
    ("a@b.test", "caf\u00e9@y.test", {}, True),
    ("a@b.test", "x@caf\u00e9.test", {}, True),
    ("a@b.test", "x@y.test", {"utf8_header": True}, True),
    ("a@b.test", "x@y.test", {"utf8_header": True, "smtputf8": False}, False),
    ("caf\u00e9@b.test", "x@y.test", {"smtputf8": False}, False),
])
def test_a_host_without_smtputf8(sender: str, to: str, more: dict[str, Any], bounces: bool) -> None:
    """What was declared to be SMTPUTF8 mail, and is, must not go there: RFC 6531 section 3.2."""
    said, result = play(transaction(config(), features("8BITMIME"), HOST, mail(to, **{
        "sender": sender, "smtputf8": True, **more})), "250 2.1.0 ok", "250 2.1.5 ok", "354 go", "250 2.0.0 taken")
    if bounces:
        assert not said
        assert (result[0].dsn, result[0].reason) == (
            "5.6.7", f"SMTPUTF8 is required, but was not offered by host {HOST}")
    else:
        assert said[-1] == "BODY" or said


def test_smtputf8_is_passed_on() -> None:
    said, _ = play(transaction(config(), features("SMTPUTF8"), HOST, mail("caf\u00e9@y.test", smtputf8=True)),
                   "250 2.1.0 ok", "250 2.1.5 ok", "354 go", "250 2.0.0 taken")
    assert said[:2] == ["MAIL FROM:<a@b.test> SMTPUTF8", "RCPT TO:<caf\u00e9@y.test>"]
