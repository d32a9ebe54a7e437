"""aiosmtpd's plug-ins, unchanged, in our server."""

import asyncio
import base64
import mailbox
import smtplib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from mailsuite.base.errors import ConfigError
from mailsuite.config.settings import Settings
from mailsuite.queue.folders import make_folders
from mailsuite.queue.store import open_store
from mailsuite.smtp.handlers.loading import load_handlers
from tests.smtp.handlers import plugins
from tests.smtp.milter.test_recorded import serve
from tests.support.suite import free_port

BASE = {"compatibility_level": "3.6", "myhostname": "mx.example.test", "mydestination": "example.test",
        "mynetworks": "127.0.0.0/8", "local_recipient_maps": "", "smtpd_peername_lookup": "no", "alias_maps": ""}
TEXT = b"Subject: one\r\nFrom: a@far.test\r\n\r\nbody\r\n..dot\r\n"
FAILED = (451, b"4.3.0 Error: internal error")
HERE = "tests.smtp.handlers.plugins"


@pytest.fixture(autouse=True)
def seen() -> Iterator[list[Any]]:
    plugins.SEEN.clear()
    yield plugins.SEEN


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    make_folders(str(tmp_path))
    return tmp_path


def run(queue: Path, handlers: str, story: Callable[[smtplib.SMTP], Any], **values: str) -> Any:
    """story(client) beside a server with these plug-ins."""
    settings = Settings.of({**BASE, "queue_directory": str(queue), "smtpd_handlers": handlers, **values})
    results: list[Any] = []

    def client(port: int) -> str:
        with smtplib.SMTP("127.0.0.1", port, local_hostname="c.test", timeout=20) as smtp:
            results.append(story(smtp))
        return ""

    asyncio.run(serve(settings, client))
    return results[0]


def sent(smtp: smtplib.SMTP, text: bytes = TEXT, *to: str) -> tuple[int, bytes]:
    """The reply to the message, or the first refusal."""
    smtp.ehlo_or_helo_if_needed()
    for command in ["MAIL FROM:<a@far.test>", *(f"RCPT TO:<{one}>" for one in to or ("b@example.test",))]:
        code, reply = smtp.docmd(command)
        if code >= 400:
            return code, reply
    return smtp.data(text)


def queued(queue: Path) -> list[tuple[str, list[str], bytes]]:
    store = open_store(Settings.of({"queue_directory": str(queue)}))
    found = []
    for queue_id in store.scan("incoming"):
        stored = store.read("incoming", queue_id)
        if stored.envelope.is_bounce:       # the postmaster is told of faults
            continue
        with open(store.path("incoming", queue_id), "rb") as file:
            file.seek(stored.offset)
            found.append((stored.envelope.sender, [one.address for one in stored.recipients], file.read(stored.size)))
    return found


