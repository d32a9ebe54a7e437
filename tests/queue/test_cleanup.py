"""The way into the queue."""

import asyncio
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from mailsuite.queue.cleanup import Refused
from mailsuite.queue.cleanup_header import shortened
from mailsuite.queue.envelope import Notify, Recipient
from tests.queue.support import World

FULL = b"Date: Sat, 21 Nov 2026 05:00:00 +0000\nFrom: a@far.test\nMessage-Id: <1@far.test>\n"


def table(top: Path, **rules: str) -> str:
    """A table of whole lines: name_with_value="ACTION"; the name's first "_" is ": "."""
    path = top / f"rules{len(list(top.iterdir()))}"
    path.write_text("".join(f"/^{key.replace('__', '-').replace('_', ': ')}$/ {action}\n"
                            for key, action in rules.items()))
    return f"regexp:{path}"


def put(world: World, content: bytes, **more: Any) -> str:
    return asyncio.run(world.put(content, **more)).queue_id


def kept(world: World, content: bytes, **more: Any) -> bytes:
    return world.content("incoming", put(world, content, **more))


@pytest.mark.parametrize("blocks", [1, 7, 1 << 20])
@pytest.mark.parametrize(("content", "want"), [
    pytest.param(FULL + b"\nbody\n", FULL + b"\nbody\n", id="nothing to do"),
    pytest.param(FULL + b"Bcc: x@y.test\nReturn-Path: <z>\nContent-Length: 9\nX-A: 1\n\nb\n", FULL + b"X-A: 1\n\nb\n",
                 id="dropped headers"),
    pytest.param(FULL + b"no header\nbody\n", FULL + b"\nno header\nbody\n", id="body without empty line"),
    pytest.param(FULL, FULL, id="header only"),
    pytest.param(FULL + b"X-A \t: 1\n\nb\n", FULL + b"X-A: 1\n\nb\n", id="blank before the colon"),
    pytest.param(FULL + b"To: b\n\n\n", FULL + b"To: b@mx.test\n\n\n", id="address completed"),
])
def test_content(tmp_path: Path, content: bytes, want: bytes, blocks: int) -> None:
    assert kept(World(tmp_path), content, blocks=blocks) == want


@pytest.mark.parametrize(("more", "content", "want"), [
    pytest.param({}, b"Subject: x\n\nb\n",
                 rb"Subject: x\nMessage-Id: <\d{14}\.ID@mx\.test>\nDate: .*\nFrom: a@far\.test\n\nb\n", id="local"),
    pytest.param({"local": False}, b"Subject: x\n\nb\n", rb"Subject: x\n\nb\n", id="remote: nothing is added"),
    pytest.param({"sender": ""}, FULL.replace(b"From: a@far.test\n", b"") + b"\n",
                 rb"Date: .*\nMessage-Id: .*\nFrom: MAILER-DAEMON\n\n", id="null sender"),
    pytest.param({"full_name": "A. B"}, FULL.replace(b"From: a@far.test\n", b"") + b"\n",
                 rb'Date: .*\nMessage-Id: .*\nFrom: "A\. B" <a@far\.test>\n\n', id="full name is quoted"),
    pytest.param({}, FULL + b"Resent-To: c@far.test\n\n",
                 rb"(?s).*Resent-To: c@far\.test\nResent-Message-Id: .*\nResent-Date: .*\nResent-From: a@far\.test\n\n",
                 id="resent"),
])
def test_missing_headers(tmp_path: Path, more: dict[str, Any], content: bytes, want: bytes) -> None:
    world = World(tmp_path)
    queue_id = put(world, content, **more)
    got = world.content("incoming", queue_id).replace(queue_id.encode(), b"ID")
    assert re.fullmatch(want, got)


