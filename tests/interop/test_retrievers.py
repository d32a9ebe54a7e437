"""fetchmail and getmail: fetch from us, deliver through our sendmail or into a Maildir."""

import os
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest

from tests.interop.test_python_clients import submit
from tests.support.suite import Suite, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("interop")]


@pytest.mark.needs("fetchmail")
@pytest.mark.parametrize("protocol", ["IMAP", "POP3"])
def test_fetchmail(client: str, suite: Suite, tmp_path: Path, protocol: str) -> None:
    mark = uuid4().hex
    submit(suite, suite.second, suite.first, mark)
    wait_for(lambda: any(mark.encode() in m for m in suite.messages(suite.first)))
    target = tmp_path / "fetched"
    script = tmp_path / "mda"
    script.write_text(f"#!/bin/sh\ncat >> {target}\n")
    script.chmod(0o755)
    port = suite.ports["imaps" if protocol == "IMAP" else "pop3s"]
    config = tmp_path / "fetchmailrc"
    config.write_text(f"poll localhost service {port} protocol {protocol} user \"{suite.first}\" password "
                      f"\"{suite.users[suite.first]}\" ssl sslcertfile {suite.authority} sslcertck keep fetchall "
                      f"mda \"{script}\"\n")
    config.chmod(0o600)
    done = subprocess.run([client, "-f", str(config), "--nosyslog", "--nodetach", "--pidfile", str(tmp_path / "pid"),
                           "-i", str(tmp_path / "ids")], capture_output=True, text=True, check=False, timeout=60,
                          env={**os.environ, "HOME": str(tmp_path), "FETCHMAILHOME": str(tmp_path)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert mark in target.read_text()


@pytest.mark.needs("getmail")
@pytest.mark.parametrize("kind", ["SimpleIMAPSSLRetriever", "SimplePOP3SSLRetriever"])
def test_getmail(client: str, suite: Suite, tmp_path: Path, kind: str) -> None:
    mark = uuid4().hex
    submit(suite, suite.second, suite.first, mark)
    wait_for(lambda: any(mark.encode() in m for m in suite.messages(suite.first)))
    for folder in ("cur", "new", "tmp"):
        (tmp_path / "box" / folder).mkdir(parents=True)
    config = tmp_path / "getmailrc"
    port = suite.ports["imaps" if "IMAP" in kind else "pop3s"]
    config.write_text(f"[retriever]\ntype = {kind}\nserver = localhost\nport = {port}\nusername = {suite.first}\n"
                      f"password = {suite.users[suite.first]}\nca_certs = {suite.authority}\n"
                      f"[destination]\ntype = Maildir\npath = {tmp_path}/box/\n"
                      "[options]\nread_all = true\ndelete = false\n")
    config.chmod(0o600)
    owner = os.stat(tmp_path)
    # getmail refuses to deliver as root: an ordinary account does it.
    account: dict[str, object] = {}
    if os.geteuid() == 0:
        account = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        for path in [tmp_path, *tmp_path.rglob("*")]:
            os.chown(path, 65534, 65534)
        for parent in list(tmp_path.parents)[:3]:
            if parent.name.startswith("pytest"):
                parent.chmod(0o755)
    assert owner.st_uid == os.geteuid()
    words = [client, "--getmaildir", str(tmp_path), "--rcfile", "getmailrc"]
    for attempt in range(4):
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=20,
                                  env={**os.environ, "HOME": str(tmp_path)}, **account)
        except subprocess.TimeoutExpired:
            # getmail 6.18 waits a minute for a child that ended before it began to wait (baseclasses.py,
            # _wait_for_child), now and then on a busy machine. Nothing is lost: it fetches all of it again.
            if attempt == 3:
                raise
        else:
            break
    assert done.returncode == 0, done.stdout + done.stderr
    assert any(mark in path.read_text() for path in (tmp_path / "box/new").iterdir())
