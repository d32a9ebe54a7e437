"""Counts of TLS sessions: stored, limited, forgotten, and printed as RFC 8460's reports."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from mailsuite.base.errors import TemporaryError
from mailsuite.cli.mailsuite import cli
from mailsuite.tlsrpt.outcome import Outcome
from mailsuite.tlsrpt.store import add, contacts, days, rows

GOOD = Outcome("a.test", "sts", ("version: STSv1", "mode: enforce"), ("*.mx.a.test",), host="m.mx.a.test",
               sender="192.0.2.1", receiver="192.0.2.2")
BAD = Outcome("a.test", "sts", GOOD.policy, GOOD.patterns, "certificate-expired", "m.mx.a.test", "192.0.2.1",
              "192.0.2.2", "certificate has expired")
OTHER = Outcome("b.test")


def fill(path: str, day: str = "2026-11-20", limit: int = 100) -> None:
    add(path, day, {GOOD: 3, BAD: 1, OTHER: 2}, contacts={"a.test": "v=TLSRPTv1;rua=mailto:r@a.test"}, keep_days=30,
        limit=limit)


def test_counts_add_up_and_days_are_forgotten(tmp_path: Path) -> None:
    path = str(tmp_path / "counts")
    fill(path)
    fill(path)
    assert dict(rows(path, "2026-11-20")) == {GOOD: 6, BAD: 2, OTHER: 4}
    assert contacts(path, "2026-11-20") == {"a.test": "v=TLSRPTv1;rua=mailto:r@a.test"}
    fill(path, "2026-12-20")
    assert days(path) == ["2026-11-20", "2026-12-20"]
    fill(path, "2026-12-21")
    assert days(path) == ["2026-12-20", "2026-12-21"]


def test_there_is_a_limit(tmp_path: Path) -> None:
    path = str(tmp_path / "counts")
    fill(path, limit=2)
    fill(path, limit=2)
    assert sorted(count for _, count in rows(path, "2026-11-20")) == [2, 6]


def test_no_counts(tmp_path: Path) -> None:
    with pytest.raises(TemporaryError):
        rows(str(tmp_path / "missing"), "2026-11-20")


def run(folder: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["-c", str(folder), "tlsrpt", *words])
    return done.exit_code, done.output


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "main.cf").write_text(f"mydomain = our.test\ndata_directory = {tmp_path}\n")
    assert run(tmp_path)[0] == 75
    fill(str(tmp_path / "tlsrpt.sqlite"))
    code, text = run(tmp_path, "--day", "2026-11-20", "A.test")
    assert code == 0 and json.loads(text) == {
        "organization-name": "our.test",
        "date-range": {"start-datetime": "2026-11-20T00:00:00Z", "end-datetime": "2026-11-20T23:59:59Z"},
        "contact-info": "postmaster@our.test", "report-id": "2026-11-20T00:00:00Z_a.test",
        "policies": [{
            "policy": {"policy-type": "sts", "policy-string": ["version: STSv1", "mode: enforce"],
                       "policy-domain": "a.test", "mx-host": ["*.mx.a.test"]},
            "summary": {"total-successful-session-count": 3, "total-failure-session-count": 1},
            "failure-details": [{
                "result-type": "certificate-expired", "sending-mta-ip": "192.0.2.1",
                "receiving-mx-hostname": "m.mx.a.test", "receiving-ip": "192.0.2.2", "failed-session-count": 1,
                "failure-reason-code": "certificate has expired"}]}]}
    code, text = run(tmp_path, "--list")
    assert (code, text) == (0, "2026-11-20 a.test sessions=4 failures=1 v=TLSRPTv1;rua=mailto:r@a.test\n"
                               "2026-11-20 b.test sessions=2 failures=0\n")
    assert run(tmp_path, "--day", "2026-11-20", "c.test")[0] == 1
    assert run(tmp_path, "--day", "yesterday")[0] == 2
