"""The last_login plugin: what stands in the file that is shared with Dovecot."""

import os
import time
from pathlib import Path

import pytest

from mailsuite.access.last_login import last_login, noting
from mailsuite.base.dialogue import Peer
from mailsuite.base.errors import ConfigError
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.sasl.user import UserInfo

PEER = Peer("192.0.2.7", 4711, "192.0.2.1", 143)


def settings(plugin: str, plugins: str = "last_login") -> DovecotSettings:
    return DovecotSettings.of(f"mail_plugins = {plugins}\nplugin {{\n{plugin}\n}}\n").for_protocol("imap")


def login(home: Path, plugin: str) -> list[str]:
    """What was said of failures."""
    failures: list[str] = []
    note = noting(UserInfo("a@x.test", 1, 1, str(home)), settings(plugin), failures.append, peer=PEER)
    if note is not None:
        note()
    return failures


@pytest.mark.parametrize(("plugin", "key", "each"), [
    pytest.param("", "last-login/a@x.test", 1_000_000_000, id="by default"),
    pytest.param("last_login_precision = ms", "last-login/a@x.test", 1_000_000, id="milliseconds"),
    pytest.param("last_login_precision = us", "last-login/a@x.test", 1_000, id="microseconds"),
    pytest.param("last_login_precision = ns", "last-login/a@x.test", 1, id="nanoseconds"),
    pytest.param("last_login_key = ll/%s/%n/%r/%l", "ll/imap/a/192.0.2.7/192.0.2.1", 1_000_000_000, id="variables"),
    pytest.param("last_login_key = %d", "x.test", 1_000_000_000, id="no folder"),
])
def test_file(tmp_path: Path, plugin: str, key: str, each: int) -> None:
    before = time.time_ns() // each
    assert login(tmp_path, f"last_login_dict = file:~/ll\n{plugin}") == []
    lines = (tmp_path / "ll").read_text().split("\n")
    assert lines[0] == f"shared/{key}"
    assert before <= int(lines[1]) <= time.time_ns() // each
    assert lines[2:] == [""]
    assert os.stat(tmp_path / "ll").st_mode & 0o777 == 0o644


def test_others_stay(tmp_path: Path) -> None:
    (tmp_path / "ll").write_text("shared/last-login/b@x.test\n17\nshared/last-login/a@x.test\n1\npriv/other\nx\n")
    assert login(tmp_path, "last_login_dict = file:%h/ll") == []
    text = (tmp_path / "ll").read_text()
    assert "shared/last-login/b@x.test\n17\n" in text
    assert "priv/other\nx\n" in text
    assert "shared/last-login/a@x.test\n1\n" not in text


@pytest.mark.parametrize(("plugin", "text"), [
    pytest.param("last_login_dict = redis:host=::1", "dict_init(redis:host=::1) failed: Unknown dict module: redis",
                 id="a dictionary that we have not"),
    pytest.param("last_login_dict = file:~/missing/ll", "Failed to write value: ", id="no folder"),
    pytest.param("last_login_dict = file:relative", "the path is not absolute", id="relative"),
    pytest.param("last_login_dict = file:~/ll\nlast_login_precision = days", "Invalid value 'days'", id="precision"),
])
def test_failures_are_told_and_nobody_is_kept_out(tmp_path: Path, plugin: str, text: str) -> None:
    failures = login(tmp_path, plugin)
    assert len(failures) == 1
    assert text in failures[0]


def test_what_is_not_wanted(tmp_path: Path) -> None:
    user = UserInfo("a", 1, 1, str(tmp_path))
    assert last_login(user, settings("last_login_dict = file:~/ll", "quota")) is None
    assert last_login(user, settings("last_login_key = x")) is None
    with pytest.raises(ConfigError):
        last_login(user, settings("last_login_dict = proxy::x"))
