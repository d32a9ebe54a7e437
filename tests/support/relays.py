"""The real Postfix and Exim as relays: they take mail for PEER.test and pass on what is for suite.test.

    with running_postfix(folder, suite_port) as relay: relay.port, relay.messages()
    with running_exim(folder, suite_port) as relay: ...

Mail for tls.suite.test goes on over TLS only, for plain.suite.test without, for demo.test (reports) as it comes; with
lmtp=PORT that for demo.test goes to a Dovecot LMTP server.
Both need root: they change to accounts of their own.
"""

import datetime
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from certs.authority import ensure_certificates
from tests.support.exim import exim
from tests.support.suite import free_port, wait_for

NEED_ROOT = "Postfix and Exim are started as root"

POSTFIX_MAIN = """\
compatibility_level = 3.6
queue_directory = {top}/spool
data_directory = {top}/data
maillog_file_prefixes = {top}
maillog_file = {top}/mail.log
myhostname = mx.postfix.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
message_size_limit = 20000000
virtual_mailbox_domains = postfix.test tls.postfix.test plain.postfix.test
virtual_mailbox_base = {top}/mail
virtual_mailbox_maps = static:box/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
transport_maps = inline:{{ {{ tls.suite.test = tls:[127.0.0.1]:{suite} }},
  {{ plain.suite.test = plain:[127.0.0.1]:{suite} }}, {{ demo.test = plain:[127.0.0.1]:{suite} }} }}
smtpd_tls_security_level = may
smtpd_tls_cert_file = {certs.chain}
smtpd_tls_key_file = {certs.key}
smtpd_tls_received_header = yes
smtpd_client_connection_count_limit = 0
"""
POSTFIX_MASTER = """\
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
tls unix - - n - - smtp -o smtp_tls_security_level=encrypt
plain unix - - n - - smtp -o smtp_tls_security_level=none
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
EXIM_CONF = """\
primary_hostname = mx.exim.test
exim_user = Debian-exim
exim_group = Debian-exim
deliver_drop_privilege = true
never_users =
keep_environment =
exim_path = {program}
spool_directory = {top}/spool
log_file_path = {top}/log/%slog
pid_file_path = {top}/exim.pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
acl_smtp_rcpt = accept
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max = 0
smtp_accept_queue_per_connection = 0
message_size_limit = 20M
dsn_advertise_hosts = *
smtputf8_advertise_hosts = *
chunking_advertise_hosts = *
tls_advertise_hosts = *
tls_certificate = {certs.chain}
tls_privatekey = {certs.key}

begin routers
here:
  driver = accept
  domains = exim.test : tls.exim.test : plain.exim.test
  transport = box
tls_suite:
  driver = manualroute
  domains = tls.suite.test
  route_list = * 127.0.0.1
  self = send
  transport = tls
plain_suite:
  driver = manualroute
  domains = plain.suite.test : demo.test
  route_list = * 127.0.0.1
  self = send
  transport = plain

begin transports
tls:
  driver = smtp
  port = {suite}
  allow_localhost
  hosts_require_tls = *
  tls_verify_certificates =
  hosts_try_chunking = *
plain:
  driver = smtp
  port = {suite}
  allow_localhost
  hosts_avoid_tls = *
  hosts_try_chunking = *
box:
  driver = appendfile
  directory = {top}/mail/box
  maildir_format
  create_directory
  message_suffix =

begin retry
* * F,1h,1s
"""


EXIM_LMTP_ROUTER = """\
begin routers
store:
  driver = manualroute
  domains = demo.test
  route_list = * 127.0.0.1
  self = send
  transport = store
"""
EXIM_LMTP_TRANSPORT = """\
begin transports
store:
  driver = smtp
  protocol = lmtp
  port = {port}
  allow_localhost
  hosts_avoid_tls = *