@pytest.mark.parametrize(("values", "content", "code", "text"), [
    pytest.param({"message_size_limit": "1000"}, FULL + b"\n" + b"x\n" * 600, 552, "Error: message file too big",
                 id="too big"),
    pytest.param({"hopcount_limit": "3"}, b"Received: x\n" * 3 + FULL + b"\n", 554, "Error: too many hops", id="loop"),
    pytest.param({"header_checks": "hash:/nowhere/at/all"}, FULL + b"\n", 451, "Error: queue file write error",
                 id="header check that cannot be asked"),
])
def test_refused(tmp_path: Path, values: dict[str, str], content: bytes, code: int, text: str) -> None:
    world = World(tmp_path, **values)
    with pytest.raises(Refused) as raised:
        put(world, content)
    assert (raised.value.code, raised.value.public) == (code, text)
    assert list(world.store.scan("incoming")) == [] and world.told == []


def test_a_rejected_header(tmp_path: Path) -> None:
    world = World(tmp_path, header_checks=table(tmp_path, Subject_bad="REJECT 5.7.9 go away"))
    with pytest.raises(Refused) as raised:
        put(world, b"Subject: bad\n\n")
    assert (raised.value.code, raised.value.status, raised.value.public) == (550, "5.7.9", "go away")


@pytest.mark.parametrize("blocks", [1, 1 << 20])
def test_characters_are_taken_out(tmp_path: Path, blocks: int) -> None:
    world = World(tmp_path, message_strip_characters="\\001\\\\")
    assert kept(world, b"Sub\1ject: x\n" + FULL + b"\na\\b\n\1\nc\n", blocks=blocks) == b"Subject: x\n" + FULL + \
        b"\nab\n\nc\n"


@pytest.mark.parametrize(("content", "line"), [
    (FULL + b"\nfine\nbe\all\nmore\a\n", "be?ll"), (b"Subject: be\all\n" + FULL + b"\n", "Subject: be?ll"),
    (FULL + b"\nnul\0cut\n", "nul"), (FULL + b"\nlast\a", "last?"), (FULL + b"\n\1 is fine\n", "")])
def test_characters_that_nothing_may_have(tmp_path: Path, content: bytes, line: str,
                                          caplog: pytest.LogCaptureFixture) -> None:
    world = World(tmp_path, message_reject_characters="\\0\\a")
    with caplog.at_level("INFO", "mailsuite.cleanup"):
        if not line:
            assert kept(world, content) == content
            return
        with pytest.raises(Refused) as raised:
            put(world, content)
    assert (raised.value.code, raised.value.status, raised.value.public) == (550, "5.7.1", "disallowed character")
    assert f"reject: content {line} from " in caplog.text and ": 5.7.1 disallowed character" in caplog.text


def test_recipients_without_doubles(tmp_path: Path) -> None:
    world = World(tmp_path, virtual_alias_domains="v.test", always_bcc="copy@mx.test",
                  virtual_alias_maps="inline:{ {all@v.test = one@mx.test, two@mx.test}, {me@v.test = one@mx.test} }")
    queue_id = put(world, FULL + b"\n", to=[Recipient("all@v.test", notify=Notify.SUCCESS), "me@v.test", "me@v.test"])
    stored = world.store.read("incoming", queue_id)
    assert [(one.address, one.original, one.notify) for one in stored.recipients] == [
        ("one@mx.test", "all@v.test", Notify.NEVER), ("two@mx.test", "all@v.test", Notify.NEVER),
        ("one@mx.test", "me@v.test", Notify.NONE), ("copy@mx.test", "copy@mx.test", Notify.NEVER)]
    assert stored.recipients[0].orcpt == "rfc822;all@v.test"
    assert [one[0] for one in stored.envelope.expanded] == ["all@v.test"]


def test_qmgr_is_told_all(tmp_path: Path) -> None:
    world = World(tmp_path)
    queue_id = put(world, FULL + b"\nbody\n")
    stored = world.store.read("incoming", queue_id)
    notice = world.told[0]
    assert (notice["op"], notice["id"], notice["size"]) == ("new", queue_id, stored.size)
    assert notice["to"] == [["b@mx.test", "b@mx.test", "rfc822;b@mx.test", 0, one.number] for one in stored.recipients]


@pytest.mark.parametrize(("rule", "queue", "changed"), [
    ("HOLD", "hold", b"Subject: x\n"), ("PREPEND X-A: 1", "incoming", b"X-A: 1\nSubject: x\n"),
    ("REPLACE Subject: y", "incoming", b"Subject: y\n"), ("IGNORE", "incoming", b""),
    ("WARN hm", "incoming", b"Subject: x\n"), ("FILTER smtp:[f.test]", "incoming", b"Subject: x\n")])
