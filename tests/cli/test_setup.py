"""mailsuite setup: a site is made once, kept afterwards, and what is in the way is one sentence."""

from pathlib import Path

import pytest

from mailsuite.cli import setup


def test_a_second_run_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = tmp_path / "site"
    assert setup.make_site(str(site)) == 0
    before = {path: path.read_bytes() for path in site.rglob("*") if path.is_file()}
    (site / "main.cf").write_text(before[site / "main.cf"].decode() + "message_size_limit = 1000\n")
    assert setup.make_site(str(site)) == 0
    after = {path: path.read_bytes() for path in site.rglob("*") if path.is_file()}
    assert after.pop(site / "main.cf").endswith(b"message_size_limit = 1000\n")
    del before[site / "main.cf"]
    assert before == after
    assert not any("PRIVATE KEY" in path.read_text(errors="replace") for path in site.rglob("*.crt"))


def test_passwords_are_for_the_owner_only(tmp_path: Path) -> None:
    site = tmp_path / "site"
    assert setup.make_site(str(site)) == 0
    for name in ("users", setup.PASSWORDS, "certs/server.key", "certs/ca.key"):
        assert (site / name).stat().st_mode & 0o077 == 0
    words = dict(line.split() for line in (site / setup.PASSWORDS).read_text().splitlines())
    assert len(set(words.values())) == 2 and not any(word in (site / "users").read_text() for word in words.values())


def test_a_file_in_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "site").write_text("not a folder")
    assert setup.make_site(str(tmp_path / "site")) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and str(tmp_path / "site") in said


def test_a_damaged_certificate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = tmp_path / "site"
    assert setup.make_site(str(site)) == 0
    (site / "certs/server.crt").write_text("damaged")
    assert setup.make_site(str(site)) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "damaged" in said
