"""Our doveadm against what the real one answered, on the same mail: tests/cli/doveadm_real has the commands."""

import io
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from mailsuite.cli import doveadm
from tests.cli.doveadm_real.cases import Command, Script, normal, recorded, scripts
from tests.cli.doveadm_real.site import UID, ZONE, Site
from tests.support.suite import open_folder

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mail of another account needs root")
RECORDED = recorded()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    zone = os.environ.get("TZ")
    os.environ["TZ"] = ZONE
    time.tzset()
    with open_folder("doveadm-ours.") as folder:
        yield Site(folder).make()
    os.environ.pop("TZ")
    if zone is not None:
        os.environ["TZ"] = zone
    time.tzset()


def run(site: Site, command: Command, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
        ) -> dict[str, Any]:
    """What our doveadm does, in this process."""
    monkeypatch.setattr(sys, "argv", ["doveadm", "-c", str(site.config),
                                      *shlex.split(command.line.replace("TOP", str(site.top)))])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(command.stdin.encode())))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.FileIO(os.dup(1), "w"), encoding="utf-8"))
    status = doveadm.main()
    sys.stdout.close()
    out, err = capfd.readouterr()
    return {"out": normal(out, site.top), "err": normal(err, site.top), "status": status}


def sortable(outcome: dict[str, Any], line: str) -> dict[str, Any]:
    """Mailboxes come in the order of the file system from the real one: records are compared as a set."""
    if re.search(r"\bmailbox (INBOX|Sent|Work|'a b'|Entwürfe)\b(?!.* or )", line, re.I) and "-A" not in line:
        return outcome
    out = outcome["out"]
    records = json.loads(out) if out.startswith("[") else out.split("\f\n" if "\f\n" in out else "\n")
    return {**outcome, "out": sorted(records, key=str)}


@pytest.mark.parametrize("script", scripts(), ids=lambda script: script.name)
def test_as_the_real_one(script: Script, site: Site, capfd: pytest.CaptureFixture[str],
                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "alice")
    site.fresh()
    wrong = []
    for command, outcome in zip(script.commands, RECORDED[script.name], strict=True):
        assert outcome["run"] == command.line, "record anew: python -m tests.cli.doveadm_real.record"
        want = {name: outcome[name] for name in ("out", "err", "status")} | command.ours
        got = run(site, command, capfd, monkeypatch)
        for name in command.skip:
            want[name] = got[name] = ""
        if sortable(want, command.line) != sortable(got, command.line):
            wrong.append(f"$ doveadm {command.line}\nwant {want}\ngot  {got}")
    assert not wrong, "\n".join(["", *wrong])


def test_an_ordinary_user_on_his_own_mail(site: Site, capfd: pytest.CaptureFixture[str],
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is looked up, and nothing needs a right that the user does not have."""
    site.fresh()
    monkeypatch.setenv("HOME", str(site.top / "home/alice"))
    monkeypatch.setenv("USER", "alice")
    assert run(site, Command("mailbox list -u alice 'W*'"), capfd, monkeypatch)["status"] == 0     # all is imported
    pid = os.fork()
    if pid == 0:
        os.setresgid(UID, UID, UID)
        os.setresuid(UID, UID, UID)
        sys.argv = ["doveadm", "-c", str(site.config), "fetch", "user mailbox uid", "mailbox", "Work", "uid", "1"]
        sys.stdout = io.TextIOWrapper(io.FileIO(os.dup(1), "w"), encoding="utf-8")
        status = 99
        try:
            status = doveadm.main()
            sys.stdout.flush()
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    out, err = capfd.readouterr()
    assert (os.waitstatus_to_exitcode(status), out, err) == (0, "user: alice\nmailbox: Work\nuid: 1\n", "")


@pytest.mark.parametrize("line", [
    "-o userdb/x=1 mailbox list -u alice", "mailbox status -u alice messages 'W*'", "search -u alice body needle",
])
def test_mbox(line: str, site: Site, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same commands on mbox files, exported from the Maildir."""
    site.fresh()
    export = run(site, Command(f"export -u alice mbox:{site.top}/home/alice/mbox all"), capfd, monkeypatch)
    assert export == {"out": "", "err": "", "status": 0}
    there = f"-o mail_location=mbox:{site.top}/home/alice/mbox "
    want = run(site, Command(line), capfd, monkeypatch)
    got = run(site, Command(there + line), capfd, monkeypatch)
    if "search" in line:
        want["out"], got["out"] = (re.sub(r"[0-9a-f]{32}|GUID", "", text) for text in (want["out"], got["out"]))
    if "list" in line:
        want["out"] = want["out"].replace("Sent\n", "").replace("a b\n", "")     # empty ones are not exported
    want["out"] = want["out"].replace("Work/Sub", "Work.Sub")                    # a file has nothing below it
    assert sortable(got, line) == sortable(want, line)
