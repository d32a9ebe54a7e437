"""Certificates of demo sites: made, kept, renewed, and refused with one sentence."""

import datetime
import ssl
from pathlib import Path

import pytest

from certs.authority import ensure_certificates
from mailsuite.base.errors import ConfigError

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def test_made_once_and_kept(tmp_path: Path) -> None:
    made = ensure_certificates(tmp_path, ["localhost", "127.0.0.1"], NOW)
    content = made.chain.read_bytes()
    assert ensure_certificates(tmp_path, ["localhost"], NOW + datetime.timedelta(days=9)).chain.read_bytes() == content
    assert made.key.stat().st_mode & 0o777 == 0o600 and (tmp_path / "ca.key").stat().st_mode & 0o777 == 0o600
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(made.chain, made.key)


def test_renewed_before_the_end(tmp_path: Path) -> None:
    content = ensure_certificates(tmp_path, ["localhost"], NOW).chain.read_bytes()
    later = ensure_certificates(tmp_path, ["localhost"], NOW + datetime.timedelta(days=820))
    assert later.chain.read_bytes() != content


@pytest.mark.parametrize(("spoil", "when", "word"), [
    pytest.param("server.crt", NOW, "damaged", id="damaged certificate"),
    pytest.param("server.key", NOW, "damaged", id="damaged key"),
    pytest.param(None, NOW - datetime.timedelta(days=9), "set the clock", id="clock before the certificate"),
])
def test_one_clear_sentence(tmp_path: Path, spoil: str | None, when: datetime.datetime, word: str) -> None:
    ensure_certificates(tmp_path, ["localhost"], NOW)
    if spoil:
        (tmp_path / spoil).write_text("no certificate")
    with pytest.raises(ConfigError, match=word):
        ensure_certificates(tmp_path, ["localhost"], when)


def test_key_of_another_certificate(tmp_path: Path) -> None:
    ensure_certificates(tmp_path / "a", ["localhost"], NOW)
    ensure_certificates(tmp_path / "b", ["localhost"], NOW)
    (tmp_path / "a/server.key").write_bytes((tmp_path / "b/server.key").read_bytes())
    with pytest.raises(ConfigError, match="does not belong"):
        ensure_certificates(tmp_path / "a", ["localhost"], NOW)
