"""notify_classes = protocol: what the postmaster reads of our dialogues with other servers."""

import logging
from typing import Any

import pytest

from mailsuite.deliver import transcripts
from mailsuite.smtp.server_notice import Notice
from tests.deliver.harness import Qmgr
from tests.deliver.test_smtp import Server, play


@pytest.fixture
def notices(monkeypatch: pytest.MonkeyPatch) -> list[Notice]:
    """What would be queued."""
    found: list[Notice] = []

    async def keep(settings: object, cleanup: object, notice: Notice) -> None:
        found.append(notice)

    monkeypatch.setattr(transcripts, "send_notice", keep)
    return found


def talk_to(server: Server, **settings: str) -> int:
    """One message for it; returns its port."""
    async def talk(qmgr: Qmgr) -> int:
        port = await server.start()
        await qmgr.ask("x@c.test", nexthop=f"[127.0.0.1]:{port}")
        return port

    port = play(talk, **settings)
    assert isinstance(port, int)
    return port


def test_a_server_that_does_not_understand_us(notices: list[Notice]) -> None:
    port = talk_to(Server(RCPT="500 what"), notify_classes="protocol")
    [notice] = notices
    host = f"127.0.0.1[127.0.0.1]:{port}"
    assert (notice.recipient, notice.subject) == ("postmaster", f"Postfix SMTP client: errors from {host}")
    assert notice.lines[:14] == [
        f"Unexpected response from {host}.", "", "Transcript of session follows.", "", " In:  220 far.test",
        " Out: EHLO here.test", " In:  250-far.test", " In:  250 PIPELINING", " Out: MAIL FROM:<a@b.test>",
        " Out: RCPT TO:<x@c.test>", " Out: DATA", " In:  250 2.1.0 Ok", " In:  500 what", " In:  354 go"]
    assert notice.lines[-2:] == ["", "For other details, see the local mail logfile"]


@pytest.mark.parametrize(("replies", "told"), [
    ({"MAIL": "501 5.5.4 bad"}, True), ({"RCPT": "350 odd"}, True), ({"RCPT": "junk\r\n550 5.1.1 no"}, True),
    ({"CONNECT": "502 no"}, True),
    ({".": "503 5.5.1 bad"}, True), ({"DATA": "500 what"}, True), ({}, False), ({"RCPT": "550 5.1.1 no"}, False),
    ({"RCPT": "450 4.2.0 later"}, False), ({"MAIL": "421 4.3.2 bye"}, False), ({".": "554 5.7.1 spam"}, False),
    ({"EHLO": "500 what", "HELO": "250 far.test"}, False), ({"MAIL": ""}, False)])
def test_what_is_told(notices: list[Notice], replies: dict[str, Any], told: bool) -> None:
    talk_to(Server(**replies), notify_classes="protocol")
    assert bool(notices) is told


def test_only_where_it_is_wanted(notices: list[Notice]) -> None:
    talk_to(Server(RCPT="500 what"), notify_classes="policy, resource")
    assert notices == []


def test_passwords_are_left_out(notices: list[Notice]) -> None:
    server = Server(EHLO="250-far.test\r\n250 AUTH LOGIN", AUTH="334 VXNlcm5hbWU6", MAIL="500 what", **{
        "YWxpY2U=".upper(): "334 UGFzc3dvcmQ6", "c2VjcmV0".upper(): "235 ok"})
    talk_to(server, notify_classes="protocol", smtp_sasl_auth_enable="yes", smtp_sasl_security_options="noanonymous",
            smtp_sasl_password_maps="static:alice:secret")
    [notice] = notices
    assert " Out: ..." in notice.lines and not any("c2VjcmV0" in line or "YWxpY2U" in line for line in notice.lines)


def test_a_dialogue_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mailsuite.smtp"):
        port = talk_to(Server(), debug_peer_list="127.0.0.1", notify_classes="")
    said = [record.getMessage().replace(f"127.0.0.1[127.0.0.1]:{port}: ", "") for record in caplog.records]
    assert [line for line in said if line[:1] in "<>"][:4] == [
        "< 220 far.test", "> EHLO here.test", "< 250-far.test", "< 250 PIPELINING"]
    assert "> RCPT TO:<x@c.test>" in said
