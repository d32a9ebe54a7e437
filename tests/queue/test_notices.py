"""Who gets which notice, and what another program reads in it."""

import asyncio
import email
import email.policy
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import pytest

from mailsuite.base.errors import MailError
from mailsuite.queue.active import Ended, Message
from mailsuite.queue.agent import RecipientReport
from mailsuite.queue.bounce import Bouncer, Owed, message_id
from mailsuite.queue.envelope import Envelope, Notify, Recipient, Ret
from mailsuite.queue.verp import verp_sender
from mailsuite.smtp.dsn import fits_verp
from tests.queue.support import World

CONTENT = (b"Received: from c.test\nFrom: s@mx.test\nMessage-Id: <1@far.test>\nSubject: s\n"
           b"Date: Sat, 21 Nov 2026 05:00:00 +0000\n\nbody\n")
NO = RecipientReport(1, 7, "bounced", "5.1.1", "host far.test[192.0.2.1] said: 550 5.1.1 no such user",
                     relay="far.test[192.0.2.1]:25", diagnostic="smtp; 550 5.1.1 no such user",
                     remote_mta="dns; far.test")
LATER = RecipientReport(1, 7, "deferred", "4.2.0", "busy", relay="x")
YES = RecipientReport(1, 7, "sent", "2.0.0", "delivered to mailbox", relay="local")


class Letters:
    """A bouncer whose notices can be read. sent: (envelope sender, recipients, the message)."""

    def __init__(self, top: Path, **values: str) -> None:
        self.world = World(top, **{"notify_classes": "", "smtputf8_enable": "yes", **values})
        self.bouncer = Bouncer(self.world.settings, self.world.cleanup)
        self._path = top / "original"
        self._path.write_bytes(CONTENT)

    def message(self, sender: str = "s@mx.test", content: bytes = CONTENT, **envelope: object) -> Message:
        self._path.write_bytes(content)
        return Message("4A2F1C83D", Envelope(sender=sender, **envelope), 0, len(content), [], 0.0,  # type: ignore[arg-type]
                       str(self._path))

    def failure(self, message: Message, *ended: Ended) -> list[tuple[str, list[str], EmailMessage]]:
        asyncio.run(self.bouncer.failure(message, list(ended)))
        return self.sent()

    def sent(self) -> list[tuple[str, list[str], EmailMessage]]:
        found = []
        for told in self.world.told:
            stored = self.world.store.read("incoming", told["id"])
            octets = self.world.content("incoming", told["id"])
            read = email.message_from_bytes(octets, policy=email.policy.default.clone(utf8=True))
            assert isinstance(read, EmailMessage)
            found.append((stored.envelope.sender, [one.address for one in stored.recipients], read))
        self.world.told.clear()
        return found


def failed(address: str, notify: Notify = Notify.NONE, orcpt: str = "") -> Ended:
    return Ended(Recipient(address, address, orcpt or f"rfc822;{address}", notify, 7), NO)


def fields(part: EmailMessage) -> tuple[EmailMessage, list[EmailMessage]]:
    """The fields of a delivery-status part: for the message, for each recipient."""
    first, *others = part.iter_parts() if part.is_multipart() else []
    return first, others  # type: ignore[return-value]


# --- who is told ----------------------------------------------------------------------------------------------------


def test_verp_tells_of_each_recipient_apart(tmp_path: Path) -> None:
    letters = Letters(tmp_path, notify_classes="bounce")
    sent = letters.failure(letters.message("list@mx.test", verp="+="), failed("a@far.test"), failed("b@far.test"),
                           failed("c@far.test", Notify.NEVER))
    assert [(sender, to) for sender, to, _ in sent] == [
        ("", ["list+a=far.test@mx.test"]), ("double-bounce@mx.test", ["postmaster@mx.test"]),
        ("", ["list+b=far.test@mx.test"]), ("double-bounce@mx.test", ["postmaster@mx.test"]),
        ("double-bounce@mx.test", ["postmaster@mx.test"])]


