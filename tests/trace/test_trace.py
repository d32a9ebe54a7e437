"""mailsuite trace over a log of Postfix 3.7.11, and over our own queue."""

import asyncio
import bz2
import gzip
import json
import lzma
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mailsuite.cli.mailsuite import cli
from mailsuite.queue import deferlog
from mailsuite.queue.active import Ended
from mailsuite.queue.agent import RecipientReport
from mailsuite.trace import story as story_module
from mailsuite.trace.files import blocks, log_files
from mailsuite.trace.search import Question, Search
from mailsuite.trace.words import event_of, where_time_went
from tests.queue.support import World

LOG = Path(__file__).parent / "postfix.log"
Call = Callable[..., Result]


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    (tmp_path / "etc" / "main.cf").write_text(
        f"queue_directory = {tmp_path}/spool\nmyhostname = mx.test\nmaillog_file = {tmp_path}/log/mail.log\n"
        "maillog_file_prefixes = /\n")
    (tmp_path / "log").mkdir()
    return made


@pytest.fixture
def call(world: World) -> Call:
    def run(*words: str) -> Result:
        return CliRunner().invoke(cli, ["-c", world.settings.config_directory, "trace", *words])

    return run


def told(call: Call, *words: str) -> dict[str, Any]:
    done = call(*words, "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def ids(found: dict[str, Any]) -> list[list[str]]:
    return [[life["queue_id"] for life in story] for story in found["stories"]]


@pytest.mark.parametrize(("word", "want"), [
    pytest.param("<forward@c.test>", [["A06315C", "A1BE45E"]], id="forwarded, by Message-ID"),
    pytest.param("forward@c.test", [["A06315C", "A1BE45E"]], id="without <>"),
    pytest.param("A1BE45E", [["A06315C", "A1BE45E"]], id="by the later id"),
    pytest.param("A06315C", [["A06315C", "A1BE45E"]], id="by the first id"),
    pytest.param("53A9D61", [["53A9D61", "5FFA064"]], id="and its bounce"),
    pytest.param("5FFA064", [["53A9D61", "5FFA064"]], id="the bounce and what it is of"),
    pytest.param("<hold@c.test>", [["E33556B", "99BD76C"]], id="requeued"),
    pytest.param("X@Far.test", [["A06315C", "A1BE45E"]], id="an address"),
    pytest.param("all@example.test", [["A06315C", "A1BE45E"]], id="an alias"),
    pytest.param("carol@example.test", [["E33556B", "99BD76C"], ["B06706E"]], id="several stories"),
])
def test_what_belongs_together(call: Call, word: str, want: list[list[str]]) -> None:
    assert ids(told(call, word, "--log", str(LOG))) == want


def test_the_words(call: Call) -> None:
    text = call("<defer@c.test>", "--log", str(LOG)).stdout
    for part in ("Message <defer@c.test> from <bob@example.test>", "accepted from localhost[127.0.0.1]",
                 "taken up for delivery: from <bob@example.test>, 267 octets, 2 recipients",
                 "x@closed.test: not delivered yet after 0.01 s [4.4.1]: connect to 192.0.2.30[192.0.2.30]:25: ",
                 "later@far.test: handed to 192.0.2.21[192.0.2.21]:25 after 0.73 s: 250 2.0.0 Taken",
                 "given up, returned to its sender: the administrator wanted it",
                 "notice of failure to the sender, as B38EF71", "finished: it has left the queue"):
        assert part in text
    text = call("<forward@c.test>", "--log", str(LOG), "--details").stdout
    assert "alice@example.test (first all@example.test): forwarded by local after 0.01 s: forwarded as A1BE45E" in text
    assert "Message-ID <forward@c.test>  (cleanup)" in text


def test_refused_mail(call: Call) -> None:
    found = told(call, "stranger@elsewhere.test", "--log", str(LOG))
    assert "stories" not in found
    assert found["refused"][0]["kind"] == "refused" and "Relay access denied" in found["refused"][0]["told"]


def test_json_has_times_outcomes_and_links(call: Call) -> None:
    first, notice = told(call, "53A9D61", "--log", str(LOG))["stories"][0]
    assert first["recipients"]["no@far.test"]["status"] == "bounced" and first["asked_for"] is True
    assert {"link": "5FFA064", "how": "notice of failure"}.items() <= first["events"][-2].items()
    assert first["events"][0]["time"].startswith("2026-11-21T11:17:17") or time.tzname != ("UTC", "UTC")
    assert notice["sender"] == ""


@pytest.mark.parametrize("word", ["NOSUCH1D", "<nosuch@c.test>", "nobody@nowhere.test", "postmaster"])
def test_nothing(call: Call, word: str) -> None:
    done = call(word, "--log", str(LOG))
    assert done.exit_code == 1 and f"nothing about {word}" in done.output


def test_limit(call: Call) -> None:
    found = told(call, "carol@example.test", "--log", str(LOG), "--limit", "1")
    assert ids(found) == [["B06706E"]] and found["older_stories"] == 1


def test_rotated_and_compressed_logs(world: World, call: Call, tmp_path: Path) -> None:
    lines = LOG.read_bytes().splitlines(keepends=True)
    cut = next(number for number, line in enumerate(lines) if b"A06315C: removed" in line)
    parts = {"mail.log.3.gz": gzip.compress(b"".join(lines[:5])), "mail.log.2.xz": lzma.compress(b"".join(lines[5:7])),
             "mail.log-20261120.bz2": bz2.compress(b"".join(lines[7:cut])), "mail.log": b"".join(lines[cut:]),
             "mail.log.offset": b"x", "mail.logger": b"x"}
    for number, (name, octets) in enumerate(parts.items()):
        path = tmp_path / "log" / name
        path.write_bytes(octets)
        os.utime(path, (time.time() - 1000 + number,) * 2)
    assert [path.name for path in log_files(tmp_path / "log/mail.log")] == list(parts)[:4]
    found = told(call, "<forward@c.test>")
    assert ids(found) == [["A06315C", "A1BE45E"]] and len(found["files"]) == 4
    assert [event["kind"] for event in found["stories"][0][0]["events"]][::4] == ["accepted", "sent"]


def test_a_damaged_compressed_log_is_read_as_far_as_it_goes(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(LOG.read_bytes() * 50)[:-200])
    done = call("<bounce@c.test>", "--log", str(path))
    assert done.exit_code == 0 and "is read only in part" in done.output and "53A9D61" in done.output


def test_blocks_have_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\n" + b"x" * 100 + b"\nlast")
    for size in (1, 3, 7, 1000):
        monkeypatch.setattr("mailsuite.trace.files.BLOCK", size)
        assert [line for lines in blocks(path) for line in lines] == [b"one", b"two", b"x" * 100, b"last"]


def test_an_id_that_is_used_again_is_another_message(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    head = "Nov 21 04:00:0{} mx postfix/{}[1]: ABCDEF1: {}\n"
    path.write_text("".join(head.format(*one) for one in (
        (0, "smtpd", "client=a[1.2.3.4]"), (0, "cleanup", "message-id=<one@x>"), (1, "qmgr", "removed"),
        (2, "smtpd", "client=b[1.2.3.4]"), (2, "cleanup", "message-id=<two@x>"), (3, "qmgr", "removed"))))
    found = told(call, "ABCDEF1", "--log", str(path))
    assert [story[0]["message_id"] for story in found["stories"]] == ["<one@x>", "<two@x>"]
    assert [story[0]["message_id"] for story in told(call, "<two@x>", "--log", str(path))["stories"]] == ["<two@x>"]


def test_a_life_has_a_limit(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(story_module, "EVENTS", 10)
    path = tmp_path / "log.txt"
    path.write_text("".join(f"Nov 21 04:00:00 mx postfix/local[1]: ABCDEF1: note {number}\n" for number in range(50)))
    life = told(call, "ABCDEF1", "--log", str(path))["stories"][0][0]
    assert (len(life["events"]), life["events_left_out"]) == (10, 40)


def test_memory_of_the_first_pass() -> None:
    search = Search(Question("<nobody@x>"))
    for number in range(2000):
        search.read([f"Nov 21 04:00:00 mx postfix/cleanup[1]: {number:09X}: message-id=<{number}@x>".encode()])
    assert len(search._edges) == 4000 and search._edges.itemsize == 8 and search.family() == set()


# --- with our queue -------------------------------------------------------------------------------------------------


def deferred(world: World, retry_in_s: float) -> str:
    queue_id = asyncio.run(world.put(b"Subject: s\n\nbody\n", sender="a@far.test", to=["x@one.test"])).queue_id
    stored = world.store.read("incoming", queue_id)
    os.makedirs(os.path.dirname(world.store.path("deferred", queue_id)), exist_ok=True)
    world.store.move(queue_id, "incoming", "deferred")
    report = RecipientReport(0, stored.recipients[0].number, "deferred", "4.4.1", "timed out")
    deferlog.write(world.store.path("defer", queue_id), [Ended(stored.recipients[0], report)], warned=False)
    os.utime(world.store.path("deferred", queue_id), (time.time() + retry_in_s,) * 2)
    return queue_id


@pytest.mark.parametrize("by", ["id", "address"])
def test_what_happens_next(world: World, call: Call, by: str) -> None:
    queue_id = deferred(world, 610)
    done = call(queue_id if by == "id" else "X@one.test")
    assert done.exit_code == 0
    assert "now in deferred: is tried again; the mail system is not running, at " in done.output
    assert "(in 10 min); returned to its sender if it is still here at " in done.output
    assert "x@one.test: timed out" in done.output
    now = told(call, queue_id)["stories"][0][0]["now"]
    assert now["recipients"] == [{"address": "x@one.test", "reason": "timed out"}] and now["next_attempt"]


def test_the_limit_counts_messages_that_only_the_queue_knows(world: World, call: Call) -> None:
    queue_ids = [deferred(world, 610) for _ in range(3)]
    found = told(call, "x@one.test", "--limit", "2")
    assert ids(found) == [[queue_id] for queue_id in queue_ids[1:]] and found["older_stories"] == 1


@pytest.mark.parametrize(("queue", "text"), [("hold", "on hold until it is released (postsuper -H "),
                                             ("active", "is being delivered"),
                                             ("incoming", "waits for the queue manager")])
def test_other_queues(world: World, call: Call, queue: str, text: str) -> None:
    queue_id = deferred(world, 0)
    world.store.move(queue_id, "deferred", queue)
    assert f"now in {queue}: {text}" in call(queue_id).output


def test_due_and_expired(world: World, call: Call, tmp_path: Path) -> None:
    queue_id = deferred(world, -5)
    assert "is due: tried at the next queue run" in call(queue_id).output
    with (tmp_path / "etc/main.cf").open("a") as main_cf:
        main_cf.write("maximal_queue_lifetime = 0\n")
    assert "returned to its sender if that fails" in call(queue_id).output


# --- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("program", "text", "kind", "words"), [
    ("smtpd", "client=c.test[192.0.2.1], sasl_method=PLAIN, sasl_username=anna@x.test", "accepted",
     "accepted from c.test[192.0.2.1], logged in as anna@x.test"),
    ("smtpd", "client=localhost[127.0.0.1], orig_queue_id=ABCDEF1, orig_client=c[192.0.2.1]", "accepted",
     "accepted from localhost[127.0.0.1], which had it as ABCDEF1"),
    ("pickup", "uid=1000 from=<me>", "accepted", "submitted on this machine by uid 1000, from <me>"),
    ("cleanup", "hold: header Subject: x from c[1.2.3.4]; from=<a> to=<b>: why", "held",
     "placed on hold: header Subject: x from c[1.2.3.4]; from=<a> to=<b>: why"),
    ("cleanup", "milter-reject: END-OF-MESSAGE from c[1.2.3.4]: 5.7.1 no", "refused",
     "refused by a milter: END-OF-MESSAGE from c[1.2.3.4]: 5.7.1 no"),
    ("postsuper", "removed", "deleted", "deleted by the administrator"),
    ("postsuper", "placed on hold", "held", "placed on hold by the administrator"),
    ("qmgr", "removed", "removed", "finished: it has left the queue"),
    ("qmgr", "from=<a@b>, status=expired, returned to sender", "expired",
     "given up, returned to its sender: it waited too long"),
    ("bounce", "sender delay notification: ABCDEF1", "notice", "notice of delay to the sender"),
    ("smtp", "host mx[1.2.3.4] said: 450 x", "note", "host mx[1.2.3.4] said: 450 x"),
    ("smtp", 'to=<"a, b"@c.test>, relay=mx[1.2.3.4]:25, conn_use=2, delay=300, delays=299/0/0.5/1.2, dsn=2.0.0, '
     "status=sent (250 2.0.0 Ok: queued as ABCDEF1)", "sent", "handed to mx[1.2.3.4]:25 after 5 min"),
    ("lmtp", "to=<a@b>, relay=mx[private/dovecot-lmtp], delay=1.2, delays=0/0/0/1.2, dsn=2.0.0, status=sent (250 ok)",
     "sent", "delivered by lmtp after 1.2 s"),
])
def test_events(program: str, text: str, kind: str, words: str) -> None:
    event = event_of(1.0, program, text)
    assert (event.kind, event.told) == (kind, words)


def test_where_the_time_went() -> None:
    assert where_time_went("299/0.02/5/1.2") == ("5 min before the queue manager had it, 5 s to connect, 1.2 s to "
                                                 "transmit")
    assert where_time_went("0/0/0/0") == "" and where_time_went("x") == ""
