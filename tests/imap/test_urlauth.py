"""URLAUTH: URLs that were made are good for whom they are made, until the key goes. Dialogue: urlauth.txt."""

from pathlib import Path

import pytest

from mailsuite.imap.commands.urls import BadUrl, ImapUrl, parse_url
from tests.imap.test_notify import Client, run

HOST = {"imap_urlauth_host": "*", "imap_extensions": "all"}
MAIL = ("Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n"
        "Content-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n--b\r\nContent-Transfer-Encoding: x-odd\r\n\r\nodd\r\n"
        "--b--\r\n")


async def made(client: Client, rump: str) -> str:
    lines = await client.say(f'GENURLAUTH "{rump}" INTERNAL')
    assert lines[-1].startswith("OK"), lines
    return lines[0].removeprefix("* GENURLAUTH ")


async def append(client: Client, text: str) -> None:
    assert (await client.say(f"APPEND INBOX {{{len(text)}+}}\r\n{text}"))[-1].startswith("OK")


def test_whole_parts_and_binary(tmp_path: Path) -> None:
    async def script(client: Client) -> None:
        await append(client, MAIL)
        url = await made(client, "imap://alice@any.test/INBOX/;uid=1;urlauth=user+alice")
        assert (await client.say(f"URLFETCH {url}"))[:2] == [f"* URLFETCH {url} {{{len(MAIL)}}}", "Subject: x"]
        part = await made(client, "imap://alice@any.test/INBOX/;uid=1/;section=1;urlauth=anonymous")
        assert (await client.say(f"URLFETCH {part}"))[:-1] == [f"* URLFETCH {part} {{8}}", "aGVsbG8="]
        said = await client.say(f"URLFETCH ({part} BINARY BODYPARTSTRUCTURE)")
        assert said[:2] == [f'* URLFETCH {part} (BODYPARTSTRUCTURE ("text" "plain" ("charset" "us-ascii") NIL NIL '
                            '"7bit" 5 0 NIL NIL NIL NIL)) (BINARY ~{5}', "hello)"]
        odd = await made(client, "imap://alice@any.test/INBOX/;uid=1/;section=2;urlauth=authuser")
        assert (await client.say(f"URLFETCH ({odd} BINARY)"))[0] == f"* URLFETCH {odd} (BINARY NIL)"
        cut = await made(client, "imap://alice@any.test/INBOX/;uid=1/;section=1/;partial=2.3;urlauth=anonymous")
        assert (await client.say(f"URLFETCH ({cut} BODY)"))[:2] == [f"* URLFETCH {cut} (BODY {{3}}", "Vsb)"]
        # CATENATE takes one, too
        assert (await client.say(f'APPEND INBOX CATENATE (URL "{url}")'))[-1].startswith("OK [APPENDUID")

    run(tmp_path, script, **HOST)


def test_who_may_fetch(tmp_path: Path) -> None:
    async def script(client: Client) -> None:
        await append(client, "Subject: x\r\n\r\nx\r\n")
        for access, why in (("submit+alice", "No 'submit+alice' access allowed for user alice"),
                            ("stream", "No 'stream' access allowed for user alice")):
            url = await made(client, f"imap://alice@any.test/INBOX/;uid=1;urlauth={access}")
            said = await client.say(f"URLFETCH {url}")
            assert said[0].endswith(" NIL") and said[1].endswith(f": {why}.")
        url = await made(client, "imap://alice@any.test/INBOX/;uid=1;urlauth=anonymous")
        for changed in (url.replace("uid=1", "uid=2"), url[:-1] + ("0" if url[-1] != "0" else "1"), url[:-2],
                        url.replace("anonymous", "authuser"), url.replace("INBOX", "nosuch")):
            said = await client.say(f"URLFETCH {changed}")
            assert said[0].endswith(" NIL") and said[1].endswith(": URLAUTH verification failed."), said
        other = url.replace("alice@", "bob@")
        assert (await client.say(f"URLFETCH {other}"))[0] == f"* URLFETCH {other} NIL"
        await client.say("RESETKEY INBOX")
        assert (await client.say(f"URLFETCH {url}"))[0].endswith(" NIL")

    run(tmp_path, script, **HOST)


def test_not_offered(tmp_path: Path) -> None:
    async def script(client: Client) -> None:
        for command in ("GENURLAUTH", "URLFETCH x", "RESETKEY"):
            assert (await client.say(command))[-1].startswith(
                f"BAD Error in IMAP command {command.split()[0]}: URLAUTH disabled")

    run(tmp_path, script)


@pytest.mark.parametrize(("text", "want"), [
    (b"imap://a@h/INBOX/;UID=20", ImapUrl("a", "h", None, "INBOX", 20)),
    (b"imap://a%40b.test;AUTH=*@h:993/W%C3%A4rme/x;UIDVALIDITY=7/;UID=1/;SECTION=1.2.MIME/;PARTIAL=3",
     ImapUrl("a@b.test", "h", 993, "W&AOQ-rme/x", 1, 7, b"1.2.MIME", (3, None))),
    (b"imap://a@h/I/;uid=1;expire=2030-01-01T00:00:00Z;urlauth=submit+b%20c:INTERNAL:"
     b"0123456789abcdef0123456789abcdef",
     ImapUrl("a", "h", None, "I", 1, expires_s=1893456000.0, access="submit", access_user="b c",
             rump=b"imap://a@h/I/;uid=1;expire=2030-01-01T00:00:00Z;urlauth=submit+b%20c", mechanism="internal",
             token=bytes.fromhex("0123456789abcdef0123456789abcdef"))),
])
def test_urls(text: bytes, want: ImapUrl) -> None:
    assert parse_url(text) == want


@pytest.mark.parametrize("text", [
    b"", b"imap://", b"imap://h", b"imap://a@h/", b"imap://a@h/INBOX", b"imap://a@h/INBOX/;UID=0",
    b"imap://a@h/;UID=1",
    b"imap://a@h/%ff/;UID=1", b"imap://a@h/I?x/;UID=1", b"imap://a@h/I;x/;UID=1", b"imap://a:b@h/I/;UID=1",
    b"imap://a@h/I/;UID=1;urlauth=user", b"imap://a@h/I/;UID=1;expire=2030;urlauth=anonymous",
    b"imap://" + b"x" * 9000])
def test_what_is_no_url(text: bytes) -> None:
    with pytest.raises(BadUrl):
        parse_url(text)