def test_disable_verp_bounces(tmp_path: Path) -> None:
    letters = Letters(tmp_path, disable_verp_bounces="yes")
    sent = letters.failure(letters.message("list@mx.test", verp="+="), failed("a@far.test"), failed("b@far.test"))
    assert [(sender, to) for sender, to, _ in sent] == [("", ["list@mx.test"])]
    assert len(fields(list(sent[0][2].iter_parts())[1])[1]) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize(("recipient", "want"), [
    (Recipient("u@far.test", "user@far.test"), "list-user=far.test@mx.test"),
    (Recipient("u@mx.test", "u"), "list-u@mx.test"),
    (Recipient("u+ext@far.test"), "list-u+ext=far.test@mx.test"),
    (Recipient('a b@far.test'), "list-a b=far.test@mx.test"),
])
def test_verp_senders(recipient: Recipient, want: str) -> None:
    assert verp_sender("-=", "list@mx.test", recipient) == want


@pytest.mark.parametrize(("delimiters", "fine"), [("+=", True), ("==", True), ("+", False), ("", False), ("+=-", False),
                                                  ("xy", False)])
def test_verp_delimiters(delimiters: str, fine: bool) -> None:
    assert fits_verp(delimiters, "-=+") is fine


@pytest.mark.parametrize(("classes", "told"), [("", []), ("bounce", ["postmaster@mx.test"]),
                                               ("2bounce", ["postmaster@mx.test"]), ("delay, policy", [])])
def test_a_bounce_of_a_bounce_is_for_the_postmaster(tmp_path: Path, classes: str, told: list[str]) -> None:
    letters = Letters(tmp_path, notify_classes=classes)
    sent = letters.failure(letters.message("", ret=Ret.HDRS), failed("a@far.test"))
    assert [address for _, to, _ in sent for address in to] == told
    for sender, _, notice in sent:
        assert sender == "double-bounce@mx.test"
        assert list(notice.iter_parts())[2].get_content_type() == "message/rfc822"     # whole, whatever RET says


@pytest.mark.parametrize("sender", ["double-bounce@mx.test", "DOUBLE-BOUNCE@MX.test", "double-bounce"])
def test_the_third_is_thrown_away(tmp_path: Path, sender: str, caplog: pytest.LogCaptureFixture) -> None:
    letters = Letters(tmp_path, notify_classes="bounce, 2bounce")
    assert letters.failure(letters.message(sender), failed("a@far.test")) == []
    assert "4A2F1C83D: undeliverable postmaster notification discarded" in caplog.text


@pytest.mark.parametrize(("sender", "classes", "told", "line"), [
    ("s@mx.test", "", [("", "s@mx.test")], ""),
    ("", "", [], "not sending trace/success notification for single-bounce message"),
    ("", "2bounce", [("double-bounce@mx.test", "postmaster@mx.test")], ""),
    ("double-bounce@mx.test", "2bounce", [], "not sending trace/success notification for double-bounce message")])
