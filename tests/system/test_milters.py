"""Real milters beside our smtpd: opendkim signs and verifies, rspamd refuses and marks. No network, no DNS."""

import asyncio
import base64
import os
import signal
import smtplib
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mailsuite.config.settings import Settings
from mailsuite.queue.store import open_store
from tests.smtp.milter.test_recorded import serve
from tests.support.suite import free_port, open_folder, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("milters")]
BASE = {
    "compatibility_level": "3.6", "myhostname": "mx.example.test", "mydestination": "example.test",
    "mynetworks": "127.0.0.0/8", "local_recipient_maps": "", "smtpd_peername_lookup": "no", "alias_maps": "",
    "milter_default_action": "tempfail", "milter_connect_timeout": "10s"}
MESSAGE = (b"From: Joe <joe@example.test>\r\nTo: b@example.test\r\nSubject: signed\r\n folded\r\n"
           b"Date: Sat, 21 Nov 2026 05:00:00 +0000\r\nMessage-Id: <1@example.test>\r\n\r\n%b\r\n.dot \r\n\r\n")
GTUBE = b"JS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


@contextmanager
def program(port: int, *command: str) -> Iterator[None]:
    """A program that is to listen on a port."""
    def listens() -> bool:
        assert process.poll() is None, "it ended: " + process.communicate()[0].decode()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    # A group of its own: rspamd has workers. They keep nothing, and opendkim would take its time to end.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        wait_for(listens, 30, command[0])
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=20)


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as made:
        yield made


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    from mailsuite.queue.folders import make_folders

    make_folders(str(tmp_path))
    return tmp_path


def send(queue: Path, content: bytes, **values: str) -> bytes | smtplib.SMTPResponseException:
    """Give a message to a server with these settings: what lies in the queue then, or the refusal."""
    settings = Settings.of({**BASE, "queue_directory": str(queue), **values})

    def client(port: int) -> str:
        with smtplib.SMTP("127.0.0.1", port, local_hostname="c.example.test", timeout=60) as smtp:
            try:
                smtp.sendmail("joe@example.test", ["b@example.test"], content)
            except smtplib.SMTPResponseException as error:
                refusals.append(error)
        return ""

    refusals: list[smtplib.SMTPResponseException] = []
    asyncio.run(serve(settings, client))
    if refusals:
        assert not list(open_store(settings).scan("incoming"))
        return refusals[0]
    store = open_store(settings)
    queue_id, = store.scan("incoming")
    stored = store.read("incoming", queue_id)
    with open(store.path("incoming", queue_id), "rb") as file:
        file.seek(stored.offset)
        octets = file.read(stored.size)
    store.remove("incoming", queue_id)
    return octets


# --- opendkim ---------------------------------------------------------------------------------------------------

