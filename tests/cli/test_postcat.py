"""postcat beside Postfix 3.7.11's: records, options, files that are no queue files or damaged ones."""

import asyncio
import os
from pathlib import Path

import pytest

from mailsuite.cli import postcat, sendmail
from mailsuite.queue.envelope import Notify, Recipient, Ret
from tests.cli.conftest import Run
from tests.queue.support import World

MAIL = b"Date: Sat, 21 Nov 2026 05:00:00 +0000\nFrom: a@far.test\nMessage-Id: <1@far.test>\n\nbody\n\nlast"


@pytest.fixture
def queue_id(world: World) -> str:
    return asyncio.run(world.put(MAIL, sender="a b@far.test", encoding="8bit", envid="e1", ret=Ret.HDRS, to=[
        Recipient("b@mx.test", "b@mx.test", "rfc822;x@far.test", Notify.NEVER), "c d@mx.test"])).queue_id


def test_all_of_it(world: World, run: Run, queue_id: str) -> None:
    lines = run(postcat.main, "-q", queue_id)[1].splitlines()
    size = world.store.read("incoming", queue_id)
    assert [line for line in lines if "time: " not in line] == [
        f"*** ENVELOPE RECORDS incoming/{queue_id} ***",
        f"message_size: {size.shown_size:15d} {size.offset:15d} {2:15d} {0:15d} {size.shown_size:15d} {0:15d}",
        f"named_attribute: log_ident={queue_id}", "named_attribute: rewrite_context=local",
        "named_attribute: envelope_id=e1", "named_attribute: ret_flags=2", "sender: a b@far.test",
        "named_attribute: encoding=8bit", "named_attribute: log_client_name=c.test",
        "named_attribute: log_client_address=192.0.2.1", "named_attribute: log_message_origin=c.test[192.0.2.1]",
        "named_attribute: log_helo_name=c.test", "named_attribute: log_protocol_name=ESMTP",
        "named_attribute: client_name=c.test", "named_attribute: client_address=192.0.2.1",
        "named_attribute: helo_name=c.test", "named_attribute: protocol_name=ESMTP",
        "named_attribute: client_address_type=2", "named_attribute: notify_flags=1",
        "named_attribute: dsn_orig_rcpt=rfc822;x@far.test", "original_recipient: b@mx.test", "recipient: b@mx.test",
        "named_attribute: dsn_orig_rcpt=rfc822;c d@mx.test", "original_recipient: c d@mx.test",
        "recipient: c d@mx.test", f"*** MESSAGE CONTENTS incoming/{queue_id} ***",
        *MAIL.decode().split("\n"), f"*** HEADER EXTRACTED incoming/{queue_id} ***", "named_attribute: encoding=8bit",
        f"*** MESSAGE FILE END incoming/{queue_id} ***"]


def test_parts(run: Run, queue_id: str) -> None:
    header, _, body = MAIL.decode().partition("\n\n")
    assert run(postcat.main, "-hq", queue_id)[1] == f"{header}\n"
    assert run(postcat.main, "-bq", queue_id)[1] == f"\n{body}\n"
    assert run(postcat.main, "-bhrq", queue_id)[1] == f"{header}\n\n{body}\n"
    assert run(postcat.main, "-q", queue_id, queue_id)[1].count("MESSAGE FILE END") == 2


def test_offsets_and_types(world: World, run: Run, queue_id: str) -> None:
    lines = run(postcat.main, "-doq", queue_id)[1].splitlines()
    assert lines[1].startswith("        0  67 message_size: ")
    assert lines[2][9:].startswith("  84 message_arrival_time: ")
    by_text = {line[14:]: (int(line[:9]), int(line[10:13])) for line in lines[1:]}
    content = Path(world.store.path("incoming", queue_id)).read_bytes()
    place, kind = by_text["recipient: b@mx.test"]
    assert content[place:place + 2] == b"R-" and kind == ord("R")
    assert content[by_text["body"][0]:].startswith(b"body\n")
    assert [by_text[f"*** {what} incoming/{queue_id} ***"][1] for what in (
        "MESSAGE CONTENTS", "HEADER EXTRACTED", "MESSAGE FILE END")] == [77, 88, 69]
    start = by_text["body"][0]
    assert run(postcat.main, "-bq", "-s", str(start), queue_id)[1].startswith("body\n")