def test_who_hears_of_success(tmp_path: Path, sender: str, classes: str, told: list[tuple[str, str]], line: str,
                              caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    letters = Letters(tmp_path, notify_classes=classes)
    ended = [Ended(Recipient("a@mx.test", notify=Notify.SUCCESS), YES)]
    asyncio.run(letters.bouncer.success(letters.message(sender), ended))
    assert [(who, to[0]) for who, to, _ in letters.sent()] == told
    assert line in caplog.text


@pytest.mark.parametrize(("notify", "warned", "done_by_next", "told"), [
    (Notify.NONE, True, True, True), (Notify.DELAY, True, True, True), (Notify.FAILURE, True, False, False),
    (Notify.NEVER, True, False, False), (Notify.NONE, False, False, False), (Notify.SUCCESS, False, True, False),
    (Notify.SUCCESS, False, False, True)])
def test_the_end_of_a_delay(tmp_path: Path, notify: Notify, warned: bool, done_by_next: bool, told: bool) -> None:
    """confirm_delay_cleared: the next host knows nothing of the warning, so its promise to notify does not count."""
    letters = Letters(tmp_path)
    message = letters.message()
    message.clears_delay = warned
    report = RecipientReport(1, 7, "sent", "2.0.0", "250 ok", relay="x", dsn_done=done_by_next)
    asyncio.run(letters.bouncer.success(message, [Ended(Recipient("a@far.test", notify=notify), report)]))
    assert bool(letters.sent()) is told


@pytest.mark.parametrize("sender", ["", "double-bounce@mx.test"])
def test_no_delay_of_a_notice_is_told(tmp_path: Path, sender: str) -> None:
    letters = Letters(tmp_path, notify_classes="delay, 2bounce, bounce")
    asyncio.run(letters.bouncer.delay(letters.message(sender), [Ended(Recipient("a@far.test"), LATER)], 5))
    assert letters.sent() == []


def test_only_what_could_not_be_told_stays_owed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    letters = Letters(tmp_path)
    real: Callable[..., object] = letters.bouncer._send

    async def send(message: Message, template: object, ended: list[Ended], *rest: object, **options: object) -> None:
        if ended[0].recipient.address == "b@far.test":
            raise MailError("Insufficient system storage", status="4.3.1")
        await real(message, template, ended, *rest, **options)  # type: ignore[misc]

    monkeypatch.setattr(letters.bouncer, "_send", send)
    with pytest.raises(Owed) as caught:
        letters.failure(letters.message("list@mx.test", verp="+="), failed("a@far.test"), failed("b@far.test"),
                        failed("c@far.test"))
    assert [one.recipient.address for one in caught.value.owed] == ["b@far.test"]
    assert [to for _, to, _ in letters.sent()] == [["list+a=far.test@mx.test"], ["list+c=far.test@mx.test"]]


# --- what is in it --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("envelope", "values", "kind"), [
    ({}, {}, "message/rfc822"), ({"ret": Ret.HDRS}, {}, "text/rfc822-headers"),
    ({"ret": Ret.FULL}, {}, "message/rfc822"),
    ({}, {"bounce_size_limit": "20"}, "text/rfc822-headers"),
    ({"ret": Ret.FULL}, {"bounce_size_limit": "20"}, "text/rfc822-headers"),
    ({"lines": 7}, {"bounce_size_limit": str(len(CONTENT) + 6)}, "text/rfc822-headers"),
    ({"lines": 7}, {"bounce_size_limit": str(len(CONTENT) + 7)}, "message/rfc822"),
    ({"smtputf8": True}, {}, "message/global"), ({"smtputf8": True, "ret": Ret.HDRS}, {}, "message/global-headers")])
def test_mail_programs_read_a_failure(tmp_path: Path, envelope: dict[str, object], values: dict[str, str],
                                      kind: str) -> None:
    letters = Letters(tmp_path, **values)
    [(_, _, notice)] = letters.failure(letters.message(envid="env 1", **envelope),
                                       failed("no@far.test", orcpt="rfc822;old+a@orig.test"))
    assert (notice.get_content_type(), notice.get_param("report-type")) == ("multipart/report", "delivery-status")
    assert notice["Auto-Submitted"] == "auto-replied"
    assert notice["From"].addresses[0].display_name == "Mail Delivery System"
    text, status, original = notice.iter_parts()
    assert "<no@far.test>: host far.test[192.0.2.1] said:" in text.get_content()
    global_ = kind.startswith("message/global")
    assert status.get_content_type() == f"message/{'global-' if global_ else ''}delivery-status"
    if not global_:             # the email package splits what it knows
        about, [recipient] = fields(status)  # type: ignore[arg-type]
        assert (about["Reporting-MTA"], about["Original-Envelope-Id"]) == ("dns; mx.test", "env 1")
        assert [recipient[name] for name in ("Final-Recipient", "Original-Recipient", "Action", "Status", "Remote-MTA",
                                             "Diagnostic-Code")] == [
            "rfc822; no@far.test", "rfc822;old+a@orig.test", "failed", "5.1.1", "dns; far.test",
            "smtp; 550 5.1.1 no such user"]
    assert original.get_content_type() == kind
    octets = original.as_bytes()
    assert b"Message-Id: <1@far.test>" in octets
    assert (b"body" in octets) is ("headers" not in kind)
    assert notice.defects == []


