"""The real Postfix asks our auth service; our smtpd asks the real Dovecot's."""

import os
import shutil
import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailsuite.cli.site_files import DOMAIN
from tests.support.suite import Suite, free_port, open_folder, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("peers"),
              pytest.mark.skipif(os.geteuid() != 0, reason="Postfix and Dovecot are started as root")]

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
mynetworks =
alias_maps =
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {socket}
relayhost = [127.0.0.1]:{relay}
"""
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


@pytest.fixture
def postfix() -> Iterator[tuple[Path, int]]:
    """A folder for a real Postfix, and its port."""
    if shutil.which("postfix", path="/usr/sbin") is None:
        pytest.skip("postfix is not installed")
    with open_folder("postfix-peer.") as top:
        for name in ("etc", "spool", "data"):
            (top / name).mkdir()
        shutil.chown(top / "data", "postfix")
        yield top, free_port()
        subprocess.run(["/usr/sbin/postfix", "-c", str(top / "etc"), "stop"], check=False, capture_output=True)


def test_postfix_uses_our_auth_service(postfix: tuple[Path, int]) -> None:
    top, port = postfix
    with open_folder() as folder:
        suite = Suite(folder).start()
        try:
            socket = suite.top / "spool/private/auth"
            suite_smtp = suite.ports["smtp"]
            (top / "etc/main.cf").write_text(MAIN_CF.format(top=top, socket=socket, relay=suite_smtp))
            (top / "etc/master.cf").write_text(MASTER_CF.format(port=port))
            subprocess.run(["/usr/sbin/postfix", "-c", str(top / "etc"), "start"], check=True, timeout=60,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for mechanism in ("PLAIN", "LOGIN"):
                with smtplib.SMTP("127.0.0.1", port, timeout=20) as smtp:
                    smtp.ehlo()
                    assert mechanism in smtp.esmtp_features["auth"]
                    smtp.user, smtp.password = suite.first, suite.users[suite.first]
                    code, _ = smtp.auth(mechanism, getattr(smtp, f"auth_{mechanism.lower()}"))
                    assert code == 235
                    smtp.sendmail(suite.first, [suite.second], f"Subject: via postfix {mechanism}\r\n\r\nx\r\n")
            with smtplib.SMTP("127.0.0.1", port, timeout=20) as smtp, pytest.raises(smtplib.SMTPAuthenticationError):
                smtp.login(suite.first, "wrong")
            suite.wait_messages(suite.second, 2)
        finally:
            suite.stop()


DOVECOT_CONF = """\
base_dir = {top}/run
state_dir = {top}/state
log_path = {top}/dovecot.log
protocols =
ssl = no
auth_mechanisms = plain login
passdb {{
  driver = static
  args = password=from-dovecot
}}
userdb {{
  driver = static
  args = uid=5000 gid=5000 home=/nonexistent
}}
service auth {{
  unix_listener {socket} {{
    mode = 0666
  }}
}}
"""


def test_our_smtpd_uses_dovecots_auth_service() -> None:
    if shutil.which("dovecot", path="/usr/sbin") is None:
        pytest.skip("dovecot is not installed")
    with open_folder("dovecot-peer.") as top, open_folder() as folder:
        conf = top / "dovecot.conf"
        conf.write_text(DOVECOT_CONF.format(top=top, socket=top / "auth-socket"))
        subprocess.run(["/usr/sbin/dovecot", "-c", str(conf)], check=True, timeout=30)
        suite = Suite(folder)
        try:
            wait_for((top / "auth-socket").exists)
            suite.postconf(f"smtpd_sasl_path={top}/auth-socket")
            suite.start()
            with smtplib.SMTP("localhost", suite.ports["submission"], timeout=20) as smtp:
                smtp.starttls(context=suite.tls())
                assert smtp.login(f"anybody@{DOMAIN}", "from-dovecot")[0] == 235
            with smtplib.SMTP("localhost", suite.ports["submission"], timeout=20) as smtp:
                smtp.starttls(context=suite.tls())
                with pytest.raises(smtplib.SMTPAuthenticationError):
                    smtp.login(suite.first, suite.users[suite.first])
            suite.stop()
        finally:
            subprocess.run(["/usr/bin/doveadm", "-c", str(conf), "stop"], check=False, capture_output=True)