def test_header_checks(tmp_path: Path, rule: str, queue: str, changed: bytes) -> None:
    world = World(tmp_path, header_checks=table(tmp_path, Subject_x=rule))
    queue_id = put(world, FULL + b"Subject: x\n\nb\n")
    assert world.content(queue, queue_id) == FULL + changed + b"\nb\n"
    if rule.startswith("FILTER"):
        assert world.store.read(queue, queue_id).envelope.filter == "smtp:[f.test]"


def test_who_is_named_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Sender and recipient after canonical tables, before aliases."""
    caplog.set_level(logging.INFO)
    world = World(tmp_path, header_checks=table(tmp_path, Subject_x="WARN hm"), canonical_maps="inline:{{b@mx.test = "
                  "c@mx.test}, {a@far.test = a@near.test}}", virtual_alias_maps="inline:{{c@mx.test = d@mx.test}}")
    put(world, FULL + b"Subject: x\n\nb\n")
    assert any("Subject: x from c.test[192.0.2.1]; from=<a@near.test> to=<c@mx.test> proto=" in record.getMessage()
               for record in caplog.records), caplog.text


def test_discard_and_redirect(tmp_path: Path) -> None:
    world = World(tmp_path, header_checks=table(tmp_path, Subject_d="DISCARD", Subject_r="REDIRECT c@mx.test"))
    put(world, FULL + b"Subject: d\n\n")
    assert list(world.store.scan("incoming")) == []
    queue_id = put(world, FULL + b"Subject: r\n\n")
    assert [one.address for one in world.store.read("incoming", queue_id).recipients] == ["c@mx.test"]


def test_redirect_goes_around_the_filter(tmp_path: Path) -> None:
    """header_checks(5): REDIRECT overrides FILTER, and content_filter with it; notices are about the first recipient
    in the order of domains and names."""
    checks = table(tmp_path, Subject_r="REDIRECT c@mx.test")
    world = World(tmp_path, header_checks=checks, content_filter="smtp:[f.test]", always_bcc="A@a.test",
                  virtual_alias_maps="inline:{c@mx.test=d@mx.test}")
    queue_id = put(world, FULL + b"Subject: r\n\n", to=["z@a.test", "b@a.test", "a@b.test"])
    message = world.store.read("incoming", queue_id)
    assert message.envelope.filter == ""
    assert [(one.address, one.original, one.notify) for one in message.recipients] == [("c@mx.test", "A@a.test", 0)]


MULTIPART = (b'Content-Type: multipart/mixed; boundary="b"\n\npre\n--b\nContent-Type: text/html\nX-Part: 1\n\nbad\n'
             b"--b\nContent-Type: message/rfc822\n\nSubject: inner\n\nbad\n--b--\nbad\n")


def test_checks_of_parts(tmp_path: Path) -> None:
    world = World(tmp_path, mime_header_checks=table(tmp_path, X__Part_1="REPLACE X-Part: 2"),
                  nested_header_checks=table(tmp_path, Subject_inner="PREPEND X-Seen: 1"),
                  body_checks=table(tmp_path, bad="REPLACE good"))
    got = kept(world, FULL + MULTIPART, blocks=11)
    want = MULTIPART.replace(b"X-Part: 1", b"X-Part: 2").replace(b"Subject: inner", b"X-Seen: 1\nSubject: inner")
    assert got == FULL + want.replace(b"bad", b"good")


def test_a_long_header_is_cut(tmp_path: Path) -> None:
    world = World(tmp_path, header_size_limit="1000")
    got = kept(world, FULL + b"X: " + b"y" * 100_000 + b"\n z\nX-B: 1\n\nb\n", blocks=9000)
    assert got == FULL + b"X: " + b"y" * 997 + b"\nX-B: 1\n\nb\n"


@pytest.mark.parametrize(("field", "want"), [
    ([380, 19, 1], 2), ([380, 20], 1), ([380, 70, 10], 1), ([380, 10, 70, 8], 2), ([399, 1], 1), ([400, 5], 1)])
def test_of_a_long_header_whole_lines_stay(field: list[int], want: int) -> None:
    lines = [b" " + b"x" * (size - 1) for size in field]
    assert shortened(b"\n".join(lines), 400) == b"\n".join(lines[:want])


def test_originals_that_do_not_count_do_not_tell_doubles_apart(tmp_path: Path) -> None:
    world = World(tmp_path, enable_original_recipient="no", virtual_alias_domains="v.test",
                  virtual_alias_maps="inline:{ {me@v.test = one@mx.test} }")
    queue_id = put(world, FULL + b"\n", to=["me@v.test", "one@mx.test"])
    assert [one.address for one in world.store.read("incoming", queue_id).recipients] == ["one@mx.test"]


def test_abort_leaves_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def begin() -> None:
        from mailsuite.queue.envelope import Envelope
        intake = world.cleanup.begin(Envelope(sender="a@b.test"))
        await intake.recipient(Recipient("b@mx.test"))
        intake.write(FULL + b"\n" + b"x" * 300_000)
        intake.abort()
        intake.abort()

    asyncio.run(begin())
    assert [list(Path(world.store.directory, "incoming").iterdir()), world.told] == [[], []]


@pytest.mark.parametrize(("classes", "more", "content", "utf8"), [
    pytest.param("sendmail, verify", {"program": "pickup"}, b"", False, id="nothing found"),
    pytest.param("sendmail, verify", {"program": "pickup"}, "Subject: \u00e9\n".encode(), True, id="header"),
    pytest.param("sendmail, verify", {"program": "pickup", "sender": "\u00e9@far.test"}, b"", True, id="sender"),
    pytest.param("sendmail, verify", {"program": "pickup", "to": ["\u00e9@far.test"]}, b"", True, id="recipient"),
    pytest.param("sendmail, verify", {"program": "smtpd"}, "Subject: \u00e9\n".encode(), False, id="not this class"),
    pytest.param("all", {"program": "smtpd"}, "Subject: \u00e9\n".encode(), True, id="all"),
    pytest.param("all", {"program": "smtpd"}, "\n\u00e9\n".encode(), False, id="the body does not count"),
    pytest.param("forward", {"program": "local"}, "Subject: \u00e9\n".encode(), True, id="forward"),
])
def test_smtputf8_is_found_out(tmp_path: Path, classes: str, more: dict[str, Any], content: bytes, utf8: bool) -> None:
    world = World(tmp_path, smtputf8_enable="yes", smtputf8_autodetect_classes=classes)
    stored = world.store.read("incoming", put(world, FULL + content + b"\n", **more))
    assert stored.envelope.smtputf8 is utf8
    assert stored.envelope.utf8_header is (b"Subject" in content)


def test_no_smtputf8_no_detection(tmp_path: Path) -> None:
    world = World(tmp_path, smtputf8_autodetect_classes="all", smtputf8_enable="no")
    stored = world.store.read("incoming", put(world, FULL + "Subject: \u00e9\n\n".encode(), program="pickup"))
    assert not stored.envelope.smtputf8


def test_only_the_first_trouble_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = World(tmp_path, virtual_alias_maps="inline:{ {a@loop.test=b@loop.test}, {b@loop.test=a@loop.test} }")
    with pytest.raises(Refused):
        put(world, FULL + b"\n", to=["a@loop.test", "b@loop.test", "a@loop.test"])
    assert caplog.text.count("unreasonable virtual_alias_maps map nesting") == 1


def test_a_copy_is_its_own_original(tmp_path: Path) -> None:
    world = World(tmp_path, always_bcc="archive", canonical_maps="inline:{ {archive=keep@far.test} }",
                  virtual_alias_maps="inline:{ {keep@far.test=k1@far.test, k2@far.test} }")
    stored = world.store.read("incoming", put(world, FULL + b"\n"))
    copies = [(one.address, one.original, one.orcpt) for one in stored.recipients if one.notify is Notify.NEVER]
    assert copies == [(f"{name}@far.test", "keep@far.test", "rfc822;keep@far.test") for name in ("k1", "k2")]