def test_a_delay_says_until_when(tmp_path: Path) -> None:
    letters = Letters(tmp_path, delay_warning_time="4h")
    asyncio.run(letters.bouncer.delay(letters.message(), [Ended(Recipient("a@far.test"), LATER)], 432000))
    [(_, _, notice)] = letters.sent()
    text, status, original = notice.iter_parts()
    assert "could not be delivered for more than 4 hour(s).\nIt will be retried until it is 5 day(s) old." in (
        text.get_content())
    _, [recipient] = fields(status)  # type: ignore[arg-type]
    assert (recipient["Action"], bool(recipient["Will-Retry-Until"])) == ("delayed", True)
    assert original.get_content_type() == "text/rfc822-headers"


@pytest.mark.parametrize(("report", "action"), [
    (YES, "delivered"), (RecipientReport(1, 7, "sent", "2.0.0", "ok", action="relayed"), "relayed"),
    (RecipientReport(1, 7, "sent", "2.0.0", "ok", action="expanded"), "expanded")])
def test_what_success_means(tmp_path: Path, report: RecipientReport, action: str) -> None:
    letters = Letters(tmp_path)
    ended = [Ended(Recipient("a@mx.test", notify=Notify.SUCCESS), report)]
    asyncio.run(letters.bouncer.success(letters.message(), ended))
    [(_, _, notice)] = letters.sent()
    _, [recipient] = fields(list(notice.iter_parts())[1])  # type: ignore[arg-type]
    assert (recipient["Action"], recipient["Status"]) == (action, "2.0.0")


def test_internationalised_addresses(tmp_path: Path) -> None:
    letters = Letters(tmp_path)
    [(_, to, notice)] = letters.failure(letters.message("ä@mx.test", smtputf8=True),
                                        failed("nö@far.test", orcpt="utf-8;nö@orig.test"), failed("no@far.test"))
    assert to == ["ä@mx.test"]
    raw = notice.as_bytes(policy=email.policy.SMTPUTF8).decode()
    assert "X-Postfix-Sender: utf-8; ä@mx.test" in raw
    assert "Final-Recipient: utf-8; nö@far.test" in raw and "Original-Recipient: utf-8;nö@orig.test" in raw
    assert "Final-Recipient: rfc822; no@far.test" in raw


@pytest.mark.parametrize(("encoding", "values", "shown", "charset"), [
    ("", {}, "8bit", "utf-8"), ("7bit", {}, "8bit", "utf-8"), ("", {"smtputf8_enable": "no"}, None, "us-ascii"),
    ("7bit", {"smtputf8_enable": "no"}, "7bit", "us-ascii"), ("8bit", {"smtputf8_enable": "no"}, "8bit", "utf-8")])
def test_encodings(tmp_path: Path, encoding: str, values: dict[str, str], shown: str | None, charset: str) -> None:
    letters = Letters(tmp_path, **values)
    [(_, _, notice)] = letters.failure(letters.message(encoding=encoding), failed("no@far.test"))
    assert notice["Content-Transfer-Encoding"] == shown
    assert next(notice.iter_parts()).get_content_charset() == charset


def test_threaded_notices(tmp_path: Path) -> None:
    letters = Letters(tmp_path, enable_threaded_bounces="yes", notify_classes="bounce")
    for _, _, notice in letters.failure(letters.message(), failed("no@far.test")):
        assert (notice["References"], notice["In-Reply-To"]) == ("<1@far.test>", "<1@far.test>")


@pytest.mark.parametrize(("header", "want"), [
    (b"Subject: s\nMESSAGE-ID: <1@c.test>\nMessage-Id: <2@c.test>\n", "<1@c.test>"),
    (b"Message-Id:   <1 a@c.test>  \n", "<1 a@c.test>  "),
    (b"Message-Id: <1@c.test> <2@c.test>\n", "<1@c.test> <2@c.test>"),
    (b"Message-Id:\n <1@c.test>\n", ""), (b"Message-Id: <1@c.test> (comment)\n", ""), (b"Message-Id: 1@c.test\n", ""),
    (b"Resent-Message-Id: <1@c.test>\n", ""), (b"", ""), (b"Message-Id: <" + b"x" * 3000 + b">\n", "")])
def test_message_ids_that_can_be_answered(header: bytes, want: str) -> None:
    assert message_id(header) == want