@pytest.fixture
def keys(folder: Path) -> Path:
    """selector.private and the public key as opendkim's tests read it."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (folder / "private").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()))
    (folder / "private").chmod(0o600)
    public = base64.b64encode(key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)).decode()
    (folder / "public").write_text(f"s._domainkey.example.test v=DKIM1; k=rsa; p={public}\n")
    return folder


@contextmanager
def opendkim(folder: Path, mode: str, *more: str) -> Iterator[str]:
    port = free_port()
    conf = folder / f"{mode}.conf"
    conf.write_text("\n".join([
        f"Mode {mode}", f"Socket inet:{port}@127.0.0.1", "Syslog no", "RequireSafeKeys no", "Background no",
        "Canonicalization relaxed/simple", "Domain example.test", "Selector s", f"KeyFile {folder}/private",
        f"TestPublicKeys {folder}/public", "AlwaysAddARHeader yes", *more, ""]))
    with program(port, "opendkim", "-f", "-x", str(conf)):
        yield f"inet:127.0.0.1:{port}"


@pytest.mark.needs("opendkim")
@pytest.mark.parametrize("lines", [1, 20_000])
def test_opendkim_signs_and_verifies(lines: int, keys: Path, queue: Path) -> None:
    content = MESSAGE % b"\r\n".join([b"0123456789" * 7] * lines)
    with opendkim(keys, "s") as signer, opendkim(keys, "v", f"InternalHosts {keys}/hosts") as verifier:
        signed = send(queue, content, smtpd_milters=signer)
        assert isinstance(signed, bytes)
        assert signed.startswith(b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple; d=example.test; s=s;")
        assert b"\nReceived: from c.example.test " in signed
        again = signed.replace(b"\n", b"\r\n")
        passed = send(queue, again, smtpd_milters=verifier)
        assert isinstance(passed, bytes) and b"dkim=pass" in passed and b"Authentication-Results: " in passed
        broken = send(queue, again.replace(b".dot", b".bot"), smtpd_milters=verifier)
        assert isinstance(broken, bytes) and b"dkim=fail" in broken


@pytest.mark.needs("opendkim")
def test_opendkim_twice_in_one_chain(keys: Path, queue: Path) -> None:
    with opendkim(keys, "s") as signer, opendkim(keys, "v", f"InternalHosts {keys}/hosts") as verifier:
        got = send(queue, MESSAGE % b"body", smtpd_milters=f"{signer} {{ {verifier}, protocol=2 }}")
    assert isinstance(got, bytes) and b"dkim=pass" in got


@pytest.fixture(autouse=True)
def _hosts(folder: Path) -> None:
    (folder / "hosts").write_text("192.0.2.1\n")


# --- rspamd -----------------------------------------------------------------------------------------------------

RSPAMD = """
options {{
  pidfile = "{top}/pid"; tempdir = "{top}"; hs_cache_dir = "{top}"; history_file = ""; rrd = "";
  url_tld = "{top}/tld"; control_socket = "{top}/control mode=0600";
  enable_test_patterns = true; gtube_patterns = "all";
  dns {{ nameserver = ["127.0.0.1:1:1"]; timeout = 0.1s; retransmits = 1; }}
}}
logging {{ type = "console"; level = "warning"; }}
worker "rspamd_proxy" {{
  bind_socket = "127.0.0.1:{port}"; milter = yes; timeout = 10s; count = 1;
  upstream "local" {{ default = yes; self_scan = yes; }}
}}
actions {{ reject = 15; add_header = 6; }}
lua = "{top}/empty.lua";
modules {{ path = "{top}/empty.lua"; }}
"""


@pytest.fixture
def rspamd(folder: Path) -> Iterator[str]:
    port = free_port()
    (folder / "empty.lua").write_text("-- nothing\n")
    (folder / "tld").write_text("test\n")
    (folder / "conf").write_text(RSPAMD.format(top=folder, port=port))
    with program(port, "rspamd", "-f", "-i", "-c", str(folder / "conf")):
        yield f"inet:127.0.0.1:{port}"


@pytest.mark.needs("rspamd")
def test_rspamd_refuses_marks_and_passes(rspamd: str, queue: Path) -> None:
    def sent(body: bytes) -> bytes | smtplib.SMTPResponseException:
        return send(queue, MESSAGE % body, smtpd_milters=rspamd)

    clean = sent(b"nothing special")
    assert isinstance(clean, bytes) and b"X-Spam" not in clean
    refused = sent(b"X" + GTUBE)
    assert isinstance(refused, smtplib.SMTPDataError)
    assert (refused.smtp_code, refused.smtp_error) == (554, b"5.7.1 Gtube pattern")
    marked = sent(b"Y" + GTUBE)
    assert isinstance(marked, bytes) and b"\nX-Spam: Yes\n" in marked


def test_a_milter_that_is_away_defers(queue: Path) -> None:
    got = send(queue, MESSAGE % b"x", smtpd_milters=f"inet:127.0.0.1:{free_port()}")
    assert isinstance(got, smtplib.SMTPResponseException) and got.smtp_code == 451


