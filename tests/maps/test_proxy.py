"""proxy: opens what proxy_read_maps names, and refuses the rest with proxymap's words."""

import asyncio
import logging

import pytest

from mailsuite.base.errors import TemporaryError
from mailsuite.config.settings import Settings
from mailsuite.maps import MapSource, open_maps


def find(settings: dict[str, str], spec: str, program: str = "smtpd") -> str | None:
    return asyncio.run(open_maps(spec, MapSource(Settings.of(settings), program)).find("a"))


@pytest.mark.parametrize(("settings", "spec"), [
    pytest.param({"transport_maps": "proxy:inline:{a=1}"}, "proxy:inline:{a=1}", id="the default names all parameters"),
    pytest.param({"proxy_read_maps": "proxy:static:1, hash:x"}, "proxy:static:1", id="named itself"),
    pytest.param({"proxy_read_maps": "proxy:unionmap:{static:1, inline:{b=2}}"},
                 "proxy:unionmap:{static:1, inline:{b=2}}", id="a table of tables"),
])
def test_approved(settings: dict[str, str], spec: str) -> None:
    assert find(settings, spec) == "1"


@pytest.mark.parametrize("listed", ["", "static:1", "proxy:static:2", "xproxy:static:1"])
def test_refused(listed: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mailsuite"), pytest.raises(TemporaryError):
        find({"proxy_read_maps": listed}, "proxy:static:1")
    assert "request for unapproved table: \"static:1\"" in caplog.text
    assert "proxymap service is not configured for table \"static:1\"" in caplog.text


def test_who_runs_commands_opens_it_itself() -> None:
    assert find({"proxy_read_maps": ""}, "proxy:inline:{a=1}", "local") == "1"


@pytest.mark.parametrize("spec", ["tcp:127.0.0.1:1", "socketmap:inet:127.0.0.1:1:x"])
def test_what_anybody_may_have_answered_names_no_commands(spec: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mailsuite"), pytest.raises(TemporaryError):
        find({}, spec, "local")
    assert f"{spec} map is not allowed for security-sensitive data" in caplog.text
