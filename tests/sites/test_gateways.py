"""Several mail systems side by side: a gateway in front of an inner host, and mail that waits until it is asked for."""

import smtplib

import pytest

from tests.sites.site import FIRST, OUTSIDE, Site, both_systems, site
from tests.support.suite import wait_for

pytestmark = [pytest.mark.system, both_systems]


def test_inbound_and_outbound_gateway(system: str) -> None:
    """world -> gateway -> inner host, and inner host -> gateway -> world; strangers cannot use it to reach others."""
    with site("mailsuite", "far.test") as world, site(system, "gw.example.test") as gateway, \
            site("mailsuite", "inner.example.test") as inner:
        inner.postconf("mydestination = example.test", "myorigin = example.test",
                       f"relayhost = [127.0.0.1]:{gateway.port}")
        people = gateway.table("people", f"{FIRST}@example.test x\npostmaster@example.test x\n")
        routes = gateway.table("transport", f"example.test relay:[127.0.0.1]:{inner.port}\n")
        gateway.postconf("mydestination =", "relay_domains = example.test", f"relay_recipient_maps = {people}",
                         f"transport_maps = {routes}", f"relayhost = [127.0.0.1]:{world.port}",
                         "local_recipient_maps =", "local_transport = error:5.1.1 local mail delivery is disabled")
        world.postconf("mydestination = far.test", f"relayhost = [127.0.0.1]:{gateway.port}")
        assert gateway.command("postmap", "-q", "example.test", routes) == f"relay:[127.0.0.1]:{inner.port}\n"
        for one in (world, gateway, inner):
            one.start()
        world.send(f"{FIRST}+in@example.test", sender=f"{FIRST}@far.test", subject="inwards")
        inwards = inner.wait_mailbox(FIRST)[0]
        received = [line for line in inwards.splitlines() if line.startswith(("Received: from", "\tby "))]
        assert [line.split()[1] for line in received if line.startswith("\tby ")] == [
            "inner.example.test", "gw.example.test", "far.test"]
        assert f"\nDelivered-To: {FIRST}+in@example.test\n" in inwards
        inner.send(f"{FIRST}@far.test", sender=f"{FIRST}@example.test", subject="outwards")
        outwards = world.wait_mailbox(FIRST)[0]
        assert f"\nReturn-Path: <{FIRST}@example.test>\n" in outwards and "by gw.example.test" in outwards
        assert gateway.answer("x@elsewhere.test", client=OUTSIDE) == "454 4.7.1 <x@elsewhere.test>: Relay access denied"
        assert gateway.answer(f"{FIRST}@example.test", client=OUTSIDE) == "250 2.1.5 Ok"
        assert gateway.answer("ghost@example.test", client=OUTSIDE) == (
            "550 5.1.1 <ghost@example.test>: Recipient address rejected: User unknown in relay recipient table")
        gateway.wait_log(f"relay=127.0.0.1[127.0.0.1]:{inner.port}")


def deferred(mx: Site) -> str:
    """The listing once a message is in the deferred queue, a moment after its deferral was logged; a flush finds it."""
    def listed() -> str:
        listing = mx.command("postqueue", "-p")
        return listing if "(deferred transport)" in listing and "* " not in listing else ""

    return str(wait_for(listed))


def test_mail_waits_for_its_site(system: str) -> None:
    """A host that is up now and then: defer_transports, postqueue -p, postqueue -s and ETRN."""
    with site("mailsuite", "dialup.test") as dialup, site(system) as mx:
        dialup.postconf("mydestination = dialup.test")
        routes = mx.table("transport", f"dialup.test ondemand:[127.0.0.1]:{dialup.port}\n")
        mx.service("ondemand unix - - n - - smtp")
        mx.postconf("relay_domains = dialup.test", f"transport_maps = {routes}", "defer_transports = ondemand")
        mx.start()
        dialup.start()
        assert mx.command("postqueue", "-p") == "Mail queue is empty\n"
        mx.send(f"{FIRST}@dialup.test", subject="waits")
        mx.wait_log("status=deferred (deferred transport)")
        listing = deferred(mx)
        assert listing.startswith("-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------\n")
        assert "sender@far.test" in listing and "(deferred transport)" in listing
        assert f"\n                                         {FIRST}@dialup.test\n" in listing
        assert listing.endswith(" in 1 Request.\n")
        mx.command("postqueue", "-s", "dialup.test")
        assert "Subject: waits" in dialup.wait_mailbox(FIRST)[0]
        mx.wait_log("status=sent (250 2.0.0 Ok: queued as")
        mx.send(f"{FIRST}@dialup.test", subject="fetched")
        mx.wait(lambda: [line for line in mx.log().splitlines() if "(deferred transport)" in line], 2)
        deferred(mx)
        with smtplib.SMTP("127.0.0.1", mx.port, timeout=20) as smtp:
            smtp.ehlo("dialup.test")
            assert smtp.docmd("ETRN", "dialup.test")[0] == 250
        assert "Subject: fetched" in dialup.wait_mailbox(FIRST, 2)[1]
