"""pflogsumm over a site with all kinds of traffic: its counts and sums are what was sent, and nothing puzzles it."""

import re
import smtplib
import socket
import subprocess
from collections.abc import Iterator

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.interop.test_python_clients import submit
from tests.support.suite import Suite, free_port, running_suite, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("interop")]


class Far:
    """A remote host: no@ is unknown, later@ is put off once."""

    def __init__(self) -> None:
        self.asked = 0

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str,
                          options: list[str]) -> str:
        if address.startswith("no@"):
            return "550 5.1.1 no such user"
        if address.startswith("later@"):
            self.asked += 1
            if self.asked == 1:
                return "450 4.2.0 try later"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        return "250 2.0.0 Ok: queued as ABCDEF"


@pytest.fixture
def site() -> Iterator[Suite]:
    far, closed = Controller(Far(), hostname="127.0.0.1", port=free_port()), free_port()
    far.start()
    routes = f"{{far.test = smtp:[127.0.0.1]:{far.port}}}, {{closed.test = smtp:[127.0.0.1]:{closed}}}"
    senders = "{hold@b.test = HOLD please}, {drop@b.test = DISCARD}, {warn@b.test = WARN careful}"
    try:
        with running_suite(f"transport_maps = inline:{{ {routes} }}",
                           f"smtpd_sender_restrictions = check_sender_access inline:{{ {senders} }}") as made:
            yield made
    finally:
        far.stop()


def send(site: Suite, sender: str, *to: str) -> None:
    with smtplib.SMTP("127.0.0.1", site.ports["smtp"], timeout=20) as smtp:
        smtp.ehlo("client.test")
        smtp.sendmail(sender, to, b"Subject: s\r\nMessage-Id: <m@client.test>\r\n\r\nbody\r\n")


def sums(text: str) -> dict[str, str]:
    """"received" -> "8" of the grand totals; "deferrals" too."""
    totals = text.partition("Grand Totals")[2].partition("smtpd\n")[0].partition("Per-")[0]
    found = {name.strip(): count for count, name in re.findall(r"^ +(\d+[kmg]?) +([a-z][a-z /]*)", totals, re.M)}
    found["deferrals"] = next(iter(re.findall(r"\((\d+) +deferrals\)", totals)), "0")
    return found


@pytest.mark.needs("pflogsumm")
def test_the_counts_are_what_was_sent(client: str, site: Suite) -> None:
    log = site.top / "log/mail.log"

    def seen(text: str, count: int = 1) -> None:
        wait_for(lambda: log.read_text().count(text) >= count, what=f"{text}\n{log.read_text()}")

    submit(site, site.first, site.second, "to a neighbour")                       # received, delivered
    send(site, site.first, "no@far.test", "ok@far.test")                          # delivered, bounced, and the notice
    send(site, site.second, "later@far.test", "x@closed.test")                    # deferred twice, then one delivered
    seen("status=deferred", 2)
    seen("status=bounced")
    wait_for(lambda: '"queue_name": "deferred"' in site.program("postqueue", "-j").stdout)    # logged earlier
    assert site.program("postqueue", "-f").returncode == 0
    seen("status=deferred", 3)
    send(site, "warn@b.test", site.first)                                         # a warning, delivered
    send(site, "hold@b.test", site.first)                                         # held: taken in only later
    send(site, "drop@b.test", site.first)                                         # discarded
    with smtplib.SMTP("127.0.0.1", site.ports["smtp"], timeout=20) as smtp, pytest.raises(
            smtplib.SMTPRecipientsRefused):
        smtp.sendmail(site.first, ["nosuch@demo.test"], b"x\r\n")                 # rejected
    with socket.create_connection(("127.0.0.1", site.ports["smtp"]), timeout=20) as plain:
        plain.recv(1000)
    seen("status=sent", 5)
    seen("lost connection after CONNECT")
    done = subprocess.run([client, "--verbose-msg-detail", "-e", "--smtpd-stats", str(log)], capture_output=True,
                          text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    found, text = sums(done.stdout), log.read_text()
    came = re.findall(r"smtpd\[\d+\]: (\w+): client=", text)
    sizes = dict(re.findall(r"qmgr\[\d+\]: (\w+): from=<[^>]*>, size=(\d+),", text))
    assert {name: found[name] for name in ("received", "delivered", "forwarded", "deferred", "deferrals", "bounced",
                                           "rejected", "held", "discarded")} == {
        # neighbour, bounce and its notice, deferred, warned; the held one is received by smtpd as well
        "received": "6", "delivered": "5", "forwarded": "0", "deferred": "1", "deferrals": "3", "bounced": "1",
        "rejected": "1", "held": "1", "discarded": "1"}, done.stdout
    assert (found["senders"], found["recipients"]) == ("3", "4"), done.stdout
    assert int(found["bytes received"]) == sum(int(sizes.get(queue_id, 0)) for queue_id in came)
    assert "unrecognized" not in done.stdout.lower()
    assert "\nWarnings: none\n" in done.stdout, done.stdout
    assert "450 4.2.0 try later" in done.stdout and "User unknown in virtual mailbox table" in done.stdout