def test_the_example_of_the_documentation(queue: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def story(smtp: smtplib.SMTP) -> Any:
        smtp.ehlo()
        smtp.mail("a@far.test")
        return smtp.rcpt("b@far.test"), smtp.rcpt("b@example.test"), smtp.data(TEXT)

    refused, fine, (code, reply) = run(queue, f"{HERE}:ExampleHandler", story)
    assert refused == (550, b"not relaying to that domain") and fine == (250, b"OK")
    assert code == 250 and reply.startswith(b"2.0.0 Ok: queued as ")
    out = capsys.readouterr().out
    assert "Message from a@far.test\nMessage for ['b@example.test']\n" in out
    assert "> Subject: one\n" in out and "> ..dot\n" in out and "Received" not in out
    (sender, to, content), = queued(queue)
    assert (sender, to) == ("a@far.test", ["b@example.test"]) and content.endswith(b"\nbody\n..dot\n")


def test_every_hook(queue: Path, seen: list[Any]) -> None:
    def story(smtp: smtplib.SMTP) -> Any:
        said = [smtp.helo("old.test"), smtp.ehlo("new.test"), smtp.docmd("NOOP x"), smtp.docmd("VRFY b"),
                smtp.docmd("MAIL FROM:<bad@far.test>"), smtp.docmd("MAIL FROM:<a@far.test> SIZE=100"),
                smtp.docmd("RSET"), smtp.docmd("MAIL FROM:<a@far.test>"), smtp.docmd("RCPT TO:<later@example.test>"),
                smtp.docmd("RCPT TO:<b@example.test> NOTIFY=NEVER"), smtp.data(TEXT), sent(smtp, b"\r\nspam\r\n"),
                sent(smtp, b"\r\nmissing\r\n"), smtp.docmd("QUIT")]
        with pytest.raises(smtplib.SMTPServerDisconnected):
            smtp.noop()
        return said

    said = run(queue, f"{HERE}:Watches", story)
    assert said[0] == (250, b"hello old.test")
    assert b"X-MINE" in said[1][1] and b"VRFY" not in said[1][1] and b"\nPIPELINING" in said[1][1]
    assert said[2:10] == [
        (250, b"noop x"), (252, b"perhaps b"), (553, b"5.7.9 no mail from you"), (250, b"2.1.0 sender is fine"),
        (250, b"reset"), (250, b"2.1.0 sender is fine"), (450, b"4.2.0 try later"), (250, b"2.1.5 recipient is fine")]
    assert said[10][1].startswith(b"2.0.0 Ok: queued as ")
    assert said[11] == (554, b"5.7.9 spam\nreally")
    assert said[12][0] == 250 and said[13] == (221, b"so long")
    assert seen[:7] == [
        ("HELO", "old.test", "127.0.0.1"), ("EHLO", "new.test", ["250-VRFY"]),
        ("MAIL", "a@far.test", ["SIZE=100"], True, None), ("RSET", "a@far.test"),
        ("MAIL", "a@far.test", [], True, None), ("RCPT", "b@example.test", ["NOTIFY=NEVER"]),
        ("DATA", "a@far.test", ["b@example.test"], seen[6][3])]
    content = seen[6][3]
    assert content.startswith(b"Subject: one\r\nFrom: a@far.test\r\n") and content.endswith(b"\r\nbody\r\n..dot\r\n")
    assert len(queued(queue)) == 2


@pytest.mark.parametrize(("plugin", "line"), [("OldEhlo", b"X-PUSHED\nX-OLD"), ("Watches", b"X-MINE")])
def test_ehlo(plugin: str, line: bytes, queue: Path) -> None:
    code, reply = run(queue, f"{HERE}:{plugin}", lambda smtp: smtp.ehlo("c.test"))
    assert code == 250 and reply.endswith(line) and reply.startswith(b"mx.example.test\nPIPELINING\n")


def test_ehlo_may_be_refused(queue: Path) -> None:
    assert run(queue, f"{HERE}:RefusesEhlo", lambda smtp: smtp.ehlo("c.test")) == (550, b"5.7.1 not you")


@pytest.mark.parametrize(("plugin", "text", "reply"), [
    ("OldStyle", TEXT, None), ("OldStyle", b"\r\nspam\r\n", (550, b"5.7.1 old refusal")),
    ("Raises", TEXT, FAILED), ("RaisesAtData", TEXT, FAILED), ("Nonsense", TEXT, FAILED), ("Hangs", TEXT, FAILED),
    ("Explains", TEXT, (542, b"5.3.0 ZeroDivisionError"))])
def test_refusals_and_faults(plugin: str, text: bytes, reply: tuple[int, bytes] | None, queue: Path,
                             caplog: pytest.LogCaptureFixture) -> None:
    def story(smtp: smtplib.SMTP) -> Any:
        first = sent(smtp, text)
        assert smtp.noop()[0] == 250, "the connection lives on"
        return first

    got = run(queue, f"{HERE}:{plugin}", story, smtpd_handlers_timeout="1s" if plugin == "Hangs" else "60s")
    assert got == reply if reply else got[0] == 250
    assert len(queued(queue)) == (reply is None)
    assert plugin not in ("Raises", "RaisesAtData") or "ZeroDivisionError: in a plug-in" in caplog.text


def test_the_first_objection_counts(queue: Path, seen: list[Any]) -> None:
    got = run(queue, f"{HERE}:Explains, {HERE}:Watches", sent)
    assert got == (542, b"5.3.0 ZeroDivisionError")
    assert not [one for one in seen if one[0] == "RCPT"]


def test_what_a_plugin_changes_is_queued(queue: Path, seen: list[Any]) -> None:
    run(queue, f"{HERE}:Changes {HERE}:Watches", lambda smtp: sent(smtp, TEXT, "b@example.test", "d@example.test"))
    (sender, to, content), = queued(queue)
    assert (sender, to) == ("new@far.test", ["c@example.test"])
    assert content.startswith(b"Received: from c.test ") and content.endswith(
        b"\nSubject: new\nX-New: yes\n\nnew body\n")
    assert seen[-1][3] == b"Subject: new\r\nX-New: yes\r\n\r\nnew body\r\n", "the next one sees it"


# --- memory -----------------------------------------------------------------------------------------------------

LARGE = b"Subject: x\r\n\r\n" + b"0123456789abcd\r\n" * 20_000


def test_a_large_message(queue: Path, seen: list[Any]) -> None:
    assert run(queue, f"{HERE}:Watches", lambda smtp: sent(smtp, LARGE))[0] == 250
    assert seen[-1][3].endswith(LARGE.partition(b"\r\n\r\n")[2])


def test_too_large_for_memory_but_not_for_blocks(queue: Path, seen: list[Any]) -> None:
    assert run(queue, f"{HERE}:Watches", lambda smtp: sent(smtp, LARGE), smtpd_handlers_size_limit="100000") == (
        552, b"5.3.4 Error: message too big for a plug-in")
    assert run(queue, f"{HERE}:Streams", lambda smtp: sent(smtp, LARGE), smtpd_handlers_size_limit="100000")[0] == 250
    assert seen[-1] == (None, 15 * 20_000)


# --- aiosmtpd's own handlers ------------------------------------------------------------------------------------

def test_sink(queue: Path) -> None:
    assert run(queue, "aiosmtpd.handlers:Sink", sent)[0] == 250
    assert len(queued(queue)) == 1


def test_debugging(queue: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(queue, "{ aiosmtpd.handlers:Debugging stdout }", sent)
    out = capsys.readouterr().out
    assert "---------- MESSAGE FOLLOWS ----------" in out and "X-Peer: ('127.0.0.1', " in out and "\nbody\n" in out


def test_mailbox_takes_the_message_itself(queue: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    folder = tmp_path / "maildir"
    got = run(queue, f"{{ aiosmtpd.handlers:Mailbox {folder} }}", sent, smtpd_handlers_deliver="no")
    assert got == (250, b"OK") and not queued(queue)
    message, = mailbox.Maildir(folder)
    assert (message["X-MailFrom"], message["X-RcptTo"]) == ("a@far.test", "b@example.test")
    assert "taken by aiosmtpd.handlers:Mailbox: 250 OK" in caplog.text


@pytest.mark.parametrize("plugin", ["Keeps", "KeepsLater"])
def test_message_handlers(plugin: str, queue: Path, seen: list[Any]) -> None:
    run(queue, f"{HERE}:{plugin}", sent)
    assert seen[0]["Subject"] == "one" and seen[0]["X-Peer"].startswith("('127.0.0.1'")
    assert len(queued(queue)) == 1


def test_proxy(queue: Path, seen: list[Any]) -> None:
    port = free_port()
    far = Controller(plugins.Keeps(), hostname="127.0.0.1", port=port)
    far.start()
    try:
        got = run(queue, f"{{ aiosmtpd.handlers:Proxy 127.0.0.1 {port} }}", sent, smtpd_handlers_deliver="no")
    finally:
        far.stop()
    assert got == (250, b"OK") and not queued(queue)
    message, = seen
    assert (message["X-MailFrom"], message["X-RcptTo"]) == ("a@far.test", "b@example.test")
    assert "127.0.0.1" in message.get_all("X-Peer")


# --- AUTH -------------------------------------------------------------------------------------------------------

def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(("lines", "codes"), [
    pytest.param([f"AUTH PLAIN {b64(chr(0) + 'joe' + chr(0) + 'right')}"], [235], id="initial"),
    pytest.param(["AUTH PLAIN", b64(chr(0) + "joe" + chr(0) + "right")], [334, 235], id="challenge"),
    pytest.param([f"AUTH PLAIN {b64(chr(0) + 'joe' + chr(0) + 'wrong')}"], [535], id="wrong password"),
    pytest.param(["AUTH PLAIN", "*"], [334, 501], id="given up"),
    pytest.param(["AUTH PLAIN", "!!"], [334, 535], id="no base64"),
    pytest.param(["AUTH PLAIN", b64("x")], [334, 454], id="a plug-in that raises"),
    pytest.param(["AUTH X-QUESTIONS", b64("joe"), b64("blue")], [334, 334, 235], id="two questions"),
    pytest.param(["AUTH X-QUESTIONS", b64("joe"), b64("red")], [334, 334, 535], id="wrong answer"),
    pytest.param(["AUTH X-QUESTIONS", b64("root")], [334, 530], id="its own reply"),
    pytest.param(["AUTH LOGIN"], [535], id="not offered")])
def test_logins(lines: list[str], codes: list[int], queue: Path, seen: list[Any]) -> None:
    def story(smtp: smtplib.SMTP) -> Any:
        assert b"AUTH PLAIN X-QUESTIONS" in smtp.ehlo("c.test")[1]
        said = [smtp.docmd(line)[0] for line in lines]
        sent(smtp)
        return said

    assert run(queue, f"{HERE}:Logins", story) == codes
    authenticated, login = seen[0]
    assert bool(authenticated) == (codes[-1] == 235)
    assert not authenticated or getattr(login, "login", b"joe") == b"joe"


def test_a_client_that_goes_in_the_middle_of_a_login(queue: Path) -> None:
    def story(smtp: smtplib.SMTP) -> Any:
        smtp.ehlo("c.test")
        code = smtp.docmd("AUTH PLAIN")[0]
        smtp.close()
        return code

    assert run(queue, f"{HERE}:Logins", story) == 334


# --- loading ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("text", [
    "nodots", HERE, "no.such.module:X", f"{HERE}:NoSuch", "{}", f"{{ {HERE}:Watches argument }}",
    "aiosmtpd.handlers:Mailbox", "{ aiosmtpd.handlers:Debugging nowhere }", "{ aiosmtpd.handlers:Sink"])
def test_what_cannot_be_loaded(text: str) -> None:
    with pytest.raises(ConfigError):
        load_handlers(text)


def test_loading(tmp_path: Path) -> None:
    (tmp_path / "own_plugin_of_a_site.py").write_text("class A:\n    pass\nb = A()\n")
    first, second = load_handlers("own_plugin_of_a_site:A own_plugin_of_a_site:b", str(tmp_path))
    assert type(first.handler) is type(second.handler) and first.handler is not second.handler
    assert load_handlers("") == []
