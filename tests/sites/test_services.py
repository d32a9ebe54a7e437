"""Programs beside the mail system: autoreply, mailing list, content filter, a store behind LMTP."""

import sys
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.sites.site import FIRST, NOBODY, SECOND, Site, both_systems, site
from tests.support.suite import free_port

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("sites")]

# Says an SMTP dialogue line by line: Debian's sendmail takes no other configuration than /etc/postfix from users.
TALK = """\
#!/bin/bash
# send PORT SENDER RECIPIENT...: the message on standard input, by SMTP
port=$1 sender=$2; shift 2
exec 3<>/dev/tcp/127.0.0.1/$port
say() { printf '%s\\r\\n' "$1" >&3; }
hear() {
    while IFS= read -r line <&3; do
        case $line in ???-*) ;; [23]*) return;; *) echo "$line" >&2; exit 75;; esac
    done
}
hear; say "EHLO localhost"; hear; say "MAIL FROM:<$sender>"; hear
for to in "$@"; do say "RCPT TO:<$to>"; hear; done
say DATA; hear; sed 's/^\\./../; s/$/\\r/' >&3; say .; hear; say QUIT; hear
"""


def with_sender(mx: Site) -> str:
    """A program that sends what it reads; its path."""
    return str(mx.write("out/send", TALK, 0o755))


@both_systems
def test_autoreply_by_a_pipe_service(system: str) -> None:
    """user@autoreply.one.test is a recipient like another; a program answers for it."""
    with site(system) as mx:
        program = mx.write("out/autoreply", f"""\
#!/bin/sh
# autoreply SENDER USER
cat > {mx.out}/seen
echo "$1 $2" >> {mx.out}/args
[ "$1" != MAILER-DAEMON ] || exit 0
printf 'From: %s@one.test\\nTo: %s\\nSubject: away\\nAuto-Submitted: auto-replied\\n\\nback on Monday\\n' "$2" "$1" |
    {with_sender(mx)} {mx.port} '' "$1"
""", 0o755)
        maps = mx.table("virtual", f"boss@one.test {FIRST}@localhost, boss@autoreply.one.test\n")
        transport = mx.table("transport", "autoreply.one.test autoreply:\n")
        mx.postconf("virtual_alias_domains = one.test", f"virtual_alias_maps = {maps}",
                    f"transport_maps = {transport}", "autoreply_destination_recipient_limit = 1")
        mx.service(f"autoreply unix - n n - - pipe flags= user={NOBODY.pw_name} argv={program} $sender $mailbox")
        assert mx.command("postmap", "-q", "autoreply.one.test", transport) == "autoreply:\n"
        mx.start()
        mx.send("boss@one.test", sender=f"{SECOND}@localhost", subject="question")
        found = mx.wait_mailbox(SECOND, 1 if FIRST != SECOND else 2)
        reply = next(one for one in found if "Subject: away" in one)
        assert "\nReturn-Path: <>\n" in reply and "back on Monday" in reply
        assert (mx.out / "args").read_text() == f"{SECOND}@localhost boss\n"
        question = next(one for one in mx.mailbox(FIRST) if "Subject: question" in one)
        assert "\nX-Original-To: boss@one.test\n" in question
        mx.send("boss@one.test", sender="", subject="a notice")         # nobody answers those
        mx.wait(lambda: (mx.out / "args").read_text().splitlines(), 2)
        assert (mx.out / "args").read_text().endswith("\nMAILER-DAEMON boss\n")


@both_systems
def test_a_mailing_list_by_an_alias_command(system: str) -> None:
    """The wrapper sends to the members with the owner as the sender; what fails, the owner hears."""
    with site(system) as mx:
        wrapper = mx.write("out/wrapper", f"""\
#!/bin/sh
# wrapper LIST OWNER: keeps the list's archive, sends to its members
env | LC_ALL=C grep -E '^(SENDER|RECIPIENT|LOCAL|DOMAIN|ORIGINAL_RECIPIENT)=' | sort > {mx.out}/env
sed '/^Delivered-To: /d' > {mx.out}/post.$$
cat {mx.out}/post.$$ >> {mx.out}/archive
{with_sender(mx)} {mx.port} "$2" $(cat {mx.etc}/$1.members) < {mx.out}/post.$$
""", 0o755)
        mx.write("friends.members", f"{FIRST}@localhost {FIRST}+copy@localhost\n")
        mx.write("aliases", f'postmaster: root\nfriends: "|{wrapper} friends owner-friends@localhost"\n'
                            f'broken: "|exit 67"\nowner-friends: {SECOND}\nowner-broken: {SECOND}\n')
        mx.command("postalias", f"hash:{mx.etc}/aliases")
        mx.start()
        mx.send("friends@localhost", subject="hello all")
        posts = mx.wait_mailbox(FIRST, 2)
        assert all("\nReturn-Path: <owner-friends@localhost>\n" in one and "Subject: hello all" in one for one in posts)
        assert (mx.out / "env").read_text().splitlines() == [
            "DOMAIN=localhost", "LOCAL=friends", "RECIPIENT=friends@localhost", "SENDER=owner-friends@mx.example.test"]
        mx.send("broken@localhost", subject="will fail")
        mine = 1 if FIRST != SECOND else 3
        notice = mx.wait_mailbox(SECOND, mine)[-1]
        assert "\nReturn-Path: <>\n" in notice and "<broken@localhost>: user unknown" in notice
        assert "To: owner-broken@mx.example.test" in notice


