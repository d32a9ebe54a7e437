"""TLS between us and the real Postfix and Exim: our client with their servers at every level, theirs with ours."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from mailsuite.deliver import smtp as agent_module
from mailsuite.deliver.agent import serve_agent
from mailsuite.deliver.smtp import RemoteAgent
from mailsuite.dns.resolver import Resolver
from mailsuite.net.service import ServiceContext
from mailsuite.queue.agent import RecipientReport
from mailsuite.tls.fingerprints import fingerprint
from tests.deliver.harness import Qmgr, with_agent
from tests.support.chains import World, chain, make_world
from tests.support.exim import exim
from tests.support.suite import Suite, free_port, open_folder, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("remote"),
              pytest.mark.skipif(os.geteuid() != 0, reason="Postfix and Exim are started as root")]

MASTER_CF = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {top}/spool
data_directory = {top}/data
maillog_file_prefixes = {top}
maillog_file = {top}/mail.log
myhostname = peer.demo.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
default_transport = discard:
smtpd_tls_security_level = may
smtpd_tls_loglevel = 1
smtpd_tls_chain_files = {chains}/here.pem
smtpd_tls_CAfile = {chains}/root.crt
smtp_tls_loglevel = 1
smtp_host_lookup = native
smtp_tls_CAfile = {authority}
sender_dependent_default_transport_maps = inline:{{ {transports} }}
"""
LEVELS = ("may", "encrypt", "verify", "secure")


@pytest.fixture(scope="module")
def chains() -> Iterator[World]:
    """Certificates for localhost, readable for Postfix's account."""
    with open_folder("chains.") as folder:
        world = make_world(folder)
        world.leaf("here", "localhost", names=["localhost"])
        world.leaf("me", "here.test", names=["here.test"], for_clients=True)
        for path in folder.iterdir():
            path.chmod(0o644)
        yield world


