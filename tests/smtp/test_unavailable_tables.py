"""A table that cannot be asked: try again later, never "not found". Postfix 3.7 was seen to give these replies."""

import smtplib
from pathlib import Path

import pytest

from mailsuite.queue.folders import make_folders
from tests.smtp.test_server import queued, settings, with_server

CONTENT = b"From: s@from.test\r\nSubject: x\r\n\r\nbody\r\n"
LOCAL, FAR, MAILBOX, RELAY = "alice@example.test", "u@remote.test", "u@vm.test", "u@relay.test"
REFUSED = "Error: queue file write error"


def dialogue(queue: Path, recipient: str, values: dict[str, str]) -> list[str]:
    """What was answered to MAIL, RCPT and the end of the message, up to the first refusal."""
    def client(port: int) -> list[str]:
        with smtplib.SMTP("127.0.0.1", port, local_hostname="c.test", timeout=60) as smtp:
            answers = [smtp.ehlo("c.test")]
            if answers[-1][0] == 250:
                answers = [smtp.mail("s@from.test")]
            if answers[-1][0] == 250:
                answers.append(smtp.rcpt(recipient))
            if answers[-1][0] == 250:
                try:
                    answers.append(smtp.data(CONTENT))
                except smtplib.SMTPDataError as error:          # not even 354
                    assert isinstance(error.smtp_error, bytes)
                    answers.append((error.smtp_code, error.smtp_error))
            return [f"{code} {text.decode()}" for code, text in answers]

    return with_server(settings(queue, notify_classes="", **values), client)


def server_error(culprit: str, kind: str) -> str:
    return f"451 4.3.5 <{culprit}>: {kind} rejected: Server configuration error"


@pytest.mark.parametrize(("values", "recipient", "want"), [
    ({"smtpd_client_restrictions": "check_client_access fail:x"}, LOCAL,
     server_error("unknown[127.0.0.1]", "Client host")),
    ({"smtpd_helo_restrictions": "check_helo_access fail:x"}, LOCAL, server_error("c.test", "Helo command")),
    ({"smtpd_sender_restrictions": "check_sender_access fail:x"}, LOCAL,
     server_error("s@from.test", "Sender address")),
    ({"smtpd_recipient_restrictions": "check_recipient_access fail:x"}, LOCAL,
     server_error(LOCAL, "Recipient address")),
    ({"smtpd_data_restrictions": "check_sender_access fail:x"}, LOCAL, server_error("s@from.test", "Sender address")),
    ({"mynetworks": "fail:x"}, FAR, f"451 4.3.0 <{FAR}>: Temporary lookup failure"),
    ({"virtual_alias_maps": "fail:x"}, LOCAL, f"451 4.3.0 <{LOCAL}>: Temporary lookup failure"),
    ({"canonical_maps": "fail:x"}, LOCAL, f"451 4.3.0 <{LOCAL}>: Temporary lookup failure"),
    ({"recipient_canonical_maps": "fail:x"}, LOCAL, f"451 4.3.0 <{LOCAL}>: Temporary lookup failure"),
    ({"sender_canonical_maps": "fail:x"}, LOCAL, f"451 4.3.0 {REFUSED}"),
    ({"transport_maps": "fail:x"}, LOCAL, f"451 4.3.0 <{LOCAL}>: Temporary lookup failure"),
    ({"relocated_maps": "fail:x"}, LOCAL, f"451 4.3.0 <{LOCAL}>: Temporary lookup failure"),
    ({"local_recipient_maps": "fail:x"}, LOCAL, f"451 4.3.0 <{LOCAL}>: Temporary lookup failure"),
    ({"mydestination": "fail:x"}, LOCAL, f"451 4.3.0 <{LOCAL}>: Temporary lookup failure"),
    ({"relay_domains": "relay.test", "relay_recipient_maps": "fail:x"}, RELAY,
     f"451 4.3.0 <{RELAY}>: Temporary lookup failure"),
    ({"relay_domains": "fail:x"}, RELAY, f"451 4.3.0 <{RELAY}>: Temporary lookup failure"),
    ({"virtual_mailbox_domains": "vm.test", "virtual_mailbox_maps": "fail:x"}, MAILBOX,
     f"451 4.3.0 <{MAILBOX}>: Temporary lookup failure"),
    ({"virtual_mailbox_domains": "fail:x"}, MAILBOX, f"451 4.3.0 <{MAILBOX}>: Temporary lookup failure"),
    ({"virtual_alias_domains": "fail:x"}, FAR, f"451 4.3.0 <{FAR}>: Temporary lookup failure"),
    ({"sender_bcc_maps": "fail:x"}, LOCAL, f"451 4.3.0 {REFUSED}"),
    ({"recipient_bcc_maps": "fail:x"}, LOCAL, f"451 4.3.0 {REFUSED}"),
    ({"header_checks": "fail:x"}, LOCAL, f"451 4.3.0 {REFUSED}"),
    ({"body_checks": "fail:x"}, LOCAL, f"451 4.3.0 {REFUSED}"),
    ({"smtpd_discard_ehlo_keyword_address_maps": "fail:x"}, LOCAL, "421 4.3.0 mx.example.test Server local data error"),
    ({"smtpd_command_filter": "fail:x"}, LOCAL, "421 4.3.0 mx.example.test Server local data error"),
], ids=lambda value: next(iter(value)) if isinstance(value, dict) else "")
def test_try_again_later(values: dict[str, str], recipient: str, want: str, tmp_path: Path) -> None:
    make_folders(str(tmp_path))
    assert dialogue(tmp_path, recipient, values)[-1] == want
    assert queued(tmp_path) == []


def test_the_same_mail_passes_with_tables_that_answer(tmp_path: Path) -> None:
    make_folders(str(tmp_path))
    names = ("virtual_alias_maps", "canonical_maps", "transport_maps", "sender_bcc_maps", "header_checks",
             "smtpd_command_filter", "relocated_maps")
    empty = dict.fromkeys(names, "internal:x")
    assert dialogue(tmp_path, LOCAL, empty)[-1].startswith("250 ")
    assert len(queued(tmp_path)) == 1
