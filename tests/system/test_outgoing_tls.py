"""A whole suite sends under MTA-STS and REQUIRETLS, fetches a policy from a web server, and reports."""

import asyncio
import contextlib
import datetime
import json
import os
import random
import smtplib
import ssl
import subprocess
import threading
from collections.abc import Iterator
from uuid import uuid4

import pytest
from aiosmtpd.controller import Controller

from tests.interop.test_unbound import Taker
from tests.support.chains import make_world
from tests.support.dns_zone import name_server
from tests.support.suite import BIN, Suite, free_port, open_folder, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("remote"),
              pytest.mark.skipif(os.geteuid() != 0, reason="policies are fetched from port 443")]
POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: mx.far.test\r\nmax_age: 86400\r\n"


@contextlib.contextmanager
def web_server(address: str, certificate: str) -> Iterator[None]:
    """The policy, on port 443 of a loopback address."""
    loop, stopped, ready = asyncio.new_event_loop(), asyncio.Event(), threading.Event()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + POLICY)
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, address, 443, ssl=context)
        ready.set()
        await stopped.wait()
        server.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(10)


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    """far.test has an MTA-STS policy, a good certificate, and wants reports; out.test is this suite itself."""
    with open_folder("chains.") as chains, open_folder() as folder, contextlib.ExitStack() as stack:
        world = make_world(chains)
        world.leaf("web", "mta-sts.far.test", names=["mta-sts.far.test"])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chains / "good.pem")
        mx = Controller(Taker(), hostname="127.0.0.2", port=free_port(), tls_context=context)
        mx.start()
        stack.callback(mx.stop)
        # Port 443 is given, so each run has a loopback address of its own.
        web = ".".join(["127", *(str(random.randint(2, 250)) for _ in range(3))])
        stack.enter_context(web_server(web, str(chains / "web.pem")))
        resolver = stack.enter_context(name_server({
            "far.test": ["MX 10 mx.far.test."], "mx.far.test": ["A 127.0.0.2"], "mta-sts.far.test": [f"A {web}"],
            "localhost": ["A 127.0.0.1"], "_mta-sts.far.test": ["TXT v=STSv1; id=1"],
            "_smtp._tls.far.test": ["TXT v=TLSRPTv1; rua=mailto:tls@far.test"]}))
        made = Suite(folder)
        authorities = made.top / "authorities.pem"
        authorities.write_bytes(made.authority.read_bytes() + world.authority.read_bytes())
        authorities.chmod(0o644)
        made.postconf(f"dns_servers=127.0.0.1:{resolver}", f"smtp_tcp_port={mx.port}", "smtp_tls_security_level=may",
                      "smtp_tls_mta_sts=yes", "smtp_tlsrpt_enable=yes", "smtp_tls_loglevel=1", "requiretls_enable=yes",
                      "inet_protocols=ipv4", "smtp_requiretls_policy=enforce", f"smtp_tls_CAfile={authorities}",
                      "relayhost=", f"smtp_generic_maps=inline:{{{{x@out.test = {made.first}}}}}",
                      f"transport_maps=inline:{{{{out.test = smtp:[localhost]:{made.ports['smtp']}}}}}")
        made.start()
        try:
            yield made
        finally:
            made.stop()


def submit(suite: Suite, recipient: str, *options: str) -> str:
    """The mark in its subject."""
    mark = uuid4().hex
    with smtplib.SMTP("localhost", suite.ports["submission"], timeout=20) as smtp:
        smtp.starttls(context=suite.tls())
        smtp.login(suite.first, suite.users[suite.first])
        smtp.sendmail(suite.first, [recipient], f"Subject: {mark}\r\n\r\nx\r\n", mail_options=options)
    return mark


def test_mta_sts_and_its_report(suite: Suite) -> None:
    days = {datetime.datetime.now(datetime.UTC).date().isoformat()}
    submit(suite, "friend@far.test")
    wait_for(lambda: "Verified TLS connection established to mx.far.test[127.0.0.2]:" in suite.log(), what=suite.log())
    wait_for(lambda: "to=<friend@far.test>" in suite.log() and "status=sent (250 2.0.0 taken)" in suite.log())
    days.add(datetime.datetime.now(datetime.UTC).date().isoformat())        # two around midnight

    def report() -> str:
        for day in days:
            done = subprocess.run([str(BIN / "mailsuite"), "-c", str(suite.top), "tlsrpt", "--day", day, "far.test"],
                                  capture_output=True, text=True, check=False, timeout=60)
            if done.returncode == 0:
                return done.stdout
        return ""

    made = json.loads(str(wait_for(report)))
    assert made["policies"][0]["policy"]["policy-type"] == "sts"
    assert made["policies"][0]["summary"] == {"total-successful-session-count": 1, "total-failure-session-count": 0}
    assert (suite.top / "data/mta_sts_cache.db").exists()


def test_requiretls_all_the_way(suite: Suite) -> None:
    mark = submit(suite, "x@out.test", "REQUIRETLS")
    wait_for(lambda: any(mark.encode() in one and b"MAILER-DAEMON" not in one
                         for one in suite.messages(suite.first)), what=suite.log())
    assert "Verified TLS connection established to localhost[127.0.0.1]:" in suite.log()


def test_requiretls_goes_no_further_than_it_may(suite: Suite) -> None:
    """The server of far.test does not know REQUIRETLS."""
    submit(suite, "secret@far.test", "REQUIRETLS")
    wait_for(lambda: "to=<secret@far.test>" in suite.log(), what=suite.log())
    line = next(line for line in suite.log().splitlines() if "to=<secret@far.test>" in line)
    assert "dsn=5.7.30, status=bounced (REQUIRETLS support required, but was not offered by host mx.far.test" in line