def test_done_recipients(world: World, run: Run, queue_id: str) -> None:
    stored = world.store.read("incoming", queue_id)
    with open(world.store.path("incoming", queue_id), "r+b") as file:
        file.seek(stored.recipients[0].number)
        file.write(b"x")
    assert "\ndone_recipient: b@mx.test\n" in run(postcat.main, "-deq", queue_id)[1].replace(" 68 ", "")


def test_a_draft_has_what_sendmail_said(world: World, run: Run) -> None:
    run(sendmail.main, "-f", "b@y.test", "-N", "never", "-F", "Full", "a", stdin=b"Subject: m\n\nbody\n")
    queue_id, = world.store.scan("maildrop")
    assert [line for line in run(postcat.main, "-q", queue_id)[1].splitlines() if "time: " not in line] == [
        f"*** ENVELOPE RECORDS maildrop/{queue_id} ***", "named_attribute: rewrite_context=local",
        "sender_fullname: Full", "sender: b@y.test", "named_attribute: notify_flags=1", "recipient: a",
        f"*** MESSAGE CONTENTS maildrop/{queue_id} ***", "Subject: m", "", "body",
        f"*** HEADER EXTRACTED maildrop/{queue_id} ***", f"*** MESSAGE FILE END maildrop/{queue_id} ***"]


@pytest.mark.parametrize("queue", ["hold", "corrupt", "deferred", "active"])
def test_every_queue_is_searched(world: World, run: Run, queue_id: str, queue: str) -> None:
    world.store.move(queue_id, "incoming", queue)
    place = world.store.path(queue, queue_id)[len(world.store.directory) + 1:]
    assert run(postcat.main, "-eq", queue_id)[1].startswith(f"*** ENVELOPE RECORDS {place} ***\n")


@pytest.mark.parametrize(("words", "stdin", "status", "err"), [
    (["-q", "NOSUCHID"], b"", 1, "fatal: open queue file NOSUCHID: No such file or directory\n"),
    (["-q", "ab"], b"", 1, "fatal: open queue file ab: No such file or directory\n"),
    (["-q", "a/b"], b"", 1, "fatal: bad mail queue ID: a/b\n"), (["-q", ""], b"", 1, "fatal: bad mail queue ID: \n"),
    (["-s", "x"], b"", 1, "fatal: bad offset: x\n"),
    (["/nonexistent"], b"", 1, "fatal: open /nonexistent: No such file or directory\n"),
    (["/etc/passwd"], b"", 0, "warning: /etc/passwd: input is not a valid queue file\n"),
    ([], b"hello\n", 0, "warning: stdin: input is not a valid queue file\n"),
    (["/etc"], b"", 1, "fatal: read /etc: Is a directory\n"),
])
def test_what_is_no_queue_file(world: World, run: Run, words: list[str], stdin: bytes, status: int, err: str) -> None:
    assert run(postcat.main, *words, stdin=stdin) == (status, "", f"postcat: {err}")


@pytest.mark.parametrize("words", [["/dev/null"], [], ["-q"]])
def test_nothing_is_shown_of_nothing(world: World, run: Run, words: list[str]) -> None:
    assert run(postcat.main, *words) == (0, "", "")


@pytest.mark.parametrize("keep", [0.4, 0.6, 0.9, 0.99])
def test_what_is_left_of_a_damaged_file(world: World, run: Run, queue_id: str, keep: float) -> None:
    path = world.store.path("incoming", queue_id)
    os.truncate(path, int(os.stat(path).st_size * keep))
    status, out, err = run(postcat.main, path)
    assert status == 1 and "Message-Id: <1@far.test>\n" in out
    assert err == (f"postcat: warning: {path}: the file is shorter than its head says\n"
                   "postcat: fatal: record read error\n")


def test_damage_in_the_envelope(world: World, run: Run, queue_id: str) -> None:
    path = Path(world.store.path("incoming", queue_id))
    path.write_bytes(path.read_bytes().replace(b'R-["b@mx.test"', b'R-["b@mx.tes"}'))
    status, out, err = run(postcat.main, str(path))
    assert status == 1 and "recipient: c d@mx.test\n" in out and "b@mx" not in out
    assert "checksum of the envelope is wrong" in err