class Postfix:
    """A real one: it discards what it gets, and takes mail of level@from.test to our smtpd at that level."""

    def __init__(self, top: Path, chains: World, suite: Suite) -> None:
        self.top, self.ports = top, {name: free_port() for name in ("plain", "anonymous", "wrapped", "strict")}
        for name in ("etc", "spool", "data"):
            (top / name).mkdir()
        shutil.chown(top / "data", "postfix")
        where = f"[localhost]:{suite.ports['smtp']}"
        transports = ", ".join(f"{{{level}@from.test = t-{level}:{where}}}" for level in LEVELS)
        (top / "etc/main.cf").write_text(MAIN_CF.format(top=top, chains=chains.folder, authority=suite.authority,
                                                        transports=transports))
        listeners = {"anonymous": "-o smtpd_tls_chain_files= -o smtpd_tls_cert_file=none "
                                  "-o smtpd_tls_protocols=TLSv1.2",
                     "wrapped": "-o smtpd_tls_wrappermode=yes",
                     "strict": "-o smtpd_tls_security_level=encrypt -o smtpd_tls_req_ccert=yes"}
        master = MASTER_CF.format(port=self.ports["plain"])
        for name, options in listeners.items():
            master += f"127.0.0.1:{self.ports[name]} inet n - n - - smtpd {options}\n"
        for level in LEVELS:
            master += f"t-{level} unix - - n - - smtp -o smtp_tls_security_level={level}\n"
        (top / "etc/master.cf").write_text(master)

    def run(self, *words: str, text: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(words, input=text, check=True, timeout=60, text=True, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)

    def log(self) -> str:
        path = self.top / "mail.log"
        return path.read_text(errors="replace") if path.exists() else ""


@pytest.fixture(scope="module")
def postfix(chains: World, suite: Suite) -> Iterator[Postfix]:
    if shutil.which("postfix", path="/usr/sbin") is None:
        pytest.skip("postfix is not installed")
    with open_folder("postfix-tls.") as top:
        made = Postfix(top, chains, suite)
        made.run("/usr/sbin/postfix", "-c", str(top / "etc"), "start")
        try:
            yield made
        finally:
            subprocess.run(["/usr/sbin/postfix", "-c", str(top / "etc"), "stop"], check=False, capture_output=True)


def send(nexthop: str, **settings: str) -> RecipientReport:
    """Our smtp client in this process, with one message for a nexthop."""
    async def serve(context: ServiceContext) -> None:
        identities = agent_module.prepare(context)
        agent = RemoteAgent(context.settings, "smtp", Resolver.of(context.settings), identities)
        try:
            await serve_agent(context, agent.deliver)
        finally:
            await agent.close()

    async def talk(qmgr: Qmgr) -> RecipientReport:
        return (await qmgr.ask("x@far.test", nexthop=nexthop))["x@far.test"]

    found: Any = with_agent(serve, "smtp", {"myhostname": "here.test", "inet_interfaces": "192.0.2.99",
                                            "inet_protocols": "ipv4", "smtp_tls_loglevel": "1",
                                            "smtp_host_lookup": "native"} | settings, talk)
    assert isinstance(found, RecipientReport)
    return found


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """How the log calls the connections that were made."""
    return [line.split(" TLS connection")[0] for line in caplog.messages if "TLS connection established to" in line]


@pytest.mark.parametrize(("level", "host", "status", "trust"), [
    ("may", "localhost", "sent", "Trusted"), ("encrypt", "localhost", "sent", "Trusted"),
    ("verify", "localhost", "sent", "Verified"), ("secure", "localhost", "sent", "Verified"),
    ("fingerprint", "127.0.0.1", "sent", "Verified"), ("verify", "127.0.0.1", "deferred", "Untrusted")])
def test_to_postfix(postfix: Postfix, chains: World, level: str, host: str, status: str, trust: str,
                    caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="mailsuite.smtp")
    own = fingerprint("sha256", chain(chains.folder / "here.pem")[0])
    report = send(f"[{host}]:{postfix.ports['plain']}", smtp_tls_security_level=level, compatibility_level="3.6",
                  smtp_tls_CAfile=str(chains.authority), smtp_tls_fingerprint_cert_match=own)
    assert (report.status, told(caplog)) == (status, [trust])
    assert report.reason == ("Server certificate not verified" if status == "deferred" else report.reason)


def test_to_a_postfix_without_certificate(postfix: Postfix, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="mailsuite.smtp")
    report = send(f"[127.0.0.1]:{postfix.ports['anonymous']}", smtp_tls_security_level="may")
    assert (report.status, told(caplog)) == ("sent", ["Anonymous"])
    report = send(f"[127.0.0.1]:{postfix.ports['anonymous']}", smtp_tls_security_level="secure")
    assert (report.status, report.reason) == ("deferred", "Cannot start TLS: handshake failure")


def test_to_postfix_under_tls_from_the_start(postfix: Postfix, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="mailsuite.smtp")
    report = send(f"[127.0.0.1]:{postfix.ports['wrapped']}", smtp_tls_security_level="encrypt",
                  smtp_tls_wrappermode="yes")
    assert (report.status, told(caplog)) == ("sent", ["Untrusted"])


@pytest.mark.parametrize("settings", [
    {"smtp_tls_cert_file": "me.pem", "smtp_tls_key_file": "me.pem"}, {"smtp_tls_chain_files": "me.pem"},
    {"smtp_tls_eccert_file": "me.pem", "smtp_tls_eckey_file": "me.pem"}])
def test_our_certificate_for_postfix(postfix: Postfix, chains: World, settings: dict[str, str]) -> None:
    before = postfix.log().count("Trusted TLS connection established from localhost[127.0.0.1]")
    report = send(f"[127.0.0.1]:{postfix.ports['strict']}", smtp_tls_security_level="encrypt",
                  **{name: str(chains.folder / value) for name, value in settings.items()})
    assert report.status == "sent"
    wait_for(lambda: postfix.log().count("Trusted TLS connection established from localhost[127.0.0.1]") > before)
    report = send(f"[127.0.0.1]:{postfix.ports['strict']}", smtp_tls_security_level="encrypt")
    assert report.status != "sent"


@pytest.mark.parametrize(("level", "trust"), [
    ("may", "Trusted"), ("encrypt", "Trusted"), ("verify", "Verified"), ("secure", "Verified")])
def test_from_postfix(postfix: Postfix, suite: Suite, level: str, trust: str) -> None:
    mark = uuid4().hex
    postfix.run("/usr/sbin/sendmail", "-C", str(postfix.top / "etc"), "-f", f"{level}@from.test", suite.first,
                text=f"Subject: {mark}\n\nx\n")
    message = wait_for(lambda: next((one for one in suite.messages(suite.first) if mark.encode() in one), None))
    assert isinstance(message, bytes) and b"with ESMTPS" in message
    wait_for(lambda: f"{trust} TLS connection established to localhost[127.0.0.1]:" in postfix.log())


# --- Exim -------------------------------------------------------------------------------------------------------------

EXIM = """\
primary_hostname = exim.test
exim_path = {program}
spool_directory = {top}/spool
log_file_path = {top}/%slog
pid_file_path = {top}/exim.pid
exim_user = mail
exim_group = mail
trusted_users = mail
keep_environment =
queue_only = true
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
tls_advertise_hosts = *
tls_certificate = {chains}/here.pem
tls_privatekey = {chains}/here.pem
tls_require_ciphers = NORMAL
acl_smtp_rcpt = accept
log_selector = +tls_cipher +tls_certificate_verified +tls_peerdn
qualify_domain = exim.test
begin acl
accept:
  accept
begin routers
ours:
  driver = manualroute
  domains = {domain}
  transport = remote
  route_list = * localhost
  self = send
taken:
  driver = accept
  transport = file
begin transports
file:
  driver = appendfile
  file = {top}/taken
  user = mail
remote:
  driver = smtp
  port = {ours}
  hosts_require_tls = *
  tls_verify_certificates = {authority}
  tls_verify_hosts = *
begin retry
* * F,1h,1s
"""


@pytest.fixture(scope="module")
def exim_server(chains: World, suite: Suite) -> Iterator[tuple[list[str], Path, int]]:
    """The command with its configuration, its folder, and its port."""
    program = exim()
    with open_folder("exim-peer.") as top:
        port = free_port()
        (top / "spool").mkdir()
        for path in (top, top / "spool"):
            shutil.chown(path, "mail", "mail")
        configuration = top / "exim.conf"
        configuration.write_text(EXIM.format(top=top, program=program, port=port, chains=chains.folder,
                                             domain=suite.first.split("@")[1],
                                             ours=suite.ports["smtp"], authority=suite.authority))
        command = [str(program), "-C", str(configuration)]
        with open(top / "daemon.log", "wb") as log, subprocess.Popen(
                [*command, "-bdf"], stdout=log, stderr=log) as daemon:
            try:
                wait_for(lambda: daemon.poll() is not None or "listening for SMTP" in (
                    (top / "mainlog").read_text() if (top / "mainlog").exists() else ""))
                assert daemon.poll() is None, (top / "daemon.log").read_text()
                yield command, top, port
            finally:
                daemon.terminate()


@pytest.mark.parametrize(("level", "trust"), [("may", "Trusted"), ("verify", "Verified"), ("secure", "Verified")])
def test_to_exim(exim_server: tuple[list[str], Path, int], chains: World, level: str, trust: str,
                 caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="mailsuite.smtp")
    _, top, port = exim_server
    report = send(f"[localhost]:{port}", smtp_tls_security_level=level, smtp_tls_CAfile=str(chains.authority))
    assert (report.status, told(caplog)) == ("sent", [trust])
    wait_for(lambda: "<= a@b.test H=(here.test) [127.0.0.1] P=esmtps X=TLS1.3" in (top / "mainlog").read_text())


def test_from_exim(exim_server: tuple[list[str], Path, int], suite: Suite) -> None:
    """It sends under TLS only, and only with a certificate that it trusts (hosts_require_tls, tls_verify_hosts)."""
    command, _, _ = exim_server
    mark = uuid4().hex
    subprocess.run([*command, "-odf", "-f", "friend@exim.test", suite.first], input=f"Subject: {mark}\n\nx\n",
                   text=True, check=True, timeout=60, capture_output=True)
    message = wait_for(lambda: next((one for one in suite.messages(suite.first) if mark.encode() in one), None))
    assert isinstance(message, bytes) and b"from exim.test" in message and b"with ESMTPS" in message