"""


@dataclass
class Relay:
    """name: its domain is NAME.test. box: the Maildir where its own mail goes. log: what to show when a test fails.

    daemon: Exim's.
    """

    name: str
    port: int
    top: Path
    daemon: "subprocess.Popen[bytes] | None" = None

    def messages(self) -> list[bytes]:
        folder = self.top / "mail/box/new"
        return [path.read_bytes() for path in folder.iterdir()] if folder.is_dir() else []

    def flush(self) -> None:
        """What waits in its own queue is tried now."""
        words = (["/usr/sbin/postqueue", "-c", str(self.top / "etc"), "-f"] if self.daemon is None else
                 [str(exim()), "-C", str(self.top / "exim.conf"), "-qff"])
        subprocess.run(words, check=False, timeout=60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def log(self) -> str:
        return "".join(path.read_text(errors="replace") for path in (self.top / "mail.log", self.top / "log/mainlog")
                       if path.exists())[-4000:]


def _certificates(top: Path, owner: str):
    made = ensure_certificates(top / "certs", ["localhost"], datetime.datetime.now(datetime.UTC))
    for path in (made.chain, made.key, top / "certs"):
        shutil.chown(path, owner)
    return made


@contextmanager
def running_postfix(top: Path, suite_port: int, *, lmtp: int = 0) -> Iterator[Relay]:
    if shutil.which("postfix", path="/usr/sbin") is None:
        pytest.skip("postfix is not installed")
    owner, port = pwd.getpwnam("nobody"), free_port()
    for name in ("etc", "spool", "data", "mail"):
        (top / name).mkdir()
    shutil.chown(top / "data", "postfix")
    os.chown(top / "mail", owner.pw_uid, owner.pw_gid)
    main = POSTFIX_MAIN.format(top=top, suite=suite_port, uid=owner.pw_uid, gid=owner.pw_gid,
                               certs=_certificates(top, "root"))
    if lmtp:
        main = main.replace(f"demo.test = plain:[127.0.0.1]:{suite_port}", f"demo.test = lmtp:inet:127.0.0.1:{lmtp}")
    (top / "etc/main.cf").write_text(main)
    (top / "etc/master.cf").write_text(POSTFIX_MASTER.format(port=port) + "lmtp unix - - n - - lmtp\n")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "timeout": 60}
    subprocess.run(["/usr/sbin/postfix", "-c", str(top / "etc"), "start"], check=True, **quiet)
    try:
        yield Relay("postfix", port, top)
    finally:
        subprocess.run(["/usr/sbin/postfix", "-c", str(top / "etc"), "stop"], check=False, **quiet)


@contextmanager
def running_exim(top: Path, suite_port: int, *, lmtp: int = 0) -> Iterator[Relay]:
    program, port = exim(), free_port()
    for name in ("spool", "log", "mail"):
        (top / name).mkdir()
        shutil.chown(top / name, "Debian-exim", "Debian-exim")
    conf = top / "exim.conf"
    text = EXIM_CONF.format(program=program, top=top, port=port, suite=suite_port,
                            certs=_certificates(top, "Debian-exim"))
    if lmtp:
        text = text.replace(" : demo.test", "").replace("begin routers\n", EXIM_LMTP_ROUTER).replace(
            "begin transports\n", EXIM_LMTP_TRANSPORT.format(port=lmtp))
    conf.write_text(text)
    relay = Relay("exim", port, top)
    start_exim(relay)
    try:
        wait_for(lambda: "listening for SMTP" in relay.log(), 60, what=(top / "log/stderr").read_text() or "no Exim")
        yield relay
    finally:
        assert relay.daemon is not None
        relay.daemon.terminate()
        relay.daemon.wait(20)


def start_exim(relay: Relay) -> None:
    """Its daemon, also anew."""
    with open(relay.top / "log/stderr", "ab") as stderr:
        relay.daemon = subprocess.Popen([str(exim()), "-C", str(relay.top / "exim.conf"), "-bdf", "-q5s"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr)