@pytest.mark.parametrize("system", ["mailsuite"])       # Debian's sendmail takes users to /etc/postfix only
def test_a_content_filter_by_command(system: str) -> None:
    """smtpd -> filter -> sendmail -> pickup: clean mail goes on, the other is refused or held back."""
    with site(system) as mx:
        sendmail = Path(sys.executable).parent / "sendmail"
        program = mx.write("out/simple_filt", f"""\
#!/bin/sh
# simple_filt -f SENDER -- RECIPIENT...
trap 'rm -f {mx.out}/in.$$' 0 1 2 3 15
cat > {mx.out}/in.$$ || {{ echo Cannot save mail to file; exit 75; }}
grep -q VIRUS {mx.out}/in.$$ && {{ echo Message content rejected; exit 69; }}
{{ echo 'X-Filtered: yes'; cat {mx.out}/in.$$; }} | {sendmail} -C {mx.etc} -i "$@"
""", 0o755)
        mx.service(f"filter unix - n n - 10 pipe flags=Rq user={NOBODY.pw_name} "
                   f"argv={program} -f ${{sender}} -- ${{recipient}}")
        assert " pipe" in mx.command("postconf", "-M", "filter/unix")
        mx.command("postconf", "-P", f"127.0.0.1:{mx.port}/inet/content_filter=filter:dummy")
        mx.start()
        mx.send(f"{FIRST}@localhost", f"{FIRST}+two@localhost", subject="clean")
        got = mx.wait_mailbox(FIRST, 2)
        assert all(one.count("X-Filtered: yes") == 1 and "\nReturn-Path: <sender@far.test>\n" in one for one in got)
        mx.send(f"{FIRST}@localhost", sender=f"{SECOND}@localhost", body="a VIRUS")
        notice = mx.wait_mailbox(SECOND, 1 if FIRST != SECOND else 3)[-1]
        assert "Command output: Message content\n    rejected" in notice or "Message content rejected" in notice


class Store:
    """An LMTP server in the place of a mail store that is no part of the mail system."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, list[str], str]] = []

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str,
                          options: list[str]) -> str:
        if address.startswith("full"):
            return "552 5.2.2 Mailbox full"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.taken.append((envelope.mail_from or "", list(envelope.rcpt_tos), envelope.content.decode()))
        return "250 2.0.0 stored"


class LmtpController(Controller):
    """aiosmtpd's server, which speaks LMTP."""

    def factory(self) -> SMTP:
        return LMTP(self.handler)


@both_systems
def test_a_store_behind_lmtp(system: str) -> None:
    """virtual_transport = lmtp:...: the mail system knows who exists, the store keeps the mail."""
    store = Store()
    server = LmtpController(store, hostname="127.0.0.1", port=free_port())
    server.start()
    try:
        with site(system) as mx:
            boxes = mx.table("vmailbox", "ann@store.test ok\nfull@store.test ok\n")
            mx.postconf("virtual_mailbox_domains = store.test", f"virtual_mailbox_maps = {boxes}",
                        f"virtual_transport = lmtp:inet:127.0.0.1:{server.port}")
            mx.start()
            mx.send("ann+tag@store.test", "full@store.test", sender=f"{FIRST}@localhost", subject="kept elsewhere")
            mx.wait(lambda: [content for _, _, content in store.taken])
            sender, recipients, content = store.taken[0]
            assert (sender, recipients) == (f"{FIRST}@localhost", ["ann+tag@store.test"])
            assert "Subject: kept elsewhere" in content and "for <" not in content
            notice = mx.wait_mailbox(FIRST)[0]
            assert "said: 552\n    5.2.2 Mailbox full" in notice or "552 5.2.2 Mailbox full" in notice
            assert mx.answer("stranger@store.test").startswith("550 5.1.1 ")
    finally:
        server.stop()
