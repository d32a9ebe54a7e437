"""Where the mail side logs."""

import pytest

from mailsuite.base.errors import ConfigError
from mailsuite.config.maillog import LogFile, log_file
from mailsuite.config.settings import Settings


@pytest.mark.parametrize(("values", "want"), [
    pytest.param({}, None, id="syslog"),
    pytest.param({"maillog_file": "/var/log/mail.log"}, LogFile("/var/log/mail.log", 0o600), id="a file"),
    pytest.param({"maillog_file": "/dev/stdout"}, LogFile("/dev/stdout", 0o600), id="the standard output"),
    pytest.param({"maillog_file": "/srv/a/log", "maillog_file_prefixes": "/x, /srv/"}, LogFile("/srv/a/log", 0o600),
                 id="prefix with a slash"),
    pytest.param({"maillog_file": "/any", "maillog_file_prefixes": "/"}, LogFile("/any", 0o600), id="anywhere"),
    pytest.param({"maillog_file": "/var/l", "maillog_file_permissions": "0644"}, LogFile("/var/l", 0o644), id="mode"),
])
def test_log_file(values: dict[str, str], want: LogFile | None) -> None:
    assert log_file(Settings.of(values)) == want


@pytest.mark.parametrize(("values", "why"), [
    pytest.param({"maillog_file": "/srv/log"}, "does not match any prefix", id="not where logs may be"),
    pytest.param({"maillog_file": "/variety/log"}, "does not match any prefix", id="a name that only begins alike"),
    pytest.param({"maillog_file": "/var/l", "maillog_file_permissions": "0777"}, "bad value: 0777", id="mode"),
])
def test_refused(values: dict[str, str], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        log_file(Settings.of(values))
