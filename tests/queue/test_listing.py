"""mailq and postqueue -j, to the octet."""

import asyncio
from pathlib import Path

from mailsuite.queue.listing import Listed, Mailq, from_json, list_queue, to_json
from tests.queue.support import World


def test_mailq() -> None:
    listing = Mailq()
    lines = listing.lines(Listed("deferred", "4A2F1C83D", 1e9, 1234, "a@b.test", False, [
        ("x@c.test", "busy"), ("y@c.test", ""), ("z@c.test", "busy")]))
    assert [line for line in lines if "Sep" not in line] == [
        "-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------",
        " " * 72 + "(busy)", " " * 41 + "x@c.test", " " * 41 + "z@c.test", " " * 41 + "y@c.test"]
    assert lines[1].startswith("4A2F1C83D      1234 Sun Sep  9 ")
    assert lines[1].endswith("  a@b.test")
    lines = listing.lines(Listed("hold", "4A2F1C84D", 1e9, 1000, "MAILER-DAEMON", False, []))
    assert lines[0] == "" and lines[1].startswith("4A2F1C84D!     1000 ")
    assert listing.end() == ["", "-- 2 Kbytes in 2 Requests."]
    assert Mailq().end() == ["Mail queue is empty"]


def test_json_comes_back() -> None:
    entry = Listed("hold", "4A2F1C83D", 1e9, 1234, "ä@b.test", True, [("x@c.test", 'a "b"'), ("y@c.test", "")])
    assert from_json(to_json(entry)) == entry
    assert to_json(entry).startswith('{"queue_name": "hold", "queue_id": "4A2F1C83D", "arrival_time": 1000000000, '
                                     '"message_size": 1234, "forced_expire": true, "sender": "ä@b.test", "recip')


def test_list_queue(tmp_path: Path) -> None:
    world = World(tmp_path)
    queue_id = asyncio.run(world.put(b"Subject: s\n\n", to=["b@mx.test", "c@mx.test"])).queue_id
    Path(world.store.path("incoming", "ABCDEF1")).write_bytes(b"junk")
    entry, = list_queue(world.store)
    assert (entry.queue, entry.queue_id, [one[0] for one in entry.recipients]) == (
        "incoming", queue_id, ["b@mx.test", "c@mx.test"])
